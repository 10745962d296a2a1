"""Every library that multibox needs and every weight that it ships is listed with its licence, and is free to use."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tools import libraries

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/licences.md").read_text(encoding="utf-8")

FREE = {
    *("0BSD", "Apache-2.0", "BSD", "BSD-2-Clause", "BSD-3-Clause", "BSL-1.0", "CC0-1.0", "HPND", "MIT", "MIT-CMU"),
    *("LLVM-exception", "MPL-2.0", "PSF-2.0", "Python-2.0", "Unlicense", "Zlib"),
}
"""Licences that let anybody use a library in a product of any kind."""

OF_CARDS = ("cuda-", "nvidia-", "triton")
"""How the names of libraries begin that only PyTorch's builds for NVIDIA's cards need; the page says so of them all."""


@pytest.fixture(scope="module")
def needed():
    """What multibox needs on any machine, in the versions that the page lists."""
    pinned = dict(re.findall(r"^([\w.-]+)==([\w.]+)$", (ROOT / "constraints.txt").read_text("utf-8"), re.MULTILINE))
    found = libraries.needed()
    if any(name in pinned and library.version.split("+")[0] != pinned[name] for name, library in found.items()):
        pytest.skip("other versions of libraries than those in constraints.txt, which the page lists")
    return {name: library for name, library in found.items() if not name.startswith(OF_CARDS)}


def test_every_library_is_listed(needed):
    assert [name for name in needed if f"| {name} |" not in PAGE] == []


def test_every_library_may_be_used_freely(needed):
    stated = {name: libraries.licence_of(library) for name, library in needed.items()}
    identifiers = {name: set(re.split(r" AND | OR | WITH |[()]", licence)) - {""} for name, licence in stated.items()}
    assert {name: stated[name] for name, found in identifiers.items() if not found or found - FREE} == {}


def test_every_weight_is_listed_with_its_origin_and_licence():
    files = {path.stem for path in (ROOT / "src/multibox/weights/bundled_files").glob("*.safetensors")}
    listed = re.findall(r"^\| (`.*?) \| .+ \| Apache-2.0 \|$", PAGE, re.MULTILINE)
    assert {name for row in listed for name in re.findall(r"`(.+?)`", row)} == files
