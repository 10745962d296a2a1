"""What a report says in words: the summary, what to do about errors, what is odd about the data, what is missing."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from multibox.data.description import FEW_OBJECTS
from multibox.evaluate.error_kinds import KindOfError
from multibox.evaluate.intervals import Interval
from multibox.report.figures import Figures
from multibox.report.shown_paths import ShownPaths
from multibox.report.training_length import why_too_brief
from multibox.report.work_dir import WorkDir
from multibox.wording import NO_VALUE, counted, listed, percent

FEW_SHARE = 0.1
"""Share of the objects of the most frequent class below which a class is rare, and learnt worse."""

SMALL_PX = 32
"""Side in pixels of the network input up to which objects are hard for any detector; COCO calls such objects small."""

PROBLEMS: Mapping[str, str] = {
    "class": "objects taken for another class",
    "localisation": "boxes beside their object",
    "both": "boxes near objects of another class",
    "duplicate": "objects found twice",
    "background": "boxes where no object is annotated",
    "missed": "objects that are not found",
}

REMEDIES: Mapping[str, str] = {
    "class": "Add images of the confused classes, or merge classes you do not need to tell apart.",
    "localisation": "Check that the annotated boxes are tight and all drawn alike. A larger input gives finer boxes.",
    "both": "Add images in which these classes are close to each other.",
    "duplicate": "Lower postprocess.iou_threshold in the template.",
    "background": "Look at the worst false positives below. If objects are missing in the annotations, annotate them; "
    "else add images of such background.",
    "missed": "Add images like the misses below. If those objects are small, try a larger input.",
}

FEW_EXAMPLES = 20
"""Number of errors of a kind below which advice rests on single images."""

EXPLANATIONS: Mapping[str, str] = {
    "class": "On an object of another class (IoU of 0.5 or more).",
    "localisation": "Near an object of its class, but not on it (IoU from 0.1 to below 0.5).",
    "both": "Near an object of another class.",
    "duplicate": "On an object that a better detection has already.",
    "background": "On no object (IoU below 0.1 with all).",
    "missed": "Objects without any nearby detection.",
}


@dataclass(frozen=True, slots=True)
class Missing:
    """What the report lacks, and the command that leaves it."""

    what: str
    command: str


def share(fraction: float) -> str:
    """Write a fraction in whole percent, with its sign."""
    return f"{100 * fraction:.0f} %"


def interval(ends: Interval | None) -> str:
    """Write the ends of an interval: `89.2 to 95.0`."""
    return NO_VALUE if ends is None else f"{ends.low:.1f} to {ends.high:.1f}"


def range_words(ends: Interval | None) -> str:
    """Write an interval in plain words: `probably 89.2 to 95.0`."""
    return NO_VALUE if ends is None else f"probably {interval(ends)}"


def summary(figures: Figures, *, is_advised: bool = True) -> list[str]:
    """The whole report in a few sentences; without advice where it would be premature."""
    metrics, counts = figures.metrics, figures.counts
    column = column_of(figures.threshold)
    hits, shown, total = int(counts.hits[:, column].sum()), int(counts.shown[:, column].sum()), metrics.num_objects
    measured = [name for name, scores in metrics.per_class.items() if scores.ap50 is not None]
    ap50 = figures.intervals.ap50
    lines = [
        f"On {counted(metrics.num_images, 'image')} with {counted(total, 'object')} of {listed(measured)}, AP50 is "
        f"{percent(metrics.ap50)}. On other images of this kind, it is probably between {ap50.low:.0f} and "
        f"{ap50.high:.0f}.",
    ]
    if shown:
        wrong = shown - hits
        lines.append(
            f"At a threshold of {figures.threshold:.2f}, it finds {hits:,} of the {total:,} objects "
            f"({share(hits / total)}), and {wrong:,} of the {shown:,} boxes that it shows are wrong "
            f"({share(wrong / shown)})."
        )
    worst = figures.worst_kind
    if worst is not None and is_advised:
        lines.append(advice(worst, total))
    aps = {name: metrics.per_class[name].ap50 or 0.0 for name in measured}
    weakest, best = min(aps, key=lambda name: aps[name]), max(aps, key=lambda name: aps[name])
    if len(aps) > 1:
        lines.append(
            f"The weakest class is {weakest} (AP50 {percent(aps[weakest])}), the best {best} ({percent(aps[best])})."
        )
    return lines


def loss_by_kind(worst: KindOfError, num_objects: int) -> str:
    """What the costliest kind of error takes from AP50, and from how many errors that follows."""
    of = f"{worst.count:,} of the {num_objects:,} objects" if worst.kind == "missed" else f"{worst.count:,} of them"
    gain = f"{100 * worst.gain:.1f} points"
    return f"Most is lost by {PROBLEMS[worst.kind]} ({of}): without them, AP50 would be {gain} higher."


def advice(worst: KindOfError, num_objects: int) -> str:
    """What to do about the costliest kind of error, and from how many errors that follows."""
    text = f"{loss_by_kind(worst, num_objects)} {REMEDIES[worst.kind]}"
    if worst.count < FEW_EXAMPLES:
        text += f" This follows from {counted(worst.count, 'case')} only: look at them before you act."
    return text


def alarms(
    figures: Figures | None, run_facts: Mapping[str, Any] | None, epochs: Sequence[Mapping[str, Any]]
) -> list[str]:
    """What makes the figures worthless, or the advice that would follow from them."""
    lines: list[str] = []
    train = (run_facts or {}).get("train_data") or {}
    if figures is not None and train.get("fingerprint") == figures.evaluation.data.fingerprint:
        lines.append(
            "This was measured on the very images of the training: the figures say nothing about other images."
        )
    reason = why_too_brief(epochs)
    if reason is not None:
        lines.append(
            f"Trained too briefly: {reason}. Train longer first. The figures below are of an unfinished detector, so "
            "this report gives no other advice."
        )
    return lines


def data_warnings(
    figures: Figures | None, run_facts: Mapping[str, Any] | None, *, is_advised: bool = True
) -> list[str]:
    """What about the data makes the figures less sure than they seem, or the detector worse than it could be."""
    lines: list[str] = []
    if figures is not None:
        data = figures.evaluation.data
        objects = dict(zip(data.classes, data.objects_per_class, strict=True))
        none = [name for name, count in objects.items() if not count]
        few = [f"{name} ({count})" for name, count in objects.items() if 0 < count < FEW_OBJECTS]
        if none:
            lines.append(f"There is nothing to measure of {listed(none)}: no object is in these images.")
        if few:
            lines.append(
                f"Fewer than {FEW_OBJECTS} objects to measure: {listed(few)}. Their AP hangs on single images."
            )
    per_class = ((run_facts or {}).get("train_data") or {}).get("objects_per_class") or {}
    most = max(per_class.values(), default=0)
    unseen = [name for name, count in per_class.items() if not count]
    if unseen:
        lines.append(
            f"No object of {listed(unseen)} in the training data: what the weights know of them is from before."
        )
    rare = [f"{name} ({count:,})" for name, count in per_class.items() if 0 < count < FEW_SHARE * most]
    if rare:
        text = f"Rare in training: {listed(rare)}, where the most frequent class has {most:,} objects."
        lines.append(f"{text} More images of the rare classes help most." if is_advised else text)
    return lines


def training_sentence(validated: Sequence[Mapping[str, Any]], ap_of_weights: float | None) -> str:
    """What the course of AP says. `ap_of_weights`: of the best weights, which may be those that training began with."""
    if not validated:
        return "Without validation images it is not known which epoch was best."
    best = max(validated, key=lambda epoch: float(epoch["ap"]))
    if ap_of_weights is not None and ap_of_weights > best["ap"] + 1e-4:
        return f"No epoch was better than the starting weights, AP {percent(ap_of_weights)}; best.pth holds these."
    text = f"The best validation, AP {percent(best['ap'])}, was after epoch {best['epoch']}; best.pth holds it."
    if len(validated) == 1:
        aps = f"AP {percent(best['ap'])}, AP50 {percent(best.get('ap50'))}"
        return f"The only validation, after epoch {best['epoch']}: {aps}."
    if best is validated[-1] and len(validated) > 2:
        return f"{text} AP was still rising at the end."
    if len(validated) - 1 - validated.index(best) > len(validated) / 2:
        return f"{text} It came early: more epochs gave nothing."
    return text


def size_sentence(figures: Figures, *, is_advised: bool = True) -> str:
    """Whether small objects are the trouble, and of how many objects that is known."""
    known = [sizes for sizes in figures.sizes if sizes.ap50 is not None]
    if len(known) < 2:
        return "All objects are of about one size."
    worst = min(known, key=lambda sizes: sizes.ap50 or 0.0)
    name = f"{worst.low_px:.0f} to {worst.high_px:.0f}" if worst.high_px < 1000 else f"over {worst.low_px:.0f}"
    number = counted(worst.num_objects, "object")
    text = f"Weakest are objects of {name} pixels (AP50 {percent(worst.ap50)}, {number})."
    if worst.high_px <= SMALL_PX and is_advised:
        text += " They are small for the network: a larger input makes them larger."
    return text


def threshold_sentence(figures: Figures, exports: Sequence[Mapping[str, Any]]) -> str:
    """What is suggested, by which rule, and whether exported files know it."""
    text = (
        f"Suggested is {figures.threshold:.2f}: there, the mean F1 over the classes is best, each counting the same. "
        "Take more if wrong boxes cost you more than missed objects, less if it is the other way round. Shares are "
        "means over the classes, numbers are sums. "
    )
    known = {round(float(export["threshold"]), 2) for export in exports if export.get("threshold")}
    if known:
        shown = " and ".join(f"{threshold:.2f}" for threshold in sorted(known))
        text += f"The exported files carry {shown} in their metadata, where OpenVINO Model API and multibox read it."
    return text


def missing(work: WorkDir, has_evaluation: bool, paths: ShownPaths) -> list[Missing]:
    """What the report lacks, with the command that leaves it, to be typed in the work directory."""
    name = _named(work, paths)
    has_val_data = work.run is not None and bool(work.run.facts.get("val_data"))
    lacking: list[Missing] = []
    if work.run is None:
        lacking.append(Missing("training curves", "multibox train DATA"))
    if not has_evaluation:
        data = "" if has_val_data else " --data LABELLED_IMAGES"
        lacking.append(Missing("accuracy, errors, thresholds and galleries", f"multibox eval{name}{data}"))
    if not work.exports:
        lacking.append(Missing("exported files and their parity", f"multibox export{name}"))
    if not work.compressions:
        lacking.append(Missing("what INT8 costs", f"multibox compress{name}"))
    if not work.benches:
        files = [shlex.quote(paths.file(file.folder / "model.xml")) for file in reversed(work.exports)]
        models = " ".join(files) or "export/model.xml"
        lacking.append(Missing("latency and throughput", f"multibox bench {models} --json bench.json"))
    return lacking


def _named(work: WorkDir, paths: ShownPaths) -> str:
    """How the run is named to a command that is typed in the work directory, with a blank before it."""
    if work.run is None:
        return " CHECKPOINT.pth"
    is_found = work.run.folder in {work.path, work.path / "outputs"}  # by `multibox.runs.finding`
    return "" if is_found else f" {shlex.quote(paths.file(work.run.folder))}"


def column_of(threshold: float) -> int:
    """The position of a threshold in `evaluate.thresholds.THRESHOLDS`."""
    from multibox.evaluate.thresholds import THRESHOLDS

    return int(abs(THRESHOLDS - threshold).argmin())
