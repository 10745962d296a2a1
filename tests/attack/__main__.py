"""Attack what docs/reliability.md promises, with random damage, kills and outputs onto files.

    python -m tests.attack [--minutes 10] [--seed 20] [--only KIND,...]

Prints what broke and a table of what was tried and held; the exit code is 0 if everything held. A trial is repeated by
its seed and number: --seed 20 --trial KIND:57.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import importlib
import json
import os
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from tests.attack import material, mutants

LIMIT_S = 600
"""Seconds after which a command hangs."""

MEMORY_BYTES = 12 << 30

PRELOADED = (
    *("torch", "cv2", "multibox.train.run", "multibox.export.run", "multibox.compress.run", "multibox.doctor.run"),
    *(
        "multibox.report.run",
        "multibox.predict.run",
        "multibox.runtime.opening",
        "multibox.cli",
        "matplotlib",
        "jinja2",
    ),
)
"""Modules that every trial, a fork of this process, has already."""

CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


@dataclass(frozen=True)
class Outcome:
    """How a command ended: its exit code, minus the signal that ended it, or None if it hung; and what it said."""

    code: int | None
    said: str
    errors: str

    def fault(self, allowed: Sequence[int] = (0, 1, 2)) -> str:
        """What is wrong with it; empty if nothing."""
        if self.code is None:
            return "hangs"
        if "Traceback (most recent call last)" in self.errors + self.said:
            return "traceback"
        if self.code not in allowed:
            return f"exit code {self.code}"
        if self.code == 2 and not (self.errors + self.said).strip():
            return "says nothing"
        return "control characters" if CONTROL.search(self.errors) else ""


@dataclass(frozen=True)
class Trial:
    """What was tried, and what broke; empty if it held."""

    what: str
    fault: str
    detail: str = ""


Attack = Callable[[Path, Path, Random], Trial]
"""From the folder of the material, an empty folder and a seeded generator to what came of it."""


def main() -> int:
    """The command; see the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=20)
    parser.add_argument("--only", default=",".join(ATTACKS), help="kinds, separated by commas")
    parser.add_argument("--trial", default="", help="KIND:NUMBER, to repeat one")
    options = parser.parse_args()
    os.environ |= {"OMP_NUM_THREADS": "1", "COLUMNS": "200", "PYTHONUNBUFFERED": "1"}
    os.nice(10)
    for name in PRELOADED:
        importlib.import_module(name)
    with tempfile.TemporaryDirectory() as folder:
        there = Path(folder) / "material"
        there.mkdir()
        with _silence(Path(folder) / "log"):
            material.make(there)
        if options.trial:
            kind, number = options.trial.split(":")
            trial = _try(kind, int(number), options.seed, there, Path(folder))
            print(trial.what, trial.fault or "held", trial.detail, sep="\n")
            return 1 if trial.fault else 0
        return _attack(options.only.split(","), options.seed, time.monotonic() + 60 * options.minutes, there)


def _attack(kinds: Sequence[str], seed: int, end: float, there: Path) -> int:
    tried: Counter[str] = Counter()
    broken: Counter[str] = Counter()
    number = 0
    while time.monotonic() < end:
        for kind in kinds:
            trial = _try(kind, number, seed, there, there.parent)
            tried[kind] += 1
            if trial.fault:
                broken[kind] += 1
                print(f"BROKEN {kind}:{number}: {trial.what}: {trial.fault}\n{trial.detail[-1500:]}", flush=True)
        number += 1
    print(f"seed {seed}\n{'kind':<14}{'tried':>8}{'held':>8}")
    for kind in kinds:
        print(f"{kind:<14}{tried[kind]:>8}{tried[kind] - broken[kind]:>8}")
    return 1 if broken.total() else 0


def _try(kind: str, number: int, seed: int, there: Path, folder: Path) -> Trial:
    place = folder / "place"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    return ATTACKS[kind](there, place, Random(f"{seed} {kind} {number}"))


# ------------------------------------------------------------------------------------------------ commands in forks


