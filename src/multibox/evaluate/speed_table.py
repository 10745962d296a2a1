"""What a measurement of speed gives, and how it is shown: a table on the console, or plain values for a JSON file."""

from __future__ import annotations

import dataclasses
import platform
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from rich.console import Group
from rich.table import Table
from rich.text import Text

from multibox import __version__, machine
from multibox.wording import cell

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
    num_pictures: int
    pictures_px: tuple[int, int]
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
        "settings": plain | {"pictures_px": list(result.pictures_px)},
        "rows": list(rows),
    }


def tables(result: SpeedResult) -> Group:
    """The result for a console of 100 columns: the files, the network alone, the whole way, where the time goes."""
    return Group(
        _files(result),
        _speeds(result, "network", "Network alone: the input is ready; the suppression inside of the file counts"),
        _speeds(result, "whole_way", "Whole way: from a file on disk to boxes"),
        _shares(result),
        Text(_explanation(result)),
    )


def _files(result: SpeedResult) -> Table:
    table = Table(title="Files", title_justify="left")
    for name in ("#", "file", "MB", "input", "device", "hint", "computes in"):
        table.add_column(name, justify="right" if name in {"#", "MB", "input"} else "left", overflow="fold")
    for number, row in enumerate(result.rows, start=1):
        facts = (f"{row.size_mb:.1f}", f"{row.input_size} px", row.device, row.precision_hint, row.computes_in)
        table.add_row(str(number), cell(short_name(row.file, [other.file for other in result.rows])), *facts)
    return table


def _speeds(result: SpeedResult, part: Literal["network", "whole_way"], title: str) -> Table:
    table = Table(title=title, title_justify="left")
    for name in (
        "#",
        "p50 ms",
        "p95 ms",
        "latency ratio",
        "quartiles",
        "images/s",
        "images/s ratio",
        "quartiles",
        "to #",
    ):
        table.add_column(name, justify="right")
    for number, row in enumerate(result.rows, start=1):
        speed = row.network if part == "network" else row.whole_way
        table.add_row(
            str(number),
            *(f"{speed.p50_ms:.2f}", f"{speed.p95_ms:.2f}", *_ratio(speed.latency_ratio)),
            *(f"{speed.images_per_second:.1f}", *_ratio(speed.throughput_ratio)),
            str(row.compared_with + 1),
        )
    return table


def _shares(result: SpeedResult) -> Table:
    table = Table(title="Whole way / network alone, and processor ms per image on the whole way", title_justify="left")
    for name in ("#", "images/s share", "quartiles", "read, decode", "resize", "network", "rest", "network's part"):
        table.add_column(name, justify="right")
    for number, row in enumerate(result.rows, start=1):
        spent = row.processor_ms
        times = (spent.reading, spent.resizing, spent.network, spent.rest)
        part = f"{spent.network / sum(times):.3f}"
        table.add_row(str(number), *_ratio(row.whole_way_share), *(f"{time:.2f}" for time in times), part)
    return table


def _explanation(result: SpeedResult) -> str:
    width, height = result.pictures_px
    sizes = {row.input_size for row in result.rows}
    lines = [
        f"Ratios: median and quartiles over {result.num_rounds} rounds in which all took turns; above 1 is faster, in "
        "latency as in throughput. Absolute figures change with the load of the machine; ratios hardly do.",
        f"{result.num_pictures} images, the middle one of {width}x{height} pixels, decoded by "
        f"{result.decode_threads} thread{'s' if result.decode_threads > 1 else ''}.",
        "Where other programs use the same cores, the network's part of the processor time says more than the share "
        "of images/s.",
    ]
    if len(sizes) > 1:
        lines.append("The files take inputs of different sizes: these ratios do not compare like with like.")
    return "\n".join(lines)


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
