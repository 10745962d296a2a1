"""One page about one work directory: what the template is filled with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from multibox.evaluate.average_precision import measure
from multibox.evaluate.hits import IOU_50
from multibox.evaluate.object_size import sides_px
from multibox.evaluate.record import RecordedEvaluation
from multibox.evaluate.thresholds import THRESHOLDS, Counts
from multibox.report import deployment, plots, provenance, sentences
from multibox.report.confusion_table import confusion_table, reduced
from multibox.report.figures import Figures
from multibox.report.gallery import galleries
from multibox.report.rendering import as_json, render, svg
from multibox.report.work_dir import RecordedRun, WorkDir
from multibox.wording import NO_VALUE, counted, listed, percent

SHOWN_CLASSES = 12
"""Largest number of classes that are shown at once; of more, the weakest are, and the others can be unfolded."""


def report_page(work: WorkDir, evaluation: RecordedEvaluation | None, figures: Figures | None, *, how: str = "") -> str:
    """The page, as HTML. `figures` are those of `evaluation`; `how` says where that came from.

    Raises:
        DependencyError: matplotlib or Jinja2 is not installed.
    """
    run = work.run
    facts = run.facts if run is not None else None
    classes = _classes(evaluation, run)
    context: dict[str, Any] = {
        "title": f"Detector of {listed(classes)}" if classes else "Detector",
        "subtitle": _subtitle(work, evaluation),
        "summary": sentences.summary(figures) if figures is not None else [_no_figures(evaluation)],
        "alarms": sentences.alarms(figures, facts, run.epochs if run is not None else ()),
        "warnings": sentences.data_warnings(figures, facts),
        "tiles": deployment.tiles(work, figures),
        "missing": sentences.missing(work, evaluation is not None),
        "classes": classes,
        "f": figures,
        **_data(evaluation, run, classes),
        "training": _training(run, figures),
        **deployment.sections(work, figures),
        "provenance": provenance.facts(work, evaluation, how),
        "evaluations": [_evaluation_row(entry, work.path) for entry in work.evaluations],
        "problems": work.problems,
    }
    if figures is not None:
        context |= _accuracy(figures) | _errors(figures) | _sizes(figures) | _thresholds(figures, work)
        context |= _images(figures)
    return render("page.html.j2", {**context, "sections": _sections(context)})


def _sections(context: Mapping[str, Any]) -> list[tuple[str, str]]:
    has_findings = context["f"] is not None
    known = (
        ("summary", "Summary", True),
        ("data", "Data", bool(context["data_rows"])),
        ("training", "Training", context["training"] is not None),
        ("accuracy", "Accuracy", has_findings),
        ("errors", "Errors", has_findings),
        ("size", "Size", has_findings),
        ("threshold", "Threshold", has_findings),
        ("images", "Images", bool(context.get("galleries") or context.get("images_are_gone"))),
        ("deployment", "Deployment", bool(context["exports"] or context["compression"] or context["benches"])),
        ("provenance", "Provenance", True),
    )
    return [(name, title) for name, title, is_there in known if is_there]


def _classes(evaluation: RecordedEvaluation | None, run: RecordedRun | None) -> tuple[str, ...]:
    if evaluation is not None:
        return evaluation.data.classes
    recorded = run.facts.get("train_data") or {} if run is not None else {}
    return tuple(recorded.get("objects_per_class") or ())


def _subtitle(work: WorkDir, evaluation: RecordedEvaluation | None) -> str:
    parts = [work.path.resolve().name]
    if evaluation is not None:
        files = (
            listed([file.name for file, _ in evaluation.data.sources]) if evaluation.data.sources else "unknown data"
        )
        parts.append(f"{evaluation.model.file} at {evaluation.input_size} x {evaluation.input_size} pixels")
        parts.append(f"measured on {counted(len(evaluation.data.records), 'image')} of {files}")
    return " · ".join(parts)


def _no_figures(evaluation: RecordedEvaluation | None) -> str:
    if evaluation is not None:
        return "The images that were measured on have no object of these classes, so there is no accuracy to report."
    return "The detector has not been measured on annotated images yet, so this report cannot say how good it is."


def _data(evaluation: RecordedEvaluation | None, run: RecordedRun | None, classes: Sequence[str]) -> dict[str, Any]:
    train = run.facts.get("train_data") or {} if run is not None else {}
    in_training = train.get("objects_per_class") or {}
    in_val = evaluation.data.objects_per_class if evaluation is not None else None

    def number(value: int | None) -> str:
        return NO_VALUE if value is None else f"{value:,}"

    empty_val: int | None = None
    if evaluation is not None:
        empty_val = [len(record.targets) for record in evaluation.data.records].count(0)
    rows: list[dict[str, Any]] = [
        {
            "label": label,
            "name": name,
            "train": number(in_training.get(name)),
            "val": number(in_val[label] if in_val else None),
            "is_total": False,
        }
        for label, name in enumerate(classes)
    ]
    totals: list[tuple[str, int | None, int | None]] = [
        ("images", train.get("images"), len(evaluation.data.records) if evaluation is not None else None),
        ("images without objects", train.get("images_without_objects"), empty_val),
        ("all objects", train.get("objects"), sum(in_val) if in_val else None),
    ]
    first = [
        {
            "label": None,
            "name": name,
            "train": number(trained),
            "val": number(validated),
            "is_total": name == "all objects",
        }
        for name, trained, validated in totals
    ]
    shown = rows if len(rows) <= SHOWN_CLASSES + 1 else rows[:SHOWN_CLASSES]
    plot = None
    if evaluation is not None and any(evaluation.data.objects_per_class):
        plot = svg(plots.object_sides(sides_px(evaluation.data, input_size=evaluation.input_size)))
    return {
        "data_rows": [*first, *shown] if train or evaluation is not None else [],
        "data_hidden": rows[len(shown) :],
        "data_sentence": _data_sentence(train, evaluation),
        "sides_plot": plot,
    }


def _data_sentence(train: Mapping[str, Any], evaluation: RecordedEvaluation | None) -> str:
    parts = []
    if train.get("images"):
        parts.append(
            f"Trained on {counted(train['images'], 'image')} with {counted(train.get('objects', 0), 'object')}"
        )
    if evaluation is not None:
        data = evaluation.data
        verb = "measured" if parts else "Measured"
        parts.append(
            f"{verb} on {counted(len(data.records), 'image')} with {counted(sum(data.objects_per_class), 'object')}"
        )
    return f"{', '.join(parts)}." if parts else ""


def _training(run: RecordedRun | None, figures: Figures | None) -> dict[str, Any] | None:
    epochs = run.epochs if run is not None else ()
    if run is None or not epochs:
        return None
    validated = [epoch for epoch in epochs if epoch.get("ap") is not None]
    length = f"{counted(len(epochs), 'epoch')}, {counted(int(epochs[-1].get('step', 0)), 'step')}."
    return {
        "sentence": f"{length} {sentences.training_sentence(validated, _ap_of_weights(run, figures))}",
        "losses": svg(plots.losses(epochs)),
        "ap": svg(plots.average_precision(validated)) if validated else None,
    }


def _ap_of_weights(run: RecordedRun, figures: Figures | None) -> float | None:
    """The AP of the run's weights on its own validation images, if that is what was measured."""
    if figures is None or figures.evaluation.model.sha256 != run.weights_sha256:
        return None
    is_same = (run.facts.get("val_data") or {}).get("fingerprint") == figures.evaluation.data.fingerprint
    return figures.metrics.ap if is_same else None


