"""The page that answers six questions on accuracy and speed, from the tables of `benchmarks/results`.

`python -m tools.benchmarks_page` prints it; the documentation site has it as a page. No figure is typed by hand.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import mean, median
from typing import Any

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks/results"

STARTS = {
    "random": "random weights",
    "mobilenet_v2_1.0_224_int8": "public classifier",
    "person-vehicle-bike-detection-2000": "public detector",
}
"""Starts that come from elsewhere, by their names in the tables."""

FAMILIES = {"ssd": "SSD", "yolox_nano": "YOLOX-Nano"}
"""Families, by their names in the tables."""

SHOWN_FILES = {
    ("default FP32", "f32"): "float32",
    ("default FP32", "default"): "bfloat16",
    ("ours INT8", "default"): "INT8",
}
"""What a file computes in, by its name and OpenVINO's hint in the tables of speed."""

Row = Mapping[str, Any]


PAGE = """# Benchmarks

Six questions, a table each. Every table names the command that measures it, and the one that prints its raw rows.
The method, more tables and what was learned from them are in `benchmarks/notebook.md`.

AP and AP50 are explained in the [glossary](glossary.md). The data sets are public: bccd (blood cells), deeppcb
(circuit boards), face_mask, playing_cards, raccoon, and the airport of OpenVINO Training Extensions. The INT8 row of
`airport` is of the toy set in `data/airport`.

## How good in 15 minutes?

Trained with a limit of 15 minutes, everything else by default, one core of two. AP and AP50 are measured on the
validation images with the last weights of the run, which nothing chose. Means over seeds. Rows with "SGD" or "batches
of 16" are of the recipes before.

{in_minutes}

Measured by `python benchmarks/accuracy.py FOLDER...`; rows: `python benchmarks/accuracy.py --table`.

Shorter runs of a YOLOX-Nano, which see as many images as so many steps of 16, with the last weights:

{in_steps}

Measured by `python benchmarks/recipe.py FOLDER... --model yolox_nano-384x384 --steps 210`; rows:
`python benchmarks/recipe.py --table`.

## How far is it from photos to a report?

Six commands: `train`, `predict`, `eval`, `export`, `compress` and `report`, typed on sets as they lie on disks, with a
limit of {journey_minutes} minutes for the training and one core. First boxes are there after the second command. AP and
AP50 are measured on the validation images of each run; where a set has none, multibox held them out.

{journeys}

Measured by `python benchmarks/journeys.py FOLDER --minutes {journey_minutes} --record`.

## Against others?

The same training of an SSD for 3 minutes of one core at 256 px, from our pretrained weights and from what else there
is, with SGD, its optimizer until 2026-11-28. AP50, means over seeds. Ours is the better of the two kinds that come with
multibox. They were made with training images of bccd, deeppcb and playing_cards, among others, but not with those of
face_mask and raccoon.

{against_starts}

Other toolkits were not measured in the same minutes.

Measured by `python benchmarks/accuracy.py FOLDER... --minutes 3 --starts NAME,FILE`; rows:
`python benchmarks/accuracy.py --curves 3`.

## How fast to train?

Images per second at 256 px on 2 cores. The plain loop is what a tutorial would write: the same network and loss,
float32, PyTorch's own loader. Frozen stages are the default.

{training_speed}

Measured by `python benchmarks/train_speed.py FOLDER --start bundled-classifier`; rows:
`python benchmarks/train_speed.py --table`.

## How fast to run?

An exported SSD on 2 cores with OpenVINO. Latency is one call of the network. The whole way is from a JPEG on disk to
boxes, with several images under way; large JPEGs cost most of it.

{running_speed}

Measured by `python benchmarks/export_speed.py --public FOLDER --images FOLDER`; rows:
`python benchmarks/export_speed.py --table`. INT8: `python benchmarks/int8.py --speed CHECKPOINT`; `--table`.

## What does INT8 cost?

`multibox compress` with its defaults. AP in percent; the interval holds 95 % of the draws of the validation images. A
negative loss is a gain. The minutes of YOLOX-Nano are of a machine that did much else.

{int8_cost}

Measured by `python benchmarks/int8.py --accuracy CHECKPOINT=FOLDER ...`; rows: `python benchmarks/int8.py --table`.

{circumstances}
"""


def benchmarks_page(results: Path = RESULTS) -> str:
    """The page as Markdown."""
    return PAGE.format(
        in_minutes=_in_minutes(_read(results / "accuracy.tsv")),
        in_steps=_in_steps(_read(results / "recipe.tsv")),
        journeys=_journeys(_read(results / "journeys.tsv")),
        journey_minutes=f"{_read(results / 'journeys.tsv')[-1]['minutes_of_budget']:g}",
        against_starts=_against_starts(_read(results / "accuracy.tsv")),
        training_speed=_training_speed(_read(results / "train_speed.tsv")),
        running_speed=_running_speed(_read(results / "export_speed.tsv"), _read(results / "int8_speed.tsv")),
        int8_cost=_int8_cost(_read(results / "int8_accuracy.tsv")),
        circumstances=_circumstances(results),
    )


def _read(table: Path) -> list[Row]:
    names, *rows = (line.split("\t") for line in table.read_text(encoding="utf-8").rstrip("\n").split("\n"))
    return [dict(zip(names, map(_value, row), strict=True)) for row in rows]


def _value(cell: str) -> Any:
    try:
        return json.loads(cell)
    except ValueError:
        return cell or None


def _in_minutes(rows: Sequence[Row]) -> str:
    groups = _grouped([row for row in rows if row["budget"] == 15], "data", "model")
    lines = [
        (
            data,
            *_family_and_input(model),
            f"{mean(r['ap'] for r in runs):.3f}",
            f"{mean(r['ap50'] for r in runs):.3f}",
            len(runs),
        )
        for (data, model), runs in groups.items()
    ]
    return _table(("Data", "Family", "Input", "AP", "AP50", "Seeds"), lines)


