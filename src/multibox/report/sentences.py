"""What a report says in words: the summary, what to do about errors, what is odd about the data, what is missing."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from multibox.evaluate.intervals import Interval
from multibox.report.figures import Findings
from multibox.report.work_dir import WorkDir
from multibox.wording import NO_VALUE, counted, listed, percent

FEW_OBJECTS = 20
"""Below, the AP of a class hangs on single objects."""

FEW_SHARE = 0.1
"""Of the objects that the most frequent class has; rarer classes are learnt worse."""

CELL_PX = 16
"""Side of the network's finest cells: two objects in one are hard to tell apart."""

PROBLEMS: Mapping[str, str] = {
    "class": "objects that are taken for another class",
    "localisation": "boxes beside their object",
    "both": "boxes near objects of another class",
    "duplicate": "objects that are found twice",
    "background": "boxes where no object is annotated",
    "missed": "objects that are not found at all",
}

REMEDIES: Mapping[str, str] = {
    "class": "Add examples of the classes that are taken for each other, or merge those that need no telling apart.",
    "localisation": "Check that the annotated boxes are tight and all drawn alike; a larger input gives finer boxes.",
    "both": "Add examples of the classes that are near each other.",
    "duplicate": "Lower postprocess.iou_threshold in the template.",
    "background": "Look at the worst false positives below: some may be objects that nobody annotated; for the others, "
    "add pictures of such background.",
    "missed": "Add examples like the misses below; small ones ask for a larger input.",
}

EXPLANATIONS: Mapping[str, str] = {
    "class": "On an object of another class (IoU of 0.5 or more).",
    "localisation": "Near an object of its class, but not on it (IoU from 0.1 to below 0.5).",
    "both": "Near an object of another class.",
    "duplicate": "On an object that a better detection has already.",
    "background": "On no object (IoU below 0.1 with all).",
    "missed": "Objects that no detection is on, nor meant for.",
}


@dataclass(frozen=True, slots=True)
class Missing:
    """What the report lacks, and the command that leaves it."""

    what: str
    command: str


def share(fraction: float) -> str:
    """A fraction in whole percent, with its sign."""
    return f"{100 * fraction:.0f} %"


def interval(one: Interval | None) -> str:
    """The ends of an interval."""
    return NO_VALUE if one is None else f"{one.low:.1f} to {one.high:.1f}"


def summary(findings: Findings) -> list[str]:
    """The whole report in a few sentences."""
    metrics, counts = findings.metrics, findings.counts
    column = column_of(findings.threshold)
    hits, shown, total = int(counts.hits[:, column].sum()), int(counts.shown[:, column].sum()), metrics.num_objects
    measured = [name for name, one in metrics.per_class.items() if one.ap50 is not None]
    ap50 = findings.intervals.ap50
    lines = [
        f"On {counted(metrics.num_images, 'picture')} with {counted(total, 'object')} of {listed(measured)}, AP50 is "
        f"{percent(metrics.ap50)}; the pictures allow anything from {ap50.low:.0f} to {ap50.high:.0f}.",
    ]
    if shown:
        wrong = shown - hits
        lines.append(
            f"At a threshold of {findings.threshold:.2f}, it finds {hits:,} of the {total:,} objects "
            f"({share(hits / total)}), and {wrong:,} of the {shown:,} boxes that it shows are wrong "
            f"({share(wrong / shown)})."
        )
    worst = findings.worst_kind
    if worst is not None:
        lines.append(
            f"What costs most are {PROBLEMS[worst.kind]}: without them, AP50 would be {100 * worst.gain:.1f} points "
            f"higher. {REMEDIES[worst.kind]}"
        )
    aps = {name: metrics.per_class[name].ap50 or 0.0 for name in measured}
    weakest, best = min(aps, key=lambda name: aps[name]), max(aps, key=lambda name: aps[name])
    if len(aps) > 1:
        lines.append(
            f"The weakest class is {weakest} (AP50 {percent(aps[weakest])}), the best {best} ({percent(aps[best])})."
        )
    return lines


def alarms(findings: Findings | None, run_facts: Mapping[str, Any] | None) -> list[str]:
    """What makes the figures worthless."""
    train = (run_facts or {}).get("train_data") or {}
    if findings is not None and train.get("fingerprint") == findings.evaluation.data.fingerprint:
        return ["This was measured on the very pictures of the training: the figures say nothing about other pictures."]
    return []


