"""Types are worked out by one thread at a time."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import multibox

SLOW_TYPE = """
from __future__ import annotations
import threading
import time
import msgspec
from multibox.prepared import prepared

def slow():
    time.sleep(0.2)  # other threads go on here, as they may whenever Python runs
    return int

class Part(msgspec.Struct):
    number: slow()

class Row(msgspec.Struct):
    part: Part

def read():
    found.append(msgspec.convert({"part": {"number": 3}}, prepared(Row)).part.number)

found = []
threads = [threading.Thread(target=read) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert found == [3] * 4, found
"""

WITHOUT_FIELDS = {"Side", "LevelAnchors", "dict", "tuple"}
"""Kinds of which msgspec keeps nothing worked out."""


def test_threads_that_meet_a_type_at_once_all_read_it():
    done = subprocess.run([sys.executable, "-c", SLOW_TYPE], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def test_every_type_that_msgspec_reads_is_prepared():
    bare = []
    for path in sorted(Path(multibox.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            kind = _kind_that_is_read(node)
            if kind is not None and not kind.startswith("prepared(") and kind.partition("[")[0] not in WITHOUT_FIELDS:
                bare.append(f"{path.name}: {kind}")
    assert bare == []


def _kind_that_is_read(node: ast.AST) -> str | None:
    """The type that a call of msgspec reads, as it is written; None if this is no such call, or of any type."""
    if not isinstance(node, ast.Call):
        return None
    name = ast.unparse(node.func)
    if name == "msgspec.convert":
        return ast.unparse(node.args[1])
    if name.startswith("msgspec.") and name.endswith((".decode", ".Decoder")):
        kinds = [ast.unparse(keyword.value) for keyword in node.keywords if keyword.arg == "type"]
        return kinds[0] if kinds else None
    return None
