"""Making a work directory: a copy of a template, the scripts that run it, and the weights to start from."""

from __future__ import annotations

import os
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPException
from importlib import resources
from pathlib import Path
from urllib.parse import urlsplit

from multibox import config
from multibox.config import Dependency
from multibox.errors import TemplateError
from multibox.files import atomic_path, sha256, write_atomically

SNAPSHOT = "snapshot.pth"
TIMEOUT_SECONDS = 20
CHUNK_BYTES = 1 << 18

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


def bundled_templates() -> dict[str, Path]:
    """The templates that come with the package, by the names of their models, smallest input first."""
    folder = Path(str(resources.files("multibox") / "templates"))
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def instantiate(
    template: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    load_snapshot: bool = True,
    report: Callable[[str], None],
) -> Path:
    """The folder `output`, made ready to train in; what was done goes to `report`, line by line.

    `template` is a file, or a bundled model's name or input size ("mobilenet_v2-2s_ssd-256x256", "256"). A file that
    is there and differs is kept, whether a user edited it or put it there, and nothing is removed. A snapshot that
    cannot be fetched is reported and is no error: training can start without it.

    Raises:
        TemplateError: there is no such template, it is wrong, or a file that it depends on is missing.
    """
    source = _find_template(template)
    dependencies = config.load(source).dependencies
    folder = Path(output)
    targets = {dependency: _inside(folder, dependency.destination, source) for dependency in dependencies}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _place(source.read_bytes(), folder / "template.yaml", report)
        for command in COMMANDS:
            _place(SCRIPT.format(command=command).encode(), folder / f"{command}.py", report)
        for dependency, target in targets.items():
            if target != folder / SNAPSHOT:
                _copy(source.parent / dependency.source, target, report)
    except OSError as error:
        reason = error.strerror or error
        raise TemplateError(f"{error.filename or folder}: cannot make the work directory: {reason}.") from error
    if load_snapshot:
        for dependency, target in targets.items():
            if target == folder / SNAPSHOT:
                report(_bring_snapshot(source.parent, dependency, target))
    return folder


class _NotFetchedError(Exception):
    """The file at an address cannot be had; the message says why in a few words."""


def _find_template(template: str | os.PathLike[str]) -> Path:
    bundled = bundled_templates()
    name = os.fspath(template)
    by_size = {stem.rpartition("-")[2].partition("x")[0]: path for stem, path in bundled.items()}
    if Path(name).is_file():
        # Links lead to the package; what a template depends on lies beside the real file.
        return Path(name).resolve()
    found = bundled.get(name) or by_size.get(name)
    if found is None:
        raise TemplateError(f"{name}: there is no such template file; the names of models are {', '.join(bundled)}.")
    return found


def _inside(folder: Path, destination: str, source: Path) -> Path:
    target = (folder / destination).resolve()
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


def _bring_snapshot(folder: Path, dependency: Dependency, target: Path) -> str:
    """Make `target` the published snapshot if nothing is there; what came of it, in one line."""
    if target.exists():
        problem = _mismatch(target, dependency)
        if problem is None:
            return f"{target} is already there."
        return f"{target} is kept; it is not the published snapshot ({problem})."
    try:
        # The temporary file goes whenever something fails, so a damaged snapshot never lies about.
        with atomic_path(target) as temporary:
            _fetch(_address(folder, dependency.source), temporary, dependency.size)
            problem = _mismatch(temporary, dependency)
            if problem is not None:
                raise _NotFetchedError(f"what came is not the published file: {problem}")
    except (_NotFetchedError, OSError, HTTPException, ValueError) as error:
        return (
            f"Could not fetch {dependency.source} ({_reason(error)}). Without it, training starts from random "
            f"weights: put the file at {target} yourself, or name other weights with --load-weights."
        )
    return f"{target} is fetched."


def _mismatch(path: Path, dependency: Dependency) -> str | None:
    """How a file differs from what the template says about it, if it does."""
    size = path.stat().st_size
    if dependency.size is not None and size != dependency.size:
        return f"{size} bytes instead of {dependency.size}"
    if dependency.sha256 is None:
        return None
    digest = sha256(path)
    return (
        None
        if digest == dependency.sha256.lower()
        else f"sha256 {digest[:12]}... instead of {dependency.sha256[:12]}..."
    )


def _address(folder: Path, source: str) -> str:
    # A Windows drive letter looks like a scheme of one character.
    return source if len(urlsplit(source).scheme) > 1 else (folder / source).resolve().as_uri()


def _fetch(address: str, target: Path, size: int | None) -> None:
    if urlsplit(address).scheme not in ("http", "https", "file"):
        raise _NotFetchedError("only http, https, file and paths can be fetched")
    with (
        urllib.request.urlopen(address, timeout=TIMEOUT_SECONDS) as answer,
        target.open("wb") as file,
        _progress(size) as advance,
    ):
        while chunk := answer.read(CHUNK_BYTES):
            file.write(chunk)
            advance(len(chunk))
            if size is not None and file.tell() > size:
                raise _NotFetchedError(f"what came is not the published file: more than {size} bytes")


@contextmanager
def _progress(total: int | None) -> Iterator[Callable[[int], object]]:
    """A function to call with the bytes that arrived; it draws only on a terminal."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TransferSpeedColumn

    from multibox.console import errors

    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=errors, transient=True, disable=not errors.is_terminal) as progress:
        task = progress.add_task("", total=total)
        yield lambda count: progress.advance(task, count)


def _reason(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"the server answers {error.code} {error.reason}"
    if isinstance(error, urllib.error.URLError):
        return _reason(error.reason) if isinstance(error.reason, Exception) else str(error.reason)
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
