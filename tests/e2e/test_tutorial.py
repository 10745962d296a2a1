"""docs/tutorial.md: every command in it, in order, on the toy set with a small network and a short training."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest

from multibox.cli import main
from multibox.doctor import model_fit

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
SHORTER = {"--minutes 8": "--epochs 1 --model tiny.yaml", "multibox compress": "multibox compress --max-drop 100"}


def blocks() -> list[str]:
    """The blocks of commands of the page."""
    return re.findall(r"^```bash\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


def commands() -> list[list[str]]:
    """The words of each command of the page, shortened."""
    text = "\n".join(blocks())
    for long, short in SHORTER.items():
        assert long in text
        text = text.replace(long, short)
    return [shlex.split(line) for line in text.replace("\\\n", " ").splitlines() if line]


def run(words: list[str]) -> None:
    """What a shell would do, in this process."""
    match words:
        case ["cp", "-r", source, target]:
            shutil.copytree(source, target)
        case ["multibox", name, *rest]:
            assert main([name, *rest]) == 0, words
        case _:
            raise AssertionError(f"The page has a command that this test does not know: {words}")


@pytest.mark.e2e
@pytest.mark.filterwarnings("ignore")  # of libraries, as for a user
def test_every_command_of_the_tutorial_runs_and_leaves_what_the_page_says(tmp_path, tiny_template_file, monkeypatch):
    import torch

    torch.set_num_threads(1)  # two that wait for each other take ten times as long on a busy machine
    (tmp_path / "data").mkdir()
    shutil.copytree(ROOT / "data" / "airport", tmp_path / "data" / "airport")
    shutil.copy(tiny_template_file, tmp_path / "tiny.yaml")
    monkeypatch.chdir(tmp_path)
    # The doctor measures the speed of the advised size; here, with as few images as it can.
    monkeypatch.setattr(model_fit, "TIMED_STEPS", 3)
    monkeypatch.setattr(model_fit, "TIMED_BATCH", 2)
    for words in commands():
        run(words)
    named = {
        *("best.pth", "metrics.yaml", "export/model.xml", "export/export.md", "compressed/latest.pth"),
        *("export_int8/model.xml", "report.html"),
    }
    assert [name for name in named if not (tmp_path / "runs/my_photos" / name).is_file()] == []
    assert [name for name in named if f"runs/my_photos/{name}" not in PAGE] == []
    assert len(list((tmp_path / "runs/my_photos/predictions/val").rglob("*.jpg"))) == 16
    assert (tmp_path / "samples.jpg").is_file()


def test_each_output_on_the_page_names_a_command_of_the_page():
    typed = {line for block in blocks() for line in block.splitlines()}
    outputs = re.findall(r"^<!-- output: ([^\n]+) -->\n```\n.*?^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert len(outputs) + len(blocks()) == PAGE.count("```") // 2
    assert [command for command in outputs if command not in typed] == []
