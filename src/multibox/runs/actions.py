"""What is done with a model, by the commands and from Python alike: measured, exported, compressed, looked through."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from multibox.errors import CheckpointError, DependencyError, OptionError, ParityError
from multibox.files import kind_of, make_folder, model_files
from multibox.runs.display import SILENT, Audience
from multibox.runs.finding import FoundModel
from multibox.runs.measuring import (
    NO_DATA,
    NO_FILES,
    NamedData,
    measured_images,
    named_images,
    named_parts,
    recorded_images,
)
from multibox.wording import Detailed, counted, typed

if TYPE_CHECKING:
    from multibox.compress.ladder import Plan
    from multibox.compress.result import CompressResult
    from multibox.config import Template
    from multibox.data.coco import CocoData, Record
    from multibox.data.reading import DataFiles
    from multibox.evaluate.average_precision import Metrics
    from multibox.evaluate.run import Evaluation
    from multibox.export.run import Export
    from multibox.runtime.contract import ExportInfo
    from multibox.runtime.protocol import Runtime
    from multibox.structures import Detections, Image
    from multibox.train.loop import Display
    from multibox.weights.checkpoint import Checkpoint

EXPORT, COMPRESSED, METRICS = "export", "compressed", "metrics.yaml"
"""What exports, the model in 8 bits and measurements are called in a run."""

REPORT_LIBRARIES = ("matplotlib", "jinja2")
"""Libraries that a report needs and an installation may lack."""


def place_in_run(found: FoundModel, name: str) -> Path:
    """The folder in a run for what is made of its model; `_int8` is added for a compressed one.

    Raises:
        OptionError: the model belongs to no run.
    """
    if found.run is None:
        raise OptionError(f"{found.path}: this model belongs to no run. Name a folder for the result by --out.")
    is_compressed = found.path.parent.name == COMPRESSED
    return found.run.home / (f"{name}_int8" if is_compressed else name)


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


@dataclass(frozen=True, kw_only=True)
class ExportPlan:
    """Which files an export writes, and how; what is None is as the template says.

    `out` is the folder; by default `export` in the run. `batch` is the number of images per call, 0 for any number.
    """

    out: Path | None = None
    openvino: bool | None = None
    onnx: bool | None = None
    raw: bool = False
    precision: Literal["FP32", "FP16"] = "FP32"
    batch: int = 1
    channel_order: Literal["BGR", "RGB"] | None = None
    classes: tuple[str, ...] = ()
    template: Template | None = None


def export_model(found: FoundModel, named: NamedData, plan: ExportPlan, *, audience: Audience = SILENT) -> Export:
    """Write a checkpoint as model files that are compared with it, on images that are named or those of its training.

    Raises:
        OptionError: nothing is left to write, or it has no place.
        DataError: the images cannot be read.
        CheckpointError: the checkpoint cannot be read.
        DependencyError: a library is not installed.
    """
    from multibox.data.builtin_images import builtin_images
    from multibox.evaluate.run import check_classes
    from multibox.export.run import Request, export, outputs_of_export
    from multibox.overwriting import check_outputs
    from multibox.runtime.opening import load_checkpoint

    output = plan.out or place_in_run(found, EXPORT)
    checkpoint = load_checkpoint(found.path, template=plan.template)
    names = check_classes(checkpoint.classes, plan.classes)
    formats = checkpoint.template.output_format
    request = Request(
        openvino=formats.openvino.default if plan.openvino is None else plan.openvino,
        onnx=formats.onnx.default if plan.onnx is None else plan.onnx,
        raw=plan.raw,
        channel_order=plan.channel_order or formats.openvino.input_format,
        precision=plan.precision,
        batch=plan.batch,
    )
    if not (request.openvino or request.onnx):
        raise OptionError("Nothing is left to export. Leave out --no-openvino or --no-onnx.")
    if named.is_empty:
        data = recorded_images(checkpoint.meta.get("val_data"), found.run, names, say=audience.say)
    else:
        data = named_images(named, found.run, names, say=audience.say)
    check_outputs(outputs_of_export(output, request), [found.path], say=audience.say)
    make_folder(output)
    if data is None:
        audience.say(
            "There is no validation set: the files are compared on images that come with multibox, without AP."
        )
    with audience.count("Comparing", len(builtin_images() if data is None else data.records)) as progress:
        return export(checkpoint, found.path, output, request, data=data, progress=progress)


def require_parity(result: Export) -> None:
    """Refuse an export that finds something else than its checkpoint.

    Raises:
        ParityError: it does.
    """
    if not result.parity.passed:
        names = ", ".join(str(path) for path in result.paths)
        raise ParityError(
            f"{result.paths[0].parent}: the export is rejected. {' '.join(result.parity.reasons)} Its files are kept "
            f"as {names}; please report this."
        )


@dataclass(frozen=True, kw_only=True)
class CompressionPlan:
    """How a model is compressed into the folder `out`; files of images that are empty are those of its training."""

    out: Path
    ladder: Plan
    train_files: DataFiles = NO_FILES
    val_files: DataFiles = NO_FILES
    classes: tuple[str, ...] = ()
    template: Template | None = None
    batch_size: int | None = None
    device: str = "auto"
    resume_from: str = ""
    command: str = ""


def compress_model(found: FoundModel, named: NamedData, plan: CompressionPlan, *, display: Display) -> CompressResult:
    """Make a model compute in 8 bits, by the images of a data set that is named, of files, or of its training.

    Raises:
        OptionError: it is not known where the images are, or the result has no place.
        CheckpointError: the model cannot be read, or is compressed already.
        DataError, DependencyError, TrainingError: see `compress.run.compress`.
    """
    _check_compressed(found.path, plan.out, say=display.line)
    train_files, val_files = plan.train_files, plan.val_files
    if named.data is not None:
        if train_files.annotations or val_files.annotations:
            raise OptionError(f"--data {named.data} and the annotation files each name images. Leave one out.")
        train_files, val_files = named_parts(named, found.run, say=display.line)

    def read(files: DataFiles, classes: Sequence[str] | None) -> CocoData | None:
        by_files = NamedData(files=files, skip_bad=named.skip_bad)
        return _read(by_files, classes, say=display.line)

    if kind_of(found.path) == "openvino":
        return _compress_file(found, plan, read, train_files, val_files, display)
    return _compress_checkpoint(found, plan, read, train_files, val_files, display)


Read = Callable[["DataFiles", Sequence[str] | None], "CocoData | None"]


def _compress_checkpoint(
    found: FoundModel,
    plan: CompressionPlan,
    read: Read,
    train_files: DataFiles,
    val_files: DataFiles,
    display: Display,
) -> CompressResult:
    from multibox.evaluate.run import check_classes
    from multibox.runtime.opening import load_checkpoint

    path = found.path
    checkpoint = load_checkpoint(path, template=plan.template)
    names = check_classes(checkpoint.classes, plan.classes)
    if checkpoint.quantization is not None:
        raise CheckpointError(
            f"{path}: this checkpoint is compressed already. Name the one that it was made from; "
            "a training in 8 bits that was stopped goes on with --resume-from."
        )
    resume = _resumed(Path(plan.resume_from), checkpoint, plan.out) if plan.resume_from else None
    train_data, val_data = (
        read(files, names) or recorded_images(checkpoint.meta.get(key), found.run, names, say=display.line)
        for files, key in ((train_files, "train_data"), (val_files, "val_data"))
    )
    if train_data is None:
        raise OptionError(
            f"{path}: it is not known where the training images are. Name them with --data, or --train-ann-files and "
            "--train-data-roots."
        )
    make_folder(plan.out)

    from multibox.compress.run import compress

    return compress(
        checkpoint,
        path,
        train_data,
        val_data,
        plan.out,
        plan=plan.ladder,
        display=display,
        batch_size=plan.batch_size,
        device=plan.device,
        resume=resume,
        command=plan.command,
    )


def _compress_file(
    found: FoundModel,
    plan: CompressionPlan,
    read: Read,
    train_files: DataFiles,
    val_files: DataFiles,
    display: Display,
) -> CompressResult:
    from multibox.evaluate.run import check_classes
    from multibox.runtime.openvino_runtime import OpenVINORuntime

    path, run = found.path, found.run
    if plan.resume_from:
        raise OptionError(f"{path}: a file is not trained. --resume-from needs a checkpoint (.pth).")
    names = OpenVINORuntime(path, classes=plan.classes or None).classes
    check_classes(names, plan.classes)
    # Nothing is learnt from them: of which classes the objects are does not matter.
    train_data = read(train_files, None) or (run.train_data(None) if run is not None else None)
    if train_data is None:
        raise OptionError(
            f"{path}: a file does not know its training images. Name them with --train-ann-files and "
            "--train-data-roots."
        )
    val_data = read(val_files, names) or (run.val_data(names) if run is not None else None)
    make_folder(plan.out)

    from multibox.compress.run import compress_file

    return compress_file(path, train_data, val_data, plan.out, plan=plan.ladder, display=display, classes=names)


def _read(named: NamedData, classes: Sequence[str] | None, *, say: Callable[[str], None]) -> CocoData | None:
    """The data of these files, with these classes or, if None, with all that occur; None where no file is named."""
    from multibox.data.reading import read_data

    if named.is_empty:
        return None
    is_chosen = classes is not None
    return read_data(named.files, classes, say, skip_bad=named.skip_bad, allow_missing_classes=is_chosen)


def _check_compressed(weights: Path, output: Path, *, say: Callable[[str], None]) -> None:
    """Refuse to write over what is being compressed, or anything but an earlier compression."""
    from multibox.compress.result import NAME
    from multibox.overwriting import Output, check_outputs, is_compress_json

    def is_ours(_: Path) -> bool:
        return (output / NAME).is_file() and is_compress_json(output / NAME)

    made = model_files(output / ("model.xml" if kind_of(weights) == "openvino" else "latest.pth"))
    outputs = [Output("--save-checkpoints-to", path, is_ours) for path in (*made, output / NAME)]
    check_outputs(outputs, model_files(weights), say=say)


def _resumed(path: Path, checkpoint: Checkpoint, output: Path) -> Checkpoint:
    from multibox.weights import checkpoint as checkpoints

    resume = checkpoints.load(path)
    if resume.training is None or resume.quantization is None:
        raise CheckpointError(f"{path}: this is no run in 8 bits to go on with. It lies in qat/latest.pth.")
    if resume.classes != checkpoint.classes or resume.template.model != checkpoint.template.model:
        raise CheckpointError(f"{path}: this run is not one of the model in --load-weights.")
    # Its best weights so far lie beside it.
    if path.resolve().parent != (output / "qat").resolve():
        raise OptionError(f"{path}: this run goes on in its own folder: --save-checkpoints-to {path.parent.parent}.")
    return resume


def report_on(
    folders: Sequence[Path],
    *,
    out: Path | None = None,
    named: NamedData = NO_DATA,
    has_full_paths: bool = False,
    audience: Audience = SILENT,
) -> Path:
    """Write a page about a run or work directory, or about several that are compared with the first; where it lies.

    `named` is what to measure on, if not what is recorded. Paths on the page are relative, unless `has_full_paths`.

    Raises:
        DependencyError: a library for pages is not installed.
        OptionError: a folder has nothing of multibox in it, or the page cannot be written.
    """
    missing = [name for name in REPORT_LIBRARIES if find_spec(name) is None]
    if missing:
        raise DependencyError(f'A report needs {", ".join(missing)}. Install with: pip install "multibox[report]"')

    from multibox.report.run import report
    from multibox.runs.explaining import report_sources

    return report(
        folders,
        save_to=out,
        sources=report_sources(named, audience),
        has_full_paths=has_full_paths,
        say=audience.say,
        count=audience.count,
    )
