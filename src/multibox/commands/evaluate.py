"""`multibox eval`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from multibox.commands.console import console, counting
from multibox.commands.options import (
    Flag,
    ModelName,
    Threshold,
    Tile,
    TileOverlap,
    find_template,
    found_model,
    measured_data,
    require_together,
    say,
    say_next,
    with_tiles,
)
from multibox.errors import OptionError
from multibox.wording import counted

if TYPE_CHECKING:
    from multibox.config import Template
    from multibox.data.coco import CocoData, Record
    from multibox.evaluate.average_precision import Metrics
    from multibox.runtime.contract import ExportInfo
    from multibox.runtime.protocol import Runtime
    from multibox.structures import Detections, Image

METRICS = "metrics.yaml"
"""Name of the file of metrics in a run."""


def evaluate(
    model: ModelName = None,
    *,
    data: Path | None = None,
    threshold: Threshold = None,
    tile: Tile = None,
    tile_overlap: TileOverlap = None,
    device: str = "auto",
    classes: str = "",
    skip_bad: Flag = False,
    save_metrics_to: Path | None = None,
    save_output_to: Path | None = None,
    save_detections_to: Path | None = None,
    config: str = "",
    test_ann_files: str = "",
    test_data_roots: str = "",
) -> int:
    """Measure a detector on labelled images: average precision (AP), in total and of each class.

    Example: multibox eval

    Measures the best weights of the newest run on its validation images, and writes metrics.yaml into the run.

    Args:
        model: A run, or a model (.pth, .xml, .onnx). Default: the run of this folder, else the newest in runs.
        data: A labelled data set; its validation part is taken if it has one. Default: the images that the training
            validated on.
        threshold: Score from which a detection is drawn. Default: what the model's file recommends, else 0.3.
        tile: Look at overlapping tiles of this side in pixels as well, or of auto; see docs/predict.md. Default: no
            tiles.
        tile_overlap: Share of a tile's side that neighbours have in common. Default: 0.2.
        device: auto, cpu, cuda, ...; for OpenVINO files auto, CPU, GPU, NPU, AUTO.
        classes: Must name the classes of the model, in its order. Default: these.
        skip_bad: Skip unusable images and annotations.
        save_metrics_to: YAML file for size, complexity and AP; a .json with all metrics, and what a report needs, are
            written beside it. Default: metrics.yaml in the run.
        save_output_to: Folder for the images with their detections drawn.
        save_detections_to: JSON file for the detections in the COCO result format.
        config: Template of a snapshot that carries none. Default: template.yaml of the work directory.
        test_ann_files: Instead of --data: annotation files (COCO json), separated by commas.
        test_data_roots: The folder of images of each annotation file, separated by commas.
    """
    require_together(test_ann_files, test_data_roots, "--test-ann-files", "--test-data-roots")

    from multibox.data import coco
    from multibox.data.reading import DataFiles
    from multibox.drawing import draw, save_drawing
    from multibox.evaluate import output_files
    from multibox.evaluate import record as evaluation_record
    from multibox.evaluate import run as evaluation
    from multibox.runtime.opening import open_runtime
    from multibox.structures import shown_from

    found = found_model(model)
    load_weights = found.path
    template = find_template(config)
    wanted = coco.split_list(classes)
    opened = open_runtime(load_weights, template=template, classes=wanted or None, device=device)
    runtime = with_tiles(opened, tile, tile_overlap)
    names = evaluation.check_classes(runtime.classes, wanted)
    measured = measured_data(found, data, DataFiles(test_ann_files, test_data_roots), names, skip_bad)
    if measured is None:
        raise OptionError(f"{load_weights}: there are no images to measure it on. Name a data set by --data.")
    if save_metrics_to is None and found.folder is not None and not test_ann_files:
        save_metrics_to = found.folder / (METRICS if data is None else f"metrics-{data.resolve().stem}.yaml")

    drawn_from, reason = shown_from(threshold, runtime.threshold)
    _refuse_overwriting(measured, load_weights, save_metrics_to, save_output_to, save_detections_to)

    def save_image(record: Record, image: Image, detections: Detections) -> None:
        if save_output_to is not None:
            save_drawing(
                save_output_to, record.file_name, draw(image, detections, runtime.classes, threshold=drawn_from)
            )

    with counting("Evaluating", len(measured.records)) as progress:
        result = evaluation.evaluate(runtime, measured, progress=progress, on_image=save_image)
    console.print(output_files.metrics_table(result.metrics))
    for line in output_files.limits(measured):
        say(line)
    if save_metrics_to is not None:
        size, complexity = _size_and_complexity(opened)
        output_files.write_metrics_yaml(
            save_metrics_to,
            weights_path=load_weights,
            metrics=result.metrics,
            size_mp=size,
            complexity_gflops=complexity,
        )
        output_files.write_metrics_json(
            save_metrics_to.with_suffix(".json"),
            weights_path=load_weights,
            metrics=result.metrics,
            size_mp=size,
            complexity_gflops=complexity,
            data=measured,
        )
        recorded = save_metrics_to.with_suffix(f".{evaluation_record.NAME}")
        evaluation_record.write_record(
            recorded, result.detections, measured, model=load_weights, input_size=runtime.input_size
        )
        beside = f"{save_metrics_to.with_suffix('.json').name}, {recorded.name}"
        say(f"Metrics: {save_metrics_to}, and beside it {beside}")
    if save_detections_to is not None:
        output_files.write_detections(save_detections_to, result.detections, measured)
        say(f"Detections: {save_detections_to}")
    if save_output_to is not None:
        say(f"Images: {save_output_to}, with detections from a score of {drawn_from:g} on, {reason}.")
    say(_result(result.metrics))
    if found.run is not None:
        say_next(found.run, "eval")
    return 0


def _result(metrics: Metrics) -> str:
    """How good the detector is, in a sentence."""
    if metrics.ap is None or metrics.ap50 is None:
        return "There is no object to measure on."
    on = f"{counted(metrics.num_images, 'image')} with {counted(metrics.num_objects, 'object')}"
    return f"AP {metrics.ap:.3f}, AP50 {metrics.ap50:.3f} on {on}."


def _refuse_overwriting(
    data: CocoData, model: Path, metrics: Path | None, drawings: Path | None, detections: Path | None
) -> None:
    """Fail before the work where an output would replace what is read."""
    from multibox.drawing import drawing_path
    from multibox.evaluate.record import NAME
    from multibox.predict.drawings import refuse_overwriting

    outputs: dict[Path, str] = {}
    if metrics is not None:
        outputs |= dict.fromkeys(
            (metrics, metrics.with_suffix(".json"), metrics.with_suffix(f".{NAME}")), "--save-metrics-to"
        )
    if detections is not None:
        outputs[detections] = "--save-detections-to"
    if drawings is not None:
        outputs |= {drawing_path(drawings, record.file_name): "--save-output-to" for record in data.records}
    inputs = [model, model.with_suffix(".bin"), *(file for file, _ in data.sources)]
    inputs += [record.path for record in data.records]
    refuse_overwriting([(option, path) for path, option in outputs.items()], inputs)


def _size_and_complexity(runtime: Runtime) -> tuple[float, float] | tuple[None, None]:
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
