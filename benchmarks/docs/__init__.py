"""What keeps the documents true: ``make docs`` rebuilds the committed results' pages and the parts that documents show.

* ``pages``: which results are committed, and how their pages are rebuilt
* ``blocks``: the generated parts of a document: where they begin and end, and what takes their place
* ``kinds``: what a block can show; ``excerpts`` of results' pages, ``listings`` of networks and commands, and
  ``columns`` of the CSV files
* ``drift``: what of all this is not as it would be made now
"""
