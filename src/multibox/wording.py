"""Numbers, lists and missing values in sentences and tables: said one way wherever a person reads them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

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
