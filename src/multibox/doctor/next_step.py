"""The command to type after an examination, ready to paste."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from multibox.data.layouts import Format, Split
from multibox.data.reading import as_item
from multibox.doctor.run import EXIT_ERRORS, EXIT_WARNINGS, Examination


@dataclass(frozen=True)
class Named:
    """The data as the user named them.

    `source`: the folder, file or .zip, or None where annotation files are named by options. `splits`: their annotation
    files. `classes`: the option --classes.
    """

    source: Path | None
    splits: Mapping[str, Sequence[Split]]
    format: Format
    classes: str = ""


@dataclass(frozen=True)
class NextStep:
    """What to do next, as a sentence that a command follows, and the command for a shell."""

    words: str
    command: str


def next_step(named: Named, examination: Examination, *, has_template: bool) -> NextStep | None:
    """The step after an examination; None where there is nothing to train on and nothing to fix.

    `has_template`: whether the user stands in a work directory, whose template a training takes.
    """
    if examination.exit_code == EXIT_ERRORS:
        return _after_errors(named)
    if "train" not in examination.contents or not examination.contents["train"].num_objects:
        return None
    if examination.advice is None:
        return NextStep("Next, install what training needs:", shlex.join(["pip", "install", "multibox[train]"]))
    first = "Next, once you have looked at the warnings" if examination.exit_code == EXIT_WARNINGS else "Next"
    if named.source is not None:
        words = ["multibox", "train", str(named.source), *(["--classes", named.classes] if named.classes else [])]
        return NextStep(f"{first}, train:", shlex.join(words))
    template = "" if has_template else examination.advice.template
    return NextStep(f"{first}, train:", shlex.join(train_words(named.splits, template, named.classes)))


def step_after_fix(target: Path, *, num_lost: int) -> NextStep:
    """The step after a corrected copy was written to `target`, of which `num_lost` changes left something out."""
    again = shlex.join(["multibox", "doctor", str(target)])
    if num_lost:
        return NextStep("Next, once you have looked at what was left out, examine the copy:", again)
    return NextStep("Next, examine the copy:", again)


def train_words(splits: Mapping[str, Sequence[Split]], template: str, classes: str) -> list[str]:
    """The words of a command that trains on the splits, with a template unless its name is empty."""
    words = ["multibox", "train", *(["--config", template] if template else [])]
    for name, parts in splits.items():
        words += [f"--{name}-ann-files", ",".join(as_item(part.annotation_file) for part in parts)]
        words += [f"--{name}-data-roots", ",".join(as_item(part.root) for part in parts)]
    return [*words, *(["--classes", classes] if classes else [])]


def _after_errors(named: Named) -> NextStep:
    if any(len(parts) > 1 for parts in named.splits.values()):  # --fix takes one file for each split
        words = shlex.join(_doctor_words(named))
        return NextStep("Next, correct the errors, which training would refuse, and look again:", words)
    words = shlex.join(_fix_words(named))
    return NextStep("Next, have a corrected copy written, since training would refuse the errors:", words)


def _fix_words(named: Named) -> list[str]:
    return [*_doctor_words(named), "--no-timing", "--fix", str(_new_folder(named, "fixed"))]


def _doctor_words(named: Named) -> list[str]:
    if named.source is not None:
        classes = ["--classes", named.classes] if named.classes else []
        return ["multibox", "doctor", str(named.source), *classes]
    words = train_words(named.splits, "", named.classes)
    return ["multibox", "doctor", *words[2:]]


def _new_folder(named: Named, ending: str) -> Path:
    """A folder that is not there yet, beside the set and outside of it."""
    near = named.source or next(iter(named.splits.values()))[0].annotation_file.parent
    inside = [part.root for parts in named.splits.values() for part in parts]
    inside += [near] if near.is_dir() else []
    name, parent = _name_and_parent(near)
    while any(_lies_in(parent / f"{name}-{ending}", folder) for folder in inside) and parent.resolve() != Path("/"):
        name, parent = _name_and_parent(parent)
    candidates = [parent / f"{name}-{ending}", *(parent / f"{name}-{ending}-{number}" for number in range(2, 100))]
    return next((place for place in candidates if not place.exists()), candidates[-1])


def _name_and_parent(place: Path) -> tuple[str, Path]:
    if place.name in {"", ".."}:  # "." and "..", which say not what they are called
        return place.resolve().name, place / ".."
    return (place.name if place.is_dir() else place.stem), place.parent


def _lies_in(place: Path, folder: Path) -> bool:
    return place.resolve().is_relative_to(folder.resolve())