def command(words: Sequence[str], cwd: Path, *, before: Callable[[], None] = lambda: None) -> Outcome:
    """`multibox WORDS...` in a fork of this process that works in `cwd`; `before` is done in it first."""
    said, errors = cwd.parent / "said.txt", cwd.parent / "errors.txt"
    child = os.fork()
    if child == 0:
        _be_a_command(words, cwd, said, errors, before)
    given_up_at = time.monotonic() + LIMIT_S
    code: int | None = None
    while time.monotonic() < given_up_at:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            code = os.waitstatus_to_exitcode(status)
            break
        time.sleep(0.01)
    else:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    return Outcome(code, said.read_text(errors="replace"), errors.read_text(errors="replace"))


def _be_a_command(words: Sequence[str], cwd: Path, said: Path, errors: Path, before: Callable[[], None]) -> None:
    code = 70
    try:
        for path, number in ((said, 1), (errors, 2)):
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
        os.chdir(cwd)
        before()
        from multibox.cli import main

        code = main(list(words))
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    except BaseException:  # noqa: BLE001 - whatever it is, it is what is looked for
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


@contextlib.contextmanager
def _silence(log: Path):
    """What children say goes to a file."""
    before = [os.dup(number) for number in (1, 2)]
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT)
    for number in (1, 2):
        os.dup2(descriptor, number)
    try:
        yield
    except RuntimeError as error:
        os.dup2(before[1], 2)
        raise RuntimeError(log.read_text()) from error
    finally:
        for number, descriptor in zip((1, 2), before, strict=True):
            os.dup2(descriptor, number)


# ------------------------------------------------------------------------------------------------ damaged files

VAL = ("--test-ann-files", "../coco/val.json", "--test-data-roots", "../coco/val")
DATA = ("--val-ann-files", "../coco/val.json", "--val-data-roots", "../coco/val")
DOCTOR = ("doctor", "--train-ann-files", "../coco/train.json", "--train-data-roots", "../coco/train", "--no-timing")
TRAIN = (*material.train_words("../coco"), "--save-checkpoints-to", "outputs")

Victim = tuple[str, str, tuple[str, ...]]
"""A pattern of files of which one is damaged, the folder that the command runs in, and its words."""

DAMAGED: dict[str, tuple[Victim, ...]] = {
    "annotations": (
        ("coco/train.json", "work", DOCTOR),
        ("coco/train.json", "work", TRAIN),
        ("coco/train.json", "work", (*TRAIN, "--skip-bad")),
        ("yolo/**/*.txt", "yolo", ("doctor", ".", "--no-timing")),
        ("yolo/data.yaml", "yolo", ("convert", ".", "--save-to", "../out")),
        ("voc/**/*.xml", "voc", ("convert", ".", "--save-to", "../out")),
        ("cvat/*.xml", "cvat", ("convert", ".", "--save-to", "../out")),
    ),
    "templates": (
        ("work/template.yaml", "work", ("new", "template.yaml", "../out", "--offline")),
        ("work/template.yaml", "work", (*TRAIN[:-1], "../out")),
    ),
    "images": (
        ("coco/train/*.png", "work", DOCTOR),
        ("coco/val/*.png", "work", ("predict", "../coco/val", "--load-weights", "export/model.xml")),
    ),
    "models": (
        ("work/outputs/best.pth", "work", ("eval", "--load-weights", "outputs/best.pth", *VAL)),
        ("work/export/model.xml", "work", ("eval", "--load-weights", "export/model.xml", *VAL)),
        ("work/export/model.bin", "work", ("predict", "../coco/val", "--load-weights", "export/model.xml")),
        ("work/export/model.onnx", "work", ("predict", "../coco/val", "--load-weights", "export/model.onnx")),
        (
            "work/outputs/best.pth",
            "work",
            ("export", "--load-weights", "outputs/best.pth", "--save-model-to", "../out"),
        ),
    ),
    "runs": (
        ("work/outputs/latest.pth", "work", (*TRAIN, "--resume-from", "outputs/latest.pth")),
        ("work/outputs/*.json*", "work", (*TRAIN, "--resume-from", "outputs/latest.pth")),
    ),
    "records": (
        ("work/**/*.json*", "work", ("report", ".")),
        (
            "work/metrics.yaml",
            "work",
            ("eval", "--load-weights", "export/model.xml", *VAL, "--save-metrics-to", "metrics.yaml"),
        ),
    ),
}


