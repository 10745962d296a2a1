"""One page about one work directory: what the template is filled with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from multibox.evaluate.average_precision import measure
from multibox.evaluate.hits import IOU_50
from multibox.evaluate.record import RecordedEvaluation
from multibox.evaluate.thresholds import THRESHOLDS, Counts
from multibox.report import deployment, plots, provenance, sentences
from multibox.report.album import Album, choose_images, image_scores
from multibox.report.confusion_table import confusion_table, reduced
from multibox.report.data_view import NOT_EXAMINED, DataExamination, data_context
from multibox.report.figures import Figures
from multibox.report.gallery import galleries
from multibox.report.rendering import as_json, render, svg
from multibox.report.shown_paths import ShownPaths
from multibox.report.training_length import why_too_brief
from multibox.report.work_dir import RecordedRun, WorkDir
from multibox.wording import NO_VALUE, counted, listed, percent

SHOWN_CLASSES = 12
"""Largest number of classes that are shown at once; of more, the weakest are, and the others can be unfolded."""


@dataclass(frozen=True)
class ReportSubject:
    """What a report is about: a work directory, its evaluation and the figures of that, and what is known of the data.

    `how` says where the evaluation came from. Without one, or where its data have no object, `figures` are None.
    """

    work: WorkDir
    evaluation: RecordedEvaluation | None
    figures: Figures | None
    paths: ShownPaths
    how: str = ""
    examination: DataExamination = NOT_EXAMINED

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the labels, as far as they are known."""
        if self.evaluation is not None:
            return self.evaluation.data.classes
        run = self.work.run
        recorded = run.facts.get("train_data") or {} if run is not None else {}
        return tuple(recorded.get("objects_per_class") or ())

    @property
    def is_advised(self) -> bool:
        """Whether the training was long enough for advice to make sense."""
        run = self.work.run
        return run is None or why_too_brief(run.epochs) is None

    @property
    def summary(self) -> list[str]:
        """The report in a few sentences."""
        if self.figures is not None:
            return sentences.summary(self.figures, is_advised=self.is_advised)
        return [_no_figures(self.evaluation)]

    @property
    def alarms(self) -> list[str]:
        """What makes the figures worthless."""
        run = self.work.run
        return sentences.alarms(self.figures, run.facts if run is not None else None, run.epochs if run else ())

    @property
    def warnings(self) -> list[str]:
        """What about the data makes the figures less sure, or the detector worse."""
        facts = self.work.run.facts if self.work.run is not None else None
        return sentences.data_warnings(self.figures, facts, is_advised=self.is_advised)


def report_page(subject: ReportSubject) -> str:
    """The page, as HTML.

    Raises:
        DependencyError: matplotlib or Jinja2 is not installed.
    """
    work, evaluation, figures, paths = subject.work, subject.evaluation, subject.figures, subject.paths
    context: dict[str, Any] = {
        "title": f"Detector of {listed(subject.classes)}" if subject.classes else "Detector",
        "subtitle": _subtitle(work, evaluation),
        "summary": subject.summary,
        "alarms": subject.alarms,
        "warnings": subject.warnings,
        "tiles": deployment.tiles(work, figures, is_advised=subject.is_advised),
        "missing": sentences.missing(work, evaluation is not None, paths),
        "classes": subject.classes,
        "f": figures,
        **data_context(evaluation, work.run, subject.classes, subject.examination, paths, num_shown=SHOWN_CLASSES),
        "training": _training(work.run, figures),
        **deployment.sections(work, paths),
        "provenance": provenance.facts(work, evaluation, subject.how, paths),
        "evaluations": [_evaluation_row(entry, paths) for entry in work.evaluations],
        "problems": [paths.sentence(line) for line in work.problems],
        "strip": [],
        "more_scenes": [],
    }
    if figures is not None:
        is_advised = subject.is_advised
        context |= _accuracy(figures) | _errors(figures, is_advised=is_advised) | _thresholds(figures, work)
        context |= _sizes(figures, is_advised=is_advised) | _images(figures)
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
        ("images", "Mistakes", bool(context.get("galleries") or context.get("images_are_gone"))),
        ("deployment", "Deployment", bool(context["exports"] or context["compression"] or context["benches"])),
        ("provenance", "Provenance", True),
    )
    return [(name, title) for name, title, is_there in known if is_there]


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


def _training(run: RecordedRun | None, figures: Figures | None) -> dict[str, Any] | None:
    epochs = run.epochs if run is not None else ()
    if run is None or not epochs:
        return None
    validated = [epoch for epoch in epochs if epoch.get("ap") is not None]
    length = f"{counted(len(epochs), 'epoch')}, {counted(int(epochs[-1].get('step', 0)), 'step')}."
    drawn = []
    # One point is no curve: a sentence says it better.
    if len(epochs) > 1:
        drawn.append(svg(plots.losses(epochs)))
    else:
        length += f" The mean loss was {epochs[0].get('loss') or 0:.2f}."
    if len(validated) > 1:
        drawn.append(svg(plots.average_precision(validated)))
    if len(epochs) > 1 and any(epoch.get("learning_rate") is not None for epoch in epochs):
        drawn.append(svg(plots.learning_rates(epochs)))
    sentence = f"{length} {sentences.training_sentence(validated, _ap_of_weights(run, figures))}"
    return {"sentence": sentence, "plots": drawn}


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


def _errors(figures: Figures, *, is_advised: bool) -> dict[str, Any]:
    worst, num_objects = figures.worst_kind, figures.metrics.num_objects
    if worst is None:
        error_sentence = "No kind of error costs AP50 anything."
    elif is_advised:
        error_sentence = sentences.advice(worst, num_objects)
    else:
        error_sentence = sentences.loss_by_kind(worst, num_objects)
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


def _sizes(figures: Figures, *, is_advised: bool) -> dict[str, Any]:
    return {
        "size_plot": svg(plots.by_size(figures.sizes)),
        "size_sentence": sentences.size_sentence(figures, is_advised=is_advised),
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
    album = Album(figures)
    scores = image_scores(figures)
    chosen = choose_images(scores)
    shown = galleries(figures, album)
    scenes = album.scenes(chosen, scores)
    gone = None
    if not shown and album.unreadable:
        gone = (
            "The images are not where they were when the detector was measured. Name them with --val-ann-files and "
            "--val-data-roots to see mistakes here."
        )
    return {
        "galleries": shown,
        "num_unreadable": len(album.unreadable),
        "images_are_gone": gone,
        "strip": [scene for scene in scenes if scene.kind is not None],
        "more_scenes": [scene for scene in scenes if scene.kind is None],
        "scene_images": {scene.image for scene in scenes},
    }


def _evaluation_row(evaluation: RecordedEvaluation, paths: ShownPaths) -> dict[str, str]:
    metrics = measure(evaluation.detections, evaluation.data)
    files = [file.name for file, _ in evaluation.data.sources]
    return {
        "file": paths.file(evaluation.path),
        "model": f"{evaluation.model.file} ({evaluation.model.sha256[:8]})",
        "data": f"{counted(len(evaluation.data.records), 'image')} of {listed(files) if files else 'unknown data'}",
        "ap": percent(metrics.ap),
        "ap50": percent(metrics.ap50),
    }
