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
SHORTER = {"--time-budget 6": "--epochs 1", "--seconds 10": "--seconds 0.2"}


def commands() -> list[list[str]]:
    """The words of each command of the page, shortened."""
    text = "\n".join(re.findall(r"^```bash\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE))
    for long, short in SHORTER.items():
        assert long in text
        text = text.replace(long, short)
    return [shlex.split(line) for line in text.replace("\\\n", " ").splitlines() if line]


def run(words: list[str], monkeypatch: pytest.MonkeyPatch, template_file: Path) -> None:
    """What a shell would do, in this process; files of weights are not asked for over a network."""
    match words:
        case ["cp", "-r", source, target]:
            shutil.copytree(source, target)
        case ["cd", folder]:
            monkeypatch.chdir(folder)
        case ["multibox", "new", *rest]:
            assert main(["new", *rest, "--offline"]) == 0
            # The rest of the page works with a small network.
            shutil.copy(template_file, Path(rest[1]) / "template.yaml")
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
    monkeypatch.chdir(tmp_path)
    # The doctor measures the speed of the advised size; here, with as few images as it can.
    monkeypatch.setattr(model_fit, "TIMED_STEPS", 3)
    monkeypatch.setattr(model_fit, "TIMED_BATCH", 2)
    for words in commands():
        run(words, monkeypatch, tiny_template_file)
    work = tmp_path / "my_model"
    named = {
        *("outputs/best.pth", "metrics.yaml", "predicted.json", "export/model.xml", "export/export.md"),
        *("compressed/latest.pth", "export_int8/model.xml", "report.html"),
    }
    assert [name for name in named if not (work / name).is_file()] == []
    assert [name for name in named if name not in PAGE] == []
    assert len(list((work / "predicted").rglob("*.jpg"))) == 16
    assert (tmp_path / "samples.jpg").is_file()
