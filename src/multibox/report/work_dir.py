"""What the commands left in a work directory, found by what the files say, not by the names of folders."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from multibox.errors import DataError, OptionError
from multibox.evaluate import record
from multibox.evaluate.record import RecordedEvaluation
from multibox.files import read_limited, sha256
from multibox.report import records

MAX_DEPTH = 4
"""Number of levels of folders below the work directory that are looked into."""

MAX_BYTES = 4 << 20
"""Largest size of a JSON file that may be a command's results; a larger one is annotations."""

MAX_LOG_BYTES = 64 << 20
"""Largest size of a metrics.jsonl: a hundred thousand epochs."""

PASSED_BY = re.compile(r"\.|earlier-\d+(\.moving)?$")
"""Names of folders that are not looked into: hidden ones, and runs that made room for a later one."""

Plain = Mapping[str, Any]


@dataclass(frozen=True)
class RecordedRun:
    """A training: `facts` is its run.json, `epochs` the lines of its metrics.jsonl."""

    folder: Path
    facts: Plain
    epochs: tuple[Plain, ...]

    @property
    def is_quantised(self) -> bool:
        """Whether it is the training in 8 bits of a compression."""
        return "nncf_enable_compression" in self.facts

    @property
    def weights(self) -> Path | None:
        """The file to judge the run by: the best weights, else the latest."""
        return next((path for name in ("best.pth", "latest.pth") if (path := self.folder / name).exists()), None)

    @cached_property
    def weights_sha256(self) -> str | None:
        """SHA-256 of the bytes of the weights; None without weights."""
        return sha256(self.weights) if self.weights is not None else None


@dataclass(frozen=True, slots=True)
class ResultFile:
    """A file that a command wrote its results into, and what it holds."""

    path: Path
    content: Plain

    @property
    def folder(self) -> Path:
        """The folder that the file lies in."""
        return self.path.parent


@dataclass(frozen=True)
class WorkDir:
    """Everything that a work directory holds for a report; the newest of each kind come first.

    `runs` are trainings, `exports` the export.json, `compressions` the compress.json, `benches` and `examinations` what
    `multibox bench --json` and `multibox doctor --json` wrote. `problems`: a line for each file that could not be read.
    """

    path: Path
    runs: tuple[RecordedRun, ...]
    evaluations: tuple[RecordedEvaluation, ...]
    exports: tuple[ResultFile, ...]
    compressions: tuple[ResultFile, ...]
    benches: tuple[ResultFile, ...]
    examinations: tuple[ResultFile, ...]
    problems: tuple[str, ...]

    @property
    def run(self) -> RecordedRun | None:
        """The training that the report is about: the newest that is not in 8 bits."""
        return next((run for run in self.runs if not run.is_quantised), None)

    @property
    def is_empty(self) -> bool:
        """Whether no command left anything."""
        return not (self.runs or self.evaluations or self.exports or self.compressions or self.benches)

    @property
    def evaluation(self) -> RecordedEvaluation | None:
        """The newest evaluation of the weights of the run; without a run, the newest of all."""
        if self.run is None:
            return self.evaluations[0] if self.evaluations else None
        return next((entry for entry in self.evaluations if entry.model.sha256 == self.run.weights_sha256), None)


def gather(folder: Path) -> WorkDir:
    """Gather what the commands left in a work directory and the folders below.

    Raises:
        OptionError: there is no such folder.
    """
    if not folder.is_dir():
        raise OptionError(f"{folder}: there is no such folder. Name a work directory.")
    problems: list[str] = []
    runs: list[RecordedRun] = []
    evaluations: list[RecordedEvaluation] = []
    exports: list[ResultFile] = []
    compressions: list[ResultFile] = []
    benches: list[ResultFile] = []
    examinations: list[ResultFile] = []
    for path in sorted(_json_files(folder), key=_age):
        if path.name.endswith(record.NAME):
            try:
                evaluations.append(record.read_record(path))
            except DataError as error:
                problems.append(str(error))
            continue
        content = _read(path, problems)
        if content is None:
            continue
        if path.name == "run.json" and "train_data" in content:
            if _fits(path, content, records.RecordedRunFacts, problems):
                runs.append(RecordedRun(path.parent, content, _epochs(path.with_name("metrics.jsonl"), problems)))
            continue
        for results, keys, facts in (
            (exports, {"checkpoint", "rows"}, records.ExportFacts),
            (compressions, {"rungs"}, records.CompressFacts),
            (benches, {"rows", "machine", "settings"}, records.BenchFacts),
            (examinations, {"contents", "findings", "exit_code"}, records.DoctorFacts),
        ):
            if keys <= content.keys():
                if _fits(path, content, facts, problems):
                    results.append(ResultFile(path, content))
                break
    return WorkDir(
        path=folder,
        runs=tuple(runs),
        evaluations=tuple(evaluations),
        exports=tuple(exports),
        compressions=tuple(compressions),
        benches=tuple(benches),
        examinations=tuple(examinations),
        problems=tuple(problems),
    )


def _json_files(folder: Path) -> Iterator[Path]:
    start = len(folder.parts)
    for name, folders, files in os.walk(folder):
        here = Path(name)
        is_deepest = len(here.parts) - start >= MAX_DEPTH
        folders[:] = [] if is_deepest else sorted(inner for inner in folders if not PASSED_BY.match(inner))
        for file in files:
            path = here / file
            if not file.endswith(".json") or file.startswith(".") or not path.is_file():
                continue
            if file.endswith(record.NAME) or path.stat().st_size <= MAX_BYTES:
                yield path


def _age(path: Path) -> tuple[float, str]:
    """Sort key of a file: the newest first; of equal times, by name, so that the order is always the same."""
    return -path.stat().st_mtime, str(path)


def _fits(path: Path, content: Plain, kind: type[Struct], problems: list[str]) -> bool:
    fault = records.fault_of(content, kind)
    if fault is not None:
        problems.append(f"{path}: left out, because it is damaged: {fault}.")
    return fault is None


def _read(path: Path, problems: list[str]) -> dict[str, Any] | None:
    try:
        content = msgspec.json.decode(read_limited(path, MAX_BYTES))
    except (OSError, msgspec.DecodeError, RecursionError) as error:
        if path.name in {"run.json", "export.json", "compress.json"}:
            problems.append(f"{path}: cannot be read: {error}.")
        return None
    return content if isinstance(content, dict) else None


def _epochs(path: Path, problems: list[str]) -> tuple[Plain, ...]:
    """The lines of a metrics.jsonl that are whole."""
    if not path.exists():
        return ()
    try:
        lines = read_limited(path, MAX_LOG_BYTES).splitlines()
    except OSError as error:
        problems.append(f"{path}: cannot be read: {error.strerror}.")
        return ()
    epochs: list[Plain] = []
    for line in lines:
        try:
            content = msgspec.json.decode(line)
        except (msgspec.DecodeError, RecursionError):
            content = None
        if records.fault_of(content, records.EpochFacts) is None:
            epochs.append(content)
        else:
            problems.append(f"{path}: a line of it is damaged and left out.")
    return tuple(epochs)
