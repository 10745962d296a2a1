"""`multibox report`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from multibox.commands.console import counting
from multibox.commands.options import data_of_record, read_data, require_together, say
from multibox.errors import DependencyError, OptionError
from multibox.files import write_atomically

if TYPE_CHECKING:
    from multibox.data.coco import CocoData
    from multibox.evaluate.record import RecordedEvaluation
    from multibox.report.work_dir import Run, WorkDir
    from multibox.runtime.protocol import Runtime


def report(
    work_dirs: Annotated[list[Path], Parameter(negative=())],
    /,
    *,
    save_to: Path | None = None,
    val_ann_files: str = "",
    val_data_roots: str = "",
) -> int:
    """Write what is known about a detector as one HTML page, or compare several.

    Everything that train, eval, export, compress and bench left in a work directory is put together: accuracy with
    intervals, errors by kind, a threshold chooser, pictures of the worst mistakes, parity, INT8, speed, provenance.
    What is missing is named with the command that adds it. The page opens from disk, without a network.

    Args:
        work_dirs: The work directory. Of several, the others are compared with the first.
        save_to: The page. Default: report.html in the work directory; comparison.html here if there are several.
        val_ann_files: Annotation files (COCO json) to measure on, separated by commas, if the data have moved or others
            are wanted. Default: those of the last evaluation.
        val_data_roots: The folder of images of each of these.
    """
    require_together(val_ann_files, val_data_roots, "--val-ann-files", "--val-data-roots")
    _check_installed()

    from multibox.report.figures import MANY_DETECTIONS, find
    from multibox.report.work_dir import gather

    works = [gather(folder) for folder in work_dirs]
    for work in works:
        if work.is_empty:
            raise OptionError(f"{work.path}: no multibox command left anything here. Name a work directory.")
        for line in work.problems:
            say(line)
    judged = [_evaluation(work, val_ann_files, val_data_roots) for work in works]
    num_detections = sum(len(found) for one, _ in judged if one is not None for found in one.detections)
    if num_detections >= MANY_DETECTIONS:
        say(f"Looking into {num_detections:,} detections; this takes a minute.")
    if len(works) > 1:
        from multibox.report.several import build as build_comparison

        target = save_to or Path("comparison.html")
        page = build_comparison([(work, one) for work, (one, _) in zip(works, judged, strict=True)])
    else:
        from multibox.report.page import build

        target = save_to or work_dirs[0] / "report.html"
        evaluation, how = judged[0]
        page = build(works[0], evaluation, find(evaluation) if evaluation is not None else None, how=how)
    _write(target, page)
    return 0


def _evaluation(work: WorkDir, ann_files: str, data_roots: str) -> tuple[RecordedEvaluation | None, str]:
    """What the page is about, and where that came from: the record that was left, or a run of the model now."""
    import dataclasses

    recorded = work.evaluation
    if recorded is not None and not ann_files:
        return recorded, f"recorded in {recorded.path.relative_to(work.path).as_posix()}"
    if recorded is not None:
        data = read_data(ann_files, data_roots, recorded.data.classes, skip_bad=True, allow_missing_classes=True)
        if data.fingerprint == recorded.data.fingerprint:
            where = recorded.path.relative_to(work.path).as_posix()
            return dataclasses.replace(recorded, data=data), f"recorded in {where}"
    measured = _measured_now(work, ann_files, data_roots)
    if measured is not None:
        return measured, "measured for this report"
    if work.evaluations and work.run is not None:
        stale = work.evaluations[0]
        say(f"{stale.path}: this evaluation is not of {work.run.weights}; it is shown all the same.")
        return stale, f"recorded in {stale.path.relative_to(work.path).as_posix()}, not of the weights above"
    return None, ""


def _measured_now(work: WorkDir, ann_files: str, data_roots: str) -> RecordedEvaluation | None:
    """The weights of the run on the data that are named, or that it validated on; None where either is missing."""
    from multibox.evaluate import evaluate
    from multibox.evaluate.record import RecordedEvaluation, RecordedModel
    from multibox.files import sha256

    run = work.run
    if run is None or run.weights is None or not (ann_files or run.facts.get("val_data")):
        return None
    path, runtime = _runtime(work, run)
    if ann_files:
        data: CocoData | None = read_data(
            ann_files, data_roots, runtime.classes, skip_bad=True, allow_missing_classes=True
        )
    else:
        data = data_of_record(run.facts["val_data"], runtime.classes)
    if data is None:
        return None
    with counting("Evaluating", len(data.records)) as progress:
        found = evaluate(runtime, data, progress=progress)
    model = RecordedModel(file=path.relative_to(work.path).as_posix(), sha256=sha256(path))
    return RecordedEvaluation(run.folder, model, data, found.detections, runtime.input_size, dict(run.facts))


def _runtime(work: WorkDir, run: Run) -> tuple[Path, Runtime]:
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


def _check_installed() -> None:
    from importlib.util import find_spec

    missing: Sequence[str] = [name for name in ("matplotlib", "jinja2") if find_spec(name) is None]
    if missing:
        raise DependencyError(f'A report needs {", ".join(missing)}. Install with: pip install "multibox[report]"')


def _write(target: Path, page: str) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(target, page)
    except OSError as error:
        raise OptionError(f"{target}: cannot write the report: {error.strerror}.") from error
    say(f"Report: {target} ({target.stat().st_size / 1e6:.1f} MB). It opens in any browser.")