def attack_by_damage(kind: str) -> Attack:
    """Damage a file and use it: it is refused in words, or read right, and nothing else changes."""

    def attack(there: Path, place: Path, random: Random) -> Trial:
        shutil.copytree(there, place / "all")
        pattern, cwd, words = random.choice(DAMAGED[kind])
        path = random.choice(sorted((place / "all").glob(pattern)))
        what = mutants.mutate(path, random)
        outcome = command(words, place / "all" / cwd)
        lists = [file.read_text(encoding="utf-8", errors="replace") for file in place.rglob("skipped.txt")]
        is_raw = any(CONTROL.search(text) for text in lists)
        fault = outcome.fault() or ("control characters in skipped.txt" if is_raw else "")
        return Trial(f"{words[0]} after {what}", fault, outcome.errors)

    return attack


# ------------------------------------------------------------------------------------------------ kills

KILLED: tuple[tuple[str, tuple[str, ...], str], ...] = (
    ("work", ("convert", "../yolo", "--save-to", "../out"), "out"),
    ("work", (*DOCTOR, "--fix", "../out/fixed"), "out"),
    ("work", ("export", "--load-weights", "outputs/latest.pth", "--save-model-to", "export", *DATA), "work/export"),
    (
        "work",
        (
            "predict",
            "../coco/val",
            "--load-weights",
            "export/model.xml",
            "--save-to",
            "../out",
            "--json",
            "../out/f.json",
        ),
        "out",
    ),
    ("work", ("eval", "--load-weights", "export/model.xml", *VAL, "--save-metrics-to", "metrics.yaml"), "work"),
    ("work", ("report", "."), "work"),
    ("work", TRAIN, "work/outputs"),
    (
        "work",
        ("compress", "--load-weights", "outputs/best.pth", "--save-checkpoints-to", "compressed", "--method", "ptq"),
        "work/compressed",
    ),
)


def attack_by_kill(there: Path, place: Path, random: Random) -> Trial:
    """Kill a command before a random operation on files: what is there is whole, and the command does it again."""
    shutil.copytree(there, place / "all")
    cwd, words, watched = random.choice(KILLED)
    home, folder = place / "all" / cwd, place / "all" / watched
    number = int(random.expovariate(1 / 25))
    what = f"{words[0]} killed before operation {number}"
    _kill_before(number, folder, home, words)
    fault = _half_files(folder)
    if not fault and folder.name == "export" and (folder / "model.xml").exists():
        opened = command(("predict", "../coco/val", "--load-weights", "export/model.xml"), home)
        fault = opened.fault((0,))
    outcome = command(words, home)  # --fix refuses a folder that is there, which a late kill has left complete
    fault = fault or outcome.fault((0, 1, 2) if words[0] == "doctor" else (0,)) or _half_files(folder)
    hidden = [path.name for path in folder.rglob(".*")]
    return Trial(what, fault or (f"rubbish {hidden}" if hidden else ""), outcome.errors)


def _kill_before(number: int, folder: Path, cwd: Path, words: Sequence[str]) -> None:
    left = [number]

    def count(event: str, arguments: Sequence[object]) -> None:
        if event not in {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir"}:
            return
        if event == "open" and not (isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)):
            return
        path = arguments[0]
        if not isinstance(path, str | os.PathLike) or not Path(cwd, path).is_relative_to(folder):
            return
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left[0] -= 1

    command(words, cwd, before=lambda: sys.addaudithook(count))


