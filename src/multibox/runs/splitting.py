"""Images held out to measure on, where a data set comes without: which ones, and the two annotation files."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from multibox.data.coco import CocoData
from multibox.data.coco_format import read_plain
from multibox.data.layouts import Split
from multibox.doctor.duplicates import groups_alike
from multibox.doctor.looks import Look, see
from multibox.files import write_atomically
from multibox.predict.sources import natural_key
from multibox.wording import counted, listed

SHARE = 0.2
"""Share of the images that is held out where nobody says otherwise."""

SEED = 0
"""Seed of the draws. It is not that of the training: runs of several seeds are measured on the same images."""

LEAST_IMAGES = 10
"""Number of images below which nothing is held out: an AP of fewer says next to nothing."""

LARGEST_SHARE = 1 / 3
"""Share of a small set that may be held out to come to `LEAST_IMAGES`; what is learnt from counts for more."""

MOST_COMPARED = 20_000
"""Number of images up to which all are compared with each other, which takes time by its square. In larger sets, only
copies of one file are kept together."""

TRIES = 30
"""Number of draws, of which the one with the most even classes is taken."""

ENLARGED = 1.25
"""How many times the wanted number a draw may reach, because groups stay together."""

COPIED = re.compile(r"\.rf\.[0-9a-f]{16,}")
"""What Roboflow adds to the names of the changed copies that it makes of an image."""


@dataclass(frozen=True)
class Division:
    """Positions of the images that are held out, in ascending order.

    `is_cut`: nearly all images are alike, as those of one camera, so that scenes had to be cut in two.
    """

    held_out: tuple[int, ...]
    is_cut: bool = False


def num_held_out(num_images: int, share: float = SHARE) -> int:
    """Number of images to hold out; 0 if there are too few of them to measure anything on a part."""
    wanted = max(LEAST_IMAGES, round(share * num_images))
    return wanted if share > 0 and wanted <= max(share, LARGEST_SHARE) * num_images else 0


def announcement(num_images: int) -> str:
    """What a training would do with a set of so many images that has none to validate on, in a sentence."""
    wanted = num_held_out(num_images)
    if wanted:
        return f"There is no validation set: `multibox train` will hold out about {wanted} of the {num_images} images."
    return f"There is no validation set, and {counted(num_images, 'image')} are too few to hold any out."


def divide(data: CocoData, *, wanted: int, seed: int = SEED) -> Division:
    """Choose about `wanted` images to hold out.

    Images that are alike (near-duplicates, mirrored copies, frames of one scene) are all held out or none is. Each
    class is in both parts where it is in several such groups; of several draws, the one with the most even classes is
    taken.
    """
    seen = see({"train": data})["train"]
    looks = {look.name: look for look in seen.looks}
    groups = _groups(data, looks)
    labels = [np.unique(record.targets.labels).tolist() for record in data.records]
    held_out = choose_groups(labels, groups, num_classes=len(data.classes), wanted=wanted, seed=seed)
    if len(held_out) >= min(wanted, LEAST_IMAGES):
        return Division(held_out)
    cut = _cut(data, groups, longest=max(1, wanted // 2))
    return Division(choose_groups(labels, cut, num_classes=len(data.classes), wanted=wanted, seed=seed), is_cut=True)


def choose_groups(
    labels: Sequence[Sequence[int]], groups: Sequence[int], *, num_classes: int, wanted: int, seed: int
) -> tuple[int, ...]:
    """Positions of about `wanted` images, whole groups of them, by the classes (`labels`) in each image.

    No class leaves the others altogether. The result may have fewer images where groups are large.
    """
    numbers, group_of = np.unique(np.asarray(groups), return_inverse=True)
    sizes = np.bincount(group_of)
    images_with = np.zeros((len(numbers), num_classes), dtype=np.int64)
    for group, present in zip(group_of, labels, strict=True):
        images_with[group, list(present)] += 1
    rng = np.random.default_rng(seed)
    draws = [_draw(sizes, images_with, wanted, rng) for _ in range(TRIES)]
    best = min(draws, key=lambda chosen: _unevenness(chosen, sizes, images_with, wanted))
    return tuple(np.flatnonzero(best[group_of]).tolist())


def write_parts(split: Split, data: CocoData, division: Division, folder: Path) -> dict[str, Split]:
    """Write the annotation files of both parts into `folder`: all that the user's file says, images where they are."""
    content, _, _ = read_plain(split.annotation_file)
    held_out = {data.records[position].image_id for position in division.held_out}
    title = split.title or str(split.annotation_file)
    parts = {}
    for name, is_val in (("train", False), ("val", True)):
        file = folder / f"annotations_{name}.json"
        part = _part(content, held_out, is_val=is_val)
        write_atomically(file, msgspec.json.encode(part))
        suffix = " (held out)" if is_val else ""
        parts[name] = replace(split, annotation_file=file, root=split.root.resolve(), title=f"{title}{suffix}")
    return parts


