"""`multibox compress`."""

from __future__ import annotations

import shlex
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from multibox.commands.console import begin, console, say, say_command, training_display
from multibox.commands.options import (
    Flag,
    ModelName,
    Positive,
    PositiveFloat,
    Verbose,
    command_line,
    find_template,
    found_model,
    require,
    require_together,
)
from multibox.errors import OptionError
from multibox.files import kind_of
from multibox.runs.display import duration
from multibox.wording import Detailed, typed

if TYPE_CHECKING:
    from multibox.compress.result import CompressResult


def compress(
    model: ModelName = None,
    *,
    out: Annotated[Path | None, Parameter(name=["--out", "--save-checkpoints-to"])] = None,
    data: Path | None = None,
    max_drop: float = 0.5,
    minutes: Annotated[PositiveFloat | None, Parameter(name=["--minutes", "--time-budget"])] = None,
    method: Literal["auto", "ptq", "qat"] = "auto",
    batch_size: Positive | None = None,
    resume_from: str = "",
    classes: str = "",
    seed: int = 0,
    skip_bad: Flag = False,
    gpu_num: Annotated[int, Parameter(validator=lambda _, n: require(n is None or n >= 0, "0 or more"))] | None = None,
    config: str = "",
    nncf_quantization: Flag = True,
    train_ann_files: str = "",
    train_data_roots: str = "",
    val_ann_files: str = "",
    val_data_roots: str = "",
    verbose: Verbose = False,
) -> int:
    """Make a detector compute in 8 bits, and measure what that costs.

    Example: multibox compress

    Methods are tried from the quickest on until one loses no more than --max-drop: quantised after training, with
    thorough correction, trained on in 8 bits. What counts is the exported file in OpenVINO. If no method meets
    --max-drop, the best result is kept with a warning (exit code 0).

    Args:
        model: A run, a checkpoint (.pth), or an exported OpenVINO model (.xml), which then needs no PyTorch. Default:
            the run of this folder, else the newest in runs.
        out: Folder for latest.pth (or model.xml, model.bin) and compress.json. Default: compressed in the run.
        data: A labelled data set: its images say how large values get, and its validation part measures. Default: the
            images that the training had, if they are still there.
        max_drop: AP points (of 100) that may be lost on the validation set.
        minutes: Take about this many minutes: methods that do not fit are left out, and training is cut short. Default:
            as long as it takes.
        method: auto, ptq (no training), or qat (quantise, then train in any case).
        batch_size: Images per step of training in 8 bits. Default: as the template says.
        resume_from: qat/latest.pth of a compression that was stopped while it trained, to go on from there.
        classes: Must name the classes of the model, in its order. Default: these.
        seed: Of the choice of images, and of the training.
        skip_bad: Skip unusable images and annotations.
        gpu_num: 0 trains on the processor; more than one graphics card is not used.
        config: Template of a snapshot that carries none. Default: template.yaml of the work directory.
        nncf_quantization: Quantise to 8 bits; the only kind of compression, so it may be left out.
        train_ann_files: Instead of --data: annotation files (COCO json) whose images say how large values get.
        train_data_roots: The folder of images of each of these.
        val_ann_files: Annotation files to measure on.
        val_data_roots: The folder of images of each of these.
        verbose: Show details: the table of methods, how sure each figure is, what training in 8 bits does, versions.
    """
    started_at = time.monotonic()
    begin(verbose=verbose)
    require_together(train_ann_files, train_data_roots, "--train-ann-files", "--train-data-roots")
    require_together(val_ann_files, val_data_roots, "--val-ann-files", "--val-data-roots")

    from multibox.compress.ladder import Plan
    from multibox.data.coco import split_list
    from multibox.data.reading import DataFiles
    from multibox.runs.compressing import CompressionPlan, compress_model
    from multibox.runs.measuring import NamedData
    from multibox.runs.next_command import next_command
    from multibox.runs.places import COMPRESSED, place_in_run

    found = found_model(model)
    output = out or (Path(COMPRESSED) if found.run is None else place_in_run(found, COMPRESSED))
    deadline = None if minutes is None else started_at + 60 * minutes
    plan = CompressionPlan(
        out=output,
        ladder=Plan(method=method, max_drop=max_drop, deadline=deadline, seed=seed),
        train_files=DataFiles(train_ann_files, train_data_roots),
        val_files=DataFiles(val_ann_files, val_data_roots),
        classes=tuple(split_list(classes)),
        template=find_template(config),
        batch_size=batch_size,
        device="auto" if kind_of(found.path) == "openvino" else _device(gpu_num),
        resume_from=resume_from,
        command=shlex.join(["multibox", *command_line]),
    )
    with training_display() as display:
        result = compress_model(found, NamedData(data, skip_bad=skip_bad), plan, display=display)
    code = _report(result, output, time.monotonic() - started_at)
    if found.run is not None and not code:
        say("Next, write its files to deploy, and then have a page that explains it:")
        say_command(next_command("export", found.run, named=output))
        say_command(next_command("report", found.run))
    return code


def _device(gpu_num: int | None) -> str:
    from multibox.train import distributed

    if distributed.is_launched():
        raise OptionError("Compressing runs in one process. Start it without torchrun.")
    if gpu_num is not None and gpu_num > 1:
        say(f"--gpu-num {gpu_num}: compressing runs in one process, which uses one graphics card at most.")
    return "cpu" if gpu_num == 0 else "auto"


def _report(result: CompressResult, output: Path, seconds: float) -> int:
    from multibox.compress import result as compress_report

    if console.has_details:
        console.print(compress_report.attempts_table(result, width=console.width))
    for line in (*compress_report.notes(result), compress_report.verdict(result)):
        say(line)
    if result.is_interrupted:
        resumed = typed(output / "qat" / "latest.pth")
        say(f"Stopped while training. Go on with the same command and --resume-from {resumed}")
    done = f"Done in {duration(seconds)}: {typed(result.path)}"
    say(Detailed(f"{done}. All figures: {typed(output / 'compress.json')}", brief=done))
    return 130 if result.is_interrupted else 0
