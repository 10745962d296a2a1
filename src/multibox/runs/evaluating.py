"""A model is measured on images: by `multibox eval` and by `Run.evaluate`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from multibox.files import model_files
from multibox.runs.display import SILENT, Audience
from multibox.runs.finding import FoundModel
from multibox.runs.measuring import NamedData, measured_images
from multibox.runs.places import METRICS
from multibox.wording import Detailed, counted, typed

if TYPE_CHECKING:
    from multibox.config import Template
    from multibox.data.coco import CocoData, Record
    from multibox.evaluate.average_precision import Metrics
    from multibox.evaluate.run import Evaluation
    from multibox.runtime.contract import ExportInfo
    from multibox.runtime.protocol import Runtime
    from multibox.structures import Detections, Image


@dataclass(frozen=True, kw_only=True)
class EvaluationPlan:
    """How a model is measured, and what is written of it. What is None is left to the model, or not written.

    Without `metrics_to`, metrics.yaml is written beside a model that belongs to a run, unless annotation files are
    named.
    """

    classes: tuple[str, ...] = ()
    device: str = "auto"
    tile: int | Literal["auto"] | None = None
    tile_overlap: float | None = None
    threshold: float | None = None
    metrics_to: Path | None = None
    drawings_to: Path | None = None
    detections_to: Path | None = None
    template: Template | None = None


@dataclass(frozen=True)
class MeasuredModel:
    """What a model finds in images and how good that is; `written` says where that lies, a line for each place."""

    evaluation: Evaluation
    data: CocoData
    written: tuple[str, ...]

    @property
    def metrics(self) -> Metrics:
        """COCO metrics, fractions in 0..1."""
        return self.evaluation.metrics


def evaluate_model(
    found: FoundModel, named: NamedData, plan: EvaluationPlan, *, audience: Audience = SILENT
) -> MeasuredModel:
    """Measure a model on images that are named, or on those that its training validated on.

    Raises:
        OptionError: there are no images to measure on, or something would be written over what is read.
        DataError: they cannot be read.
        CheckpointError: the model cannot be read.
    """
    from multibox.drawing import draw, save_drawing
    from multibox.evaluate import run as evaluation
    from multibox.runtime.opening import open_runtime
    from multibox.runtime.tiling_runtime import with_tiles
    from multibox.structures import shown_from

    opened = open_runtime(found.path, template=plan.template, classes=plan.classes or None, device=plan.device)
    runtime = with_tiles(opened, plan.tile, plan.tile_overlap)
    names = evaluation.check_classes(runtime.classes, plan.classes)
    audience.say(
        Detailed(
            f"{typed(found.path)}: {counted(len(names), 'class', 'classes')}, input {runtime.input_size} px, "
            f"device {plan.device}."
        )
    )
    data = measured_images(found, named, names, say=audience.say)
    metrics_to = plan.metrics_to
    if metrics_to is None and found.folder is not None and not named.files.annotations:
        metrics_to = found.folder / (METRICS if named.data is None else f"metrics-{named.data.resolve().stem}.yaml")
    drawn_from, reason = shown_from(plan.threshold, runtime.threshold)
    _check_measurements(data, found.path, metrics_to, plan.drawings_to, plan.detections_to, say=audience.say)

    def save_image(record: Record, image: Image, detections: Detections) -> None:
        if plan.drawings_to is not None:
            drawing = draw(image, detections, runtime.classes, threshold=drawn_from)
            save_drawing(plan.drawings_to, record.file_name, drawing)

    with audience.count("Evaluating", len(data.records)) as progress:
        result = evaluation.evaluate(runtime, data, progress=progress, on_image=save_image)
    written = []
    if metrics_to is not None:
        written.append(_write_metrics(metrics_to, found.path, result, data, opened, say=audience.say))
    if plan.detections_to is not None:
        from multibox.evaluate.output_files import write_detections

        write_detections(plan.detections_to, result.detections, data)
        written.append(f"Detections: {typed(plan.detections_to)}")
    if plan.drawings_to is not None:
        written.append(
            f"Images: {typed(plan.drawings_to)}, with detections from a score of {drawn_from:g} on, {reason}."
        )
    return MeasuredModel(result, data, tuple(written))


def _write_metrics(
    path: Path, model: Path, result: Evaluation, data: CocoData, opened: Runtime, *, say: Callable[[str], None]
) -> str:
    """Write the metrics in both formats and the record for reports; a line that says where they are."""
    from multibox.evaluate import output_files
    from multibox.evaluate.record import NAME, write_record

    size, complexity = _size_and_complexity(opened, say)
    output_files.write_metrics_yaml(
        path, weights_path=model, metrics=result.metrics, size_mp=size, complexity_gflops=complexity
    )
    output_files.write_metrics_json(
        path.with_suffix(".json"),
        weights_path=model,
        metrics=result.metrics,
        size_mp=size,
        complexity_gflops=complexity,
        data=data,
    )
    recorded = path.with_suffix(f".{NAME}")
    write_record(recorded, result.detections, data, model=model, input_size=opened.input_size)
    line = f"Metrics: {typed(path)}"
    return Detailed(f"{line}, and beside it {path.with_suffix('.json').name}, {recorded.name}", brief=line)


def _check_measurements(
    data: CocoData,
    model: Path,
    metrics: Path | None,
    drawings: Path | None,
    detections: Path | None,
    *,
    say: Callable[[str], None],
) -> None:
    """Fail before the work where an output would replace anything but an earlier one of its kind."""
    from multibox import overwriting
    from multibox.drawing import drawing_path
    from multibox.evaluate.record import NAME
    from multibox.overwriting import Output

    outputs = []
    if metrics is not None:
        outputs += [
            Output("--save-metrics-to", metrics, overwriting.is_metrics_yaml),
            Output("--save-metrics-to", metrics.with_suffix(".json"), overwriting.is_metrics_json),
            Output("--save-metrics-to", metrics.with_suffix(f".{NAME}"), overwriting.is_evaluation),
        ]
    if detections is not None:
        outputs.append(Output("--save-detections-to", detections, overwriting.is_coco_results))
    if drawings is not None:
        paths = dict.fromkeys(drawing_path(drawings, record.file_name) for record in data.records)
        outputs += [Output("--save-output-to", path, overwriting.is_drawing) for path in paths]
    inputs = [*model_files(model), *(file for file, _ in data.sources), *(record.path for record in data.records)]
    overwriting.check_outputs(outputs, inputs, say=say)


def _size_and_complexity(runtime: Runtime, say: Callable[[str], None]) -> tuple[float, float] | tuple[None, None]:
    """Mp and GFLOPs of the network, whatever form it is in, as the original reported them.

    A file that says neither is an SSD, and those of all sizes have the same layers.
    """
    info: ExportInfo | None = getattr(runtime, "info", None)
    if info is not None and info.size_mp is not None and info.complexity_gflops is not None:
        return info.size_mp, info.complexity_gflops

    from multibox import config
    from multibox.model.complexity import complexity_gflops, size_mp

    template: Template = getattr(runtime, "template", None) or config.load_template(
        next(iter(config.ssd_templates().values()))
    )
    try:
        from multibox.model import detector
    except ModuleNotFoundError:
        say('Size and complexity are not reported: computing them needs PyTorch (pip install "multibox[train]").')
        return None, None
    network = detector.build(template, num_classes=len(runtime.classes))
    return size_mp(network), complexity_gflops(network, runtime.input_size)
