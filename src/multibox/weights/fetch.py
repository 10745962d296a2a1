"""Fetching published files: whole and the right ones, or a reason in a few words."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from http.client import HTTPException
from pathlib import Path
from urllib.parse import urlsplit

from multibox.config import Dependency
from multibox.files import atomic_path, sha256

Progress = Callable[[int | None], AbstractContextManager[Callable[[int], object]]]
"""Shows a download of so many bytes (None: nobody knows how many); what it gives is called with the bytes of a part."""

SNAPSHOT = "snapshot.pth"
"""Name of the published snapshot in a work directory."""

Targets = Mapping[Dependency, Path]
"""Where in a work directory each file belongs."""

TIMEOUT_SECONDS = 20
CHUNK_BYTES = 1 << 18


class NotFetchedError(Exception):
    """The file at an address cannot be had; the message says why in a few words."""


def is_address(source: str) -> bool:
    """Whether a source is an address, not a path."""
    # A Windows drive letter looks like a scheme of one character.
    return len(urlsplit(source).scheme) > 1


def no_progress(_: int | None) -> AbstractContextManager[Callable[[int], object]]:
    """A `Progress` that shows nothing."""
    return nullcontext(lambda _: None)


def fetch(dependency: Dependency, folder: Path, target: Path, *, progress: Progress = no_progress) -> None:
    """Make `target` the file at `dependency.source`, an address or a path from `folder`; whole or not at all.

    Raises:
        NotFetchedError: it is out of reach, or not the file that the dependency describes.
    """
    source = dependency.source
    address = source if is_address(source) else (folder / source).resolve().as_uri()
    try:
        # The temporary file goes whenever something fails, so a damaged file never lies about.
        with atomic_path(target) as temporary:
            _download(address, temporary, dependency.size, progress)
            problem = mismatch(temporary, dependency)
            if problem is not None:
                raise NotFetchedError(f"what came is not the published file: {problem}")
    except (OSError, HTTPException, ValueError) as error:
        raise NotFetchedError(_reason(error)) from error


def are_initial_weights(dependency: Dependency) -> bool:
    """Whether a file that a template depends on is one to start from; such a file may fail to come."""
    return dependency.destination == SNAPSHOT or is_address(dependency.source)


def bring(
    targets: Targets,
    *,
    beside: Path,
    offline: bool,
    report: Callable[[str], None],
    progress: Progress = no_progress,
) -> None:
    """Fetch the snapshot, or else the public detector, unless they are there; what came of it goes to `report`.

    `targets` says where each file belongs, `beside` is the folder of the template. What differs from what the template
    says of it is kept: somebody put it there.
    """
    snapshot = {key: path for key, path in targets.items() if key.destination == SNAPSHOT}
    public = {key: path for key, path in targets.items() if key.destination != SNAPSHOT}
    reasons: list[str] = []
    for wanted in filter(None, (snapshot, public)):
        lines, reason = _bring_all(wanted, beside, offline=offline, progress=progress)
        if reason is None:
            for line in [*reasons, *lines]:
                report(line)
            return
        reasons.append(reason)
    for reason in reasons:
        report(reason)
    if targets:
        report("Training starts from the weights that come with multibox, unless --load-weights names others.")


def mismatch(path: Path, dependency: Dependency) -> str | None:
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


def _bring_all(targets: Targets, beside: Path, *, offline: bool, progress: Progress) -> tuple[list[str], str | None]:
    """What became of files that belong together, line by line, and why one of them is not there."""
    lines = []
    for dependency, target in targets.items():
        if target.exists():
            problem = mismatch(target, dependency)
            lines.append(
                f"{target} is already there."
                if problem is None
                else f"{target} is kept; it is not the published file ({problem})."
            )
            continue
        if offline and is_address(dependency.source):
            return lines, f"{target} is not there, and --offline leaves the network alone."
        try:
            fetch(dependency, beside, target, progress=progress)
        except NotFetchedError as error:
            return lines, f"Could not fetch {dependency.source} ({error})."
        lines.append(f"{target} is fetched.")
    return lines, None


def _download(address: str, target: Path, size: int | None, progress: Progress) -> None:
    if urlsplit(address).scheme not in ("http", "https", "file"):
        raise NotFetchedError("only http, https, file and paths can be fetched")
    with (
        urllib.request.urlopen(address, timeout=TIMEOUT_SECONDS) as answer,
        target.open("wb") as file,
        progress(size) as advance,
    ):
        while chunk := answer.read(CHUNK_BYTES):
            file.write(chunk)
            advance(len(chunk))
            if size is not None and file.tell() > size:
                raise NotFetchedError(f"what came is not the published file: more than {size} bytes")


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