def _accuracy(figures: Figures) -> dict[str, Any]:
    per_class = figures.metrics.per_class
    names = figures.classes
    order = sorted(figures.hits.measured, key=lambda label: per_class[names[label]].ap50 or 0.0)
    is_many = len(names) > SHOWN_CLASSES
    shown = order[:SHOWN_CLASSES] if is_many else list(range(len(names)))
    curves = {
        label: svg(plots.precision_recall(figures.hits.classes[label].precision()[IOU_50], names[label]))
        for label in order
    }
    return {
        "objects": figures.evaluation.data.objects_per_class,
        "shown_labels": shown,
        "hidden_labels": [label for label in range(len(names)) if label not in shown],
        "curves": curves,
        "shown_curves": order[:SHOWN_CLASSES] if is_many else sorted(order),
        "hidden_curves": order[SHOWN_CLASSES:] if is_many else [],
        "measured": sorted(order),
    }


def _errors(figures: Figures) -> dict[str, Any]:
    worst = figures.worst_kind
    if worst is None:
        error_sentence = "No kind of error costs AP50 anything."
    else:
        gain = f"{100 * worst.gain:.1f} AP50 points"
        error_sentence = f"Most is lost by {sentences.PROBLEMS[worst.kind]}: {gain}. {sentences.REMEDIES[worst.kind]}"
    table = figures.confusion
    num_wrong = int(table[:-1, :-1].sum() - np.trace(table[:-1, :-1]))
    missed, false = int(table[:-1, -1].sum()), int(table[-1, :-1].sum())
    return {
        "kinds_plot": svg(plots.error_kinds(figures.kinds)),
        "kind_names": plots.KIND_NAMES,
        "explanations": sentences.EXPLANATIONS,
        "error_sentence": error_sentence,
        "confusion": confusion_table(*reduced(table, figures.classes, limit=SHOWN_CLASSES)),
        "confusion_full": confusion_table(table, figures.classes) if len(figures.classes) > SHOWN_CLASSES else None,
        "confusion_sentence": (
            f"At the threshold of {figures.threshold:.2f}, {num_wrong:,} of the boxes shown are on an object of "
            f"another class, {false:,} are on background, and {missed:,} objects have no box on them."
        ),
    }


