"""A model card: what hubs of models and the people there want to know of a detector, as Markdown with a YAML header."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from multibox import __version__
from multibox.evaluate.intervals import Interval
from multibox.overwriting import sealed_card
from multibox.report import provenance, sentences
from multibox.report.figures import Figures
from multibox.report.page import ReportSubject
from multibox.report.plots import range_name
from multibox.wording import NO_VALUE, listed, percent, visible

CARD_NAME = "MODEL_CARD.md"
"""Name of the file in the work directory; a hub wants it as README.md beside the model's files."""


def model_card(subject: ReportSubject, *, name: str, licence: str) -> str:
    """The model card of a detector of this name; `licence` is the identifier that hubs know (apache-2.0), or empty."""
    header = yaml.safe_dump(card_header(subject, name=name, licence=licence), sort_keys=False, allow_unicode=True)
    blocks = [
        f"---\n{header}---",
        f"# {_plain(name)}",
        f"A detector of {_plain(listed(subject.classes))}, trained with multibox {__version__}."
        if subject.classes
        else f"A detector, trained with multibox {__version__}.",
        *(f"> **Warning:** {_plain(line)}" for line in subject.alarms),
        "## How good it is",
        " ".join(_plain(line) for line in subject.summary),
        *([_accuracy_lines(subject.figures)] if subject.figures is not None else []),
        "## How to run it",
        _usage(subject),
        "## What it was trained on",
        _training_lines(subject),
        "## Limits",
        _limits(subject, licence),
    ]
    return sealed_card("\n\n".join(blocks) + "\n")


def card_header(subject: ReportSubject, *, name: str, licence: str) -> dict[str, Any]:
    """The YAML header of the card, in the keys of the Hugging Face Hub; figures as fractions."""
    header: dict[str, Any] = {"license": visible(licence)} if licence else {}
    header |= {
        "library_name": "multibox",
        "pipeline_tag": "object-detection",
        "tags": ["object-detection", "openvino", "onnx", "multibox"],
    }
    figures = subject.figures
    if figures is None:
        return header
    metrics = [
        {"type": "mean_average_precision", "name": title, "value": round(ends.value / 100, 4)}
        for title, ends in (("AP50-95", figures.intervals.ap), ("AP50", figures.intervals.ap50))
    ]
    data = {"type": "custom", "name": _data_name(subject)}
    task = {"type": "object-detection", "name": "Object detection"}
    return {
        **header,
        "model-index": [{"name": visible(name), "results": [{"task": task, "dataset": data, "metrics": metrics}]}],
    }


def _data_name(subject: ReportSubject) -> str:
    assert subject.evaluation is not None
    files = [file.name for file, _ in subject.evaluation.data.sources]
    return visible(listed(files)) if files else "images of its own"


def _accuracy_lines(figures: Figures) -> str:
    intervals, objects = figures.intervals, figures.evaluation.data.objects_per_class
    rows: list[tuple[str, int, Interval | None, Interval | None]] = [
        ("all", figures.metrics.num_objects, intervals.ap, intervals.ap50)
    ]
    rows += [
        (_plain(name), objects[label], intervals.ap_per_class[label], intervals.ap50_per_class[label])
        for label, name in enumerate(figures.classes)
    ]
    lines = ["| class | objects | AP | AP50 |", "|---|--:|--:|--:|"]
    lines += [f"| {name} | {count:,} | {_cell(ap)} | {_cell(ap50)} |" for name, count, ap, ap50 in rows]
    return "\n".join(lines) + (
        "\n\nIn percent; in brackets the range in which the figure probably is on other images of this kind (95 % "
        f"interval). Recommended score threshold: {figures.threshold:.2f}."
    )


def _cell(ends: Interval | None) -> str:
    return NO_VALUE if ends is None else f"{ends.value:.1f} ({sentences.interval(ends)})"


def _usage(subject: ReportSubject) -> str:
    files = [
        row["form"]["file"]
        for export in subject.work.exports[:1]
        for row in export.content["rows"]
        if row["form"].get("size_bytes")
    ]
    file = next((one for one in files if one.endswith(".xml")), files[0] if files else "best.pth")
    code = f'import multibox\n\ndetector = multibox.load("{file}")\ndetections = detector("image.jpg")'
    text = f"```python\n{code}\n```"
    return f"{text}\n\nFiles that were checked against the checkpoint: {listed(files, 9)}." if files else text


def _training_lines(subject: ReportSubject) -> str:
    known = dict(provenance.facts(subject.work, subject.evaluation, subject.how, subject.paths))
    wanted = (
        "training data",
        "validation data",
        "measured on",
        "starting weights",
        "licence of these",
        "seed",
        "versions",
    )
    lines = [f"- {name}: {_plain(known[name].splitlines()[0])}" for name in wanted if name in known]
    return "\n".join(lines) or "Not recorded."


def _limits(subject: ReportSubject, licence: str) -> str:
    lines = [_plain(line) for line in subject.warnings]
    sizes = [size for size in subject.figures.sizes if size.ap50 is not None] if subject.figures is not None else []
    if sizes:
        weakest = min(sizes, key=lambda size: size.ap50 or 0.0)
        lines.append(
            f"It is weakest on objects with a side of {range_name(weakest)} pixels of the network input (AP50 "
            f"{percent(weakest.ap50)}, {weakest.num_objects:,} objects)."
        )
    lines.append("The figures hold for images like those it was measured on, and say nothing about others.")
    if not licence:
        lines.append("Its author has named no licence.")
    return "\n".join(f"- {line}" for line in lines)


def _plain(text: str) -> str:
    """A text in which nothing is markup, whatever the names in it hold: on one line, its signs escaped."""
    signs: Mapping[str, str] = {sign: f"\\{sign}" for sign in "\\`*_[]|#"} | {"<": "&lt;", ">": "&gt;"}
    return "".join(signs.get(letter, letter) for letter in visible(" ".join(text.split())))
