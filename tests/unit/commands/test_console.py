"""What a console shows: details if they are wanted, commands that can be pasted; and what happens without a reader."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from multibox.commands.console import begin, console, say, say_command, training_display
from multibox.wording import Detailed

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


def test_details_are_said_to_whoever_asks_for_them(capsys, monkeypatch):
    monkeypatch.setattr(console, "has_details", False)
    line, detail = Detailed("AP 0.5 in 3 seconds", brief="AP 0.5"), Detailed("3 threads")
    for is_wanted in (False, True):
        begin(verbose=is_wanted)
        say(line)
        training_display().line(detail)
    brief, versions, *details = capsys.readouterr().out.splitlines()
    assert (brief, details) == ("AP 0.5", ["AP 0.5 in 3 seconds", "3 threads"])
    assert versions.startswith("multibox ")


@pytest.mark.parametrize("width", [30, 80, 140])
def test_a_command_is_pasted_from_one_line_and_sentences_break_between_words(width, capsys, monkeypatch):
    monkeypatch.setattr(console, "_force_terminal", True)
    monkeypatch.setattr(console, "_width", width)
    command = "multibox export '/some/where/runs/my photos of many cats/compressed'"
    sentence = "Weights: '/some/where/runs/my photos/best.pth'. " + "Then another sentence follows. " * 5
    say(sentence)
    say_command(command)
    *lines, last = capsys.readouterr().out.splitlines()
    assert last == f"  {command}"
    assert " ".join(lines) == sentence.strip()
    assert max(map(len, lines)) <= max(width, len("'/some/where/runs/my photos/best.pth'."))


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
