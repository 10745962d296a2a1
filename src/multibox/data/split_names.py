"""What the parts of data sets are called: which words of a name say that it is what to train or to validate on."""

from __future__ import annotations

from pathlib import Path

TRAIN_NAMES = ("train", "training", "trainval")
VAL_NAMES = ("val", "valid", "validation", "test")
"""What splits are called, the likeliest first."""

KINDS = {
    **dict.fromkeys(TRAIN_NAMES, "train"),
    **dict.fromkeys(VAL_NAMES, "val"),
    "test": "test",
    "dev": "val",
}
"""The kind of split that each word stands for."""


def words_of(stem: str) -> set[str]:
    """The words in a name, in lower case; digits and signs part them."""
    return set("".join(letter if letter.isalpha() else " " for letter in stem.lower()).split())


def is_of(file: Path, name: str) -> bool:
    """Whether an annotation file belongs to a split of this name, by its own name or that of its folder."""
    return name in words_of(file.stem) or file.parent.name.lower() == name


def kinds_of(name: str) -> set[str]:
    """The kinds of split that the words of a name stand for: train, val, test."""
    return {KINDS[word] for word in words_of(name) if word in KINDS}
