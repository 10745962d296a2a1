"""docs/photos_to_int8.ipynb: its cells run one after the other, on small data and with a training of seconds."""

from __future__ import annotations

import ast
import contextlib
import io
import json
from pathlib import Path
from typing import Any

import pytest

NOTEBOOK = Path(__file__).parents[2] / "docs" / "photos_to_int8.ipynb"

pytestmark = pytest.mark.e2e


def cells(kind: str) -> list[str]:
    content = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    return ["".join(cell["source"]) for cell in content["cells"] if cell["cell_type"] == kind]


def run_cell(source: str, names: dict[str, Any]) -> Any:
    """What a cell ends with, which a notebook would show; None if that is no value."""
    tree = ast.parse(source)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "cell", "exec"), names)
    return eval(compile(ast.Expression(last.value), "cell", "eval"), names) if isinstance(last, ast.Expr) else None


def test_it_is_kept_without_outputs_and_in_small() -> None:
    content = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    assert all(not cell.get("outputs") for cell in content["cells"])
    assert NOTEBOOK.stat().st_size < 20_000


def test_its_pages_are_there() -> None:
    pages = [part.split(")")[0] for text in cells("markdown") for part in text.split("](")[1:]]
    assert pages and all((NOTEBOOK.parent / page).is_file() for page in pages)


def test_the_cells_run_one_after_the_other(
    shapes_data: Any, tiny_template_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    first, *others = cells("code")
    names: dict[str, Any] = {}
    run_cell(first, names)
    names["PHOTOS"] = str(shapes_data.train_root.parent)
    names["TRAINING"] = {"epochs": 1, "model": str(tiny_template_file), "load_weights": "random", "device": "cpu"}
    names["INT8"]["method"] = "ptq"
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        shown = [value for cell in others if (value := run_cell(cell, names)) is not None]

    assert (tmp_path / "runs").is_dir() and names["exported"].parity.passed
    assert [type(value).__name__ for value in shown] == ["DataFrame", "Detections", "DataFrame", "Detections"]
    assert all("<img" in value._repr_html_() for value in (shown[1], shown[3]))
    assert "within the budget:" in printed.getvalue() and "report.html" in printed.getvalue()
