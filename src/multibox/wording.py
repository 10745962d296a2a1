"""Numbers, lists and missing values in sentences and tables: said one way wherever a person reads them."""

from __future__ import annotations

import json
import os
import re
import shlex
import textwrap
from collections.abc import Iterable
from typing import Self

NO_VALUE = "-"
"""What a table shows where nothing was measured."""


LONGEST_NAME = 300
"""Number of letters of a name from a file that a sentence shows; file systems allow 255."""


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """A number and its noun: `1 image`, `2 images`, `1,200 images`. `plural` is the noun with an s unless given."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def listed(names: Iterable[str], limit: int = 6) -> str:
    """Names in a sentence: `a, b and c`; of more than `limit`, the first ones and how many more there are."""
    shown = list(names)
    if len(shown) > limit:
        shown = [*shown[: limit - 1], f"{len(shown) - limit + 1} more"]
    return " and ".join(filter(None, [", ".join(shown[:-1]), *shown[-1:]]))


def quoted(text: str) -> str:
    """A name from a file in quotation marks, on one line whatever is in the name."""
    # Quotation marks inside the name are escaped, so they are told from those around it.
    return shortened(json.dumps(text, ensure_ascii=False), LONGEST_NAME)


def typed(path: str | os.PathLike[str]) -> str:
    """A path as a shell takes it: in quotation marks where it has blanks, so that it can be pasted."""
    return shlex.quote(os.fspath(path))


class Detailed(str):
    """A line with details: whoever does not ask for them sees `brief` instead, or nothing if that is empty.

        say(Detailed("Anchors: the template's (they fit 99 % of your boxes)."))

    It is text as any other; who shows it to people decides by `brief`.
    """

    brief: str

    def __new__(cls, whole: str, brief: str = "") -> Self:
        """A line, and what is left of it without the details."""
        line = super().__new__(cls, whole)
        line.brief = brief
        return line


def without_details(text: str) -> str | None:
    """A line as it is shown to whoever does not ask for details; None if it has nothing else."""
    return text if not isinstance(text, Detailed) else text.brief or None


ONE_PIECE = re.compile(r"""(?<![^\s(])(?:'[^']+'|"[^"]+"|`[^`]+`)(?![^\s).,:;?!])|\A[^:"'`]*/[^:"'`]*(?=: )""")
"""Names and commands in quotation marks, and a path that a message begins with: no line is broken at a blank there."""

LEAST_WIDTH = 20
"""Width below which lines are not broken any further."""


def wrapped(text: str, width: int, *, indent: int = 0) -> list[str]:
    """The lines of a text on a terminal of so many columns; all but the first are indented by `indent` blanks.

    They break between words. Names and commands stay in one piece however narrow the terminal is, so that they can be
    copied; those with blanks have to be in quotation marks.
    """
    whole = ONE_PIECE.sub(lambda piece: piece[0].replace(" ", "\0"), text)
    lines = textwrap.wrap(
        whole,
        max(LEAST_WIDTH, width),
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [line.replace("\0", " ") for line in lines] or [""]


def percent(fraction: float | None, digits: int = 1) -> str:
    """A fraction as a number in percent, without the sign; `NO_VALUE` for None."""
    return NO_VALUE if fraction is None else f"{100 * fraction:.{digits}f}"


UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Letters that a terminal obeys instead of showing them, or that change the order of those around them."""


def visible(text: str) -> str:
    """A text on one line, in which letters that a terminal would obey are shown by their numbers: `\\x1b`, `\\n`."""
    return UNSEEN.sub(lambda letter: letter[0].encode("unicode_escape").decode("ascii"), text)


def cell(text: str) -> str:
    """A name as a cell of a table on a console: on one line, and nothing in it is taken for markup or obeyed."""
    from rich.markup import escape

    return escape(visible(text))


def shortened(text: str, limit: int = 100) -> str:
    """A text on one line of at most `limit` letters: of a longer one, the beginning and the end."""
    shown = visible(text)
    if len(shown) <= limit:
        return shown
    tail = limit // 3
    return f"{shown[: limit - tail - 5]} ... {shown[-tail:]}"
