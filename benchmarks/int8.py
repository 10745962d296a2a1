"""What 8 bits cost and gain: AP of FP32 and INT8 files on data sets, and their speed beside the public FP16-INT8 IR.

    python benchmarks/int8.py [--accuracy CHECKPOINT=FOLDER ...] [--speed CHECKPOINT ...] [--max-drop 0.5]
    python benchmarks/int8.py --table          the recorded results as Markdown

FOLDER holds train/, val/ and annotations_train.json, annotations_val.json. A checkpoint is compressed and exported by
the commands that a user has; minutes are those of the whole command. Speed is measured in one interleaved run per
checkpoint: our alternative IR in FP32 comes first, and ratios refer to it; then the same in INT8, and the public
FP16-INT8 IR of the same size.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path
from typing import Any

from common import RESULTS, annotations, append, circumstances, flat, read  # the module beside this one
from export_speed import MODELS, PUBLIC, copy, rows_of, spread
from multibox import config
from multibox.evaluate import speed
from multibox.weights import checkpoint

ACCURACY, SPEED = "int8_accuracy.tsv", "int8_speed.tsv"

ALTERNATIVE = Path("alt_ssd_export") / "model.xml"
NAMES = ("ours FP32", "ours INT8", "public FP16-INT8")


def main() -> int:
    """Measure what is named, or print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--accuracy", nargs="*", default=[], metavar="CHECKPOINT=FOLDER")
    parser.add_argument("--speed", nargs="*", default=[], metavar="CHECKPOINT", help="compressed on --images")
    parser.add_argument("--max-drop", type=float, default=0.5)
    parser.add_argument("--time-budget", type=float, default=None, help="minutes of each compression")
    parser.add_argument("--seconds", type=float, default=60, help="for each file and precision")
    parser.add_argument("--images", type=Path, default=PUBLIC.parent / "data" / "bccd", help="for --speed, as FOLDER")
    parser.add_argument("--public", type=Path, default=PUBLIC, help="folder of the public IRs")
    parser.add_argument("--decode-threads", type=int, default=1)
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder for the tables")
    parser.add_argument("--table", action="store_true")
    arguments = parser.parse_args()
    for pair in arguments.accuracy:
        source, _, folder = pair.partition("=")
        if not folder:
            parser.error(f"--accuracy {pair}: name the folder of the data after a =")
        append([measure_accuracy(Path(source), Path(folder), arguments)], arguments.results / ACCURACY)
    for source in arguments.speed:
        append(measure_speed(Path(source), arguments), arguments.results / SPEED)
    print(table(arguments.results))
    return 0


def measure_accuracy(source: Path, folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Compress a checkpoint on a data set, and take what compress.json says of it."""
    with tempfile.TemporaryDirectory() as work:
        started_at = time.monotonic()
        compress(source, folder, Path(work), arguments)
        minutes = (time.monotonic() - started_at) / 60
        report = json.loads((Path(work) / "compress.json").read_text())
    (chosen,) = (rung for rung in report["rungs"] if rung["rung"] == report["chosen"])
    template = checkpoint.load(source).template
    facts = {
        "date": date.today().isoformat(),
        **circumstances(),
        "data": folder.resolve().name,
        "family": config.family_of(template),
        "input_size": template.input.size,
        "num_val_images": report["images"]["validation"]["num_images"],
        "max_drop": report["max_drop"],
        "is_within_budget": report["is_within_budget"],
        "rung": report["chosen"],
        "ap_float": report["ap_float"],
        "ap_int8": chosen["measured"]["metrics"]["ap"],
        "ap_torch": chosen["measured"]["ap_torch"],
        "drop": chosen["measured"]["drop"],
        "apart": chosen["measured"]["apart"],
        "minutes": round(minutes, 2),
        # Every rung with its drop in points, the lower and the upper end of the interval.
        "tried": [[rung["rung"], *rung["measured"]["drop"].values()] for rung in report["rungs"]],
    }
    return flat(facts)


def measure_speed(source: Path, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Our FP32 and INT8 file of a checkpoint, and the public one of its size, in one run."""
    size = checkpoint.load(source).template.input.size
    name = MODELS[str(size)]
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work)
        compress(source, arguments.images, folder / "compressed", arguments, "--method", "ptq", "--max-drop", "100")
        for weights, kind in ((source, "FP32"), (folder / "compressed" / "latest.pth", "INT8")):
            run(["export", "--load-weights", weights, "--save-model-to", folder / kind, "--no-onnx"])
        public = copy(arguments.public / name / "FP16-INT8" / f"{name}.xml", folder / "public")
        files = [folder / "FP32" / ALTERNATIVE, folder / "INT8" / ALTERNATIVE, public]
        result = speed.compare_speed(
            files,
            image_files=speed.find_image_files(arguments.images / "val"),
            devices=["CPU"],
            seconds=arguments.seconds,
            decode_threads=arguments.decode_threads,
        )
        megabytes = {
            kind: (folder / kind / ALTERNATIVE).with_suffix(".bin").stat().st_size / 1e6 for kind in ("FP32", "INT8")
        }
    facts = {"public": name, "images": arguments.images.name, "megabytes": megabytes}
    return rows_of(result, files, NAMES, facts)


