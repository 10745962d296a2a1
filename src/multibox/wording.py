"""Numbers, lists and missing values in sentences and tables: said one way wherever a person reads them."""

from __future__ import annotations

import json
from collections.abc import Iterable

NO_VALUE = "-"
"""What a table shows where nothing was measured."""


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
    return json.dumps(text, ensure_ascii=False)


def percent(fraction: float | None, digits: int = 1) -> str:
    """A fraction as a number in percent, without the sign; `NO_VALUE` for None."""
    return NO_VALUE if fraction is None else f"{100 * fraction:.{digits}f}"
