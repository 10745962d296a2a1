"""What a training in a work directory starts from: the published snapshot, a public detector, or the package's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from multibox.config import Dependency, Template
from multibox.weights.fetch import NotFetchedError, Progress, fetch, is_remote, mismatch, no_progress
from multibox.weights.public_models import known_classes

SNAPSHOT = "snapshot.pth"

BUNDLED = "bundled"
"""What stands for the package's own weights where a path is expected: the better of the two for the data."""

CLASSIFIER, DETECTOR = "bundled-classifier", "bundled-detector"
"""The same for one of them, by what their backbone was first taught. The former is taken where nothing is tried."""

RANDOM = "random"

Targets = Mapping[Dependency, Path]


def are_initial_weights(dependency: Dependency) -> bool:
    """Whether a file that a template depends on is one to start from; such a file may fail to come."""
    return dependency.destination == SNAPSHOT or is_remote(dependency.source)


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


def find(folder: Path, template: Template, classes: Sequence[str]) -> str:
    """The weights that a training of these classes starts from, of those in a work directory, or `BUNDLED`.

    A snapshot comes first. The public detector is left out if it knows none of the classes: for others, the package's
    own weights are the better start (docs/decisions/0009).
    """
    snapshot = folder / template.initial_weights
    if snapshot.exists():
        return str(snapshot)
    for one in filter(are_initial_weights, template.dependencies):
        path = folder / one.destination
        is_there = path.suffix == ".xml" and path.exists() and path.with_suffix(".bin").exists()
        known = known_classes(path) if is_there else ()
        if is_there and (known is None or set(known) & set(classes)):
            return str(path)
    return BUNDLED


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
        if offline and is_remote(dependency.source):
            return lines, f"{target} is not there, and --offline leaves the network alone."
        try:
            fetch(dependency, beside, target, progress=progress)
        except NotFetchedError as error:
            return lines, f"Could not fetch {dependency.source} ({error})."
        lines.append(f"{target} is fetched.")
    return lines, None
