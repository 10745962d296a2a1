"""The folder of a run: whose files stay where they are, and whose make room."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from multibox.errors import OptionError
from multibox.locks import held
from multibox.train import folder as folders
from multibox.train.folder import check_folder, run_folder

FILES = ("best.pth", "evaluation.json", "latest.pth", "metrics.jsonl", "template.yaml")


def write_run(folder: Path, run: str | None, *, names: Sequence[str] = FILES) -> None:
    """The files of a run, each of which says whose it is."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_text(f"{name} of {run}")
    if run is not None:
        (folder / "run.json").write_text(json.dumps({"run": run}))


def contents(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): path.read_text()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".training.lock"
    }


@contextmanager
def entered(folder: Path, run: str, resumed_from: Path | None = None):
    said: list[str] = []
    is_resumed = resumed_from is not None
    with run_folder(folder, run=run, resumed_from=resumed_from, is_resumed=is_resumed, say=said.append):
        yield said


def test_a_new_run_finds_an_empty_folder_and_nothing_of_the_earlier_one_is_lost(tmp_path: Path) -> None:
    write_run(tmp_path, "first")
    (tmp_path / "tf_logs").mkdir()
    (tmp_path / "tf_logs/events").write_text("events of first")
    (tmp_path / "notes.txt").write_text("mine")
    before = contents(tmp_path)
    with entered(tmp_path, "second") as said:
        assert contents(tmp_path) == {"notes.txt": "mine"} | {
            f"earlier-1/{name}": text for name, text in before.items() if name != "notes.txt"
        }
        assert said == [f"{tmp_path} holds an earlier run. It is in {tmp_path / 'earlier-1'} now."]
    write_run(tmp_path, "second")
    with entered(tmp_path, "third"):
        assert (tmp_path / "earlier-2/best.pth").read_text() == "best.pth of second"
    assert not (tmp_path / ".training.lock").exists()


def test_a_run_that_saved_nothing_leaves_nothing_to_keep(tmp_path: Path) -> None:
    write_run(tmp_path, "first", names=["metrics.jsonl", "template.yaml"])
    with entered(tmp_path, "second") as said:
        assert set(contents(tmp_path)) == {"template.yaml", "run.json"}
        assert said == []


def test_a_run_that_is_resumed_finds_everything_as_it_left_it(tmp_path: Path) -> None:
    for run in ("first", None):  # None: from before runs had ids
        folder = tmp_path / str(run)
        write_run(folder, run)
        before = contents(folder)
        with entered(folder, "first", folder / "latest.pth") as said:
            assert contents(folder) == before
            assert said == []


def test_a_run_that_goes_on_elsewhere_takes_its_best_weights_and_its_log_along(tmp_path: Path) -> None:
    write_run(tmp_path / "old", "first")
    write_run(tmp_path / "new", "another")
    before = contents(tmp_path / "old")
    with entered(tmp_path / "new", "first", tmp_path / "old/latest.pth"):
        here = contents(tmp_path / "new")
    assert contents(tmp_path / "old") == before
    assert {name for name in here if "/" not in name} == {"best.pth", "evaluation.json", "metrics.jsonl"}
    assert here["best.pth"] == "best.pth of first"
    assert here["earlier-1/best.pth"] == "best.pth of another"


def test_a_checkpoint_alone_brings_nothing_of_another_run_along(tmp_path: Path) -> None:
    write_run(tmp_path / "old", "another")
    with entered(tmp_path / "new", "first", tmp_path / "old/latest.pth"):
        assert contents(tmp_path / "new") == {}


@pytest.mark.parametrize("name", ["template.yaml", "best.pth", "latest.pth", "metrics.jsonl", "evaluation.json"])
def test_files_that_no_run_left_are_not_touched(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("mine")
    for enter in (
        lambda: check_folder(tmp_path, read=[], resumed_from=None),
        lambda: entered(tmp_path, "first").__enter__(),
    ):
        with pytest.raises(OptionError, match=f"{name} is there, and not from this command; it is not replaced"):
            enter()
    assert contents(tmp_path) == {name: "mine"}


@pytest.mark.parametrize("name", ["template.yaml", "best.pth", "latest.pth"])
def test_what_a_training_reads_does_not_make_room_for_it(name: str, tmp_path: Path) -> None:
    write_run(tmp_path, "first")
    (tmp_path / "link").symlink_to(tmp_path / name)
    check_folder(tmp_path, read=[tmp_path / "elsewhere.pth"], resumed_from=None)
    for read in (tmp_path / name, tmp_path / "link"):
        with pytest.raises(OptionError, match="--save-checkpoints-to: this would write over"):
            check_folder(tmp_path, read=[read], resumed_from=None)
    check_folder(tmp_path, read=[tmp_path / name], resumed_from=tmp_path / "latest.pth")


def test_two_runs_never_share_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folders, "PATIENCE_S", 0)
    with entered(tmp_path, "first"):
        for enter in (
            lambda: check_folder(tmp_path, read=[], resumed_from=None),
            lambda: entered(tmp_path, "second").__enter__(),
            lambda: entered(tmp_path, "first", tmp_path / "latest.pth").__enter__(),
        ):
            with pytest.raises(OptionError, match="another training is writing there"):
                enter()
    check_folder(tmp_path, read=[], resumed_from=None)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="nothing ends a process at once here")
def test_a_dead_run_holds_no_folder(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys; from pathlib import Path; from multibox.train.folder import run_folder\n"
        "with run_folder(Path(sys.argv[1]), run='first', resumed_from=None, is_resumed=False, say=print):\n"
        "    os.kill(os.getpid(), signal.SIGKILL)"
    )
    killed = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False, timeout=100)
    assert killed.returncode == -signal.SIGKILL
    assert (tmp_path / ".training.lock").exists()
    with entered(tmp_path, "second"), held(tmp_path / ".training.lock") as is_free:
        assert not is_free
    assert list(tmp_path.iterdir()) == []


class _KilledError(BaseException):
    """The process dies here."""


@pytest.mark.parametrize("is_resumed", [True, False])
def test_a_move_that_was_killed_at_any_moment_is_undone_or_finished(
    is_resumed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Path.replace
    for moment in range(len(FILES) + 2):
        home = tmp_path / str(moment)
        write_run(home, "first")
        before = contents(home)
        left = [moment]

        def die_at(path: Path, target: Path, left: list[int] = left) -> Path:
            if left[0] == 0:
                raise _KilledError
            left[0] -= 1
            return whole(path, target)

        monkeypatch.setattr(Path, "replace", die_at)
        try:
            with entered(home, "second"):
                pass
        except _KilledError:
            pass
        monkeypatch.setattr(Path, "replace", whole)
        assert sorted(contents(home).values()) == sorted(before.values())
        if is_resumed and (home / "run.json").exists():
            with entered(home, "first", home / "latest.pth"):
                assert contents(home) == before
        else:
            with entered(home, "second"):
                assert contents(home) == {f"earlier-1/{name}": text for name, text in before.items()}
    assert os.listdir(home) == ["earlier-1"]  # noqa: PTH208
