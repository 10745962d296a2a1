"""The machine that multibox runs on: cores and memory that this process may use, and how the machine is recorded."""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from multibox import __version__

LIBRARIES = ("torch", "lightning-fabric", "numpy", "opencv-python-headless", "openvino", "nncf", "onnx", "onnxruntime")
"""The libraries that compute: results may depend on their versions."""

UNKNOWN_FREE_BYTES = 1 << 30
"""Memory assumed to be free where the system does not tell: enough for a small data set, harmless on any machine."""

MEMINFO = Path("/proc/meminfo")
CGROUP_ROOT = Path("/sys/fs/cgroup")
OWN_CGROUP = Path("/proc/self/cgroup")


def usable_cores() -> int:
    """Number of cores that this process may use: those of its affinity, or fewer where a container has a limit."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    # A part of a core still runs a thread.
    return max(1, min([cores, *(math.ceil(quota) for quota in _container_cores())]))


def free_memory_bytes() -> int:
    """Memory that this process may still take: what the machine has, or less where a container has a limit."""
    free = _machine_free_bytes()
    return max(0, min([free, *_container_free_bytes()]))


def _machine_free_bytes() -> int:
    for line in _text(MEMINFO).splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    try:
        import psutil
    except ImportError:
        return UNKNOWN_FREE_BYTES
    return int(psutil.virtual_memory().available)


def _container_free_bytes() -> list[int]:
    """For each control group around this process that has a memory limit, how much is left of it (versions 2 and 1)."""
    free = []
    for generation, folders in _control_groups("memory"):
        if generation == 2:
            limit_name, used_name, cache_name = "memory.max", "memory.current", "inactive_file"
        else:
            limit_name, used_name, cache_name = (
                "memory.limit_in_bytes",
                "memory.usage_in_bytes",
                "total_inactive_file",
            )
        for folder in folders:
            limit, used = _text(folder / limit_name).strip(), _text(folder / used_name).strip()
            if limit.isdigit() and used.isdigit():
                # Files that the system keeps cached count as used but are given back on demand.
                free.append(int(limit) - int(used) + _field(_text(folder / "memory.stat"), cache_name))
    return free


def describe_machine() -> dict[str, Any]:
    """The system, the processor by its name, how many cores there are and how many may be used."""
    return {
        "platform": platform.platform(),
        "processor": processor(),
        "cores": os.cpu_count(),
        "usable_cores": usable_cores(),
    }


def processor() -> str:
    """The name of the processor."""
    for line in _text("/proc/cpuinfo").splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def library_versions() -> dict[str, str | None]:
    """The versions of the libraries that compute; None for one that is not installed."""
    return {name: _version(name) for name in LIBRARIES}


def provenance() -> dict[str, Any]:
    """Versions of what computes, and the machine, as checkpoints and run.json record them."""
    return {
        "multibox_version": __version__,
        "python": platform.python_version(),
        "libraries": library_versions(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
    }


def made_by() -> str:
    """`provenance` as a line for people: multibox, Python, libraries with their versions, and the machine."""
    facts = provenance()
    libraries = ", ".join(f"{name} {version}" for name, version in facts["libraries"].items() if version)
    return f"multibox {facts['multibox_version']}, Python {facts['python']}, {libraries}; {facts['machine']}."


def _container_cores() -> list[float]:
    """For each control group around this process that limits its processor time, that limit in cores."""
    quotas = []
    for generation, folders in _control_groups("cpu"):
        for folder in folders:
            if generation == 2:
                quota, _, period = _text(folder / "cpu.max").strip().partition(" ")
            else:
                quota, period = (_text(folder / f"cpu.cfs_{name}_us").strip() for name in ("quota", "period"))
            if quota.isdigit() and period.isdigit() and int(period):
                quotas.append(int(quota) / int(period))
    return quotas


def _control_groups(controller: str) -> Iterator[tuple[int, list[Path]]]:
    """The generation (1 or 2) of each hierarchy of control groups, and the folders of this process's groups in it."""
    for line in _text(OWN_CGROUP).splitlines():
        _, controllers, own_path = line.split(":", 2)
        # In a container the path may be the host's and mean nothing here; its parents, up to the root, do then.
        if controllers == "":
            yield 2, _with_parents(CGROUP_ROOT, own_path)
        elif controller in controllers.split(","):
            yield 1, _with_parents(CGROUP_ROOT / controller, own_path)


def _version(name: str) -> str | None:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _with_parents(root: Path, path: str) -> list[Path]:
    parts = [part for part in path.split("/") if part not in ("", "..")]
    return [root.joinpath(*parts[:length]) for length in range(len(parts), -1, -1)]


def _field(text: str, name: str) -> int:
    for line in text.splitlines():
        key, _, value = line.partition(" ")
        if key == name:
            return int(value)
    return 0


def _text(path: str | os.PathLike[str]) -> str:
    try:
        return Path(path).read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
