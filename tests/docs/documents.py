"""What the documents hold: code blocks, commands, prose."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = ("README.md", "METHOD.md")


@dataclass(frozen=True)
class Command:
    """A command that a document shows."""

    document: str
    line: int
    text: str

    @property
    def words(self) -> list[str]:
        """As a shell reads it, without its comment."""
        return shlex.split(self.text, comments=True)

    def __str__(self) -> str:
        """What a test of it is called."""
        return f"{self.document}:{self.line} {' '.join(self.words)[:60]}"


def read(document: str) -> str:
    """The text of a document."""
    return (ROOT / document).read_text(encoding="utf-8")


def code_blocks(document: str, language: str) -> list[tuple[int, str]]:
    """The code blocks of a language: the number of their first line, and what they hold."""
    text = read(document)
    found = re.finditer(rf"^```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    return [(text.count("\n", 0, match.start(1)) + 1, match[1]) for match in found]


def console_commands(document: str) -> list[Command]:
    """The commands of all console blocks; one that goes on behind a backslash is one."""
    commands = []
    for first, block in code_blocks(document, "console"):
        place = first
        for text in re.split(r"(?<!\\)\n", block):
            if text.strip():
                commands.append(Command(document, place, text.replace("\\\n", " ")))
            place += text.count("\n") + 1
    return commands


def listed_commands() -> list[Command]:
    """The commands of README's table of them, as their usage line has them."""
    rows = [(number, re.match(r"\| `((?:resbench|make) .+?)` +\|", line)) for number, line in numbered("README.md")]
    return [Command("README.md", number, row[1]) for number, row in rows if row]


def numbered(document: str) -> list[tuple[int, str]]:
    """The lines of a document, each with its number."""
    return [*enumerate(read(document).splitlines(), start=1)]


def prose(document: str) -> str:
    """A document without code blocks, generated parts, tables and headings, as one line."""
    text = re.sub(r"^```.*?^```", "", read(document), flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"^<!-- generated: .*?^<!-- end -->", "", text, flags=re.MULTILINE | re.DOTALL)
    return " ".join(re.sub(r"^(\||#).*$", "", text, flags=re.MULTILINE).split())
