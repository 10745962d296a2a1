"""What is odd about image files: pictures that are there twice, EXIF rotation, and more pixels than are of use."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from multibox import images
from multibox.data.coco import CocoData, Record
from multibox.data.coco_problems import quoted
from multibox.doctor.findings import NUM_EXAMPLES, Finding
from multibox.errors import DataError

HASH_SIDE = 16
"""A hash of 16 x 16 differences: 256 bits. With 8 x 8, scenes of one camera could not be told apart."""

NEAR_BITS = 16
"""Of 256 that may differ. A picture saved again with strong compression or at half the size differs in up to a dozen;
unrelated pictures in about 100."""

LARGEST_INPUT = 512
MUCH_LARGER = 4
"""Times the largest network input. Training decodes photographs to twice the input; beyond, only time is spent."""

NUM_TIMED = 12


@dataclass(frozen=True, slots=True)
class Twins:
    """Two pictures that are the same, `bits` apart (0 may still be another file); `is_same_file`: byte for byte."""

    first: tuple[str, str]
    second: tuple[str, str]
    bits: int
    is_same_file: bool


def difference_hash(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Which of neighbouring pixels of a small grey copy is brighter, as 32 bytes.

    Source: N. Krawetz, "Kind of Like That", 2013 (dHash), here with 16 rows of 16 differences.
    """
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    small = cv2.resize(grey, (HASH_SIDE + 1, HASH_SIDE), interpolation=cv2.INTER_AREA).astype(np.int16)
    # Flat areas would give bits that hang on noise: a step of one grey level is none.
    bits: NDArray[np.uint8] = np.packbits(small[:, 1:] > small[:, :-1] + 1)
    return bits


def find_twins(splits: Mapping[str, CocoData]) -> list[Twins]:
    """Pictures that are in two splits, or twice in one byte for byte."""
    with ThreadPoolExecutor() as pool:
        found = {name: list(pool.map(_look, data.records)) for name, data in splits.items()}
    names = list(splits)
    twins = []
    for position, name in enumerate(names):
        twins += _same_files(name, splits[name], found[name])
        for other in names[position + 1 :]:
            twins += _near((name, splits[name].records, found[name]), (other, splits[other].records, found[other]))
    return twins


def report_twins(twins: Sequence[Twins]) -> Iterator[Finding]:
    """Findings about twins: across splits they make a measurement too good, within one they only cost time."""
    across = [twin for twin in twins if twin.first[0] != twin.second[0]]
    within = [twin for twin in twins if twin.first[0] == twin.second[0]]
    if across:
        lines = [
            f"{quoted(twin.first[1])} ({twin.first[0]}) and {quoted(twin.second[1])} ({twin.second[0]}), "
            + ("the same file" if twin.is_same_file else f"{twin.bits} of 256 bits apart")
            for twin in sorted(across, key=lambda twin: twin.bits)
        ]
        text = f"{len(across)} pictures are in train and in val, or nearly: AP on val is too good to be true"
        yield Finding("warning", "leaks", "", len(across), text, tuple(lines[:NUM_EXAMPLES]))
    if within:
        lines = [f"{twin.first[0]}: {quoted(twin.first[1])} and {quoted(twin.second[1])}" for twin in within]
        text = f"{len(within)} files are there twice, byte for byte"
        yield Finding("note", "same-files", "", len(within), text, tuple(lines[:NUM_EXAMPLES]))


def check_orientation(split: str, data: CocoData) -> Iterator[Finding]:
    """Photographs that are to be shown turned, and in which frame their boxes are. Only headers are read."""
    turned: dict[str, list[str]] = {"stored": [], "shown": [], "unknown": []}
    for record in data.records:
        orientation = images.read_orientation(record.path)
        if orientation is None or orientation.value == 1:
            continue
        frame = "unknown"
        if orientation.swaps_sides and orientation.stored[0] != orientation.stored[1]:
            frame = "stored" if (record.width, record.height) == orientation.stored else "shown"
        turned[frame].append(f"{quoted(record.file_name)} (orientation {orientation.value})")
    texts = {
        "stored": "photographs say that they are to be shown turned, but their boxes are for them as they are stored; "
        "multibox reads them so, other programs may not",
        "shown": "photographs are stored turned and boxed as they are shown; multibox turns them",
        "unknown": "photographs are to be shown upside down or mirrored, and nothing tells for which way their boxes "
        "are; multibox turns them: look at some with their boxes",
    }
    for frame, lines in turned.items():
        if lines:
            yield Finding(
                "note" if frame == "shown" else "warning",
                f"exif-{frame}",
                split,
                len(lines),
                f"{len(lines)} {texts[frame]}",
                tuple(lines[:NUM_EXAMPLES]),
            )


def check_sizes(split: str, data: CocoData) -> Iterator[Finding]:
    """Pictures with many more pixels than any template uses, and what reading them costs, measured."""
    limit = MUCH_LARGER * LARGEST_INPUT
    large = [record for record in data.records if min(record.width, record.height) > limit]
    if not large:
        return
    sample = large[:: max(1, len(large) // NUM_TIMED)][:NUM_TIMED]
    started_at = time.perf_counter()
    for record in sample:
        images.read(record.path, expected_size=(record.width, record.height))
    milliseconds = 1000 * (time.perf_counter() - started_at) / len(sample)
    text = (
        f"{len(large)} images are over {limit} px on both sides, and no template uses more than {LARGEST_INPUT}: "
        f"reading one takes {milliseconds:.0f} ms"
    )
    lines = [f"{quoted(record.file_name)}: {record.width} x {record.height}" for record in large]
    yield Finding("note", "large-images", split, len(large), text, tuple(lines[:NUM_EXAMPLES]))


def _look(record: Record) -> tuple[NDArray[np.uint8], str] | None:
    """Hash of the picture and of the file."""
    try:
        image = images.read(record.path, expected_size=(record.width, record.height), min_size=(64, 64))
        return difference_hash(image), hashlib.sha256(Path(record.path).read_bytes()).hexdigest()
    except (DataError, OSError):
        return None


def _same_files(name: str, data: CocoData, found: Sequence[Any]) -> list[Twins]:
    first_with: dict[str, str] = {}
    twins = []
    for record, look in zip(data.records, found, strict=True):
        if look is None:
            continue
        if look[1] in first_with:
            twins.append(Twins((name, first_with[look[1]]), (name, record.file_name), 0, True))
        first_with.setdefault(look[1], record.file_name)
    return twins


def _near(first: tuple[str, Sequence[Record], Any], second: tuple[str, Sequence[Record], Any]) -> list[Twins]:
    """The nearest partner in the first split of each picture in the second, if it is near."""
    rows, columns = ([(i, look) for i, look in enumerate(found) if look is not None] for _, _, found in (first, second))
    if not rows or not columns:
        return []
    hashes = np.stack([look[0] for _, look in rows])
    twins = []
    for j, (bits, file_hash) in columns:
        apart = np.unpackbits(hashes ^ bits, axis=1).sum(axis=1, dtype=np.int64)
        nearest = int(apart.argmin())
        if apart[nearest] <= NEAR_BITS:
            i, look = rows[nearest]
            names = (first[0], first[1][i].file_name), (second[0], second[1][j].file_name)
            twins.append(Twins(*names, int(apart[nearest]), look[1] == file_hash))
    return twins
