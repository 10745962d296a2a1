"""Several runs side by side, and the answer to: is the other better than the first, and by how much?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from multibox.evaluate.intervals import Interval, Intervals, ap_differences
from multibox.evaluate.record import RecordedEvaluation
from multibox.report import deployment, plots, provenance
from multibox.report.figures import Figures, figures_of, num_draws_for
from multibox.report.rendering import render, svg
from multibox.report.shown_paths import ShownPaths
from multibox.report.work_dir import WorkDir
from multibox.wording import counted, listed


@dataclass(frozen=True, slots=True)
class Contender:
    """A run: its name on the page, what lies in its directory, and what its evaluation shows, if there is one."""

    name: str
    work: WorkDir
    figures: Figures | None


@dataclass(frozen=True, slots=True)
class Answer:
    """Whether a run is better than the first, in words; `differences` are None where that cannot be said."""

    name: str
    text: str
    differences: Intervals | None


def contenders(judged: Sequence[tuple[WorkDir, RecordedEvaluation | None]]) -> list[Contender]:
    """Name the runs and compute what their evaluations show, the first being the one that others are compared with."""
    names = names_of([work for work, _ in judged])
    return [
        Contender(name, work, figures_of(evaluation) if evaluation is not None else None)
        for name, (work, evaluation) in zip(names, judged, strict=True)
    ]


def compare_with_first(runs: Sequence[Contender]) -> list[Answer]:
    """Answer for each other run whether it is better than the first."""
    first, *others = runs
    return [compare_detectors(first, other) for other in others]


def comparison_page(runs: Sequence[Contender], answers: Sequence[Answer], *, has_full_paths: bool = False) -> str:
    """Build the page of a comparison with the first run, as HTML.

    Raises:
        DependencyError: matplotlib or Jinja2 is not installed.
    """
    first, names = runs[0], [run.name for run in runs]
    classes = first.figures.classes if first.figures is not None else ()
    plotted = [(answer, svg(_plot(answer, classes))) for answer in answers if answer.differences is not None]
    context = {
        "title": " or ".join(names) + "?" if len(names) == 2 else f"{len(names)} runs compared",
        "sections": [("summary", "Summary"), ("runs", "Runs"), ("classes", "Classes"), ("provenance", "Provenance")],
        "answers": answers,
        "runs": [_row(run) for run in runs],
        "first": first.name,
        "plotted": plotted,
        "class_rows": _class_rows(runs, answers, classes),
        "compared": [answer for answer in answers if answer.differences is not None],
        "provenance": [
            (
                run.name,
                provenance.facts(
                    run.work,
                    run.figures.evaluation if run.figures else None,
                    "compared here",
                    ShownPaths(run.work.path, is_full=has_full_paths),
                ),
            )
            for run in runs
        ],
    }
    return render("comparison.html.j2", context)


def compare_detectors(first: Contender, other: Contender) -> Answer:
    """Answer for one run, from a paired bootstrap over the images that both were measured on."""
    why_not = _why_not(first, other)
    if why_not is not None:
        return Answer(other.name, f"{first.name} and {other.name} cannot be compared: {why_not}", None)
    assert first.figures is not None and other.figures is not None
    base, second = first.figures.evaluation, other.figures.evaluation
    draws = num_draws_for((*base.detections, *second.detections), base.data)
    differences = ap_differences(base.detections, second.detections, base.data, resamples=draws)
    return Answer(other.name, difference_verdict(first.name, other.name, differences.ap), differences)


def difference_verdict(first: str, other: str, difference: Interval) -> str:
    """Say in a sentence whether the other is better; only if 95 % of the draws agree."""
    low, high = (f"{end:+.1f}" for end in (difference.low, difference.high))
    if difference.low > 0:
        return f"{other} is better than {first} by {difference.value:.1f} AP points (probably {low} to {high})."
    if difference.high < 0:
        return f"{other} is worse than {first} by {-difference.value:.1f} AP points (probably {low} to {high})."
    if difference.low == difference.high == 0:
        return f"{other} and {first} find the same: their AP does not differ on any draw of the images."
    return (
        f"Cannot tell whether {other} is better than {first}: the difference is {difference.value:+.1f} AP points, and "
        f"with other images of the same kind it may be {low} to {high}. More validation images would tell."
    )


def names_of(works: Sequence[WorkDir]) -> list[str]:
    """Name each work directory by as many of the last parts of its path as tell it from the others."""
    parts = [work.path.resolve().parts for work in works]
    names = []
    for own in parts:
        length = next(
            (n for n in range(1, len(own) + 1) if sum(other[-n:] == own[-n:] for other in parts) == 1), len(own)
        )
        names.append("/".join(own[-length:]))
    return names


def _why_not(first: Contender, other: Contender) -> str | None:
    if first.figures is None or other.figures is None:
        missing = [run.name for run in (first, other) if run.figures is None]
        return f"{listed(missing)} has not been measured on objects. Run multibox eval with --save-metrics-to there."
    base, second = first.figures.evaluation.data, other.figures.evaluation.data
    if base.fingerprint == second.fingerprint:
        return None
    if base.classes != second.classes:
        return f"they know other classes, {listed(base.classes)} and {listed(second.classes)}."
    return (
        f"they were measured on other images ({len(base.records)} and {len(second.records)}). Name the same with "
        "--val-ann-files and --val-data-roots, and both are measured on these."
    )


def _row(run: Contender) -> dict[str, Any]:
    figures = run.figures
    tiles = {tile["name"]: tile for tile in deployment.tiles(run.work, figures)}
    data = figures.evaluation.data if figures is not None else None

    def tile(name: str) -> str:
        return f"{tiles[name]['value']} {tiles[name]['unit']}".strip() if name in tiles else "\N{EN DASH}"

    return {
        "name": run.name,
        "ap": figures.intervals.ap if figures is not None else None,
        "ap50": figures.intervals.ap50 if figures is not None else None,
        "threshold": f"{figures.threshold:.2f}" if figures is not None else "\N{EN DASH}",
        "input_size": figures.evaluation.input_size if figures is not None else "\N{EN DASH}",
        "data": counted(len(data.records), "image") if data is not None else "not measured",
        "size": tile("Size"),
        "latency": tile("Latency"),
        "int8": tile("INT8"),
    }


def _class_rows(runs: Sequence[Contender], answers: Sequence[Answer], classes: Sequence[str]) -> list[dict[str, Any]]:
    first = runs[0].figures
    if first is None:
        return []
    return [
        {
            "label": label,
            "name": name,
            "ap": first.intervals.ap_per_class[label],
            "differences": [
                answer.differences.ap_per_class[label] for answer in answers if answer.differences is not None
            ],
        }
        for label, name in enumerate(classes)
    ]


def _plot(answer: Answer, classes: Sequence[str]) -> str:
    assert answer.differences is not None
    differences = answer.differences
    pairs = zip(classes, differences.ap_per_class, strict=True)
    per_class = [(name, interval) for name, interval in pairs if interval is not None]
    # The classes that differ most, either way.
    most = sorted(per_class, key=lambda row: -abs(row[1].value))[:12]
    return plots.differences([("all classes", differences.ap), *(most if len(per_class) > 1 else ())], "AP")
