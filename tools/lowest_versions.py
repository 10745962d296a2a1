"""Print the oldest version of each library that pyproject.toml lets in, as constraints for pip: `make test-lowest`."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]

DEVELOPERS = {"dev", "docs"}
"""Extras whose tools are taken as new as they come."""


def lowest_versions(pyproject: str) -> dict[str, str]:
    """The lower bound of each requirement in the text of a pyproject.toml, by the library's name."""
    project = tomllib.loads(pyproject)["project"]
    extras = project["optional-dependencies"]
    wanted = [
        *project["dependencies"],
        *(text for extra, texts in extras.items() if extra not in DEVELOPERS for text in texts),
    ]
    found = (re.match(r"([A-Za-z0-9._-]+)(?:\[\w+\])?>=([0-9.]+)", text) for text in wanted)
    return {match[1]: match[2] for match in found if match}


if __name__ == "__main__":
    for name, version in lowest_versions((ROOT / "pyproject.toml").read_text(encoding="utf-8")).items():
        # The latest fix of the oldest: a first release may lack a wheel, as numpy 1.26.0 does for Python 3.12.
        print(f"{name}~={version}.0" if version.count(".") == 1 else f"{name}=={version}")
