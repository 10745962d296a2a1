"""What a measurement of speed gives, and how it is shown: a table on the console, or plain values for a JSON file."""

from __future__ import annotations

import dataclasses
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import rich.box
from rich.console import Group
from rich.table import Table

from multibox import __version__, machine
from multibox.wording import Detailed, cell, counted

Precision = Literal["f32", "default"]


@dataclass(frozen=True, slots=True)
class Spread:
    """Median and quartiles of a ratio over the rounds."""

    median: float
    lower: float
    upper: float


@dataclass(frozen=True, slots=True)
class Timing:
    """Latency of one image at a time in ms (percentiles of all calls), images per second with several under way.

    Both ratios are above 1 where the model is faster than the one it is compared with.
    """

    p50_ms: float
    p95_ms: float
    images_per_second: float
    latency_ratio: Spread
    throughput_ratio: Spread


@dataclass(frozen=True, slots=True)
class ProcessorTime:
    """Milliseconds of processor time, of all cores together, per image on the whole way.

    `reading` a file and decoding it, `resizing` the image to the network's size, `network` as when it runs alone, and
    the `rest` of what was used: turning bytes into the network's numbers, reading the outputs, handing over.
    """

    reading: float
    resizing: float
    network: float
    rest: float


@dataclass(frozen=True, slots=True)
class SpeedRow:
    """One model on one device: what it is, and how fast.

    `precision_hint` is what was asked of OpenVINO, `computes_in` in what the compiled model computes its convolutions,
    most of them first. `compared_with` is the position of the row that the ratios refer to. `network` is the model
    alone, `whole_way` from a file to boxes, `whole_way_share` the throughput of the second as a part of the first.
    """

    file: str
    size_mb: float
    device: str
    precision_hint: Precision
    computes_in: str
    input_size: int
    compared_with: int
    network: Timing
    whole_way: Timing
    whole_way_share: Spread
    processor_ms: ProcessorTime


@dataclass(frozen=True, slots=True)
class SpeedResult:
    """The rows in the order of the files, and under what circumstances they were measured."""

    rows: tuple[SpeedRow, ...]
    num_rounds: int
    seconds: float
    num_images: int
    images_px: tuple[int, int]
    decode_threads: int


def speeds_to_plain(result: SpeedResult) -> dict[str, Any]:
    """A measurement as dictionaries, lists and numbers, ready for JSON, with date, machine and versions."""
    plain = dataclasses.asdict(result)
    rows = plain.pop("rows")
    return {
        "date": datetime.now().astimezone().isoformat(timespec="seconds"),
        "machine": machine.describe_machine(),
        "versions": {
            "python": platform.python_version(),
            "multibox": __version__,
            **machine.library_versions(),
        },
        "settings": plain | {"images_px": list(result.images_px)},
        "rows": list(rows),
    }


QUARTILES = "quartiles"


def speed_summary(result: SpeedResult) -> Table:
    """What most want to know, for a console of 80 columns: each file's time for an image, and images per second."""
    table = _plain_table()
    for name in ("file", "in"):
        table.add_column(name, overflow="fold")
    for name in ("network ms", "all ms", "images/s", "ratio"):
        table.add_column(name, justify="right", no_wrap=True)
    files = [row.file for row in result.rows]
    for row in result.rows:
        times = (f"{row.network.p50_ms:.1f}", f"{row.whole_way.p50_ms:.1f}", f"{row.whole_way.images_per_second:.1f}")
        ratio = f"{row.whole_way.throughput_ratio.median:.2f}"
        table.add_row(cell(short_name(row.file, files)), f"{row.computes_in}, {row.device}", *times, ratio)
    return table


SUMMARY = (
    "Median time of one image, of the network alone and of all from the file on disk to boxes; images/s with several "
    "under way, and their ratio to the first file. More: --verbose."
)
"""What the columns of `speed_summary` are."""


def speed_tables(result: SpeedResult, *, width: int = 120) -> Group:
    """The whole result: the files, the network alone, the whole way, where the time goes.

    For a console of 80 columns or more; quartiles have no room below 100.
    """
    return Group(
        _files(result),
        _speeds(
            result, "network", "Network alone: the input is ready; the suppression inside of the file counts", width
        ),
        _speeds(result, "whole_way", "Whole way: from a file on disk to boxes", width),
        _shares(result, width),
    )


