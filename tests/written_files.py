"""docs/reference/files.md against the files themselves."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import yaml

PAGE = Path(__file__).parents[1] / "docs/reference/files.md"


def assert_as_documented(file: Path, title: str) -> None:
    """Each key of a file, or one that it lies in, is in this section of the page; and the page names no other."""
    text = file.read_text(encoding="utf-8")
    if file.suffix == ".jsonl":
        content: Any = [json.loads(line) for line in text.splitlines()]
        found = {path.removeprefix("[].") for path in _paths(content)}
    else:
        content = json.loads(text) if file.suffix == ".json" else yaml.safe_load(text)
        found = _paths(content)
    documented = _documented(title)
    assert documented, f"{PAGE.name} has no section {title!r} with keys"
    # A part that is null has none of its keys.
    unknown = {path for path in found if not any(_lies_in(path, key) or _lies_in(key, path) for key in documented)}
    assert not unknown, f"{file.name} has keys that {PAGE.name} does not explain: {sorted(unknown)}"
    absent = {key for key in documented if not any(_lies_in(path, key) for path in found)}
    assert not absent, f"{PAGE.name} explains keys that {file.name} does not have: {sorted(absent)}"


def _documented(title: str) -> set[str]:
    section = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    assert section is not None, title
    # A second table explains what lies in some of the keys.
    table = re.search(r"^\| Key .*?(?=\n\n|\Z)", section[1], re.DOTALL | re.MULTILINE)
    assert table is not None, title
    return {key for row in table[0].splitlines()[2:] for key in re.findall(r"`([^`]+)`", row.split("|")[1])}


def _paths(value: Any, prefix: str = "") -> set[str]:
    """All keys: `a.b` of a dictionary in one, `rows[].a` of one in a list."""
    if isinstance(value, dict):
        below = {key: _paths(part, f"{prefix}.{key}" if prefix else str(key)) for key, part in value.items()}
        return {path for paths in below.values() for path in paths} or {prefix}
    if isinstance(value, list):
        return {path for part in value for path in _paths(part, f"{prefix}[]")} or {prefix}
    return {prefix}


def _lies_in(path: str, key: str) -> bool:
    return path == key or path.startswith((f"{key}.", f"{key}[]"))
