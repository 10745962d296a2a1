"""ARCHITECTURE.md names what is there, and all of it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src/multibox"
PAGE = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")


def test_every_room_and_every_file_of_the_hall_is_on_the_page():
    rooms = {f"`{path.name}/`" for path in PACKAGE.iterdir() if (path / "__init__.py").exists()}
    hall = {f"`{path.name}`" for path in PACKAGE.glob("*.py") if path.stem not in {"__init__", "__main__", "cli"}}
    assert {name for name in rooms | hall if name not in PAGE} == set()


def test_every_file_that_the_page_names_exists():
    named = set(re.findall(r"`([a-z]+/[a-z_0-9]+\.py)`", PAGE))
    assert len(named) > 10
    assert {name for name in named if not (PACKAGE / name).exists()} == set()


def test_every_step_of_the_data_flow_is_a_module():
    flow = PAGE.split("```")[3]
    named = {name.partition(".")[0] for name in re.findall(r"\b([a-z]+/[a-z_]+(?:\.\w+)?)", flow)}
    assert len(named) > 15
    assert {name for name in named if not (PACKAGE / f"{name}.py").exists()} == set()


def test_the_page_is_one_page():
    assert len(PAGE.splitlines()) <= 120


def test_what_a_command_calls_is_the_run_of_a_room_with_its_name():
    for room in ("doctor", "report", "compress", "demo", "train", "export", "predict", "evaluate"):
        source = (PACKAGE / room / "run.py").read_text(encoding="utf-8")
        assert re.search(rf"^def {room}\(", source, re.MULTILINE), room


def test_nothing_calls_the_conversion_that_reports_to_its_makers():
    # OpenVINO's own conversion sends a message for each network, from a process that it starts; a script without a
    # main guard would begin again in that process. `model/openvino_layers.py` does without, and the program does not
    # even import it.
    names = ("convert_model", "openvino.tools")
    users = [path.name for path in PACKAGE.rglob("*.py") for name in names if name in path.read_text(encoding="utf-8")]
    assert users == ["__main__.py"]


def test_the_program_leaves_out_the_conversion():
    code = "import sys; sys.argv[1:] = ['--version']; from multibox.__main__ import run; run(); import openvino"
    code += "; print(hasattr(openvino, 'convert_model'), openvino.Core().available_devices)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1].startswith("False ['CPU'")