def data_warnings(findings: Findings | None, run_facts: Mapping[str, Any] | None) -> list[str]:
    """What about the data makes the figures less sure than they seem, or the detector worse than it could be."""
    lines: list[str] = []
    if findings is not None:
        data = findings.evaluation.data
        objects = dict(zip(data.classes, data.objects_per_class, strict=True))
        none = [name for name, count in objects.items() if not count]
        few = [name for name, count in objects.items() if 0 < count < FEW_OBJECTS]
        if none:
            lines.append(f"There is nothing to measure of {listed(none)}: no object is in these pictures.")
        if few:
            lines.append(f"Fewer than {FEW_OBJECTS} objects of {listed(few)}: their AP hangs on single pictures.")
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
        return "Without validation pictures it is not known which epoch was best."
    best = max(validated, key=lambda one: float(one["ap"]))
    if ap_of_weights is not None and ap_of_weights > best["ap"] + 1e-4:
        return f"No epoch was better than the starting weights, AP {percent(ap_of_weights)}; best.pth holds these."
    text = f"The best validation, AP {percent(best['ap'])}, was after epoch {best['epoch']}; best.pth holds it."
    if best is validated[-1] and len(validated) > 2:
        return f"{text} AP was still rising at the end: a longer training may give more."
    if len(validated) - 1 - validated.index(best) > len(validated) / 2:
        return f"{text} It came early: more epochs gave nothing, more data might."
    return text


def size_sentence(findings: Findings) -> str:
    """Whether small objects are the trouble."""
    known = [one for one in findings.sizes if one.ap50 is not None]
    if len(known) < 2:
        return "All objects are of about one size."
    worst = min(known, key=lambda one: one.ap50 or 0.0)
    small = [one for one in known if one.high_px <= 2 * CELL_PX]
    name = f"{worst.low_px:.0f} to {worst.high_px:.0f}" if worst.high_px < 1000 else f"over {worst.low_px:.0f}"
    number = counted(worst.num_objects, "object")
    text = f"Weakest are objects of {name} pixels (AP50 {percent(worst.ap50)}, {number})."
    if worst in small:
        text += (
            " They are small for this network, whose finest cells are 16 pixels wide: a larger input makes them larger."
        )
    return text


def threshold_sentence(findings: Findings, exports: Sequence[Mapping[str, Any]]) -> str:
    """What is suggested, by which rule, and whether exported files know it."""
    text = (
        f"Suggested is {findings.threshold:.2f}: there, the mean F1 over the classes is best, each counting the same. "
        "Take more if wrong boxes are expensive, less if missed objects are. Shares are means over the classes, "
        "numbers are sums. "
    )
    known = {round(float(one["threshold"]), 2) for one in exports if one.get("threshold")}
    if known:
        shown = " and ".join(f"{one:.2f}" for one in sorted(known))
        text += f"The exported files carry {shown} in their metadata, where OpenVINO Model API and multibox read it."
    return text


def missing(work: WorkDir, has_evaluation: bool) -> list[Missing]:
    """What the report lacks, with the command that leaves it."""
    weights = work.run.weights if work.run is not None else None
    name = shlex.quote(_shown(weights, work.path)) if weights is not None else "CHECKPOINT.pth"
    found: list[Missing] = []
    if work.run is None:
        found.append(Missing("training curves", "multibox train ..."))
    if not has_evaluation:
        found.append(
            Missing(
                "accuracy, errors, thresholds and galleries",
                f"multibox eval --load-weights {name} --save-metrics-to metrics.yaml "
                "--test-ann-files VAL.json --test-data-roots VAL_IMAGES",
            )
        )
    if not work.exports:
        found.append(
            Missing("exported files and their parity", f"multibox export --load-weights {name} --save-model-to export")
        )
    if not work.compressions:
        found.append(Missing("what INT8 costs", f"multibox compress --load-weights {name}"))
    if not work.benches:
        files = [shlex.quote(_shown(one.folder / "model.xml", work.path)) for one in reversed(work.exports)]
        models = " ".join(files) or "export/model.xml"
        found.append(Missing("latency and throughput", f"multibox bench {models} --json bench.json"))
    return found


def column_of(threshold: float) -> int:
    """The position of a threshold in `analysis.thresholds.THRESHOLDS`."""
    from multibox.evaluate.thresholds import THRESHOLDS

    return int(abs(THRESHOLDS - threshold).argmin())


def _shown(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else str(path)
