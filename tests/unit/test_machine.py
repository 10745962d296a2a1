"""What the system says of itself, and what a container says of what it allows."""

from __future__ import annotations

import json
import os
import platform
import sys
from pathlib import Path

import pytest

import multibox
from multibox import __version__, machine
from multibox.machine import provenance

MIB = 1 << 20


def test_this_machine_has_free_memory() -> None:
    assert machine.free_memory_bytes() > 16 * MIB


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A made-up machine with 8 GiB available; its files are in the returned folder."""
    (tmp_path / "meminfo").write_text("MemTotal:       16777216 kB\nMemAvailable:    8388608 kB\n")
    (tmp_path / "fs").mkdir()
    monkeypatch.setattr(machine, "MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(machine, "OWN_CGROUP", tmp_path / "cgroup")
    monkeypatch.setattr(machine, "CGROUP_ROOT", tmp_path / "fs")
    return tmp_path


def test_without_a_container_all_available_memory_is_free(system: Path) -> None:
    assert machine.free_memory_bytes() == 8192 * MIB


def test_a_container_limit_counts_with_cached_files_as_free(system: Path) -> None:
    (system / "cgroup").write_text("0::/job/one\n")
    folder = system / "fs" / "job" / "one"
    folder.mkdir(parents=True)
    (folder / "memory.max").write_text(f"{1000 * MIB}\n")
    (folder / "memory.current").write_text(f"{700 * MIB}\n")
    (folder / "memory.stat").write_text(f"anon {500 * MIB}\ninactive_file {200 * MIB}\n")

    assert machine.free_memory_bytes() == 500 * MIB  # 1000 - 700 + 200


def test_the_tightest_limit_around_a_container_counts(system: Path) -> None:
    (system / "cgroup").write_text("0::/job/one\n")
    (system / "fs" / "job" / "one").mkdir(parents=True)
    for folder, limit in ((system / "fs" / "job" / "one", "max"), (system / "fs" / "job", str(300 * MIB))):
        (folder / "memory.max").write_text(f"{limit}\n")
        (folder / "memory.current").write_text(f"{100 * MIB}\n")

    assert machine.free_memory_bytes() == 200 * MIB


def test_containers_of_the_older_kind_are_understood_even_under_another_path(system: Path) -> None:
    (system / "cgroup").write_text("9:name=systemd:/\n4:cpu,memory:/host/path/unknown/here\n")
    folder = system / "fs" / "memory"
    folder.mkdir()
    (folder / "memory.limit_in_bytes").write_text(f"{400 * MIB}\n")
    (folder / "memory.usage_in_bytes").write_text(f"{150 * MIB}\n")

    assert machine.free_memory_bytes() == 250 * MIB


def test_a_full_container_has_no_free_memory(system: Path) -> None:
    (system / "cgroup").write_text("0::/\n")
    (system / "fs" / "memory.max").write_text("100\n")
    (system / "fs" / "memory.current").write_text("150\n")

    assert machine.free_memory_bytes() == 0


def test_a_system_that_tells_nothing_gets_a_modest_guess(system: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (system / "meminfo").unlink()
    monkeypatch.setitem(sys.modules, "psutil", None)  # as if it were not installed

    assert machine.free_memory_bytes() == 1024 * MIB


@pytest.fixture
def eight_cores(system: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The made-up machine, on which this process may run on eight cores."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    return system


def test_cores_are_those_that_this_process_may_use(eight_cores: Path) -> None:
    assert machine.usable_cores() == 8


@pytest.mark.parametrize(
    ("cpu_max", "cores"), [("max 100000", 8), ("200000 100000", 2), ("150000 100000", 2), ("5000 100000", 1)]
)
def test_the_tightest_processor_limit_around_a_container_counts(eight_cores: Path, cpu_max: str, cores: int) -> None:
    (eight_cores / "cgroup").write_text("0::/job/one\n")
    folder = eight_cores / "fs" / "job" / "one"
    folder.mkdir(parents=True)
    (folder / "cpu.max").write_text("max 100000\n")
    (folder.parent / "cpu.max").write_text(f"{cpu_max}\n")
    assert machine.usable_cores() == cores


def test_processor_limits_of_the_older_kind_are_understood(eight_cores: Path) -> None:
    (eight_cores / "cgroup").write_text("3:cpu,cpuacct:/docker/abc\n")
    folder = eight_cores / "fs" / "cpu"
    folder.mkdir()
    (folder / "cpu.cfs_quota_us").write_text("300000\n")
    (folder / "cpu.cfs_period_us").write_text("100000\n")
    assert machine.usable_cores() == 3
    (folder / "cpu.cfs_quota_us").write_text("-1\n")
    assert machine.usable_cores() == 8


def test_cores_are_counted_in_one_place() -> None:
    package = Path(multibox.__file__).parent
    counting = [
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        if any(name in path.read_text(encoding="utf-8") for name in ("cpu_count", "sched_getaffinity"))
    ]
    assert counting == ["machine.py"]


def test_provenance_is_plain_data_that_names_what_computed():
    found = provenance()
    assert json.loads(json.dumps(found)) == found
    assert found["multibox_version"] == __version__
    assert found["python"] == platform.python_version()
    assert found["libraries"]["numpy"].count(".") >= 1
