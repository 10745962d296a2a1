"""What the records of a work directory must be for a page to be made of them: checked whole, before anything is shown.

Each struct has what pages read of a file, and nothing else of it matters. A record that does not fit is left out, and
the page says so; numbers are bounded, because a plot of larger ones is none.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from multibox.prepared import prepared

Number = Annotated[float, Meta(ge=-1e9, le=1e9)]
NotNegative = Annotated[float, Meta(ge=0, le=1e15)]
Count = Annotated[int, Meta(ge=0, le=10**12)]
Fraction = Annotated[float, Meta(ge=0, le=1)]


class DataFacts(Struct, frozen=True):
    """What a run says of a data set, see `data.description`."""

    images: Count | None = None
    images_without_objects: Count | None = None
    objects: Count | None = None
    objects_per_class: dict[str, Count] | None = None
    fingerprint: str | None = None
    annotation_files: list[str] = []
    data_roots: list[str] = []


class OriginFacts(Struct, frozen=True):
    """What a run says of its starting weights."""

    name: str = ""
    sha256: str | None = None
    source: str = ""
    licence: str = ""


class RecordedRunFacts(Struct, frozen=True):
    """A run.json."""

    train_data: DataFacts | None
    val_data: DataFacts | None = None
    start: str | None = None
    start_origin: OriginFacts | None = None
    command: str | None = None
    seed: int | None = None
    libraries: dict[str, str | None] | None = None
    multibox_version: str | None = None
    python: str | None = None
    machine: Any = None


class EpochFacts(Struct, frozen=True):
    """A line of metrics.jsonl."""

    epoch: Annotated[int, Meta(ge=0, le=10**7)]
    step: Count = 0
    loss: Number | None = None
    loss_classes: Number | None = None
    loss_boxes: Number | None = None
    ap: Fraction | None = None
    ap50: Fraction | None = None
    learning_rate: Number | None = None


class ToleranceFacts(Struct, frozen=True):
    """How far a form may be from its reference."""

    box_px: NotNegative
    score: NotNegative
    ap_points: NotNegative
    only_ap: bool = False


class FormFacts(Struct, frozen=True):
    """Which form of a model a row of export.json is about."""

    name: str
    file: str
    precision: str
    size_bytes: Count | None = None
    reference: str | None = None
    is_int8: bool = False
    tolerance: ToleranceFacts | None = None


class ComparisonFacts(Struct, frozen=True):
    """How far a form of a model is from another."""

    num_matched: Count
    num_reference: Count
    largest_box_px: NotNegative
    largest_score: NotNegative


class ExportRow(Struct, frozen=True):
    """A row of export.json."""

    form: FormFacts
    ap: Fraction | None = None
    ap50: Fraction | None = None
    comparison: ComparisonFacts | None = None
    median_ms: NotNegative | None = None
    passed: bool | None = None


class ExportFacts(Struct, frozen=True):
    """An export.json."""

    checkpoint: str
    rows: list[ExportRow]
    images: str = ""
    passed: bool = False
    threshold: Fraction | None = None


class IntervalFacts(Struct, frozen=True):
    """A figure with the interval that it is in."""

    value: Number
    low: Number
    high: Number


class MetricsFacts(Struct, frozen=True):
    """What was measured of a rung."""

    ap: Fraction | None = None


class MeasuredFacts(Struct, frozen=True):
    """What a rung of a compression costs."""

    drop: IntervalFacts
    metrics: MetricsFacts | None = None


class RungFacts(Struct, frozen=True):
    """A rung of a compression."""

    rung: str
    num_images: Count
    minutes: NotNegative
    measured: MeasuredFacts | None = None


class CompressFacts(Struct, frozen=True):
    """A compress.json."""

    rungs: list[RungFacts]
    chosen: str | None = None
    ap_float: Fraction | None = None
    max_drop: Number | None = None
    verdict: str = ""
    notes: list[str] = []


class RatioFacts(Struct, frozen=True):
    """A ratio over rounds."""

    median: NotNegative


class NetworkFacts(Struct, frozen=True):
    """How fast a network is."""

    p50_ms: NotNegative
    throughput_ratio: RatioFacts


class WholeWayFacts(Struct, frozen=True):
    """How fast it is from a file to boxes."""

    p50_ms: NotNegative
    p95_ms: NotNegative
    images_per_second: NotNegative


class BenchRow(Struct, frozen=True):
    """A row of what `multibox bench` writes."""

    file: str
    device: str
    computes_in: str
    network: NetworkFacts
    whole_way: WholeWayFacts


class SettingsFacts(Struct, frozen=True):
    """With what it was measured."""

    images_px: tuple[Count, Count]


class BenchFacts(Struct, frozen=True):
    """What `multibox bench --json` writes."""

    rows: Annotated[list[BenchRow], Meta(min_length=1)]
    machine: dict[str, Any]
    settings: SettingsFacts
    date: str = ""


class FindingFacts(Struct, frozen=True):
    """A finding of `multibox doctor --json`."""

    severity: Literal["error", "warning", "note"]
    text: str
    split: str = ""
    remedy: str = ""
    examples: list[str] = []


class DoctorFacts(Struct, frozen=True):
    """What `multibox doctor --json` writes."""

    findings: list[FindingFacts]
    contents: dict[str, Any]


def fault_of(content: Any, kind: type[Struct]) -> str | None:
    """What is wrong with a record, as the end of a sentence; None if a page can be made of it."""
    try:
        msgspec.convert(content, prepared(kind))
    except (msgspec.ValidationError, RecursionError) as error:
        return str(error)
    return None
