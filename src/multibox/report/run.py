"""The report: from work directories to one page, with detectors run anew where no evaluation of them is left."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from multibox.errors import OptionError
from multibox.evaluate import evaluate
from multibox.evaluate.record import RecordedEvaluation, RecordedModel
from multibox.files import sha256, write_atomically
from multibox.overwriting import Output, check_outputs, is_page
from multibox.report import page, several
from multibox.report.figures import MANY_DETECTIONS, figures_of
from multibox.report.work_dir import RecordedRun, WorkDir, gather

if TYPE_CHECKING:
    from multibox.data.coco import CocoData
    from multibox.runtime.protocol import Runtime

Counting = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]
"""What shows the progress of a task of so many parts; what it gives is told how many more are done."""


@dataclasses.dataclass(frozen=True, slots=True)
class DataSources:
    """Where images come from that a detector is run on.

    `named(classes)` reads the data set that the user names; None if the user names none. `recorded(facts, classes)`
    reads the one that a training recorded, or gives None if that is gone.
    """

    named: Callable[[Sequence[str]], CocoData] | None
    recorded: Callable[[Mapping[str, Any], Sequence[str]], CocoData | None]


def report(
    work_dirs: Sequence[Path],
    *,
    save_to: Path | None,
    sources: DataSources,
    say: Callable[[str], None],
    count: Counting,
) -> Path:
    """Write the page about one work directory, or about several that are compared with the first; where it lies.

    By default, it is report.html in the work directory, or comparison.html in the current folder.

    Raises:
        OptionError: a folder is not there or has nothing of multibox in it, or the page cannot be written.
        DependencyError: matplotlib or Jinja2 is not installed.
    """
    target = save_to or (Path("comparison.html") if len(work_dirs) > 1 else work_dirs[0] / "report.html")
    check_outputs([Output("--save-to", target, is_page)], [], say=say)
    works = [_gathered(folder, say) for folder in work_dirs]
    judged = [_evaluation(work, sources, say=say, count=count) for work in works]
    num_detections = sum(
        len(detections) for evaluation, _ in judged if evaluation is not None for detections in evaluation.detections
    )
    if num_detections >= MANY_DETECTIONS:
        say(f"Looking into {num_detections:,} detections; this takes a minute.")
    if len(works) > 1:
        html = several.comparison_page(
            [(work, evaluation) for work, (evaluation, _) in zip(works, judged, strict=True)]
        )
    else:
        evaluation, how = judged[0]
        html = page.report_page(
            works[0], evaluation, figures_of(evaluation) if evaluation is not None else None, how=how
        )
    _write(target, html)
    return target


def _gathered(folder: Path, say: Callable[[str], None]) -> WorkDir:
    work = gather(folder)
    if work.is_empty:
        raise OptionError(f"{work.path}: no multibox command left anything here. Name a work directory.")
    for line in work.problems:
        say(line)
    return work


def _evaluation(
    work: WorkDir, sources: DataSources, *, say: Callable[[str], None], count: Counting
) -> tuple[RecordedEvaluation | None, str]:
    """What the page is about, and where that came from: the record that was left, or a run of the model now."""
    recorded = work.evaluation
    if recorded is not None:
        where = f"recorded in {recorded.path.relative_to(work.path).as_posix()}"
        if sources.named is None:
            return recorded, where
        data = sources.named(recorded.data.classes)
        if data.fingerprint == recorded.data.fingerprint:
            return dataclasses.replace(recorded, data=data), where
    measured = _measured_now(work, sources, count)
    if measured is not None:
        return measured, "measured for this report"
    if work.evaluations and work.run is not None:
        stale = work.evaluations[0]
        say(f"{stale.path}: this evaluation is not of {work.run.weights}; it is shown all the same.")
        return stale, f"recorded in {stale.path.relative_to(work.path).as_posix()}, not of the weights above"
    return None, ""


def _measured_now(work: WorkDir, sources: DataSources, count: Counting) -> RecordedEvaluation | None:
    """Run the weights on the data that are named, or that the run validated on; None where either is missing."""
    run = work.run
    if run is None or run.weights is None or not (sources.named or run.facts.get("val_data")):
        return None
    path, runtime = _runtime(work, run)
    if sources.named is not None:
        data: CocoData | None = sources.named(runtime.classes)
    else:
        data = sources.recorded(run.facts["val_data"], runtime.classes)
    if data is None:
        return None
    with count("Evaluating", len(data.records)) as progress:
        evaluation = evaluate(runtime, data, progress=progress)
    model = RecordedModel(file=path.relative_to(work.path).as_posix(), sha256=sha256(path))
    return RecordedEvaluation(run.folder, model, data, evaluation.detections, runtime.input_size, dict(run.facts))


def _runtime(work: WorkDir, run: RecordedRun) -> tuple[Path, Runtime]:
    """The exported file of the weights, which is quick and needs no PyTorch, or else the weights themselves."""
    from multibox.runtime.opening import open_runtime
    from multibox.runtime.openvino_runtime import OpenVINORuntime

    for export in work.exports:
        path = export.folder / "model.xml"
        if path.exists():
            runtime = OpenVINORuntime(path, precision="f32")
            if runtime.info is not None and runtime.info.origin.sha256 == run.weights_sha256:
                return path, runtime
    assert run.weights is not None
    return run.weights, open_runtime(run.weights)


def _write(target: Path, html: str) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(target, html)
    except OSError as error:
        raise OptionError(f"{target}: cannot write the report: {error.strerror}.") from error
