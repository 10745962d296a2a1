"""`multibox eval`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from multibox.commands.console import console, counting
from multibox.commands.options import (
    Flag,
    Threshold,
    Tile,
    TileOverlap,
    find_template,
    read_named_data,
    say,
    with_tiles,
)
from multibox.files import model_files

if TYPE_CHECKING:
    from multibox.config import Template
    from multibox.data.coco import CocoData, Record
    from multibox.runtime.contract import ExportInfo
    from multibox.runtime.protocol import Runtime
    from multibox.structures import Detections, Image


def evaluate(
    *,
    load_weights: Path,
    test_ann_files: str,
    test_data_roots: str,
    save_metrics_to: Path | None = None,
    save_output_to: Path | None = None,
    save_detections_to: Path | None = None,
    classes: str = "",
    config: str = "",
    device: str = "auto",
    threshold: Threshold = None,
    tile: Tile = None,
    tile_overlap: TileOverlap = None,
    skip_bad: Flag = False,
) -> int:
    """Measure a detector on COCO data: average precision, in total and of each class.

    Args:
        load_weights: The model.
        test_ann_files: Annotation files (COCO json), separated by commas.
        test_data_roots: The folder of images of each annotation file, separated by commas.
        save_metrics_to: YAML file for size, complexity and AP; a .json with all metrics, and what a report
            needs, are written beside it.
        save_output_to: Folder for the images with their detections drawn.
        save_detections_to: JSON file for the detections in the COCO result format.
        classes: Must name the classes of the model, in its order; default: these.
        config: Template of a snapshot that carries none. Default: template.yaml of the work directory.
        device: auto, cpu, cuda, ...; for OpenVINO files auto, CPU, GPU, NPU, AUTO.
        threshold: Score from which a detection is drawn. Default: what the model's file recommends, else 0.3.
        tile: Look at overlapping tiles of this side in pixels as well, or of auto; see docs/predict.md.
        tile_overlap: Share of a tile's side that neighbours have in common. Default: 0.2.
        skip_bad: Leave out images and annotations that cannot be used.
    """
    from multibox.data import coco
    from multibox.drawing import draw, save_drawing
    from multibox.evaluate import output_files
    from multibox.evaluate import record as evaluation_record
    from multibox.evaluate import run as evaluation
    from multibox.runtime.opening import open_runtime
    from multibox.structures import shown_from

    template = find_template(config)
    wanted = coco.split_list(classes)
    model = open_runtime(load_weights, template=template, classes=wanted or None, device=device)
    runtime = with_tiles(model, tile, tile_overlap)
    names = evaluation.check_classes(runtime.classes, wanted)
    data = read_named_data(test_ann_files, test_data_roots, names, skip_bad, allow_missing_classes=True)

    drawn_from, reason = shown_from(threshold, runtime.threshold)
    _check_outputs(data, load_weights, save_metrics_to, save_output_to, save_detections_to)

    def save_image(record: Record, image: Image, detections: Detections) -> None:
        if save_output_to is not None:
            save_drawing(
                save_output_to, record.file_name, draw(image, detections, runtime.classes, threshold=drawn_from)
            )

    with counting("Evaluating", len(data.records)) as progress:
        result = evaluation.evaluate(runtime, data, progress=progress, on_image=save_image)
    console.print(output_files.metrics_table(result.metrics))
    for line in output_files.limits(data):
        say(line)
    if save_metrics_to is not None:
        size, complexity = _size_and_complexity(model)
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
            data=data,
        )
        recorded = save_metrics_to.with_suffix(f".{evaluation_record.NAME}")
        evaluation_record.write_record(
            recorded, result.detections, data, model=load_weights, input_size=runtime.input_size
        )
        beside = f"{save_metrics_to.with_suffix('.json').name}, {recorded.name}"
        say(f"Metrics: {save_metrics_to}, and beside it {beside}")
    if save_detections_to is not None:
        output_files.write_detections(save_detections_to, result.detections, data)
        say(f"Detections: {save_detections_to}")
    if save_output_to is not None:
        say(f"Pictures: {save_output_to}, with detections from a score of {drawn_from:g} on, {reason}.")
    return 0


def _check_outputs(
    data: CocoData, model: Path, metrics: Path | None, drawings: Path | None, detections: Path | None
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