def _family_and_input(model: object) -> tuple[str, str]:
    """Of a model as tables have it: the number of an SSD or a template's name, and what was changed in it."""
    found = re.fullmatch(r"(yolox_nano-)?(\d+)(?:x\d+)?(.*)", str(model))
    assert found is not None, model
    return FAMILIES["yolox_nano" if found[1] else "ssd"], f"{found[2]} px{found[3]}"


def _in_steps(rows: Sequence[Row]) -> str:
    chosen = [
        row
        for row in rows
        if row["variant"] == "default" and str(row["model"]).startswith("yolox_nano-") and "-" not in row["data"]
    ]
    lines = [
        (
            data,
            f"{str(model).rpartition('x')[2]} px",
            str(length).removesuffix("steps"),
            f"{mean(r['ap'] for r in runs):.3f}",
            f"{mean(r['ap50'] for r in runs):.3f}",
            len(runs),
        )
        for (data, model, length), runs in _grouped(chosen, "data", "model", "length").items()
    ]
    return _table(("Data", "Input", "Steps", "AP", "AP50", "Seeds"), lines)


def _journeys(rows: Sequence[Row]) -> str:
    """The latest journey of each kind."""
    latest = {row["journey"]: row for row in rows}.values()
    lines = [
        (
            row["journey"],
            row["set"],
            row["characters"],
            f"{row['minutes_to_first_boxes']:.1f}",
            f"{row['minutes']:.1f}",
            f"{row['ap']:.3f}",
            f"{row['ap50']:.3f}",
        )
        for row in latest
    ]
    heads = ("Files", "Data", "Characters typed", "Minutes to first boxes", "Minutes for all", "AP", "AP50")
    return _table(heads, lines)


def _against_starts(rows: Sequence[Row]) -> str:
    runs = [row for row in rows if row["budget"] == 3 and row["model"] == "256, SGD"]
    scores = {key: mean(r["ap50"] for r in group) for key, group in _grouped(runs, "data", "start").items()}
    lines = []
    for data in sorted({data for data, _ in scores}):
        ours = max(score for (of, start), score in scores.items() if of == data and start.startswith("bundled-"))
        others = (f"{scores[data, start]:.3f}" if (data, start) in scores else "" for start in STARTS)
        lines.append((data, f"{ours:.3f}", *others))
    return _table(("Data", "our weights", *STARTS.values()), lines)


def _training_speed(rows: Sequence[Row]) -> str:
    groups = _grouped([row for row in rows if row["kind"] == "trainings" and row["device"] == "cpu"], "data", "way")
    speeds = {key: mean(runs[-1]["images_per_second"]) for key, runs in groups.items()}
    lines = [
        (data, way, f"{speed:.0f}", f"{speed / speeds[data, 'plain loop']:.1f}")
        for (data, way), speed in speeds.items()
    ]
    return _table(("Data", "Way", "Images/s", "Times the plain loop"), lines)


def _running_speed(exported: Sequence[Row], compressed: Sequence[Row]) -> str:
    files = {
        ("default FP32", "f32"): "float32",
        ("default FP32", "default"): "bfloat16",
        ("ours INT8", "default"): "INT8",
    }
    rows = [row for row in (*exported, *compressed) if (row["name"], row["precision_hint"]) in files]
    lines = []
    for (size, name, hint), runs in _grouped(rows, "input_size", "name", "precision_hint").items():
        latency, network, whole = (
            median(r[key] for r in runs)
            for key in ("network.p50_ms", "network.images_per_second", "whole_way.images_per_second")
        )
        pixels = "x".join(map(str, runs[-1]["settings.images_px"]))
        lines.append(
            (f"{size} px", SHOWN_FILES[name, hint], f"{latency:.1f}", f"{network:.0f}", f"{whole:.0f}", pixels)
        )
    return _table(
        ("Input", "Computes in", "Latency, ms", "Network, images/s", "Whole way, images/s", "JPEGs, px"), lines
    )


def _int8_cost(rows: Sequence[Row]) -> str:
    lines = [
        (
            row["data"],
            FAMILIES[row["family"]],
            f"{row['input_size']} px",
            f"{100 * row['ap_float']:.1f}",
            f"{100 * row['ap_int8']:.1f}",
            f"{row['drop.value']:+.2f} ({row['drop.low']:+.2f} to {row['drop.high']:+.2f})",
            row["rung"],
            f"{row['minutes']:.1f}",
        )
        for row in rows
    ]
    return _table(("Data", "Family", "Input", "AP float", "AP INT8", "Points lost", "Method", "Minutes"), lines)


def _circumstances(results: Path) -> str:
    """Where and when the rows were measured."""
    rows = [row for path in sorted(results.glob("*.tsv")) for row in _read(path)]
    dates = sorted(str(row["date"])[:10] for row in rows if row.get("date"))
    machines = sorted({str(row["machine"]) for row in rows if row.get("machine")})
    return f"Measured from {dates[0]} to {dates[-1]} on: {'; '.join(machines)}. Raw rows: `benchmarks/results/*.tsv`."


def _grouped(rows: Iterable[Row], *keys: str) -> dict[tuple[Any, ...], list[Row]]:
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(row[key] for key in keys), []).append(row)
    # Of models, an SSD's is a number and the others' are names.
    return dict(sorted(groups.items(), key=lambda group: [str(part) for part in group[0]]))


def _table(names: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [names, ["---"] * len(names), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


if __name__ == "__main__":
    print(benchmarks_page(), end="")
