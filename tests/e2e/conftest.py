"""Running the command as a user does, in a process of its own or, to spare seconds of importing, in this one."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from multibox import config

Run = Callable[..., subprocess.CompletedProcess[str]]

# Results must not depend on how many processors a machine has.
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"}

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
ARGUMENTS = [
    *("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
    # A camera that shows a pattern, and that a page may use without asking.
    *("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"),
]


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Chromium without a window, once for all tests; as long as it runs, `asyncio.run` needs another thread."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    executable = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    with playwright.sync_playwright() as running:
        if executable is None and not Path(running.chromium.executable_path).exists():
            pytest.skip(f"there is no Chromium: none of {', '.join(BROWSERS)}, nor playwright's own")
        chromium = running.chromium.launch(executable_path=executable, args=ARGUMENTS)
        yield chromium
        chromium.close()


@pytest.fixture
def multibox_process() -> Run:
    """`multibox ARGUMENTS...` in a process of its own; the finished process, whatever its exit code."""

    def run(*arguments: Any, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-W", "ignore", "-m", "multibox", *map(str, arguments)]
        return subprocess.run(
            command, cwd=cwd, env=ENVIRONMENT, capture_output=True, text=True, timeout=900, check=False
        )

    return run


@pytest.fixture
def multibox(monkeypatch: pytest.MonkeyPatch) -> Run:
    """`multibox` in this process, for tests of what a command says and writes: it spares an interpreter each time."""
    from multibox.commands import console

    monkeypatch.setattr(console.console, "width", int(ENVIRONMENT["COLUMNS"]))

    def run(*arguments: Any, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        with contextlib.chdir(cwd or Path.cwd()), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of libraries, as for a user
            return run_here(*arguments)

    return run


@pytest.fixture
def train_arguments(shapes_data: Any, tiny_template_file: Path) -> list[str]:
    """Options of a short training on the shapes, without the folder for its checkpoints."""
    return [
        *("train", "--config", str(tiny_template_file), "--device", "cpu", "--load-weights", "random"),
        *("--train-ann-files", str(shapes_data.train_file), "--train-data-roots", str(shapes_data.train_root)),
        *("--val-ann-files", str(shapes_data.val_file), "--val-data-roots", str(shapes_data.val_root)),
    ]


@pytest.fixture(scope="session")
def trained(shapes_data: Any, tiny_template_file: Path, once: Any) -> Path:
    """A checkpoint that finds most shapes, in a folder with a blank in its name."""

    def train(output: Path) -> None:
        done = run_here(
            *("train", "--config", tiny_template_file, "--device", "cpu", "--load-weights", "random"),
            *("--train-ann-files", shapes_data.train_file, "--train-data-roots", shapes_data.train_root),
            *("--val-ann-files", shapes_data.val_file, "--val-data-roots", shapes_data.val_root),
            *("--save-checkpoints-to", output, "--epochs", "30", "--base-learning-rate", "0.05"),
        )
        assert done.returncode == 0, done.stderr

    return once("trained model", train) / "latest.pth"


@pytest.fixture(scope="session")
def trained_yolox(shapes_data: Any, tiny_yolox_file: Path, once: Any) -> Path:
    """As `trained`, of YOLOX-Nano, from the COCO weights that come with the package."""

    def train(output: Path) -> None:
        template = config.changed(config.load_template(tiny_yolox_file), {"train.schedule.min_steps_per_epoch": 60})
        (output / "work.yaml").write_text(config.dump(template), encoding="utf-8")
        done = run_here(
            *("train", "--config", output / "work.yaml", "--device", "cpu", "--save-checkpoints-to", output),
            *("--train-ann-files", shapes_data.train_file, "--train-data-roots", shapes_data.train_root),
            *("--val-ann-files", shapes_data.val_file, "--val-data-roots", shapes_data.val_root),
        )
        assert done.returncode == 0, done.stderr
        assert "Starting from the pretrained weights that come with multibox." in done.stdout

    return once("trained YOLOX", train) / "latest.pth"


def run_here(*arguments: Any) -> subprocess.CompletedProcess[str]:
    """`multibox ARGUMENTS...` in this process, for tests that are about what it does and not about its process."""
    from multibox.cli import main

    words = list(map(str, arguments))
    said, complained = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(complained):
        code = main(words)
    return subprocess.CompletedProcess(words, code, said.getvalue(), complained.getvalue())


def files_below(folder: Path) -> set[str]:
    """All files of a folder and those in it, as paths from there."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
