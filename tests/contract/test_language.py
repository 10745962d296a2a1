"""Words for users are plain: short sentences, and the field's terms, one each.

Pages that do not keep to it yet are listed with how often; the numbers may only go down.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from tools import reference_pages

from multibox.cli import app

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src/multibox"

MOST_WORDS = 30
"""Number of words that a sentence of the documentation may have."""

INSTEAD_OF = {
    r"pictures?": "image",
    r"rungs?": "method",
    r"(mend|mends|mended|mending)": "fix",
    r"learnt": "learned",
    r"img/s": "images/s",
    r"whoever": "who, or you",
    r"but for": "except",
    r"as good as": "nearly",
    r"so many (percent|pixels)": "the number",
    r"meant so": "is that intended",
    r"(is|are) to be there": "is, exists",
    r"that is said": "multibox says so",
    r"hang on the last bit": "may go either way by rounding",
    r"(is|are|be) no YAML": "is not valid YAML",
    r"anew": "again",
    r"beforehand": "before",
    r"thereof|therein|whereof": "of it",
    r"utili[sz]e[sd]?": "use",
    r"leverag(e|es|ed|ing)": "use",
    r"in order to": "to",
    r"(simply|easily|obviously)": "leave it out",
    r"blazing(ly)?|cutting.edge|state.of.the.art|powerful|seamless(ly)?": "a figure",
}
"""Words that we do not use, as patterns, and what we say."""

LONG: dict[str, int] = {}
"""Number of sentences of a page, or of the help of a command, that may still be too long."""

WORDS: dict[str, int] = {}
"""Number of words of a page, or of a file of the package, that we do not use."""

DECISIONS = ROOT / "docs/decisions"
"""Pages for those who change multibox, not for its users."""

PAGES = [*(page for page in sorted((ROOT / "docs").rglob("*.md")) if DECISIONS not in page.parents), ROOT / "README.md"]


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def prose(markdown: str) -> Iterator[str]:
    """The paragraphs, list items and table cells of a page, without code."""
    text = re.sub(r"^( *)```.*?^ *```", "", markdown, flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", text)
    text = re.sub(r"`[^`\n]*`", "CODE", text)
    for block in re.split(r"\n\s*\n|\n(?=\s*(?:[-*]|\d+\.) )|^#+ .*$|^:::.*$", text, flags=re.MULTILINE):
        if block.lstrip().startswith("|"):
            yield from (cell for cell in re.split(r"[|\n]", block) if re.search(r"\w", cell))
        elif block.strip():
            yield " ".join(block.split())


def sentences(text: str) -> list[str]:
    """Its sentences; a number like 0.5 and an abbreviation like `et al.` end none."""
    return [part for part in re.split(r"(?<=[.!?])(?<!e\.g\.)(?<!i\.e\.)(?<! al\.)[)\"*_]*\s+", text) if part]


def too_long(text: str) -> list[str]:
    return [sentence for sentence in sentences(text) if len(sentence.split()) > MOST_WORDS]


def unwanted(text: str) -> list[str]:
    """The words of a text that we do not use; names of options and keys are not words."""
    plain = re.sub(r"(--|\w_)[\w-]+|[\w./]+_\w*", "NAME", text)
    return [
        match[0] for pattern in INSTEAD_OF for match in re.finditer(rf"(?<![\w-])({pattern})(?![\w-])", plain, re.I)
    ]


def messages(source: str) -> list[str]:
    """The texts of a module that may reach a user: all but its docstrings."""
    tree = ast.parse(source)
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    return [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings
    ]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_sentences_of_a_page_are_short(page):
    found = [sentence for text in prose(page.read_text(encoding="utf-8")) for sentence in too_long(text)]
    assert len(found) <= LONG.get(name_of(page), 0), "\n".join(found)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_a_page_has_none_of_the_words_that_we_do_not_use(page):
    found = [word for text in prose(page.read_text(encoding="utf-8")) for word in unwanted(text)]
    assert len(found) <= WORDS.get(name_of(page), 0), found


@pytest.mark.parametrize("command", reference_pages.command_names())
def test_help_has_short_sentences_and_plain_words(command):
    arguments = app[command].assemble_argument_collection(parse_docstring=True)
    paragraphs = app[command].help.partition("Args:")[0].split("\n\n")
    texts = [*paragraphs, *(argument.parameter.help or "" for argument in arguments)]
    found = [sentence for text in texts for sentence in too_long(" ".join(text.split()))]
    assert len(found) <= LONG.get(command, 0), "\n".join(found)
    assert [word for text in texts for word in unwanted(text)] == []


def test_messages_have_none_of_the_words_that_we_do_not_use():
    found = {
        name_of(path): words
        for path in PACKAGE.rglob("*.py")
        if (
            words := [
                word for text in messages(path.read_text(encoding="utf-8")) if " " in text for word in unwanted(text)
            ]
        )
    }
    assert {name: words for name, words in found.items() if len(words) > WORDS.get(name, 0)} == {}


def test_a_sentence_of_31_words_is_too_long():
    assert too_long(" ".join(["word"] * 30) + ".") == []
    assert len(too_long(" ".join(["word"] * 31) + ". Next.")) == 1


def test_sentences_end_at_full_stops_but_not_in_numbers():
    assert sentences("AP is 0.5. `a.b` is c. (See d.) bccd, of Liu et al., too!") == [
        *("AP is 0.5.", "`a.b` is c.", "(See d.", "bccd, of Liu et al., too!")
    ]


def test_options_and_keys_are_not_words():
    assert unwanted("`--pictures` num_pictures, pictures, and learnt") == ["pictures", "learnt"]
