"""What a compression has to show: its rungs with their figures, a verdict in words, a table, compress.json."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec
import rich.box
from rich.table import Table

from multibox.errors import OptionError
from multibox.evaluate.average_precision import Metrics
from multibox.evaluate.intervals import Interval
from multibox.files import write_atomically
from multibox.machine import provenance
from multibox.wording import NO_VALUE, Detailed, percent

NAME = "compress.json"
"""Name of the file with all figures."""

Rung = Literal["ptq", "ptq-thorough", "qat"]

MEANINGS: dict[Rung, str] = {
    "ptq": "quantised after training, by up to 64 training images",
    "ptq-thorough": "the same, more thoroughly, by up to 300 training images",
    "qat": "trained on in 8 bits",
}

AGREEMENT = 0.2
"""Number of AP points from which a difference between PyTorch and the exported file is reported."""

COLUMNS = ("method", "images", "FP32", "torch", "INT8", "drop", "95 % of draws", "minutes")
LEFT_OUT_IF_NARROW = {"images"}


@dataclass(frozen=True, slots=True)
class Measured:
    """What a rung's exported file does on the validation images, beside the FP32 file.

    `metrics`: the file's. `ap_torch`: AP, a fraction, of the same network simulated by PyTorch. `drop`: AP points that
    the file loses against FP32; `apart`: those that it is above PyTorch. `threshold`: the score from which a detection
    is worth showing, see `evaluate.thresholds`.
    """

    metrics: Metrics
    drop: Interval
    drop_per_class: Mapping[str, float | None]
    ap_torch: float | None = None
    apart: Interval | None = None
    threshold: float | None = None


@dataclass(frozen=True, slots=True)
class Attempt:
    """A rung that was tried, the number of training images that it took, its duration and its result."""

    rung: Rung
    num_images: int
    minutes: float
    measured: Measured | None

    def is_within(self, max_drop: float) -> bool:
        """Whether it is measured and loses no more points than that; the estimate decides, not its interval."""
        return self.measured is not None and self.measured.drop.value <= max_drop


@dataclass(frozen=True, slots=True)
class CompressResult:
    """All rungs that were tried, in order, and which of them `path` holds.

    `ap_float`: of the FP32 file, None without validation data. `left_out`: a line for each rung that had no time.
    """

    path: Path
    attempts: tuple[Attempt, ...]
    chosen: Attempt
    max_drop: float
    ap_float: float | None
    num_val_images: int
    left_out: tuple[str, ...] = ()
    is_interrupted: bool = False

    @property
    def is_within_budget(self) -> bool | None:
        """Whether the chosen rung loses no more than `max_drop`; None where nothing was measured."""
        return None if self.chosen.measured is None else self.chosen.is_within(self.max_drop)

    @property
    def minutes(self) -> float:
        """Duration of all rungs together."""
        return sum(attempt.minutes for attempt in self.attempts)


def verdict(result: CompressResult) -> str:
    """What 8 bits cost, how sure that is, whether it is within the budget, and by which method; in one line."""
    chosen, measured = result.chosen, result.chosen.measured
    if measured is None:
        return (
            "Without validation data nothing was measured: what the 8 bits cost is not known. "
            "Name a validation set with --val-ann-files."
        )
    drop = measured.drop
    text = (
        f"INT8 {'loses' if drop.value >= 0 else 'gains'} {abs(drop.value):.2f} AP points on {result.num_val_images} "
        f"images (95 % interval of the loss: {drop.low:.2f} to {drop.high:.2f})"
    )
    if result.is_within_budget:
        return f"{text}, within --max-drop {result.max_drop:g}. Method: {chosen.rung}, {MEANINGS[chosen.rung]}."
    return f"{text}, more than --max-drop {result.max_drop:g}. No method did better than {chosen.rung}."


def notes(result: CompressResult) -> list[str]:
    """Lines that belong under the table: what was left out, which class loses most, what does not agree."""
    lines = [*result.left_out]
    measured = result.chosen.measured
    if measured is None:
        return lines
    worst = max(((drop, name) for name, drop in measured.drop_per_class.items() if drop is not None), default=None)
    if worst is not None and len(measured.drop_per_class) > 1:
        lines.append(f"Largest drop: {worst[1]}, {-worst[0]:+.2f} AP points.")
    if measured.apart is not None and abs(measured.apart.value) > AGREEMENT:
        text = (
            f"The file and PyTorch's simulation of it are {abs(measured.apart.value):.2f} AP points apart "
            f"({measured.apart.low:+.2f} to {measured.apart.high:+.2f}): some values round to the next integer there. "
            "The file's figure counts."
        )
        lines.append(Detailed(text))
    return lines


def attempts_table(result: CompressResult, *, width: int = 100) -> Table:
    """The methods for a console, 80 columns wide or more; the taken one is bold. AP in percent, drop in points.

    What has no room below 100 columns is in compress.json.
    """
    columns = [name for name in COLUMNS if width >= 100 or name not in LEFT_OUT_IF_NARROW]
    rungs = Table(box=rich.box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1), collapse_padding=True)
    for name in columns:
        rungs.add_column(name, justify="left" if name == COLUMNS[0] else "right", no_wrap=True)
    for attempt in result.attempts:
        cells = dict(zip(COLUMNS, _cells(attempt, result.ap_float), strict=True))
        rungs.add_row(*(cells[name] for name in columns), style="bold" if attempt is result.chosen else None)
    return rungs


def result_to_plain(result: CompressResult, *, source: str, images: Mapping[str, Any]) -> dict[str, Any]:
    """The content of compress.json: verdict, rungs with unrounded numbers, and what was made of what by what.

    `source` names the file that was compressed; `images` says what calibration and validation sets were.
    """
    return {
        "source": source,
        "verdict": verdict(result),
        "is_within_budget": result.is_within_budget,
        "max_drop": result.max_drop,
        "chosen": result.chosen.rung,
        "ap_float": result.ap_float,
        # No rung leaves layers in floating point any more; readers of the file may still look for them.
        "rungs": [{**dataclasses.asdict(attempt), "floating": []} for attempt in result.attempts],
        "notes": [str(line) for line in notes(result)],
        "images": dict(images),
        "made_by": provenance(),
    }


def write_result(folder: Path, result: CompressResult, *, source: str, images: Mapping[str, Any]) -> None:
    """Write compress.json into a folder; see `to_plain`.

    Raises:
        OptionError: the file cannot be written.
    """
    path = folder / NAME
    plain = msgspec.json.encode(result_to_plain(result, source=source, images=images))
    try:
        write_atomically(path, msgspec.json.format(plain, indent=2) + b"\n")
    except OSError as error:
        raise OptionError(f"{path}: cannot write the file: {error.strerror}.") from error


def _cells(attempt: Attempt, ap_float: float | None) -> tuple[str, ...]:
    measured = attempt.measured
    figures: tuple[str, ...] = (NO_VALUE,) * 5
    if measured is not None:
        drop = measured.drop
        aps = (percent(ap, 2) for ap in (ap_float, measured.ap_torch, measured.metrics.ap))
        figures = (*aps, f"{drop.value:+.2f}", f"{drop.low:+.2f} {drop.high:+.2f}")
    return (attempt.rung, str(attempt.num_images), *figures, f"{attempt.minutes:.1f}")
