from __future__ import annotations

import pytest

from benchmarks.docs.blocks import Block, DocumentError, fill, find_blocks

DOCUMENT = """# Title

<!-- generated: table results/one "Budget 3ep" -->
old
<!-- end -->

```console
<!-- generated: no marker in a code block -->
```
words
<!-- generated: networks -->
<!-- end -->
"""


def test_blocks_are_found_with_their_words_and_lines() -> None:
    first, second = find_blocks(DOCUMENT, "README.md")
    assert first == Block("table", ("results/one", "Budget 3ep"), line=3, end=5, text="old")
    assert (second.kind, second.arguments, second.line, second.text) == ("networks", (), 11, "")
    assert str(first) == 'table results/one "Budget 3ep"'


def test_what_is_made_takes_the_place_of_what_was_there_and_nothing_else_changes() -> None:
    made = {"table": "new\nand more\n", "networks": "| a |"}
    text, changed = fill(DOCUMENT, "README.md", lambda block: made[block.kind])
    assert [block.line for block in changed] == [3, 11]
    assert text == DOCUMENT.replace("\nold\n", "\nnew\nand more\n").replace("networks -->\n", "networks -->\n| a |\n")
    again, changed = fill(text, "README.md", lambda block: made[block.kind])
    assert (again, changed) == (text, [])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a\n<!-- generated: table -->\nb\n", "README.md, line 2: this block does not end"),
        ("<!-- generated: a -->\n<!-- generated: b -->\n<!-- end -->\n", "README.md, line 1: this block does not end"),
        ("a\n\n<!-- end -->\n", "README.md, line 3: <!-- end --> stands where nothing began"),
        ("<!-- generate: table -->\n", "README.md, line 1: '<!-- generate: table -->' is no marker of a block"),
        ('<!-- generated: table "a -->\n<!-- end -->\n', "README.md, line 1: cannot read"),
    ],
)
def test_a_marker_that_is_wrong_is_named_with_its_line(text: str, said: str) -> None:
    with pytest.raises(DocumentError, match="README") as error:
        find_blocks(text, "README.md")
    assert said in str(error.value)


def test_what_is_made_must_not_end_its_block() -> None:
    with pytest.raises(DocumentError, match="line 3: what is made for table"):
        fill(DOCUMENT, "README.md", lambda block: "a\n<!-- end -->" if block.kind == "table" else "")
