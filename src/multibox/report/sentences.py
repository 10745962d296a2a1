"""What a report says in words: the summary, what to do about errors, what is odd about the data, what is missing."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from multibox.data.description import FEW_OBJECTS
from multibox.evaluate.intervals import Interval
from multibox.report.figures import Figures
from multibox.report.work_dir import WorkDir
from multibox.train.progress import TOO_BRIEF, is_too_brief
from multibox.wording import NO_VALUE, counted, listed, percent

FEW_SHARE = 0.1
"""Share of the objects of the most frequent class below which a class is rare, and learnt worse."""

SMALL_PX = 32
"""Side in pixels of the network input up to which objects are hard for any detector; COCO calls such objects small."""

PROBLEMS: Mapping[str, str] = {
    "class": "objects that are taken for another class",
    "localisation": "boxes beside their object",
    "both": "boxes near objects of another class",
    "duplicate": "objects that are found twice",
    "background": "boxes where no object is annotated",
    "missed": "objects that are not found at all",
}

REMEDIES: Mapping[str, str] = {
    "class": "Add images of the classes that are taken for each other, or merge classes that need not be told apart.",
    "localisation": "Check that the annotated boxes are tight and all drawn alike; a larger input gives finer boxes.",
    "both": "Add examples of the classes that are near each other.",
    "duplicate": "Lower postprocess.iou_threshold in the template.",
    "background": "Look at the worst false positives below: some may be objects that nobody annotated; for the others, "
    "add images of such background.",
    "missed": "Add examples like the misses below; small ones ask for a larger input.",
}

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


def summary(figures: Figures) -> list[str]:
    """The whole report in a few sentences."""
    metrics, counts = figures.metrics, figures.counts
    column = column_of(figures.threshold)
    hits, shown, total = int(counts.hits[:, column].sum()), int(counts.shown[:, column].sum()), metrics.num_objects
    measured = [name for name, scores in metrics.per_class.items() if scores.ap50 is not None]
    ap50 = figures.intervals.ap50
    lines = [
        f"On {counted(metrics.num_images, 'image')} with {counted(total, 'object')} of {listed(measured)}, AP50 is "
        f"{percent(metrics.ap50)}. Judging by these images, the true value is probably between {ap50.low:.0f} "
        f"and {ap50.high:.0f}.",
    ]
    if shown:
        wrong = shown - hits
        lines.append(
            f"At a threshold of {figures.threshold:.2f}, it finds {hits:,} of the {total:,} objects "
            f"({share(hits / total)}), and {wrong:,} of the {shown:,} boxes that it shows are wrong "
            f"({share(wrong / shown)})."
        )
    worst = figures.worst_kind
    if worst is not None:
        lines.append(
            f"Most is lost by {PROBLEMS[worst.kind]}: without them, AP50 would be {100 * worst.gain:.1f} points "
            f"higher. {REMEDIES[worst.kind]}"
        )
    aps = {name: metrics.per_class[name].ap50 or 0.0 for name in measured}
    weakest, best = min(aps, key=lambda name: aps[name]), max(aps, key=lambda name: aps[name])
    if len(aps) > 1:
        lines.append(
            f"The weakest class is {weakest} (AP50 {percent(aps[weakest])}), the best {best} ({percent(aps[best])})."
        )
    return lines


def alarms(
    figures: Figures | None, run_facts: Mapping[str, Any] | None, epochs: Sequence[Mapping[str, Any]] = ()
) -> list[str]:
    """What makes the figures worthless, or all that follows from them."""
    lines = [TOO_BRIEF] if epochs and is_too_brief(epochs) else []
    train = (run_facts or {}).get("train_data") or {}
    if figures is not None and train.get("fingerprint") == figures.evaluation.data.fingerprint:
        lines.append(
            "This was measured on the very images of the training: the figures say nothing about other images."
        )
    return lines


def data_warnings(figures: Figures | None, run_facts: Mapping[str, Any] | None) -> list[str]:
    """What about the data makes the figures less sure than they seem, or the detector worse than it could be."""
    lines: list[str] = []
    if figures is not None:
        data = figures.evaluation.data
        objects = dict(zip(data.classes, data.objects_per_class, strict=True))
        none = [name for name, count in objects.items() if not count]
        few = [name for name, count in objects.items() if 0 < count < FEW_OBJECTS]
        if none:
            lines.append(f"There is nothing to measure of {listed(none)}: no object is in these images.")
        if few:
            lines.append(f"Fewer than {FEW_OBJECTS} objects of {listed(few)}: their AP hangs on single images.")
    per_class = ((run_facts or {}).get("train_data") or {}).get("objects_per_class") or {}
    most = max(per_class.values(), default=0)
    unseen = [name for name, count in per_class.items() if not count]
    if unseen:
        lines.append(
            f"No object of {listed(unseen)} in the training data: what the weights know of them is from before."
        )
    rare = [name for name, count in per_class.items() if 0 < count < FEW_SHARE * most]
    if rare:
        lines.append(
            f"Rare in training: {listed(rare)}, with less than a tenth of the objects of the most frequent class. "
            "More examples of what is rare help most."
        )
    return lines


def training_sentence(validated: Sequence[Mapping[str, Any]], ap_of_weights: float | None) -> str:
    """What the course of AP says. `ap_of_weights`: of the best weights, which may be those that training began with."""
    if not validated:
        return "Without validation images it is not known which epoch was best."
    best = max(validated, key=lambda epoch: float(epoch["ap"]))
    if ap_of_weights is not None and ap_of_weights > best["ap"] + 1e-4:
        return f"No epoch was better than the starting weights, AP {percent(ap_of_weights)}; best.pth holds these."
    text = f"The best validation, AP {percent(best['ap'])}, was after epoch {best['epoch']}; best.pth holds it."
    if best is validated[-1] and len(validated) > 2:
        return f"{text} AP was still rising at the end: a longer training may give more."
    if len(validated) - 1 - validated.index(best) > len(validated) / 2:
        return f"{text} It came early: more epochs gave nothing, more data might."
    return text


def size_sentence(figures: Figures) -> str:
    """Whether small objects are the trouble."""
    known = [sizes for sizes in figures.sizes if sizes.ap50 is not None]
    if len(known) < 2:
        return "All objects are of about one size."
    worst = min(known, key=lambda sizes: sizes.ap50 or 0.0)
    name = f"{worst.low_px:.0f} to {worst.high_px:.0f}" if worst.high_px < 1000 else f"over {worst.low_px:.0f}"
    number = counted(worst.num_objects, "object")
    text = f"Weakest are objects of {name} pixels (AP50 {percent(worst.ap50)}, {number})."
    if worst.high_px <= SMALL_PX:
        text += " They are small for the network: a larger input makes them larger."
    return text


def threshold_sentence(figures: Figures, exports: Sequence[Mapping[str, Any]]) -> str:
    """What is suggested, by which rule, and whether exported files know it."""
    text = (
        f"Suggested is {figures.threshold:.2f}: there, the mean F1 over the classes is best, each counting the same. "
        "Take more if wrong boxes are expensive, less if missed objects are. Shares are means over the classes, "
        "numbers are sums. "
    )
    known = {round(float(export["threshold"]), 2) for export in exports if export.get("threshold")}
    if known:
        shown = " and ".join(f"{threshold:.2f}" for threshold in sorted(known))
        text += f"The exported files carry {shown} in their metadata, where OpenVINO Model API and multibox read it."
    return text


def missing(work: WorkDir, has_evaluation: bool) -> list[Missing]:
    """What the report lacks, with the command that leaves it."""
    name = _named(work)
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
        files = [shlex.quote(_shown(file.folder / "model.xml", work.path)) for file in reversed(work.exports)]
        models = " ".join(files) or "export/model.xml"
        lacking.append(Missing("latency and throughput", f"multibox bench {models} --json bench.json"))
    return lacking


def _named(work: WorkDir) -> str:
    """How the run is named to a command that is typed in the work directory, with a blank before it."""
    if work.run is None:
        return " CHECKPOINT.pth"
    is_found = work.run.folder in {work.path, work.path / "outputs"}  # by `multibox.runs.finding`
    return "" if is_found else f" {shlex.quote(_shown(work.run.folder, work.path))}"


def column_of(threshold: float) -> int:
    """The position of a threshold in `evaluate.thresholds.THRESHOLDS`."""
    from multibox.evaluate.thresholds import THRESHOLDS

    return int(abs(THRESHOLDS - threshold).argmin())


def _shown(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else str(path)
