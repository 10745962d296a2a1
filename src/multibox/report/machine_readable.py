"""The figures of a report for programs: what the page shows, unrounded, without its images."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from multibox import __version__
from multibox.evaluate.intervals import Interval
from multibox.evaluate.thresholds import THRESHOLDS
from multibox.report.figures import Figures
from multibox.report.page import ReportSubject
from multibox.report.provenance import facts
from multibox.report.several import Answer
from multibox.report.work_dir import ResultFile


def report_to_plain(subject: ReportSubject) -> dict[str, Any]:
    """The content of report.json: words and figures of a report as dictionaries and numbers."""
    work, figures = subject.work, subject.figures
    return {
        "multibox_report": 1,
        "multibox_version": __version__,
        "classes": list(subject.classes),
        "summary": subject.summary,
        "alarms": subject.alarms,
        "warnings": subject.warnings,
        "accuracy": _accuracy_to_plain(figures) if figures is not None else None,
        "findings": [dataclasses.asdict(finding) for finding in subject.examination.findings],
        "epochs": list(work.run.epochs) if work.run is not None else [],
        "export": _newest(work.exports),
        "compression": _newest(work.compressions),
        "speed": _newest(work.benches),
        "provenance": dict(facts(work, subject.evaluation, subject.how, subject.paths)),
    }


def comparison_to_plain(first: str, answers: Sequence[Answer]) -> dict[str, Any]:
    """The content of comparison.json: for each other run, whether it is better than the first, and by how much."""
    return {
        "multibox_comparison": 1,
        "multibox_version": __version__,
        "first": first,
        "answers": [
            {
                "name": answer.name,
                "text": answer.text,
                "ap": _interval(answer.differences.ap) if answer.differences is not None else None,
                "ap50": _interval(answer.differences.ap50) if answer.differences is not None else None,
            }
            for answer in answers
        ],
    }


def as_text(plain: Mapping[str, Any]) -> bytes:
    """Plain values as the bytes of an indented JSON file."""
    return msgspec.json.format(msgspec.json.encode(plain), indent=2) + b"\n"


def _accuracy_to_plain(figures: Figures) -> dict[str, Any]:
    """Percent of AP as the page has them, with the ends of their intervals; counts at the suggested threshold."""
    intervals, counts = figures.intervals, figures.counts
    column = int(abs(THRESHOLDS - figures.threshold).argmin())
    data = figures.evaluation.data
    per_class = [
        {
            "name": name,
            "objects": data.objects_per_class[label],
            "ap": _interval(intervals.ap_per_class[label]),
            "ap50": _interval(intervals.ap50_per_class[label]),
            "found": int(counts.hits[label, column]),
            "shown": int(counts.shown[label, column]),
            "best_threshold": figures.threshold_per_class[label],
        }
        for label, name in enumerate(figures.classes)
    ]
    return {
        "images": len(data.records),
        "objects": figures.metrics.num_objects,
        "input_size": figures.evaluation.input_size,
        "model": figures.evaluation.model.file,
        "model_sha256": figures.evaluation.model.sha256,
        "data_fingerprint": data.fingerprint,
        "threshold": figures.threshold,
        "ap": _interval(intervals.ap),
        "ap50": _interval(intervals.ap50),
        "ap75": figures.metrics.ap75,
        "recall": figures.metrics.recall,
        "classes": per_class,
        "errors": [
            {"kind": kind.kind, "count": kind.count, "ap50_points_if_fixed": 100 * kind.gain} for kind in figures.kinds
        ],
        "confusion": figures.confusion.tolist(),
        "sizes": [dataclasses.asdict(size) for size in figures.sizes],
    }


def _interval(ends: Interval | None) -> dict[str, float] | None:
    return None if ends is None else {"value": ends.value, "low": ends.low, "high": ends.high}


def _newest(files: Sequence[ResultFile]) -> dict[str, Any] | None:
    """What the newest of the files holds, without what says where it was made."""
    if not files:
        return None
    return {key: value for key, value in files[0].content.items() if key not in {"made_by", "images", "data"}}
