"""Every library that multibox needs and every weight that it ships is listed with its licence, and is free to use."""

from __future__ import annotations

import re
from pathlib import Path

from tools import libraries

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/licences.md").read_text(encoding="utf-8")

FREE = {
    *("0BSD", "Apache-2.0", "BSD", "BSD-2-Clause", "BSD-3-Clause", "BSL-1.0", "CC0-1.0", "HPND", "MIT", "MIT-CMU"),
    *("LLVM-exception", "MPL-2.0", "PSF-2.0", "Python-2.0", "Unlicense", "Zlib"),
}
"""Licences that let anybody use a library in a product of any kind."""


def test_every_library_is_listed():
    assert [name for name in libraries.needed() if f"| {name} |" not in PAGE] == []


def test_every_library_may_be_used_freely():
    stated = {name: libraries.licence_of(library) for name, library in libraries.needed().items()}
    identifiers = {name: set(re.split(r" AND | OR | WITH |[()]", licence)) - {""} for name, licence in stated.items()}
    assert {name: stated[name] for name, found in identifiers.items() if not found or found - FREE} == {}


def test_every_weight_is_listed_with_its_origin_and_licence():
    files = {path.stem for path in (ROOT / "src/multibox/weights/bundled_files").glob("*.safetensors")}
    listed = re.findall(r"^\| (`.*?) \| .+ \| Apache-2.0 \|$", PAGE, re.MULTILINE)
    assert {name for row in listed for name in re.findall(r"`(.+?)`", row)} == files