def _plain_table(title: str = "") -> Table:
    # Without lines between columns, so that 80 columns are enough.
    return Table(
        title=title or None,
        title_justify="left",
        box=rich.box.SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1),
        collapse_padding=True,
    )


def _files(result: SpeedResult) -> Table:
    table = _plain_table("Files")
    for name in ("#", "file", "MB", "input", "device", "hint", "computes in"):
        table.add_column(name, justify="right" if name in {"#", "MB", "input"} else "left", overflow="fold")
    for number, row in enumerate(result.rows, start=1):
        facts = (f"{row.size_mb:.1f}", f"{row.input_size} px", row.device, row.precision_hint, row.computes_in)
        table.add_row(str(number), cell(short_name(row.file, [other.file for other in result.rows])), *facts)
    return table


def _speeds(result: SpeedResult, part: Literal["network", "whole_way"], title: str, width: int) -> Table:
    names = ("#", "p50 ms", "p95 ms", "latency ratio", QUARTILES, "images/s", "images/s ratio", QUARTILES, "to #")
    rows = []
    for number, row in enumerate(result.rows, start=1):
        speed = row.network if part == "network" else row.whole_way
        rows.append(
            (
                *(str(number), f"{speed.p50_ms:.2f}", f"{speed.p95_ms:.2f}", *_ratio(speed.latency_ratio)),
                *(f"{speed.images_per_second:.1f}", *_ratio(speed.throughput_ratio), str(row.compared_with + 1)),
            )
        )
    return _numbers(title, names, rows, width)


def _shares(result: SpeedResult, width: int) -> Table:
    names = ("#", "images/s share", QUARTILES, "read, decode", "resize", "network", "rest", "network's part")
    rows = []
    for number, row in enumerate(result.rows, start=1):
        spent = row.processor_ms
        times = (spent.reading, spent.resizing, spent.network, spent.rest)
        part = f"{spent.network / sum(times):.3f}"
        rows.append((str(number), *_ratio(row.whole_way_share), *(f"{time:.2f}" for time in times), part))
    return _numbers("Whole way / network alone, and processor ms per image on the whole way", names, rows, width)


def _numbers(title: str, names: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> Table:
    """A table of numbers; without quartiles on a narrow console."""
    kept = [place for place, name in enumerate(names) if width >= 100 or name != QUARTILES]
    table = _plain_table(title)
    for place in kept:
        table.add_column(names[place], justify="right")
    for row in rows:
        table.add_row(*(row[place] for place in kept))
    return table


def explain_speeds(result: SpeedResult) -> list[str]:
    """How the figures were measured, and what they do not tell, a line each."""
    width, height = result.images_px
    sizes = {row.input_size for row in result.rows}
    lines = [
        Detailed(
            f"Ratios: median and quartiles over {counted(result.num_rounds, 'round')} in which all took turns; above 1 "
            "is faster, in latency as in throughput. Absolute figures change with the load of the machine; ratios "
            "hardly do."
        ),
        f"{result.num_images} images, the middle one of {width}x{height} pixels, decoded by "
        f"{counted(result.decode_threads, 'thread')}.",
        Detailed(
            "Where other programs use the same cores, the network's part of the processor time says more than the "
            "share of images/s."
        ),
    ]
    if len(sizes) > 1:
        lines.append("The files take inputs of different sizes: these ratios do not compare like with like.")
    return lines


def short_name(path: str, others: list[str]) -> str:
    """As many of the last parts of a path as tell it from the others."""
    parts = Path(path).parts
    for count in range(1, len(parts) + 1):
        name = Path(*parts[-count:])
        if all(other == path or Path(*Path(other).parts[-count:]) != name for other in others):
            return str(name)
    return path


def _ratio(spread: Spread) -> tuple[str, str]:
    return f"{spread.median:.3f}", f"{spread.lower:.2f}-{spread.upper:.2f}"
