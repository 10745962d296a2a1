"""Making a work directory: a copy of a template, the scripts that run it, and the weights to start from."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from multibox import config
from multibox.errors import TemplateError
from multibox.files import write_atomically
from multibox.unfinished import tidy
from multibox.weights.fetch import Progress, are_initial_weights, bring, no_progress

# Users of the original run `python train.py ...` in the work directory; the template is found from anywhere.
SCRIPT = '''\
"""Runs `multibox {command}` with the template.yaml beside this file; `--help` lists the options."""

import sys
from pathlib import Path

from multibox.cli import main

if __name__ == "__main__":
    sys.exit(main(["{command}", *sys.argv[1:]], template=Path(__file__).resolve().parent / "template.yaml"))
'''
COMMANDS = ("train", "eval", "export", "compress")


def instantiate(
    template: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    load_snapshot: bool = True,
    offline: bool = False,
    report: Callable[[str], None],
    progress: Progress = no_progress,
) -> Path:
    """The folder `output`, made ready to train in; what was done goes to `report`, line by line.

    `template` is a file, a bundled model's name ("mobilenet_v2-2s_ssd-256x256"), or the input size of an SSD ("256"). A
    file that is there and differs is kept, whether a user edited it or put it there, and nothing is removed. Weights to
    start from that cannot be fetched are reported and are no error: others come with the package. `offline` asks no
    network.

    Raises:
        TemplateError: there is no such template, it is wrong, or a file that it depends on is missing.
    """
    source = _find_template(template)
    dependencies = config.load_template(source).dependencies
    folder = Path(output)
    targets = {dependency: _inside(folder, dependency.destination, source) for dependency in dependencies}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tidy(folder)
        _place(source.read_bytes(), folder / "template.yaml", report)
        for command in COMMANDS:
            _place(SCRIPT.format(command=command).encode(), folder / f"{command}.py", report)
        for dependency, target in targets.items():
            if not are_initial_weights(dependency):
                _copy(source.parent / dependency.source, target, report)
    except OSError as error:
        reason = error.strerror or error
        raise TemplateError(f"{error.filename or folder}: cannot make the work directory: {reason}.") from error
    if load_snapshot:
        wanted = {key: target for key, target in targets.items() if are_initial_weights(key)}
        bring(wanted, beside=source.parent, offline=offline, report=report, progress=progress)
    return folder


def _find_template(template: str | os.PathLike[str]) -> Path:
    bundled = config.bundled_templates()
    name = os.fspath(template)
    by_size = {stem.rpartition("-")[2].partition("x")[0]: path for stem, path in config.ssd_templates().items()}
    if Path(name).is_file():
        # Links lead to the package; what a template depends on lies beside the real file.
        return Path(name).resolve()
    path = bundled.get(name) or by_size.get(name)
    if path is None:
        raise TemplateError(f"{name}: there is no such template file; the names of models are {', '.join(bundled)}.")
    return path


def _inside(folder: Path, destination: str, source: Path) -> Path:
    # A null character is in no name of a file.
    target = folder.resolve() if "\0" in destination else (folder / destination).resolve()
    if not target.is_relative_to(folder.resolve()) or target == folder.resolve():
        raise TemplateError(f"{source}: the destination {destination} leads out of the work directory.")
    return folder / os.path.normpath(destination)


def _place(content: bytes, target: Path, report: Callable[[str], None]) -> None:
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(target, content)
    elif target.read_bytes() != content:
        report(f"{target} is there and differs; it is kept. Remove it to get a fresh copy.")


def _copy(source: Path, target: Path, report: Callable[[str], None]) -> None:
    """Copy a file, or all files of a folder."""
    if not source.exists():
        raise TemplateError(f"{source}: the template depends on this file, which does not exist.")
    for path in [source] if source.is_file() else sorted(source.rglob("*")):
        if path.is_file():
            _place(path.read_bytes(), target / path.relative_to(source), report)
