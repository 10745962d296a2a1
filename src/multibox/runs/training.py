"""From a labelled data set to a run: the set opened, images held out, a template chosen, a training done."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from multibox import config
from multibox.data import coco
from multibox.data.archives import archived
from multibox.data.coco import CocoData
from multibox.data.layouts import Split
from multibox.data.reading import DataFiles, as_item
from multibox.data.sets import OpenedSet, open_set
from multibox.errors import CheckpointError, DataError, OptionError, TrainingError
from multibox.files import make_folder
from multibox.runs import splitting
from multibox.runs.choosing import named_template, suitable_template
from multibox.runs.finding import RUNS, run_of
from multibox.runs.run import DATA, OUTPUTS, TEMPLATE, Run, is_run, next_free
from multibox.unfinished import unfinished
from multibox.weights.bundled import BUNDLED, CLASSIFIER, DETECTOR
from multibox.weights.resolve import RANDOM

if TYPE_CHECKING:
    from multibox.config import Template
    from multibox.train.loop import Display
    from multibox.train.request import TrainingRequest


INTERRUPTED = 130
"""Exit code of a command that Ctrl-C ended."""


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What somebody wants of a training. What is None or empty is left to the data, the template, or the defaults.

    `val` is a data set to validate on, `val_share` the share of the images to hold out where there is none. `size` is
    an input size in pixels, or auto; `model` the name of a model or family, or the file of a template. `out` is the
    folder of the run; by default it is the next free one of `name`, or of the name of the data, in `runs`.
    `is_verbose`: processes that a training on several devices starts say details. The rest is as in
    `train.request.TrainingRequest`.
    """

    val: Path | None = None
    val_share: float | None = None
    minutes: float | None = None
    epochs: int | None = None
    size: str = ""
    model: str = ""
    out: Path | None = None
    name: str = ""
    load_weights: str = ""
    resume_from: str = ""
    classes: tuple[str, ...] = ()
    batch_size: int | None = None
    base_learning_rate: float | None = None
    gpu_num: int | None = None
    tensorboard_dir: Path | None = None
    log_to: Literal["tensorboard", "mlflow"] | None = None
    seed: int = 0
    device: str = "auto"
    skip_bad: bool = False
    started_at: float | None = None
    command: str = ""
    is_verbose: bool = False


def train_on(data: Path, wish: Wish, *, display: Display) -> Run:
    """Train a detector on a labelled data set, and return the run: a new folder with all that belongs to it.

    `data` is whatever `multibox doctor` reads: a folder, an annotation file, a data.yaml, or a .zip. If it has no part
    to validate on, a fifth of the images is held out (see `splitting`). All worth knowing is a line on the display.

    Raises:
        DataError: the data cannot be read, or have nothing to learn from.
        OptionError: what is wished for contradicts itself, or a folder cannot be made.
        CheckpointError: the weights to start from cannot be read.
        TrainingError: see `train.run.train`.
    """
    started_at = time.monotonic() if wish.started_at is None else wish.started_at
    template = _check(data, wish)
    from multibox.train.devices import processes_wanted
    from multibox.train.distributed import is_launched

    if is_launched():
        raise OptionError(
            "Under torchrun, name the data by --train-ann-files and --train-data-roots: each process reads."
        )
    with _new_folder(data, wish) as (folder, keep):
        parts, train_data = _parts(data, wish, folder, display.line)
        if template is None:
            template = suitable_template(train_data, wish.model, wish.minutes, display.line)
        device, num_processes, remark = processes_wanted(wish.device, wish.gpu_num, template.gpu_num)
        if remark:
            display.line(remark)
        files = DataFiles.of(parts["train"]), DataFiles.of(*([parts["val"]] if "val" in parts else []))
        wish = replace(wish, started_at=started_at)
        request = _request(wish, template, *files, output=folder, device=device)
        if num_processes > 1:
            keep()
            # Not under the name of the template that the run will write there: what is read is never written over.
            with unfinished(folder, ".yaml") as chosen:
                chosen.write_text(config.dump(template), encoding="utf-8")
                return _launch(num_processes, _words(request, chosen, wish), folder)
        return _train(request, display, on_begin=keep)


def train_by_files(
    train_files: DataFiles, val_files: DataFiles, wish: Wish, *, display: Display, words: Sequence[str]
) -> Run:
    """Train on annotation files and folders that are named one by one; the run is the folder `wish.out`, or outputs.

    `words` are the command line that does this training, for the processes of several graphics cards.

    Raises:
        DataError, OptionError, CheckpointError, TrainingError: as `train_on`.
    """
    template = named_template(wish.model, wish.size)
    if template is None:
        raise OptionError(
            f"There is no {TEMPLATE} in this folder. Make a work directory with `multibox new`, or name a model or a "
            "template with --model."
        )
    from multibox.train.devices import processes_wanted
    from multibox.train.distributed import is_launched

    device, num_processes, remark = processes_wanted(wish.device, wish.gpu_num, template.gpu_num)
    if remark:
        display.line(remark)
    output = wish.out or Path(OUTPUTS)
    if num_processes > 1 and not is_launched():
        return _launch(num_processes, words, output)
    return _train(_request(wish, template, train_files, val_files, output=output, device=device), display)


