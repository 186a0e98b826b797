"""A page as a person meets it: headless Chromium opens it from disk, without a network."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from records import make_record, make_trial, write_folder

from resbench.report.html.results_page import write_html_page
from resbench.store import Store, load_results

HOSTILE = "evil<img src='http://example.invalid/x' onerror='document.title=1'>"
DESKTOP = {"width": 1280, "height": 900}
PHONE = {"width": 390, "height": 844}
ON_BOTH = pytest.mark.parametrize("visit", ["desktop", "phone"], indirect=True)


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of five networks with three seeds, one failure and one network of a stranger's name."""
    folder = write_folder(tmp_path_factory.mktemp("page"), seeds=3)
    store = Store(folder)
    failed = {"status": "oom", "phase": "train", "error": "CUDA out of memory", "test_accuracy": None}
    store.append("trial", make_record(make_trial("resnet152", 3), **failed))
    store.append("trial", make_record(make_trial(HOSTILE), notes=[HOSTILE]))
    return write_html_page(load_results(folder))


@dataclass
class Visit:
    """An open page, and what went on meanwhile."""

    page: Any
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def column(self, index: int) -> list[str]:
        """The texts of a column of the comparison, from the top."""
        return self.page.locator(f"table.interactive >> nth=0 >> tbody tr > :nth-child({index})").all_inner_texts()

    def chart(self, title: str) -> Any:
        """A chart, when it is drawn."""
        found = self.page.locator("figure", has=self.page.get_by_role("heading", name=title, exact=True))
        found.scroll_into_view_if_needed()
        found.locator(".main-svg").first.wait_for()
        return found


@pytest.fixture
def visit(browser: Any, page_file: Path, request: pytest.FixtureRequest) -> Iterator[Visit]:
    """Opens the page, on a desktop unless a test says else, and holds it to asking and complaining of nothing."""
    phone = getattr(request, "param", "desktop") == "phone"
    context = browser.new_context(
        viewport=PHONE if phone else DESKTOP, is_mobile=phone, has_touch=phone, color_scheme="light"
    )
    found = Visit(context.new_page())
    found.page.on("request", lambda sent: found.requests.append(sent.url))
    found.page.on("console", lambda message: found.complaints.append(message.text))
    found.page.on("pageerror", lambda error: found.complaints.append(str(error)))
    found.page.goto(page_file.as_uri())
    yield found
    assert [url for url in found.requests if not url.startswith(("data:", "blob:"))] == [page_file.as_uri()]
    assert found.complaints == []
    context.close()


def test_it_says_the_headline_and_holds_every_model(visit: Visit) -> None:
    assert visit.page.title() == "Results: synthetic"
    assert "se_resnet50 is the most accurate" in visit.page.locator(".headline").first.inner_text()
    assert set(visit.column(1)) == {"d2l_resnet18", "resnet34", "resnet50", "se_resnet50", "resnet152", HOSTILE}


@ON_BOTH
def test_a_column_sorts_by_its_figures_with_mouse_and_keyboard(visit: Visit) -> None:
    heading = visit.page.locator("table.interactive >> nth=0 >> thead th", has_text="train time")
    index = 1 + visit.page.locator("table.interactive >> nth=0 >> thead th").all_inner_texts().index(
        heading.inner_text()
    )
    button = heading.get_by_role("button")
    button.click()
    visit.page.locator("th[aria-sort=ascending]", has_text="train time").wait_for()
    # As words, "1 min 05 s" would come before "15.9 s".
    assert [_seconds(text) for text in visit.column(index)] == sorted(_seconds(text) for text in visit.column(index))
    button.press("Enter")
    visit.page.locator("th[aria-sort=descending]", has_text="train time").wait_for()
    assert visit.column(1)[0] == "resnet152"


@ON_BOTH
def test_the_filter_leaves_the_rows_that_match(visit: Visit) -> None:
    visit.page.get_by_label("Filter").first.fill("se_res")
    assert visit.column(1) == ["se_resnet50"]
    visit.page.get_by_label("Filter").first.fill("no such model")
    assert visit.column(1) == ["No row matches."]