def _half_files(folder: Path) -> str:
    """A file under its own name that cannot be read; empty if all can."""
    import torch
    import yaml

    for path in sorted(folder.rglob("*")):
        if any(part.startswith(".") for part in path.relative_to(folder).parts) or not path.is_file():
            continue
        try:
            if path.suffix == ".json":
                json.loads(path.read_text())
            elif path.suffix == ".yaml":
                assert yaml.safe_load(path.read_text())
            elif path.suffix == ".pth":
                torch.load(path, weights_only=True)
            elif path.suffix == ".xml" and path.with_suffix(".bin").exists():
                assert path.read_text().rstrip().endswith("</net>")
            elif path.suffix == ".html":
                assert path.read_text().rstrip().endswith("</html>")
        except (ValueError, AssertionError, RuntimeError, yaml.YAMLError) as error:
            return f"half a file: {path.name} ({error})"
    return ""


# ------------------------------------------------------------------------------------------------ outputs

OUTPUTS: tuple[tuple[tuple[str, ...], str], ...] = (
    (DOCTOR, "--json"),
    (DOCTOR, "--save-mosaic"),
    (("eval", "--load-weights", "export/model.xml", *VAL), "--save-metrics-to"),
    (("eval", "--load-weights", "export/model.xml", *VAL), "--save-detections-to"),
    (("eval", "--load-weights", "export/model.xml", *VAL), "--save-output-to"),
    (("predict", "../coco/val", "--load-weights", "export/model.xml"), "--json"),
    (("predict", "../coco/val", "--load-weights", "export/model.xml"), "--csv"),
    (("predict", "../coco/val", "--load-weights", "export/model.xml"), "--coco"),
    (("predict", "../coco/val", "--load-weights", "export/model.xml"), "--save-to"),
    (("predict", "../coco/val", "--load-weights", "export/model.xml"), "--save-labels"),
    (("bench", "export/model.xml", "--seconds", "0.1"), "--json"),
    (("report", "."), "--save-to"),
    (("convert", "../yolo"), "--save-to"),
    (("convert", "../voc", "--format", "yolo"), "--save-to"),
    (("export", "--load-weights", "outputs/best.pth", *DATA), "--save-model-to"),
    (("compress", "--load-weights", "outputs/best.pth", "--method", "ptq"), "--save-checkpoints-to"),
    (TRAIN[:-2], "--save-checkpoints-to"),
)

MAY_REPLACE = {
    "--save-metrics-to": ("work/metrics.*",),
    "--json": ("work/bench.json",),
    "--save-model-to": ("work/export/*", "work/export/alt_ssd_export/*"),
    "--save-checkpoints-to": ("work/outputs/*", "work/compressed/*"),
}
"""The command's own earlier outputs, of what there is."""


def attack_by_output(there: Path, place: Path, random: Random) -> Trial:
    """Send an output onto a file, or into a folder, that is there: nothing but its own earlier output changes."""
    home = place / "all"
    shutil.copytree(there, home)
    words, option = random.choice(OUTPUTS)
    before = _hashes(home)
    target = home / random.choice([*before, *{str(Path(name).parent) for name in before}])
    if option == "--save-metrics-to" and random.random() < 0.5:
        target = target.with_suffix(".yaml")
    outcome = command((*words, option, str(target)), home / "work")
    after = _hashes(home)
    moved = {digest for name, digest in after.items() if "earlier-" in name}
    lost = [name for name, digest in before.items() if after.get(name) != digest and digest not in moved]
    lost = [name for name in lost if not any(Path(name).match(own) for own in MAY_REPLACE.get(option, ()))]
    what = f"{words[0]} {option} {target.relative_to(home)}"
    return Trial(what, f"replaced {lost}" if lost else outcome.fault(), outcome.errors)


def _hashes(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


ATTACKS: dict[str, Attack] = {
    **{kind: attack_by_damage(kind) for kind in DAMAGED},
    "kills": attack_by_kill,
    "outputs": attack_by_output,
}

if __name__ == "__main__":
    sys.exit(main())