def account(data: CocoData, division: Division) -> str:
    """What was held out, in a line or two."""
    chosen = [data.records[position] for position in division.held_out]
    present = {label for record in chosen for label in record.targets.labels.tolist()}
    absent = [name for label, name in enumerate(data.classes) if data.objects_per_class[label] and label not in present]
    text = f"Held out to measure on: {len(chosen)} of the {counted(len(data.records), 'image')}"
    text += f"; none of them has {listed(absent)}." if absent else ", with every class."
    if division.is_cut:
        text += " The images are so alike that scenes had to be cut in two: AP may come out too good."
    return text


def _groups(data: CocoData, looks: dict[str, Look]) -> list[int]:
    """The group of each image: of its looks, of the file that it is a copy of, or, if it cannot be read, its own."""
    names = [record.file_name for record in data.records]
    known = [looks[name] for name in dict.fromkeys(names) if name in looks]
    numbers: dict[str, int] = {}
    if len(known) <= MOST_COMPARED:
        numbers = dict(zip((look.name for look in known), groups_alike(known), strict=True))
    else:
        by_bytes: dict[bytes, int] = {}
        numbers = {look.name: by_bytes.setdefault(look.file_hash, len(by_bytes)) for look in known}
    joined = _Joined(max(numbers.values(), default=-1) + 1 + len(names))
    own = max(numbers.values(), default=-1) + 1
    keys: dict[str, int] = {}
    groups = []
    for position, name in enumerate(names):
        group = numbers.get(name, own + position)
        original, copies = COPIED.subn("", name)
        if copies:
            joined.join(keys.setdefault(original, group), group)
        groups.append(group)
    return [joined.root(group) for group in groups]


class _Joined:
    """Numbers of which some stand for the same."""

    def __init__(self, count: int) -> None:
        self._parents = list(range(count))

    def root(self, number: int) -> int:
        """The number that stands for this one and all that are joined with it."""
        while self._parents[number] != number:
            number = self._parents[number]
        return number

    def join(self, first: int, second: int) -> None:
        """Let both stand for the same."""
        self._parents[self.root(second)] = self.root(first)


def _cut(data: CocoData, groups: Sequence[int], *, longest: int) -> list[int]:
    """Groups of at most `longest` images: larger ones are cut into stretches in the order of the names of the images.

    Frames of a film are named in order, so that few of the held-out ones have neighbours among the others.
    """
    members = defaultdict(list)
    for position, group in enumerate(groups):
        members[group].append(position)
    pieces = [0] * len(groups)
    number = 0
    for positions in members.values():
        ordered = sorted(positions, key=lambda position: natural_key(Path(data.records[position].file_name)))
        for start in range(0, len(ordered), longest):
            for position in ordered[start : start + longest]:
                pieces[position] = number
            number += 1
    return pieces


def _draw(sizes: np.ndarray, images_with: np.ndarray, wanted: int, rng: np.random.Generator) -> np.ndarray:
    """Groups (G,), true if held out: some of each class first, the rarest first, then any until there are enough."""
    chosen = np.zeros(len(sizes), dtype=np.bool_)
    left = images_with.sum(axis=0)
    order = rng.permutation(len(sizes))
    num_groups_with = (images_with > 0).sum(axis=0)
    rarest_first = [label for label in np.argsort(num_groups_with, kind="stable") if num_groups_with[label] > 1]
    count = 0

    def fits(group: int) -> bool:
        removed = images_with[group]
        is_small = count + sizes[group] <= ENLARGED * wanted
        return bool(not chosen[group] and is_small and (left - removed)[removed > 0].all())

    for label in [*rarest_first, None]:
        for group in order if label is None else order[images_with[order, label] > 0]:
            is_done = count >= wanted if label is None else bool(images_with[chosen, label].any())
            if is_done:
                break
            if fits(group):
                chosen[group] = True
                count += sizes[group]
                left = left - images_with[group]
    return chosen


def _unevenness(chosen: np.ndarray, sizes: np.ndarray, images_with: np.ndarray, wanted: int) -> tuple[int, float]:
    """How many classes are missing among the held-out images, and how far their shares are from each other."""
    total = images_with.sum(axis=0)
    held = images_with[chosen].sum(axis=0)
    occurring = total > 0
    share = wanted / sizes.sum()
    off = np.abs(held[occurring] / total[occurring] - share).sum() + abs(sizes[chosen].sum() / sizes.sum() - share)
    return int((occurring & (held == 0)).sum()), float(off)


def _part(content: dict[str, Any], held_out: set[Any], *, is_val: bool) -> dict[str, Any]:
    """The file's content with the images of one part; what belongs to no image stays in the training part."""

    def belongs(entry: Any, key: str) -> bool:
        value = entry.get(key) if isinstance(entry, dict) else None
        return (isinstance(value, int | str) and value in held_out) == is_val

    return {
        **content,
        "images": [entry for entry in content["images"] if belongs(entry, "id")],
        "annotations": [entry for entry in content["annotations"] if belongs(entry, "image_id")],
    }
