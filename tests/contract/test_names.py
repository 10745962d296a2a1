"""A name stands for one thing: whoever searches for it finds one home."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from pathlib import Path

import multibox

PACKAGE = Path(multibox.__file__).parent


def test_no_public_function_or_class_has_the_name_of_another():
    homes: dict[str, set[str]] = defaultdict(set)
    for path in PACKAGE.rglob("*.py"):
        # A command is called like the room that does it.
        if path.parent.name == "commands":
            continue
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
                homes[node.name].add(path.relative_to(PACKAGE).as_posix())
    assert {name: files for name, files in homes.items() if len(files) > 1} == {}


def test_no_docstring_leans_on_the_one_before():
    leaning = [
        f"{path.relative_to(PACKAGE)}: {line.strip()}"
        for path in PACKAGE.rglob("*.py")
        for line in path.read_text(encoding="utf-8").splitlines()
        if re.match(r'\s*"""(The same\b|Like the one|As above|Ditto)', line)
    ]
    assert leaning == []
