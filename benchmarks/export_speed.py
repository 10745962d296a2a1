"""How fast our exported files are beside the public IR of the same network, and how near the whole way comes to them.

    python benchmarks/export_speed.py [--models 256,384,512] [--seconds 60] [--images FOLDER]
    python benchmarks/export_speed.py --table          the recorded results as Markdown

The weights of a public IR (Open Model Zoo's person-vehicle-bike-detection-2000, -2001, -2002) are saved as a checkpoint
of ours and exported by `multibox export`. One interleaved run per size then measures the public FP16 IR, which comes
first and is what ratios refer to, our alternative IR in FP16 and FP32, and our default IR in FP32.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from common import RESULTS, append, flat, read  # the module beside this one
from multibox import config
from multibox.config import bundled_templates
from multibox.evaluate import speed, speed_table
from multibox.evaluate.speed_table import SpeedResult
from multibox.weights import checkpoint
from multibox.weights.from_openvino import read_ir

TABLE = "export_speed.tsv"

ROOT = Path(__file__).parents[1]
PUBLIC = ROOT.parent / "shared" / "pretrained"
MODELS = {
    "256": "person-vehicle-bike-detection-2000",
    "384": "person-vehicle-bike-detection-2001",
    "512": "person-vehicle-bike-detection-2002",
}
CLASSES = ("vehicle", "person", "bike")
NAMES = ("public FP16", "alternative FP16", "alternative FP32", "default FP32")


def main() -> int:
    """Measure the sizes one after the other, or print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default="256,384,512", help="sizes, separated by commas")
    parser.add_argument("--seconds", type=float, default=60, help="for each file and precision")
    parser.add_argument("--images", type=Path, default=ROOT.parent / "shared" / "data" / "bccd" / "val")
    parser.add_argument("--public", type=Path, default=PUBLIC, help="folder of the public IRs")
    parser.add_argument("--decode-threads", type=int, default=1)
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder for the table")
    parser.add_argument("--table", action="store_true")
    arguments = parser.parse_args()
    if arguments.table:
        print(table(arguments.results))
        return 0
    for model in arguments.models.split(","):
        append(measure(model, arguments), arguments.results / TABLE)
    print(table(arguments.results))
    return 0


def measure(model: str, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Export the weights of the public IR of this size, and measure both in one run: a row of each file."""
    name = MODELS[model]
    public = arguments.public / name / "FP16" / f"{name}.xml"
    with tempfile.TemporaryDirectory() as work:
        files = [copy(public, Path(work) / "public"), *export(public, model, Path(work))]
        result = speed.compare_speed(
            files,
            image_files=speed.find_image_files(arguments.images),
            devices=["CPU"],
            seconds=arguments.seconds,
            decode_threads=arguments.decode_threads,
        )
    return rows_of(result, files, NAMES, {"public": name, "images": arguments.images.parent.name})


def rows_of(
    result: SpeedResult, files: Sequence[Path], names: Sequence[str], facts: dict[str, Any]
) -> list[dict[str, Any]]:
    """A row for each file and precision of a run. `names` are those of the files, `facts` what all rows have."""
    plain = speed_table.speeds_to_plain(result)
    machine, versions = plain["machine"], plain["versions"]
    facts = {
        "date": plain["date"],
        "machine": f"{machine['processor']}, {machine['usable_cores']} cores",
        "versions": ", ".join(f"{name} {number}" for name, number in versions.items()),
        "settings": plain["settings"],
        **facts,
    }
    rows = []
    for row in plain["rows"]:
        name = names[[str(file) for file in files].index(row["file"])]
        rows.append(flat({**facts, "name": name, **row, "file": Path(row["file"]).name}))
    return rows


def copy(xml: Path, folder: Path) -> Path:
    """A copy of an IR in a folder of its own: all files are read from the same disk."""
    folder.mkdir()
    for path in (xml, xml.with_suffix(".bin")):
        shutil.copy(path, folder)
    return folder / xml.name


def export(public: Path, model: str, work: Path) -> list[Path]:
    """Our files with the weights and anchors of a public IR: alternative FP16, alternative FP32, default FP32."""
    imported = read_ir(public)
    template = config.load_template(bundled_templates()[f"mobilenet_v2-2s_ssd-{model}x{model}"])
    assert imported.input_size == template.input.size
    template = config.changed(
        template, {"model.anchors_px": imported.anchors_px, "model.box_variances": imported.box_variances}
    )
    saved = work / "public.pth"
    checkpoint.save(saved, checkpoint.Checkpoint(imported.state_dict, CLASSES, template))
    for precision in ("FP16", "FP32"):
        command = ["export", "--load-weights", saved, "--save-model-to", work / precision, "--precision", precision]
        subprocess.run([sys.executable, "-m", "multibox", *map(str, command)], check=True)
    alternative = Path("alt_ssd_export") / "model.xml"
    return [work / "FP16" / alternative, work / "FP32" / alternative, work / "FP32" / "model.xml"]


def table(results: Path) -> str:
    """All recorded results, a row for each file and precision."""
    rows = [
        "| date | input | file | hint | computes in | p50 ms | latency ratio | images/s | throughput ratio "
        "| whole way images/s | whole way / network | network's part of processor time |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in read(results / TABLE):
        processor_ms = [row[f"processor_ms.{part}"] for part in ("reading", "resizing", "network", "rest")]
        rows.append(
            f"| {row['date'][:10]} | {row['input_size']} | {row['name']} | {row['precision_hint']} "
            f"| {row['computes_in']} | {row['network.p50_ms']:.2f} | {spread(row, 'network.latency_ratio')} "
            f"| {row['network.images_per_second']:.1f} | {spread(row, 'network.throughput_ratio')} "
            f"| {row['whole_way.images_per_second']:.1f} | {spread(row, 'whole_way_share')} "
            f"| {row['processor_ms.network'] / sum(processor_ms):.3f} |"
        )
    return "\n".join(rows)


def spread(row: dict[str, Any], ratio: str) -> str:
    """Median and quartiles of a ratio."""
    return f"{row[f'{ratio}.median']:.3f} ({row[f'{ratio}.lower']:.2f}-{row[f'{ratio}.upper']:.2f})"


if __name__ == "__main__":
    sys.exit(main())