def resume_run(wish: Wish, *, display: Display) -> Run:
    """Go on with the run that `wish.resume_from` names, or a checkpoint in it, on the data that it has had.

    Raises:
        DataError, OptionError, CheckpointError, TrainingError: as `train_on`.
    """
    path = Path(wish.resume_from)
    run = Run(path) if path.is_dir() else run_of(path)
    if run is None or not run.facts.get("train_data"):
        raise OptionError(f"{path}: this is no run that says which data it had. Name them by --train-ann-files.")
    latest = path if path.is_file() else run.folder / "latest.pth"
    train_files, val_files = (run.files(key) for key in ("train_data", "val_data"))
    words = replace(wish, model=str(run.folder / TEMPLATE), resume_from=str(latest), out=wish.out or run.folder)
    request = _request(words, config.load_template(run.folder / TEMPLATE), train_files, val_files, output=run.folder)
    return train_by_files(
        train_files,
        val_files,
        words,
        display=display,
        words=_words(request, run.folder / TEMPLATE, wish),
    )


def _request(
    wish: Wish,
    template: Template,
    train_files: DataFiles,
    val_files: DataFiles,
    *,
    output: Path,
    device: str = "",
) -> TrainingRequest:
    from multibox.train.request import TrainingRequest

    return TrainingRequest(
        template=template,
        work_directory=Path(wish.model or TEMPLATE).resolve().parent,
        train_files=train_files,
        val_files=val_files,
        output=output,
        load_weights=wish.load_weights,
        resume_from=wish.resume_from,
        epochs=wish.epochs,
        batch_size=wish.batch_size,
        base_learning_rate=wish.base_learning_rate,
        classes=wish.classes,
        tensorboard_dir=wish.tensorboard_dir,
        log_to=wish.log_to,
        seed=wish.seed,
        device=device or wish.device,
        time_budget_minutes=wish.minutes,
        skip_bad=wish.skip_bad,
        started_at=wish.started_at,
        command=wish.command,
        template_file=wish.model or TEMPLATE,
    )


def _train(request: TrainingRequest, display: Display, *, on_begin: Callable[[], None] = lambda: None) -> Run:
    """Do a training, and say beforehand what the data make one doubt; `on_begin` is called when all is prepared."""
    from multibox.train.request import prepare_training

    train_now = prepare_training(request, display, check=lambda splits: _say_doubts(splits, display.line))
    on_begin()
    return Run(request.output, training=train_now())


def _launch(num_processes: int, words: Sequence[str], output: Path) -> Run:
    from multibox.train.distributed import launch

    code = launch(num_processes, words)
    if code == INTERRUPTED:
        raise KeyboardInterrupt
    if code:
        raise TrainingError(f"The processes of the training ended with exit code {code}; see above.")
    return Run(output)


def _check(data: Path, wish: Wish) -> Template | None:
    """Find what is wrong with the names and numbers before anything slow begins; the template, if it is named."""
    if wish.minutes is not None and wish.epochs is not None:
        raise OptionError("--minutes and --epochs each set the length of the run. Leave one out.")
    for place, option in ((data, "the data"), (wish.val, "--val")):
        if place is not None and not archived(place).exists():
            raise DataError(f"{place}: there is no such folder or file. Correct {option}.")
    if wish.val is not None and wish.val_share is not None:
        raise OptionError("--val-share has no effect beside --val. Leave one out.")
    template = named_template(wish.model, wish.size)
    words = {"", RANDOM, BUNDLED, CLASSIFIER, DETECTOR, template.initial_weights if template is not None else ""}
    if wish.load_weights not in words and not Path(wish.load_weights).exists():
        raise CheckpointError(f"{wish.load_weights}: there are no such weights. Correct --load-weights.")
    if wish.out is not None and is_run(wish.out):
        raise OptionError(f"{wish.out}: there is a run in this folder already. Name another, or leave --out out.")
    if wish.name and Path(wish.name).name != wish.name:
        raise OptionError(f"--name {wish.name}: this is no name for a folder. Give the whole path by --out.")
    from multibox.runtime.torch_runtime import pick_device
    from multibox.train.request import check_loggers

    check_loggers(wish.log_to, wish.tensorboard_dir)
    pick_device(wish.device)
    return template


