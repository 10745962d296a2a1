"""`multibox bench`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from multibox.commands.console import begin, console, counting, say
from multibox.commands.options import Positive, PositiveFloat, Verbose, find_template, found_model, say_next
from multibox.files import write_atomically
from multibox.overwriting import Output, check_outputs, is_benchmark
from multibox.wording import typed

if TYPE_CHECKING:
    from multibox.runs.run import Run


def bench(
    models: Annotated[list[Path] | None, Parameter(negative=())] = None,
    /,
    *,
    images: Path | None = None,
    device: str = "",
    precision: Literal["f32", "default", "both"] = "both",
    seconds: PositiveFloat = 20,
    decode_threads: Positive | None = None,
    json: Path | None = None,
    classes: str = "",
    config: str = "",
    verbose: Verbose = False,
) -> int:
    """Measure how fast models are: the network alone, and the whole way from a JPEG on disk to boxes.

    Example: multibox bench

    Several models take turns of a fraction of a second, and ratios are computed turn by turn. The reason: the speed
    of a machine changes more from minute to minute than two models differ.

    Args:
        models: Files to compare, .pth, .onnx or .xml; ratios are to the first. Default: what was exported of the run of
            this folder, else of the newest in runs, and its weights.
        images: Folder of images. Default: six that come with multibox, of 640x360 pixels.
        device: OpenVINO's names of devices, separated by commas. Default: all that it finds.
        precision: What OpenVINO is asked to compute in: f32, the device's own choice, or both one after the other.
        seconds: Time for each model, device and precision.
        decode_threads: Threads that read images. Default: half of the cores.
        json: File for all figures. Default: bench.json in the run, if that was found.
        classes: Names of the classes of a file that names none, separated by commas.
        config: Template of a snapshot that carries none. Default: template.yaml of the work directory.
        verbose: Show details: all percentiles, ratios with quartiles, where the time goes, versions.
    """
    begin(verbose=verbose)
    from msgspec.json import encode
    from msgspec.json import format as format_json

    from multibox.data import coco
    from multibox.evaluate import speed as benchmark
    from multibox.evaluate import speed_table

    run = None
    if not models:
        models, run = _of_run()
        json = json or run.home / "bench.json"
    if json is not None:
        check_outputs([Output("--json", json, is_benchmark)], models, say=say)
    with counting("Measuring", benchmark.num_rounds(seconds)) as progress:
        result = benchmark.compare_speed(
            models,
            image_files=benchmark.find_image_files(images),
            devices=coco.split_list(device) or None,
            precisions=benchmark.PRECISIONS if precision == "both" else (precision,),
            seconds=seconds,
            decode_threads=decode_threads,
            template=find_template(config),
            classes=coco.split_list(classes) or None,
            progress=progress,
        )
    if verbose:
        console.print(speed_table.speed_tables(result, width=console.width))
    else:
        console.print(speed_table.speed_summary(result))
        say(speed_table.SUMMARY)
    for line in speed_table.explain_speeds(result):
        say(line)
    if json is not None:
        write_atomically(json, format_json(encode(speed_table.speeds_to_plain(result)), indent=2) + b"\n")
        say(f"All figures: {typed(json)}")
    if run is not None:
        say_next(run, "bench")
    return 0


def _of_run() -> tuple[list[Path], Run]:
    """The models of the run that is found, exported ones first, and the run."""
    found = found_model(None)
    assert found.run is not None
    folder = found.run.home
    names = ("export/model.xml", "export_int8/model.xml", "compressed/model.xml", "export/model.onnx")
    return [*(folder / name for name in names if (folder / name).exists()), found.path], found.run