def compress(source: Path, data: Path, output: Path, arguments: argparse.Namespace, *options: str) -> None:
    """Run `multibox compress` on a data set."""
    budget = () if arguments.time_budget is None else ("--time-budget", arguments.time_budget)
    drop = () if "--max-drop" in options else ("--max-drop", arguments.max_drop)
    named = []
    for split in ("train", "val"):
        file, root = annotations(data, split)
        named += [f"--{split}-ann-files", file, f"--{split}-data-roots", root]
    run(["compress", "--load-weights", source, "--save-checkpoints-to", output, *named, *drop, *budget, *options])


def run(arguments: list[Any]) -> None:
    """Run a multibox command; stop if it fails."""
    subprocess.run([sys.executable, "-m", "multibox", *map(str, arguments)], check=True)


def table(results: Path) -> str:
    """All recorded results: accuracy, a row for each data set; speed, a row for each file and precision."""
    return f"{accuracy_table(results)}\n\n{speed_table(results)}"


def accuracy_table(results: Path) -> str:
    """AP in percent, the drop in points with its interval."""
    rows = [
        "| date | data | family | input | AP FP32 | AP INT8 | AP torch | drop (95 % of draws) "
        "| rung | within | minutes |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for r in read(results / ACCURACY):
        drop = f"{r['drop.value']:+.2f} ({r['drop.low']:+.2f} to {r['drop.high']:+.2f})"
        aps = " | ".join(f"{100 * r[name]:.2f}" for name in ("ap_float", "ap_int8", "ap_torch"))
        within = f"{'yes' if r['is_within_budget'] else 'no'} ({r['max_drop']:g})"
        rows.append(
            f"| {r['date']} | {r['data']}, {r['num_val_images']} images | {r['family']} | {r['input_size']} | {aps} "
            f"| {drop} | {r['rung']} | {within} | {r['minutes']:.1f} |"
        )
    return "\n".join(rows)


def speed_table(results: Path) -> str:
    """Ratios are to our FP32 file with the same hint, above 1 is faster: medians over the rounds, with quartiles."""
    rows = [
        "| date | input | file | hint | computes in | p50 ms | latency ratio | images/s | throughput ratio "
        "| latency, throughput against public |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    measured = read(results / SPEED)
    for row in measured:
        run = [other for other in measured if other["date"] == row["date"]]
        rows.append(
            f"| {row['date'][:10]} | {row['input_size']} | {row['name']} | {row['precision_hint']} "
            f"| {row['computes_in']} | {row['network.p50_ms']:.2f} | {spread(row, 'network.latency_ratio')} "
            f"| {row['network.images_per_second']:.1f} | {spread(row, 'network.throughput_ratio')} "
            f"| {against_public(row, run)} |"
        )
    return "\n".join(rows)


def against_public(row: dict[str, Any], rows: list[dict[str, Any]]) -> str:
    """The ratios of a row by those of the public file with the same hint, of which all are to the same third file."""
    (public,) = (
        other for other in rows if other["name"] == NAMES[2] and other["precision_hint"] == row["precision_hint"]
    )
    names = ("network.latency_ratio.median", "network.throughput_ratio.median")
    return ", ".join(f"{row[name] / public[name]:.2f}" for name in names)


if __name__ == "__main__":
    sys.exit(main())
