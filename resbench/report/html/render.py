"""A document as one HTML file: scripts and styles are written into it, and it may load nothing."""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache
from html import escape
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from resbench.report.html.document import Chart, Document
from resbench.untrusted import printable

if TYPE_CHECKING:
    from jinja2 import Environment

SCRIPTS = ("vendor/plotly-basic.min.js", "vendor/dataTables.min.js", "assets/page.js")
STYLE = "assets/page.css"


def render(document: Document) -> str:
    """Returns the text of a page.

    Whatever a document holds is text: a template escapes it, and no script that is not one of resbench's own runs, for
    the page's Content-Security-Policy names these by their sums and allows no request at all.

    Args:
        document: What the page says.
    """
    from jinja2.utils import htmlsafe_json_dumps
    from markupsafe import Markup

    scripts = [asset(name) for name in SCRIPTS]
    return (
        _environment()
        .get_template("page.html.j2")
        .render(
            page=document,
            style=Markup(asset(STYLE)),
            scripts=[Markup(script) for script in scripts],
            policy=_policy(scripts),
            charts=htmlsafe_json_dumps({chart.slug: _data(chart) for chart in document.charts}),
        )
    )


@cache
def asset(name: str) -> str:
    """Returns a file that belongs to this package.

    Args:
        name: Its path from here, such as ``assets/page.css``.
    """
    return (files("resbench.report.html") / name).read_text(encoding="utf-8")


def chart_text(text: str) -> str:
    """Makes text safe where Plotly shows it: it obeys a few HTML tags in names and hover texts.

    Args:
        text: Of a record, say.
    """
    return escape(printable(text), quote=False)


def _policy(scripts: list[str]) -> str:
    """Returns the Content-Security-Policy: these scripts and no other, and nothing from anywhere.

    Styles are free, for Plotly writes its own; images are those that it makes for a download.
    """
    sums = (base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts)
    allowed = " ".join(f"'sha256-{each}'" for each in sums)
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )


def _data(chart: Chart) -> dict[str, Any]:
    """Returns what the page's script needs of a chart."""
    views = [{"traces": _rounded(view.traces), "layout": _rounded(view.layout)} for view in chart.views]
    return {"height": chart.height, "views": views}


def _rounded(value: Any) -> Any:
    """Rounds numbers to seven digits, more than a screen shows: two processors may differ in the last of sixteen."""
    if isinstance(value, float):
        return float(f"{value:.7g}")
    if isinstance(value, dict):
        return {name: _rounded(each) for name, each in value.items()}
    return [_rounded(each) for each in value] if isinstance(value, list) else value


@cache
def _environment() -> Environment:
    """Returns the templates; every text in them is escaped, and characters that do not print are shown as such."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("resbench.report.html"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: printable(value) if type(value) is str else value,
    )
    environment.filters.update(markdown=_markdown, coded=_coded, partly=_partly)
    return environment


def _coded(text: str) -> Any:
    """Escapes a sentence and sets what stands between backticks as code."""
    from markupsafe import Markup

    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(printable(text))))


def _partly(status: str) -> bool:
    """Says whether a cell such as ``2/3 ok`` or ``crashed`` tells of a trial that did not end ok."""
    ok, _, planned = status.partition(" ")[0].partition("/")
    return ok != planned


def _markdown(text: str) -> Any:
    """Renders a person's own words; HTML in them is shown as it is written, and a picture becomes a link to it."""
    from markdown_it import MarkdownIt
    from markupsafe import Markup

    lines = (printable(line.expandtabs()) for line in text.splitlines())
    parser = MarkdownIt("commonmark", {"html": False}).enable("table").disable("image")
    return Markup(parser.render("\n".join(lines)))
