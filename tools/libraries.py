"""The libraries that multibox needs, their licences and sizes, as they are installed: `python -m tools.libraries`."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]

EXTRAS = ("train", "int8", "tensorboard", "demo")
"""Extras that users install; tools of developers are not part of what runs."""

STATED = {
    "apache license 2.0": "Apache-2.0",
    "apache 2.0": "Apache-2.0",
    "apache software license": "Apache-2.0",
    "bsd license": "BSD",
    "bsd": "BSD",
    "bsd 3-clause license": "BSD-3-Clause",
    "mit license": "MIT",
    "mit": "MIT",
    "the mit license (mit)": "MIT",
    "python software foundation license": "PSF-2.0",
    "3-clause bsd license": "BSD-3-Clause",
    "mozilla public license 2.0 (mpl 2.0)": "MPL-2.0",
}
"""Identifiers of licences that libraries state in other words."""


def needed(wanted_extras: Iterable[str] = EXTRAS) -> dict[str, Distribution]:
    """All installed libraries that multibox with these extras needs, directly or not, by name."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    todo = [Requirement(text) for text in project["dependencies"]]
    todo.append(Requirement(f"multibox[{','.join(wanted_extras)}]"))
    found: dict[str, Distribution] = {}
    seen: set[tuple[str, frozenset[str]]] = set()
    while todo:
        wanted = todo.pop()
        name, its_extras = str(canonicalize_name(wanted.name)), frozenset(wanted.extras)
        if (name, its_extras) in seen:
            continue
        seen.add((name, its_extras))
        if name == "multibox":
            todo += [Requirement(text) for extra in its_extras for text in extras[extra]]
            continue
        try:
            found[name] = distribution(name)
        except PackageNotFoundError:
            continue  # not needed on this system
        todo += _requirements(found[name], its_extras)
    return dict(sorted(found.items()))


def _requirements(library: Distribution, extras: frozenset[str]) -> Iterator[Requirement]:
    for text in library.requires or ():
        requirement = Requirement(text)
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in extras or {""}):
            yield requirement


def licence_of(library: Distribution) -> str:
    """The identifier of a library's licence, as its metadata state it; empty where they do not."""
    metadata = library.metadata
    if metadata["License-Expression"]:
        return metadata["License-Expression"]
    classified = [
        STATED.get(last.lower(), last)
        for text in metadata.get_all("Classifier") or []
        if text.startswith("License ::") and (last := text.split(" :: ")[-1]) != "OSI Approved"
    ]
    stated = (metadata["License"] or "").strip()
    if stated and "\n" not in stated and len(stated) < 60 and (classified in ([], ["BSD"])):
        return STATED.get(stated.lower(), stated)
    return " AND ".join(dict.fromkeys(classified)) or STATED.get(stated.split("\n")[0].strip().lower(), "")


def megabytes(libraries: Iterable[Distribution]) -> float:
    """The size of their files on disk, compiled Python left out."""
    paths = [Path(str(file.locate())) for library in libraries for file in library.files or ()]
    return sum(path.stat().st_size for path in paths if path.suffix != ".pyc" and path.exists()) / 1e6


if __name__ == "__main__":
    base = needed(())
    print(f"| (none) | {megabytes(base.values()):.0f} |")
    for extra in ("onnx", "report", "train", "int8", "tensorboard", "demo", "heic", "all"):
        more = {name: library for name, library in needed([extra]).items() if name not in base}
        print(f"| {extra} | +{megabytes(more.values()):.0f} |")
    print()
    for name, library in needed().items():
        print(f"| {name} | {licence_of(library) or '?'} |")
