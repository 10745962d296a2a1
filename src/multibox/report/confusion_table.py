"""The confusion matrix as cells of a table, of a few classes where there are many."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

BACKGROUND = "background"
OTHERS = "other classes"

DEEPEST = 55
"""Percent of colour in a cell that holds all of its row; with more, its number is hard to read in light or dark."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A count and its `share` of the row in percent; `depth` of its colour in percent.

    `kind`: whether it is right, wrong, or says nothing.
    """

    count: int
    share: int
    depth: int
    kind: Literal["right", "wrong", "plain"]
    title: str


@dataclass(frozen=True, slots=True)
class ConfusionTable:
    """Names of the columns, and rows of a name and its cells; background is the last of each."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]


def confusion_table(table: NDArray[np.int64], classes: Sequence[str]) -> ConfusionTable:
    """The cells of a matrix (K + 1, K + 1) of these classes, background last."""
    names = [*classes, BACKGROUND]
    rows = []
    for row, name in enumerate(names):
        total = int(table[row].sum())
        cells = tuple(_cell(int(count), total, name, names[column]) for column, count in enumerate(table[row]))
        rows.append((name, cells))
    return ConfusionTable((*classes, "missed"), tuple(rows))


def reduced(table: NDArray[np.int64], classes: Sequence[str], *, limit: int) -> tuple[NDArray[np.int64], list[str]]:
    """The matrix of the classes with the most errors alone, all others being one; or as it is, if they are few."""
    if len(classes) <= limit:
        return table, list(classes)
    last = len(classes)
    errors = table.sum(axis=0) + table.sum(axis=1) - 2 * table.diagonal()
    kept = sorted(np.argsort(-errors[:last], kind="stable")[: limit - 1].tolist())
    others = [label for label in range(last) if label not in kept]
    groups = [[label] for label in kept] + [others, [last]]
    small = np.array([[table[np.ix_(rows, columns)].sum() for columns in groups] for rows in groups], dtype=np.int64)
    return small, [*(classes[label] for label in kept), OTHERS]


def _cell(count: int, total: int, truth: str, detected: str) -> Cell:
    share = round(100 * count / total) if total else 0
    if truth == detected:
        kind: Literal["right", "wrong", "plain"] = "plain" if truth == BACKGROUND else "right"
    else:
        kind = "wrong"
    what = "missed" if detected == BACKGROUND else f"taken for {detected}"
    return Cell(count, share, round(DEEPEST * share / 100), kind, f"{count} of {total} ({share} %): {truth}, {what}")
