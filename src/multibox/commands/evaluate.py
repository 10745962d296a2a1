"""`multibox eval`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from multibox.commands.console import begin, console, counting, say
from multibox.commands.options import (
    Flag,
    ModelName,
    Threshold,
    Tile,
    TileOverlap,
    Verbose,
    find_template,
    found_model,
    require_together,
    say_next,
)
from multibox.wording import counted

if TYPE_CHECKING:
    from multibox.evaluate.average_precision import Metrics


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
    verbose: Verbose = False,
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
        verbose: Show details: every class with all metrics, device, versions.
    """
    begin(verbose=verbose)
    require_together(test_ann_files, test_data_roots, "--test-ann-files", "--test-data-roots")

    from multibox.data.coco import split_list
    from multibox.data.reading import DataFiles
    from multibox.evaluate.output_files import limits, metrics_table
    from multibox.runs.display import Audience
    from multibox.runs.evaluating import EvaluationPlan, evaluate_model
    from multibox.runs.measuring import NamedData

    found = found_model(model)
    named = NamedData(data, DataFiles(test_ann_files, test_data_roots), skip_bad)
    plan = EvaluationPlan(
        classes=tuple(split_list(classes)),
        device=device,
        tile=tile,
        tile_overlap=tile_overlap,
        threshold=threshold,
        metrics_to=save_metrics_to,
        drawings_to=save_output_to,
        detections_to=save_detections_to,
        template=find_template(config),
    )
    result = evaluate_model(found, named, plan, audience=Audience(say, counting))
    if verbose or len(result.metrics.per_class) > 1:
        console.print(metrics_table(result.metrics, has_details=verbose))
    for line in limits(result.data):
        say(line)
    for line in result.written:
        say(line)
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
