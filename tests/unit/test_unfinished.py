"""Rubbish of the dead, and files that are published together."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from multibox.locks import held
from multibox.unfinished import publish, tidy, unfinished, unfinished_folder

START = "import sys, os, signal; from pathlib import Path; folder = Path(sys.argv[1])\n"
DIE = "os.kill(os.getpid(), signal.SIGKILL)\n"


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def run(code: str, folder: Path) -> int:
    """The exit code of a process of its own that does this."""
    return subprocess.run([sys.executable, "-c", START + code, str(folder)], check=False, timeout=60).returncode


def test_nothing_unfinished_is_left_behind(tmp_path: Path) -> None:
    with unfinished(tmp_path, ".png") as path:
        path.touch()
        assert path.suffix == ".png"
        assert len(names(tmp_path)) == 2
    with unfinished_folder(tmp_path / "new") as folder:
        (folder / "inner").mkdir()
    assert names(tmp_path) == []


def test_what_the_living_hold_stays(tmp_path: Path) -> None:
    with unfinished(tmp_path) as path:
        path.touch()
        tidy(tmp_path, again=True)
        assert path.exists()


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="nothing ends a process at once here")
def test_what_the_dead_left_goes(tmp_path: Path) -> None:
    code = "from multibox.unfinished import unfinished, unfinished_folder\n"
    code += "with unfinished(folder, '.pth') as one, unfinished_folder(folder) as other:\n"
    code += "    one.touch(); (other / 'big').touch(); " + DIE
    assert run(code, tmp_path) == -signal.SIGKILL
    (tmp_path / ".0123456789ab.tmp.png").touch()  # of an older version, which had no locks
    (tmp_path / ".hidden").touch()
    (tmp_path / "a.tmp").touch()
    assert len(names(tmp_path)) == 7
    tidy(tmp_path, again=True)
    assert names(tmp_path) == [".hidden", "a.tmp"]


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="nothing ends a process at once here")
def test_a_lock_is_free_when_its_process_is_dead(tmp_path: Path) -> None:
    lock = tmp_path / ".lock"
    code = "from multibox.locks import held\nwith held(folder / '.lock') as mine:\n    assert mine; " + DIE
    assert run(code, tmp_path) == -signal.SIGKILL
    assert lock.exists()
    with held(lock) as mine:
        assert mine
        code = "from multibox.locks import held\nwith held(folder / '.lock') as mine: sys.exit(3 if mine else 4)"
        assert run(code, tmp_path) == 4
        with held(lock) as again:
            assert not again
    assert not lock.exists()


OLD = {"model.bin": "old", "model.xml": "old", "raw/model.xml": "old", "mine.txt": "mine"}
NEW = {"model.bin": "new", "model.xml": "new", "alt/model.bin": "new", "alt/model.xml": "new"}
AFTER = {**NEW, "mine.txt": "mine"}


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def contents(folder: Path) -> dict[str, str]:
    return {name: (folder / name).read_text() for name in names(folder) if not name.startswith(".")}


def publish_new(home: Path) -> None:
    with unfinished_folder(home) as staging:
        write(staging, NEW)
        publish(staging, [(staging / name, home / name) for name in NEW], outdated=[home / "raw/model.xml"])


def test_a_published_set_takes_the_place_of_the_one_before(tmp_path: Path) -> None:
    write(tmp_path, OLD)
    publish_new(tmp_path)
    assert contents(tmp_path) == AFTER
    assert names(tmp_path) == sorted(AFTER)


def test_a_set_that_cannot_be_published_leaves_the_one_before(tmp_path: Path) -> None:
    write(tmp_path, {**OLD, "alt/model.xml/in the way": "a folder"})
    (tmp_path / "alt/model.xml/in the way").unlink()
    before = contents(tmp_path)
    with pytest.raises(OSError, match=r"alt/model\.xml"):
        publish_new(tmp_path)
    assert contents(tmp_path) == before


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a process that dies is made by forking")
def test_killed_at_any_moment_a_set_is_old_or_new_after_the_next_look(tmp_path: Path) -> None:
    counts = []
    for moment in range(100):
        home = tmp_path / str(moment)
        write(home, OLD)
        status = _killed_before_operation(moment, home)
        found = contents(home)
        for xml in ("model.xml", "alt/model.xml"):  # an .xml never has another's .bin
            if xml in found:
                assert found[xml] == found[xml.replace(".xml", ".bin")]
        tidy(home, again=True)
        assert contents(home) in (OLD, AFTER)
        assert not [name for name in names(home) if name.startswith(".")]
        counts.append(contents(home) == OLD)
        if status == 0:
            break
    assert True in counts
    assert counts[-1] is False
    assert status == 0


def _killed_before_operation(number: int, home: Path) -> int:
    """Publish in a process of its own that dies before its operation `number` on files; its exit status."""
    child = os.fork()
    if child == 0:
        left = [number]

        def count(event: str, _: Sequence[object]) -> None:
            if event in {"os.rename", "os.remove", "os.mkdir", "os.rmdir"} or event == "open":
                if left[0] == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                left[0] -= 1

        sys.addaudithook(count)
        publish_new(home)
        os._exit(0)
    return os.waitpid(child, 0)[1]


@pytest.mark.parametrize("place", ["../outside", "/tmp/outside", "link/outside", "", "mine.txt", "a/../../outside"])
def test_a_plan_that_somebody_left_in_a_folder_changes_nothing_that_is_there(place: str, tmp_path: Path) -> None:
    home = tmp_path / "home"
    staging = home / ".0123456789ab.tmp"
    staging.mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    (home / "link").symlink_to(tmp_path / "elsewhere")
    mine = [tmp_path / "outside", tmp_path / "elsewhere/outside", home / "mine.txt"]
    for path in mine:
        path.write_text("mine")
    (staging / "new").write_text("evil")
    for away, files in (([], [["new", place]]), (["mine.txt", "../outside"], []), ([], [["../mine.txt", "taken"]])):
        staging.mkdir(exist_ok=True)
        (staging / "publishing.json").write_text(json.dumps({"away": away, "files": files}))
        tidy(home, again=True)
        assert [path.read_text() for path in mine] == ["mine"] * 3
        assert names(home) == ["mine.txt"]


def test_a_plan_takes_nothing_through_links(tmp_path: Path) -> None:
    home = tmp_path / "home"
    staging = home / ".0123456789ab.tmp"
    staging.mkdir(parents=True)
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret/0").write_text("mine")
    (staging / "before").symlink_to(tmp_path / "secret")
    (staging / "new").symlink_to(tmp_path / "secret/0")
    plan = {"away": ["a", "b"], "files": [["new", "c"]]}
    (staging / "publishing.json").write_text(json.dumps(plan))
    tidy(home, again=True)
    assert (tmp_path / "secret/0").read_text() == "mine"
    assert names(home) == []