@contextmanager
def _new_folder(data: Path, wish: Wish) -> Iterator[tuple[Path, Callable[[], None]]]:
    """The folder of the run, which goes again if an error comes before it is kept by calling what is given with it."""
    is_ours, is_kept = True, False
    if wish.out is not None:
        is_ours = not wish.out.exists()
        folder = wish.out
        make_folder(folder)
    else:
        resolved = data.resolve()
        folder = next_free(RUNS, wish.name or (resolved.stem if resolved.is_file() else resolved.name) or "run")

    def keep() -> None:
        nonlocal is_kept
        is_kept = True

    try:
        yield folder, keep
    except BaseException:
        if not is_kept:
            shutil.rmtree(folder if is_ours else folder / DATA, ignore_errors=True)
            with suppress(OSError):
                RUNS.rmdir()
        raise


def _parts(data: Path, wish: Wish, folder: Path, say: Callable[[str], None]) -> tuple[dict[str, Split], CocoData]:
    """The annotation files to train and to validate on, and what the former hold; what was found or made is said."""
    opened = _open(data, folder / DATA, wish, say)
    if "train" not in opened.splits:
        raise DataError(f"{data}: this set has nothing to train on, only a part `{next(iter(opened.splits))}`.")
    parts = dict(opened.splits)
    if wish.val is not None:
        of_val = _open(wish.val, folder / DATA / "val", wish, say).splits
        parts["val"] = of_val.get("val") or of_val["train"]
    elif "val" in parts and wish.val_share is not None:
        raise OptionError(f"{data}: this set has a part to validate on, so --val-share has no effect. Leave it out.")
    train = parts["train"]
    train_data = coco.read(
        [train.annotation_file],
        [train.root],
        classes=wish.classes or None,
        skip_bad=wish.skip_bad,
        verify_images=False,
        titles=[train.title] if train.title else None,
    )
    if "val" not in parts:
        parts |= _held_out(train, train_data, wish, folder, say)
    return parts, train_data


def _open(data: Path, workplace: Path, wish: Wish, say: Callable[[str], None]) -> OpenedSet:
    opened = open_set(data, workplace, guess=False)
    for line in opened.lines:
        say(line)
    if opened.lost and not wish.skip_bad:
        raise DataError(
            f"{data}: {len(opened.lost)} of its labels cannot be read; the first: {opened.lost[0]}. Correct them, or "
            "leave them out with --skip-bad."
        )
    for split in opened.splits.values():
        for kind, lines in {**split.problems, **split.doubts}.items():
            say(f"{len(lines)} {kind}; the first: {lines[0]}")
    return opened


def _held_out(train: Split, data: CocoData, wish: Wish, folder: Path, say: Callable[[str], None]) -> dict[str, Split]:
    """Both parts of a set that has only one, and what is said of it; nothing where nothing is to be measured."""
    share = splitting.SHARE if wish.val_share is None else wish.val_share
    wanted = splitting.num_held_out(len(data.records), share)
    if not wanted:
        reason = "All images are trained on, as --val-share says"
        if share:
            reason = f"{len(data.records)} images are too few to hold {splitting.LEAST_IMAGES} or more out"
        say(f"{reason}: nothing will be measured. Give images to measure on by --val.")
        return {}
    division = splitting.divide(data, wanted=wanted)
    say(splitting.account(data, division))
    make_folder(folder / DATA)
    return splitting.write_parts(train, data, division, folder / DATA)


def _say_doubts(splits: Mapping[str, CocoData], say: Callable[[str], None]) -> None:
    """Say what the checks of `multibox doctor` find that look at no image."""
    from multibox.doctor.checks import cheap

    findings = cheap(splits)
    for finding in findings:
        example = f"; for one, {finding.examples[0]}" if finding.examples else ""
        say(f"{finding.split}: {finding.text}{example}")
    if findings:
        say("`multibox doctor` tells more of this.")


def _words(request: TrainingRequest, template: Path, wish: Wish) -> list[str]:
    """The command that does a training in a process of its own, by the options for annotation files."""
    options: dict[str, object] = {
        "--config": template,
        "--train-ann-files": request.train_files.annotations,
        "--train-data-roots": request.train_files.roots,
        "--val-ann-files": request.val_files.annotations,
        "--val-data-roots": request.val_files.roots,
        "--save-checkpoints-to": request.output,
        "--load-weights": request.load_weights,
        "--resume-from": request.resume_from,
        "--epochs": request.epochs,
        "--batch-size": request.batch_size,
        "--base-learning-rate": request.base_learning_rate,
        "--gpu-num": wish.gpu_num,
        "--classes": ",".join(map(as_item, request.classes)),
        "--tensorboard-dir": request.tensorboard_dir,
        "--log-to": request.log_to,
        "--seed": request.seed,
        "--device": request.device,
        "--time-budget": request.time_budget_minutes,
    }
    words = ["train", *(f"{key}={value}" for key, value in options.items() if value not in (None, ""))]
    return [*words, *(["--skip-bad"] if request.skip_bad else []), *(["--verbose"] if wish.is_verbose else [])]
