"""What happens when nobody reads what a command says."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

TRAIN = """
from multibox.commands.console import console
from multibox.runs.display import TrainingDisplay
with TrainingDisplay(console) as display:
    for epoch in range(2000):
        display.line(f"epoch {epoch} " + "." * 200)
open(2, "w").write("done")
"""

PREDICT = """
from multibox.commands.console import console
console.is_all = True
while True:
    console.print("an image")
"""


def run_without_reader(code: str) -> tuple[int, str]:
    """The exit code and errors of a process whose reader takes a line and leaves."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", code], **pipes, text=True) as process:
        process.stdout.readline()
        process.stdout.close()
        errors = process.stderr.read()
        return process.wait(timeout=60), errors


@pytest.mark.skipif(os.name == "nt", reason="pipes break in another way there")
def test_a_training_goes_on_without_a_reader_and_says_so_once() -> None:
    code, errors = run_without_reader(TRAIN)
    assert errors == "Nobody reads the output any more; the work goes on.\ndone"
    assert code == 0


@pytest.mark.skipif(os.name == "nt", reason="pipes break in another way there")
def test_a_command_that_only_tells_ends_without_a_reader() -> None:
    assert run_without_reader(PREDICT) == (141, "")


STOPPED = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # which a parent in the background had taken away
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == {name!r}:
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Finder())
from multibox.__main__ import run
sys.argv = ["multibox", "doctor", "nowhere"]
sys.exit(run())
"""


@pytest.mark.skipif(os.name == "nt", reason="signals are other ones there")
@pytest.mark.parametrize("name", ["multibox.cli", "cyclopts", "rich.progress", "multibox.doctor.run", "numpy"])
def test_ctrl_c_while_it_starts_is_one_word(name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", STOPPED.format(name=name)], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (130, "Interrupted.\n")
