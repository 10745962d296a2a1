"""docs/tutorial.md: every command in it, in order, on the toy set with a small network and a short training."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
SHORTER = {"--time-budget 6": "--epochs 1", "--seconds 10": "--seconds 0.5"}


def commands() -> str:
    text = "\n".join(re.findall(r"^```bash\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE))
    for long, short in SHORTER.items():
        assert long in text
        text = text.replace(long, short)
    # The doctor's exit code tells what it found.
    return re.sub(r"^(multibox doctor .*)$", r"\1 || test $? -eq 1", text, flags=re.MULTILINE)


@pytest.mark.e2e
@pytest.mark.skipif(os.name == "nt", reason="the commands are for bash")
def test_every_command_of_the_tutorial_runs_and_leaves_what_the_page_says(tmp_path, tiny_template_file):
    (tmp_path / "data").mkdir()
    shutil.copytree(ROOT / "data" / "airport", tmp_path / "data" / "airport")
    program = tmp_path / "bin" / "multibox"
    program.parent.mkdir()
    # Files of weights are not asked for over a network; the template is that of a small network.
    lines = [
        "#!/bin/bash",
        'if [ "$1" = new ]; then set -- "$@" --offline; fi',
        f'"{sys.executable}" -W ignore -m multibox "$@"',
        "code=$?",
        f'if [ "$1" = new ]; then cp "{tiny_template_file}" "$3/template.yaml"; fi',
        "exit $code",
    ]
    program.write_text("\n".join(lines) + "\n")
    program.chmod(0o755)
    environment = os.environ | {"PATH": f"{program.parent}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        ["bash", "-e", "-c", commands()],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    work = tmp_path / "my_model"
    named = {
        *("outputs/best.pth", "metrics.yaml", "predicted.json", "export/model.xml", "export/export.md"),
        *("compressed/latest.pth", "export_int8/model.xml", "report.html"),
    }
    assert [name for name in named if not (work / name).is_file()] == []
    assert [name for name in named if name not in PAGE] == []
    assert len(list((work / "predicted").rglob("*.jpg"))) == 16
    assert (tmp_path / "samples.jpg").is_file()
