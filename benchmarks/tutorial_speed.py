"""How long a user waits for each command of the tutorial, and for those of another version of multibox beside it.

    python benchmarks/tutorial_speed.py FOLDER [--beside OTHER_CHECKOUT] [--rounds 3] [--only export,compress]

FOLDER is where the tutorial's training was done: `my_photos` and `runs/my_photos` with best.pth; each command replaces
what an earlier one left there. OTHER_CHECKOUT is a working copy of another commit (`git worktree add`). Both take
turns, command by command; ratios are medians over rounds of this version's seconds by the other's.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import multibox

COMMANDS = {
    "doctor": ("doctor", "my_photos"),
    "predict": ("predict", "my_photos/val"),
    "eval": ("eval",),
    "export": ("export",),
    "compress": ("compress",),
    "export INT8": ("export", "runs/my_photos/compressed"),
    "report": ("report",),
}


def main() -> int:
    """Run the commands and print their seconds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--beside", type=Path, help="a checkout of another commit")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default=",".join(COMMANDS))
    arguments = parser.parse_args()
    sources = [Path(multibox.__file__).parent.parent]
    if arguments.beside is not None:
        sources.append((arguments.beside / "src").resolve())
    names = arguments.only.split(",")
    seconds: dict[tuple[str, Path], list[float]] = {(name, source): [] for name in names for source in sources}
    for _ in range(arguments.rounds):
        for name in names:
            for source in sources:
                seconds[name, source].append(wait(COMMANDS[name], source, arguments.folder))
        sources.reverse()
    print(table(names, seconds, Path(multibox.__file__).parent.parent))
    return 0


def wait(command: tuple[str, ...], source: Path, folder: Path) -> float:
    """Seconds from the start of a command to its end.

    Raises:
        SystemExit: it failed; its last words are in the message.
    """
    began_at = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "multibox", *command],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(source)},
        capture_output=True,
        text=True,
        check=False,
    )
    seconds = time.perf_counter() - began_at
    # 3: a run that did what it was asked and has something to say of the result.
    if done.returncode not in {0, 3}:
        raise SystemExit(f"{' '.join(command)}: {done.stderr.strip()[-500:]}")
    return seconds


def table(names: list[str], seconds: dict[tuple[str, Path], list[float]], ours: Path) -> str:
    """One row per command: median seconds of this version, and what it takes of the other's time."""
    rows = ["| command | seconds | of the other version's time |", "|---|---|---|"]
    for name in names:
        mine = seconds[name, ours]
        others = [values for (other, source), values in seconds.items() if other == name and source != ours]
        ratios = [a / b for a, b in zip(mine, others[0], strict=True)] if others else []
        share = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})" if ratios else ""
        rows.append(f"| {name} | {statistics.median(mine):.1f} | {share} |")
    return "\n".join(rows)


if __name__ == "__main__":
    sys.exit(main())
