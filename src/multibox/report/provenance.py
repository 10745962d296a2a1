"""Where the figures of a report come from: data, command, versions, starting weights and their licence."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from multibox.evaluate.record import RecordedEvaluation
from multibox.report.shown_paths import ShownPaths
from multibox.report.work_dir import RecordedRun, WorkDir
from multibox.weights.origin import UNKNOWN_LICENCE, origin_of


def facts(work: WorkDir, evaluation: RecordedEvaluation | None, how: str, paths: ShownPaths) -> list[tuple[str, str]]:
    """Names and values, in the order of the page."""
    run = work.run
    rows: list[tuple[str, str]] = []
    if run is not None:
        rows += _of_run(run, paths)
    else:
        rows.append(("licence of the weights", UNKNOWN_LICENCE))
    if evaluation is not None:
        rows += _of_evaluation(evaluation, how, paths)
    recorded: Mapping[str, Any] = run.facts if run is not None else evaluation.made_by if evaluation is not None else {}
    libraries = recorded.get("libraries") or {}
    if recorded:
        known = ", ".join(f"{name} {version}" for name, version in libraries.items() if version)
        rows.append(
            ("versions", f"multibox {recorded.get('multibox_version')}, Python {recorded.get('python')}, {known}")
        )
        rows.append(("machine", str(recorded.get("machine", "unknown"))))
    return rows


def licence(run: RecordedRun) -> tuple[str, str]:
    """What the starting weights are, and their licence: as recorded, or from the file itself if it is still there."""
    recorded = run.facts.get("start_origin")
    name = str(run.facts.get("start", "unknown"))
    if recorded:
        digest = recorded.get("sha256")
        source = str(recorded.get("source", "unknown"))
        what = source if source == "drawn at random" else f"{recorded.get('name', name)}: {source}"
        return f"{what}\nSHA-256 {digest}" if digest else what, str(recorded.get("licence", UNKNOWN_LICENCE))
    if name == "random weights":
        return name, "none needed"
    try:
        origin = origin_of(name)
    except OSError:
        return f"{Path(name).name}: no longer there to be recognised", UNKNOWN_LICENCE
    return f"{origin.name}: {origin.source}\nSHA-256 {origin.sha256}", origin.licence


def _of_run(run: RecordedRun, paths: ShownPaths) -> list[tuple[str, str]]:
    start, terms = licence(run)
    rows = [
        ("command", paths.command(str(run.facts.get("command") or "unknown"))),
        ("seed", str(run.facts.get("seed", "unknown"))),
        ("starting weights", paths.sentence(start)),
        ("licence of these", terms),
    ]
    for key, name in (("train_data", "training data"), ("val_data", "validation data")):
        data = run.facts.get(key)
        if data:
            files = ", ".join(_file(file, paths) for file in data.get("annotation_files", []))
            rows.append(
                (
                    name,
                    f"{data.get('images')} images, {data.get('objects')} objects, {files}\n{data.get('fingerprint')}",
                )
            )
    if run.weights is not None:
        changed = datetime.fromtimestamp(run.weights.stat().st_mtime).astimezone()
        rows.append(("weights", f"{paths.file(run.weights)}, {changed:%Y-%m-%d %H:%M}\nSHA-256 {run.weights_sha256}"))
    return rows


def _of_evaluation(evaluation: RecordedEvaluation, how: str, paths: ShownPaths) -> list[tuple[str, str]]:
    files = ", ".join(_file(file, paths) for file, _ in evaluation.data.sources) or "unknown"
    return [
        ("measured", f"{evaluation.model.file}, {how}\nSHA-256 {evaluation.model.sha256}"),
        ("measured on", f"{len(evaluation.data.records)} images, {files}\n{evaluation.data.fingerprint}"),
    ]


def _file(path: str | Path, paths: ShownPaths) -> str:
    """An annotation file by its name: its folder says nothing that its fingerprint does not say better."""
    return str(path) if paths.is_full else Path(path).name