def _sizes(figures: Figures) -> dict[str, Any]:
    return {
        "size_plot": svg(plots.by_size(figures.sizes)),
        "size_sentence": sentences.size_sentence(figures),
        "range_name": plots.range_name,
    }


def _thresholds(figures: Figures, work: WorkDir) -> dict[str, Any]:
    counts, measured = figures.counts, list(figures.hits.measured)
    column = sentences.column_of(figures.threshold)
    means = {
        "Precision": counts.precision[measured].mean(axis=0),
        "Recall": counts.recall[measured].mean(axis=0),
        "F1": counts.f1[measured].mean(axis=0),
    }
    drawing, frame = plots.thresholds(means, figures.threshold)
    hits, shown, objects = counts.hits[:, column], counts.shown[:, column], counts.num_objects
    rows = [{"label": label, "cells": _threshold_cells(counts, label, column)} for label in range(len(figures.classes))]
    live = {
        "thresholds": THRESHOLDS.tolist(),
        "suggested": column,
        "frame": {"left": frame.left, "right": frame.right, "bottom": frame.bottom, "top": frame.top},
        "classes": [
            {"hits": counts.hits[label].tolist(), "shown": counts.shown[label].tolist(), "objects": int(objects[label])}
            for label in range(len(figures.classes))
        ],
    }
    return {
        "threshold_sentence": sentences.threshold_sentence(figures, [file.content for file in work.exports]),
        "threshold_plot": svg(drawing),
        "chooser": {
            "thresholds": live["thresholds"],
            "suggested": column,
            "rows": rows,
            "now": {
                **{name.lower(): sentences.share(values[column]) for name, values in means.items()},
                "wrong": f"{(shown - hits).sum():,}",
                "shown": f"{shown.sum():,}",
                "missed": f"{(objects - hits).sum():,}",
                "objects": f"{objects.sum():,}",
            },
        },
        "chooser_json": as_json(live),
    }


def _threshold_cells(counts: Counts, label: int, column: int) -> list[str]:
    """A row of the table below the chooser: objects, found, missed, wrong boxes; precision, recall, F1."""
    objects = int(counts.num_objects[label])
    hits, shown = int(counts.hits[label, column]), int(counts.shown[label, column])
    precision, recall, f1 = (float(some[label, column]) for some in (counts.precision, counts.recall, counts.f1))
    numbers = [f"{value:,}" for value in (objects, hits, objects - hits, shown - hits)]
    shares = [(shown, precision), (objects, recall), (objects, f1)]
    return numbers + [sentences.share(value) if of else NO_VALUE for of, value in shares]


def _images(figures: Figures) -> dict[str, Any]:
    shown, num_unreadable = galleries(figures)
    gone = None
    if not shown and num_unreadable:
        gone = (
            "The images are not where they were when the detector was measured. Name them with --val-ann-files and "
            "--val-data-roots to see mistakes here."
        )
    return {"galleries": shown, "num_unreadable": num_unreadable, "images_are_gone": gone}


def _evaluation_row(evaluation: RecordedEvaluation, folder: Path) -> dict[str, str]:
    metrics = measure(evaluation.detections, evaluation.data)
    files = [file.name for file, _ in evaluation.data.sources]
    return {
        "file": evaluation.path.relative_to(folder).as_posix(),
        "model": f"{evaluation.model.file} ({evaluation.model.sha256[:8]})",
        "data": f"{counted(len(evaluation.data.records), 'image')} of {listed(files) if files else 'unknown data'}",
        "ap": percent(metrics.ap),
        "ap50": percent(metrics.ap50),
    }
