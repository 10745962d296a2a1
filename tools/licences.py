"""The licences of what multibox needs, as the installed libraries state them: `python -m tools.licences` lists them."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]

EXTRAS = ("train", "int8", "tensorboard")
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


def needed() -> dict[str, Distribution]:
    """All installed libraries that multibox with `EXTRAS` needs, directly or not, by name."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    todo = [Requirement(text) for text in project["dependencies"]]
    todo.append(Requirement(f"multibox[{','.join(EXTRAS)}]"))
    found: dict[str, Distribution] = {}
    seen: set[tuple[str, frozenset[str]]] = set()
    while todo:
        wanted = todo.pop()
        name, wanted_extras = str(canonicalize_name(wanted.name)), frozenset(wanted.extras)
        if (name, wanted_extras) in seen:
            continue
        seen.add((name, wanted_extras))
        if name == "multibox":
            todo += [Requirement(text) for extra in wanted_extras for text in extras[extra]]
            continue
        try:
            found[name] = distribution(name)
        except PackageNotFoundError:
            continue  # not needed on this system
        todo += _requirements(found[name], wanted_extras)
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


if __name__ == "__main__":
    for name, library in needed().items():
        print(f"| {name} | {re.sub(r' +', ' ', licence_of(library)) or '?'} |")
