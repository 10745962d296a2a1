"""Images that are there twice: in two splits, nearly or mirrored perhaps, or as two files with the same bytes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from multibox import boxes as geometry
from multibox.data.coco import CocoData, Record
from multibox.doctor.checks import Finding
from multibox.doctor.looks import HASH_SIDE, Look
from multibox.structures import FloatArray
from multibox.wording import counted, quoted

NEAR_BITS = 32
"""Number of bits of a hash that may differ between images that are nearly the same. On airport, bccd, face_mask,
playing_cards and raccoon, of 40 images each, those saved at JPEG quality 20, at half the size or in another brightness
differ by up to 21 bits, those cut by 1 % on all sides by up to 32; two different images by 43 and more, but of binary
drawings (deeppcb) by as little as 21."""

NEAR_CORRELATION = 0.8
"""Least correlation of the grey values of such images, which tells apart what few bits cannot: different drawings that
are 32 bits apart or less correlate by 0.3 at most, the changed images above by 0.87."""

LEAST_CONTRAST = 2.0
"""Least standard deviation of a small grey copy. An empty image says nothing of whether it is the same as another."""

SAME_OBJECT_IOU = 0.5
"""Least IoU of the boxes of one object in two copies of an image: COCO's threshold for having found it. Raccoon's
copies, boxed at two times, agree by 0.8 and more."""

BLOCK = 1 << 22
"""Number of pairs that are compared at a time: twice 16 MB."""


@dataclass(frozen=True, slots=True)
class Twins:
    """Two images that are the same, `bits` apart (0 may still be another file).

    `is_same_file`: byte for byte; `is_mirrored`: one shows the other's left at its right.
    """

    first: tuple[str, str]
    second: tuple[str, str]
    bits: int
    is_same_file: bool
    is_mirrored: bool = False


def find_twins(looks: Mapping[str, Sequence[Look]]) -> list[Twins]:
    """Find images that are in two splits, mirrored perhaps, or twice in one byte for byte; by looks at each split."""
    names = list(looks)
    twins = []
    for position, name in enumerate(names):
        twins += _same_files(name, looks[name])
        for other in names[position + 1 :]:
            twins += _near((name, looks[name]), (other, looks[other]))
    return twins


def groups_alike(looks: Sequence[Look]) -> list[int]:
    """The number of the group of each image: those that are near each other, mirrored perhaps, have the same.

    Images that are near only by others between them, as the frames of a film are, are of one group, too. So are files
    with the same bytes. Groups are numbered from 0 in the order of their first image.
    """
    groups = np.arange(len(looks))
    first_with: dict[bytes, int] = {}
    for position, look in enumerate(looks):
        first = first_with.setdefault(look.file_hash, position)
        if first != position:
            groups[position] = groups[first]
    for is_mirrored in (False, True):
        for start, apart in _bits_apart(looks, looks, is_mirrored=is_mirrored):
            for column in range(apart.shape[1]):
                joined = np.union1d(groups[np.isfinite(apart[:, column])], groups[start + column])
                if len(joined) > 1:
                    groups[np.isin(groups, joined)] = joined[0]
    _, numbers = np.unique(groups, return_inverse=True)
    return [int(number) for number in numbers]


def report_twins(twins: Sequence[Twins]) -> Iterator[Finding]:
    """Findings about twins: across splits they make a measurement too good, within one they only cost time."""
    across = [twin for twin in twins if twin.first[0] != twin.second[0]]
    within = [twin for twin in twins if twin.first[0] == twin.second[0]]
    if across:
        lines = [
            f"{quoted(twin.first[1])} ({twin.first[0]}) and {quoted(twin.second[1])} ({twin.second[0]}), "
            + ("the same file" if twin.is_same_file else f"{twin.bits} of 256 bits apart")
            + (", mirrored" if twin.is_mirrored else "")
            for twin in sorted(across, key=lambda twin: twin.bits)
        ]
        what = "image of val is" if len(across) == 1 else "images of val are"
        text = f"{len(across)} {what} in train too, or nearly: AP on val may come out too good"
        yield Finding("warning", "leaks", "", len(across), text, tuple(lines))
    if within:
        lines = [f"{twin.first[0]}: {quoted(twin.first[1])} and {quoted(twin.second[1])}" for twin in within]
        text = f"{counted(len(within), 'file')} {'is' if len(within) == 1 else 'are'} there twice, byte for byte"
        yield Finding("note", "same-files", "", len(within), text, tuple(lines))


def check_boxes_of_twins(splits: Mapping[str, CocoData], twins: Sequence[Twins]) -> Iterator[Finding]:
    """Files that are there twice with other objects: what is boxed in one is background in the other."""
    records: dict[tuple[str, str], list[Record]] = {}
    for split, data in splits.items():
        for record in data.records:
            records.setdefault((split, record.file_name), []).append(record)
    lines = [
        f"{quoted(twin.first[1])} ({twin.first[0]}) and {quoted(twin.second[1])} ({twin.second[0]})"
        for twin in twins
        # An annotation file may list one file twice; then both names are the same, and the two are its first and last.
        if twin.is_same_file and not _agree(records[twin.first][0], records[twin.second][-1])
    ]
    if lines:
        what = "file is" if len(lines) == 1 else "files are"
        text = f"{len(lines)} {what} there twice with other boxes: an object of one is background in the other"
        yield Finding("warning", "twins-boxed-differently", "", len(lines), text, tuple(lines))


def _differences(small: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Which of neighbouring grey values (..., 16, 17) is brighter: truth values (..., 16, 16), the hash of an image.

    Source: N. Krawetz, "Kind of Like That", 2013 (dHash), here with 16 rows of 16 differences.
    """
    values = small.astype(np.int16)
    # Flat areas would give bits that hang on noise: a step of one grey level is none.
    brighter: NDArray[np.bool_] = values[..., 1:] > values[..., :-1] + 1
    return brighter