@ON_BOTH
def test_pointing_at_a_model_tells_its_figures(visit: Visit) -> None:
    chart = visit.chart("Test accuracy against what it costs")
    chart.get_by_text("parameters").click()
    assert "parameters (millions)" in chart.locator(".xtitle").text_content()
    box = chart.locator(".scatterlayer .trace:nth-of-type(2) .point").first.bounding_box()
    visit.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    told = chart.locator(".hoverlayer .hovertext")
    told.wait_for()
    assert "d2l_resnet18" in told.text_content()
    assert "on the front of the means" in told.text_content()


def test_arrow_keys_step_through_the_points_and_are_spoken(visit: Visit) -> None:
    plot = visit.chart("Test accuracy against what it costs").locator(".plot")
    plot.focus()
    plot.press("ArrowRight")
    spoken = visit.page.locator("#spoken")
    assert spoken.text_content().startswith("d2l_resnet18. test accuracy")
    plot.press("ArrowRight")
    assert spoken.text_content().startswith("resnet34. test accuracy")
    plot.press("ArrowLeft")
    plot.press("ArrowLeft")
    assert spoken.text_content().startswith(HOSTILE)


@ON_BOTH
def test_every_chart_and_each_of_its_views_can_be_seen(visit: Visit) -> None:
    titles = visit.page.locator("figure h3").all_inner_texts()
    assert titles == [
        "Test accuracy against what it costs", "Learning curves", "Throughput and memory", "Where the time went",
    ]  # fmt: skip
    for title in titles:
        chart = visit.chart(title)
        names = chart.locator(".views span")
        seen = set()
        for index in range(names.count()):
            names.nth(index).click()
            seen.add(chart.locator(".xtitle").text_content())
            assert chart.locator(".scatterlayer .trace, .barlayer .trace").count() > 0
        assert len(seen) == names.count()


def test_the_theme_follows_the_system_until_it_is_chosen(visit: Visit) -> None:
    def paper() -> str:
        return visit.page.evaluate("getComputedStyle(document.body).backgroundColor")

    visit.chart("Learning curves")
    ink = "getComputedStyle(document.querySelector('#group-1-curves .xtitle')).fill"
    light, on_light = paper(), visit.page.evaluate(ink)
    visit.page.emulate_media(color_scheme="dark")
    visit.page.locator("html[data-dark]").wait_for()
    dark = paper()
    assert dark != light
    assert visit.page.evaluate(ink) != on_light
    button = visit.page.get_by_role("button", name=re.compile("Theme"))
    button.click()
    assert (button.inner_text(), paper()) == ("Theme: light", light)
    button.press("Enter")
    assert (button.inner_text(), paper()) == ("Theme: dark", dark)


def test_a_name_with_tags_is_text_everywhere(visit: Visit) -> None:
    for title in visit.page.locator("figure h3").all_inner_texts():
        visit.chart(title)
    assert visit.page.locator("img").count() == 0
    assert visit.page.title() == "Results: synthetic"


@ON_BOTH
def test_nothing_is_wider_than_the_screen_and_failures_have_reasons(visit: Visit) -> None:
    for title in visit.page.locator("figure h3").all_inner_texts():
        visit.chart(title)
    assert visit.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert "CUDA out of memory" in visit.page.locator("#failed").inner_text()


def test_folded_sections_open_with_the_keyboard(visit: Visit) -> None:
    table = visit.page.locator("#pairs-1")
    assert not table.is_visible()
    visit.page.locator("#pairs summary").press("Enter")
    assert table.is_visible()


def test_it_prints_with_every_chart_and_section(browser: Any, page_file: Path) -> None:
    page = browser.new_page(viewport=DESKTOP, color_scheme="dark")
    page.goto(page_file.as_uri())
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator("figure .main-svg >> nth=0").count() == 1
    assert page.locator("figure:has(.main-svg)").count() == page.locator("figure").count()
    assert page.locator("#pairs-1").is_visible()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert not page.get_by_role("button", name=re.compile("Theme")).is_visible()
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert not page.locator("#pairs-1").is_visible()
    page.close()


def _seconds(text: str) -> float:
    """Reads a time as tables write it, without its deviation."""
    text = text.replace(" s", "").partition(" ±")[0]
    minutes, _, seconds = text.rpartition(" min ")
    return 60 * float(minutes or 0) + float(seconds)
