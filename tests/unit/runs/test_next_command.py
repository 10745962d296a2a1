"""The next command can be pasted where the user stands, whatever the folders are called."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from multibox.runs.finding import find_model
from multibox.runs.next_command import NEXT, next_command, next_step_of
from multibox.runs.run import Run
from tests.unit.runs.conftest import make_run


@pytest.mark.parametrize("place", [".", "runs", "runs/my first run", "some/where/else"])
def test_it_names_the_run_unless_the_command_finds_it(at_work, monkeypatch, place):
    home = at_work.resolve()
    make_run(Path("runs/my first run"))
    (home / "some/where/else").mkdir(parents=True)
    run = Run(home / "runs/my first run")
    monkeypatch.chdir(home / place)
    words = shlex.split(next_command("eval", run))
    assert words[:2] == ["multibox", "eval"]
    found = find_model(words[2] if len(words) > 2 else None)
    assert found.run is not None and found.run.folder.resolve() == run.folder
    assert (len(words) == 2) == (place in {".", "runs/my first run"})


def test_every_command_that_ends_with_another_one_says_what_for(at_work):
    make_run(Path("runs/my first run"))
    for command in NEXT:
        words, line = next_step_of(Run(Path("runs/my first run")), command)
        assert words.startswith("Next, ") and words.endswith(":")
        assert shlex.split(line)[0] == "multibox"


def test_what_is_done_already_is_not_named_again(at_work):
    make_run(Path("runs/my first run"))
    run = Run(Path("runs/my first run"))
    named = []
    for done in (None, "export", "compressed"):
        if done:
            (run.folder / done).mkdir()
        named.append(next_step_of(run, "eval")[1])
    assert named == ["multibox export", "multibox compress", "multibox report"]
