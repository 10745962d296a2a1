"""`multibox doctor`."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from multibox.commands.console import begin, console, say, say_command
from multibox.commands.options import TEMPLATE_NAME, Flag, Verbose, require_together
from multibox.errors import DataError, OptionError
from multibox.unfinished import unfinished_folder
from multibox.wording import counted, typed

if TYPE_CHECKING:
    from multibox.data.coco import CocoData
    from multibox.data.layouts import Split
    from multibox.doctor.duplicates import Twins
    from multibox.doctor.next_step import Named, NextStep
    from multibox.doctor.run import Examination

NUM_SHOWN_CHANGES = 10


def doctor(
    source: Annotated[Path | None, Parameter(name=["--data"])] = None,
    *,
    train_ann_files: str = "",
    train_data_roots: str = "",
    val_ann_files: str = "",
    val_data_roots: str = "",
    classes: str = "",
    json: Path | None = None,
    save_mosaic: Path | None = None,
    fix: Path | None = None,
    no_timing: Flag = False,
    verbose: Verbose = False,
) -> int:
    """Examine a data set: what is in it, what is wrong with it, and what it means for a model.

    Example: multibox doctor my_photos

    Exit code: 0 if nothing is wrong, 1 with warnings, 2 with errors, which training would refuse.

    Args:
        source: A data set: a folder, file or .zip of COCO, YOLO (data.yaml), Pascal VOC, CVAT, Label Studio, VIA or
            labelme. Instead, COCO files can be named:
        train_ann_files: Annotation files (COCO json), separated by commas.
        train_data_roots: The folder of images of each annotation file, separated by commas.
        val_ann_files: Annotation files to validate on.
        val_data_roots: The folder of images of each of these.
        classes: Names of the classes to look at, separated by commas. Default: all.
        json: File for everything that was found.
        save_mosaic: Image file (.jpg or .png) for samples with their boxes.
        fix: New folder for a corrected copy, with changes.json; the original is not touched.
        no_timing: Do not measure how fast this machine trains.
        verbose: Show details: sizes of objects, how every model suits them, training times at all sizes, versions.
    """
    begin(verbose=verbose)
    from multibox.data import coco
    from multibox.doctor import run
    from multibox.doctor.next_step import next_step, step_after_fix
    from multibox.doctor.tables import ConsoleDisplay
    from multibox.runs.splitting import announcement

    with ExitStack() as stack:
        named = _named_data(source, train_ann_files, train_data_roots, val_ann_files, val_data_roots, classes, stack)
        wanted = coco.split_list(classes) or None
        try:
            data = {name: _read(parts, wanted) for name, parts in named.splits.items()}
        except DataError as error:
            if fix is None:
                raise
            # What nothing can be examined of may be mended all the same.
            say(str(error))
            _say_next(step_after_fix(fix, num_lost=_fix(named, fix, ())))
            return 2
        _check_outputs(named, data, json, save_mosaic)
        with console.status("Examining", spinner="line") as status:
            display = ConsoleDisplay(console, status.update, has_details=verbose)
            examination = run.doctor(data, is_timed=not no_timing, parts=named.splits, listener=display)
        if find_spec("torch") is None:
            say('What the data mean for a model is left out: that needs PyTorch (pip install "multibox[train]").')
        if save_mosaic is not None:
            _save_contact_sheet(save_mosaic, examination.usable)
        if source is not None and set(named.splits) == {"train"}:
            say(announcement(sum(held.num_images for held in examination.contents.values())))
        if json is not None:
            _write_json(json, examination)
        if fix is None:
            step = next_step(named, examination, has_template=Path(TEMPLATE_NAME).exists())
        else:
            step = step_after_fix(fix, num_lost=_fix(named, fix, examination.twins))
        if step is not None:
            _say_next(step)
    return examination.exit_code


def _check_outputs(named: Named, data: Mapping[str, CocoData], json: Path | None, mosaic: Path | None) -> None:
    """Fail before the work where an output would replace anything but an earlier one of its kind."""
    from multibox import overwriting
    from multibox.overwriting import Output

    kinds = (("--json", json, overwriting.is_examination), ("--save-mosaic", mosaic, overwriting.is_drawing))
    inputs = [part.annotation_file for parts in named.splits.values() for part in parts]
    inputs += [named.source] if named.source is not None and named.source.is_file() else []  # a .zip
    inputs += [record.path for of_split in data.values() for record in of_split.records]
    outputs = [Output(option, path, is_ours) for option, path, is_ours in kinds if path is not None]
    overwriting.check_outputs(outputs, inputs, say=say)


def _named_data(
    source: Path | None,
    train_files: str,
    train_roots: str,
    val_files: str,
    val_roots: str,
    classes: str,
    stack: ExitStack,
) -> Named:
    """The annotation files of each split, with their folders; other formats are turned into COCO on the way."""
    from multibox.data.sets import open_set
    from multibox.doctor.next_step import Named

    require_together(train_files, train_roots, "--train-ann-files", "--train-data-roots")
    require_together(val_files, val_roots, "--val-ann-files", "--val-data-roots")
    if (source is None) == (not train_files and not val_files):
        raise OptionError("Name a data set: either a folder or file, or --train-ann-files and --train-data-roots.")
    if source is None:
        options = {"train": (train_files, train_roots), "val": (val_files, val_roots)}
        splits = {name: _parts(files, roots) for name, (files, roots) in options.items() if files}
        return Named(None, splits, "COCO", classes)
    opened = open_set(source, stack.enter_context(unfinished_folder(Path(tempfile.gettempdir()))), guess=True)
    for line in opened.lines:
        say(line)
    splits = {name: [split] for name, split in opened.splits.items()}
    return Named(source, splits, opened.layout.format, classes)


def _parts(files: str, roots: str) -> list[Split]:
    from multibox.data import coco
    from multibox.data.layouts import Split

    pairs = coco.split_list(files), coco.split_list(roots)
    if len(pairs[0]) != len(pairs[1]):
        raise OptionError(f"{files}: name one folder of images for each annotation file, separated by commas.")
    return [Split(Path(file), Path(root)) for file, root in zip(*pairs, strict=True)]


def _read(parts: Sequence[Split], classes: list[str] | None) -> CocoData:
    from multibox.data import coco

    files, roots = [part.annotation_file for part in parts], [part.root for part in parts]
    titles = [part.title for part in parts]
    # The examination decodes the images, once for all that it looks for in them.
    return coco.read(
        files,
        roots,
        classes=classes,
        skip_bad=True,
        verify_images=False,
        allow_missing_classes=True,
        titles=titles,
        guess=True,
    )


def _write_json(path: Path, examination: Examination) -> None:
    import msgspec

    from multibox.doctor.run import examination_to_plain
    from multibox.files import write_atomically

    path.parent.mkdir(parents=True, exist_ok=True)
    plain = examination_to_plain(examination)
    write_atomically(path, msgspec.json.format(msgspec.json.encode(plain), indent=2) + b"\n")
    say(f"All of this: {typed(path)}")


def _save_contact_sheet(path: Path, data: Mapping[str, CocoData]) -> None:
    import cv2

    from multibox.doctor.contact_sheet import contact_sheet
    from multibox.files import write_atomically
    from multibox.overwriting import marked

    if not cv2.haveImageWriter(path.name):
        raise OptionError(f"{path}: no image can be written under this name. End it in .jpg or .png.")
    if not data:
        say("No samples are saved: no image can be used.")
        return
    _, encoded = cv2.imencode(path.suffix, contact_sheet(data.get("train", next(iter(data.values())))))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, marked(encoded.tobytes()))
    say(f"Samples: {typed(path)}")


def _fix(named: Named, target: Path, twins: Sequence[Twins]) -> int:
    """Write a corrected copy and say what was changed; how many changes left something out."""
    from multibox.doctor.fixing import CHANGES
    from multibox.doctor.fixing import fix as write_fixed

    source = named.source
    if any(len(parts) > 1 for parts in named.splits.values()):
        raise OptionError("--fix takes one annotation file for each split. Fix several one after the other.")
    if source is not None and source.is_dir() and target.resolve().is_relative_to(source.resolve()):
        raise OptionError(f"{target} lies in {source}, and the original is to stay as it is. Name a folder elsewhere.")
    changes = write_fixed({name: parts[0] for name, parts in named.splits.items()}, target, twins=twins)
    for change in changes[:NUM_SHOWN_CHANGES]:
        say(f"{change.split}: {change.what}: {change.why}")
    if len(changes) > NUM_SHOWN_CHANGES:
        say(f"... and {len(changes) - NUM_SHOWN_CHANGES} more")
    listed_in = typed(target / CHANGES)
    say(f"A corrected copy is in {typed(target)}; {counted(len(changes), 'change')} listed in {listed_in}.")
    num_lost = sum("left out" in change.what for change in changes)
    if num_lost:
        say(f"{num_lost} of them left something out of the data: look at these before you train on it.")
    return num_lost


def _say_next(step: NextStep) -> None:
    say("")
    say(step.words)
    say_command(step.command)