def _same_files(split: str, looks: Sequence[Look]) -> list[Twins]:
    first_with: dict[bytes, str] = {}
    twins = []
    for look in looks:
        if look.file_hash in first_with:
            twins.append(Twins((split, first_with[look.file_hash]), (split, look.name), 0, True))
        first_with.setdefault(look.file_hash, look.name)
    return twins


def _near(base: tuple[str, Sequence[Look]], other: tuple[str, Sequence[Look]]) -> list[Twins]:
    """The nearest partner in the first split of each image in the second, if it is near."""
    (base_split, base_looks), (other_split, other_looks) = base, other
    files = {look.file_hash: look for look in base_looks}
    best: dict[int, Twins] = {}
    for j, look in enumerate(other_looks):
        if look.file_hash in files:
            best[j] = Twins((base_split, files[look.file_hash].name), (other_split, look.name), 0, True)
    for is_mirrored in (False, True):
        for i, j, bits in _nearest_pairs(base_looks, other_looks, is_mirrored=is_mirrored):
            if j not in best or (bits < best[j].bits and not best[j].is_same_file):
                names = (base_split, base_looks[i].name), (other_split, other_looks[j].name)
                best[j] = Twins(*names, bits, False, is_mirrored)
    return [best[j] for j in sorted(best)]


def _agree(record: Record, other: Record) -> bool:
    """Whether two records have the same objects, as two careful people box them."""
    first, second = record.targets, other.targets
    if len(first) != len(second):
        return False
    if not len(first):
        return True
    is_same = (geometry.iou(first.boxes, second.boxes) >= SAME_OBJECT_IOU) & (first.labels[:, None] == second.labels)
    return bool(is_same.any(axis=0).all() and is_same.any(axis=1).all())


def _nearest_pairs(base: Sequence[Look], other: Sequence[Look], *, is_mirrored: bool) -> Iterator[tuple[int, int, int]]:
    """For each of `other` that is near some of `base`: position of the nearest, its own, and the bits that differ."""
    for start, apart in _bits_apart(base, other, is_mirrored=is_mirrored):
        # A camera that does not move makes every pair near: whoever looks at pairs one by one never comes to an end.
        nearest = apart.argmin(axis=0)
        for j in np.flatnonzero(np.isfinite(apart.min(axis=0))).tolist():
            yield int(nearest[j]), start + j, int(apart[nearest[j], j])


def _bits_apart(
    base: Sequence[Look], other: Sequence[Look], *, is_mirrored: bool
) -> Iterator[tuple[int, NDArray[np.floating]]]:
    """The bits that differ between `base` (rows) and some of `other` (columns), infinite where they are not near.

    Block after block; each comes with the position of its first column.
    """
    if not base or not other:
        return
    rows, columns = np.stack([look.grey for look in base]), np.stack([look.grey for look in other])
    if is_mirrored:
        columns = columns[..., ::-1]
    row_signs, column_signs = _signs(rows), _signs(columns)
    row_greys, column_greys = _normalised(rows), _normalised(columns)
    step = max(1, BLOCK // len(rows))
    for start in range(0, len(columns), step):
        # Equal signs count 1, different ones -1: a product of matrices counts 256 - 2 x the bits that differ.
        apart = (HASH_SIDE**2 - row_signs @ column_signs[start : start + step].T) / 2
        alike = row_greys @ column_greys[start : start + step].T
        apart[(apart > NEAR_BITS) | (alike < NEAR_CORRELATION)] = np.inf
        yield start, apart


def _signs(greys: NDArray[np.uint8]) -> FloatArray:
    bits = _differences(greys).reshape(len(greys), -1)
    return np.where(bits, np.float32(1), np.float32(-1))


def _normalised(greys: NDArray[np.uint8]) -> FloatArray:
    """Rows of length 1 and mean 0, or of zeros where there is no contrast: their products are correlations."""
    flat = greys.reshape(len(greys), -1).astype(np.float32)
    flat -= flat.mean(axis=1, keepdims=True)
    spread = flat.std(axis=1, keepdims=True)
    length = np.linalg.norm(flat, axis=1, keepdims=True)
    result: FloatArray = np.where(spread >= LEAST_CONTRAST, flat / np.maximum(length, 1e-6), np.float32(0))
    return result
