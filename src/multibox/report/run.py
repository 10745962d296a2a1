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
from multibox.overwriting import Output, check_outputs, is_card, is_page, is_report_json
from multibox.report import machine_readable, page, several
from multibox.report.card import CARD_NAME, model_card
from multibox.report.data_view import NOT_EXAMINED, DataExamination, findings_of_file
from multibox.report.figures import MANY_DETECTIONS, figures_of
from multibox.report.page import ReportSubject
from multibox.report.shown_paths import ShownPaths, folders_of
from multibox.report.work_dir import RecordedRun, WorkDir, gather

if TYPE_CHECKING:
    from multibox.data.coco import CocoData
    from multibox.runtime.protocol import Runtime

Counting = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]
"""What shows the progress of a task of so many parts; what it gives is told how many more are done."""


EXAMINED_IMAGES = 2_000
"""Largest number of images of the data that are looked into for a page: each is decoded, some hundred in a second."""


@dataclasses.dataclass(frozen=True, slots=True)
class DataSources:
    """Where images come from that a detector is run on, and who looks at them.

    `named(classes)` reads the data set that the user names; None if the user names none. `recorded(facts, classes)`
    reads the one that a training recorded, or gives None if that is gone. `examined(splits, with_findings)` gives a
    sheet of samples and, if wanted, what is wrong with the data.
    """

    named: Callable[[Sequence[str]], CocoData] | None
    recorded: Callable[[Mapping[str, Any], Sequence[str]], CocoData | None]
    examined: Callable[[Mapping[str, CocoData], bool], DataExamination]


def report(
    work_dirs: Sequence[Path],
    *,
    save_to: Path | None,
    sources: DataSources,
    has_full_paths: bool,
    say: Callable[[str], None],
    count: Counting,
) -> Path:
    """Write the page about one work directory, or about several that are compared with the first; where it lies.

    By default, it is report.html in the work directory, or comparison.html in the current folder. Its figures lie
    beside it, under the same name with the ending .json. Paths are relative to the work directory, unless
    `has_full_paths`.

    Raises:
        OptionError: a folder is not there or has nothing of multibox in it, or the page cannot be written.
        DependencyError: matplotlib or Jinja2 is not installed.
    """
    target = save_to or (Path("comparison.html") if len(work_dirs) > 1 else work_dirs[0] / "report.html")
    figures = target.with_suffix(".json")
    check_outputs([Output("--out", target, is_page), Output("--out", figures, is_report_json)], [], say=say)
    works = [_gathered(folder, say) for folder in work_dirs]
    judged = [_evaluation(work, sources, say=say, count=count) for work in works]
    _warn_of_patience([evaluation for evaluation, _ in judged], say)
    if len(works) > 1:
        runs = several.contenders([(work, evaluation) for work, (evaluation, _) in zip(works, judged, strict=True)])
        answers = several.compare_with_first(runs)
        html = several.comparison_page(runs, answers, has_full_paths=has_full_paths)
        plain = machine_readable.comparison_to_plain(runs[0].name, answers)
    else:
        subject = _subject(works[0], *judged[0], sources=sources, has_full_paths=has_full_paths, is_examined=True)
        html = page.report_page(subject)
        plain = machine_readable.report_to_plain(subject)
    _write(figures, machine_readable.as_text(plain))
    _write(target, html)
    return target


def card(
    work_dir: Path,
    *,
    save_to: Path | None,
    name: str,
    licence: str,
    sources: DataSources,
    say: Callable[[str], None],
    count: Counting,
) -> Path:
    """Write the model card of the detector in a work directory; where it lies, by default MODEL_CARD.md there.

    Raises:
        OptionError: the folder is not there or has nothing of multibox in it, or the card cannot be written.
    """
    target = save_to or work_dir / CARD_NAME
    check_outputs([Output("--out", target, is_card)], [], say=say)
    work = _gathered(work_dir, say)
    judged = _evaluation(work, sources, say=say, count=count)
    _warn_of_patience([judged[0]], say)
    subject = _subject(work, *judged, sources=sources, has_full_paths=False, is_examined=False)
    _write(target, model_card(subject, name=name or work.path.resolve().name, licence=licence))
    return target


def _warn_of_patience(evaluations: Sequence[RecordedEvaluation | None], say: Callable[[str], None]) -> None:
    num_detections = sum(
        len(detections) for evaluation in evaluations if evaluation is not None for detections in evaluation.detections
    )
    if num_detections >= MANY_DETECTIONS:
        say(f"Looking into {num_detections:,} detections; this takes a minute.")


def _subject(
    work: WorkDir,
    evaluation: RecordedEvaluation | None,
    how: str,
    *,
    sources: DataSources,
    has_full_paths: bool,
    is_examined: bool,
) -> ReportSubject:
    examination = _examination(work, evaluation, sources) if is_examined else NOT_EXAMINED
    described = [(work.run.facts.get(key) or {}) for key in ("train_data", "val_data")] if work.run else []
    files = [Path(file) for facts in described for file in facts.get("annotation_files", ())]
    roots = [Path(root) for facts in described for root in facts.get("data_roots", ())]
    if evaluation is not None:
        files += [file for file, _ in evaluation.data.sources]
        roots += [root for _, root in evaluation.data.sources]
    return ReportSubject(
        work=work,
        evaluation=evaluation,
        figures=figures_of(evaluation) if evaluation is not None else None,
        paths=ShownPaths(work.path, folders_of(files, roots), is_full=has_full_paths),
        how=how,
        examination=examination,
    )


def _examination(work: WorkDir, evaluation: RecordedEvaluation | None, sources: DataSources) -> DataExamination:
    """What is known of the data: the doctor's newest file, or a look at the data now where they are not too many."""
    found = work.examinations[0] if work.examinations else None
    splits: dict[str, CocoData] = {}
    facts = work.run.facts if work.run is not None else {}
    classes = (
        evaluation.data.classes
        if evaluation is not None
        else tuple((facts.get("train_data") or {}).get("objects_per_class") or ())
    )
    num_images = sum((facts.get(key) or {}).get("images") or 0 for key in ("train_data", "val_data"))
    if num_images <= EXAMINED_IMAGES:
        read = {name: _recorded(facts.get(f"{name}_data"), classes, sources) for name in ("train", "val")}
        splits = {name: data for name, data in read.items() if data is not None}
    examination = sources.examined(splits, found is None) if splits else NOT_EXAMINED
    if found is None:
        return examination
    named = f"found by multibox doctor, {found.path.relative_to(work.path).as_posix()}"
    return dataclasses.replace(examination, findings=findings_of_file(found), source=named)


def _recorded(facts: Mapping[str, Any] | None, classes: Sequence[str], sources: DataSources) -> CocoData | None:
    """A data set that a training recorded, if its files are where they were."""
    files = [Path(file) for file in (facts or {}).get("annotation_files", ())]
    if facts is None or not files or not all(file.exists() for file in files):
        return None
    return sources.recorded(facts, classes)


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


def _write(target: Path, content: str | bytes) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(target, content)
    except OSError as error:
        raise OptionError(f"{target}: cannot write the file: {error.strerror}.") from error
