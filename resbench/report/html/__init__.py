"""Interactive pages: one file each that opens without a network, holds its own scripts and asks nothing of any server.

* ``document``: what a page is made of, as plain dataclasses
* ``render``: a document as the text of an HTML file
* ``charts/``: a chart a file, as traces without colours
* ``results_page``, ``profiles``, ``side_by_side_page``: what the pages say
* ``headings``, ``surroundings``: what they say of headings, and around their results
* ``templates/``, ``assets/``: how it looks and what it does in a browser
* ``vendor/``: the libraries that are written into every page
"""

from __future__ import annotations

from resbench.report.html.results_page import write_html_page
from resbench.report.html.side_by_side_page import write_side_by_side_html
from resbench.report.html.surroundings import HTML_PAGE

__all__ = ["HTML_PAGE", "write_html_page", "write_side_by_side_html"]
