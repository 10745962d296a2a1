"""How fast our exported files are beside the public IR of the same network, and how near the whole way comes to them.

    python benchmarks/export_speed.py [--models 256,384,512] [--seconds 60] [--pictures FOLDER]
    python benchmarks/export_speed.py --table          the recorded results as Markdown

The weights of a public IR (Open Model Zoo's person-vehicle-bike-detection-2000, -2001, -2002) are saved as a checkpoint
of ours and exported by `multibox export`. One interleaved run per size then measures the public FP16 IR, which comes
first and is what ratios refer to, our alternative IR in FP16 and FP32, and our default IR in FP32.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from common import RESULTS  # the module beside this one
from multibox import config
from multibox.config import bundled_templates
from multibox.evaluate import speed, speed_table
from multibox.weights import checkpoint
from multibox.weights.from_openvino import read_ir

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
    parser.add_argument("--pictures", type=Path, default=ROOT.parent / "shared" / "data" / "bccd" / "val")
    parser.add_argument("--public", type=Path, default=PUBLIC, help="folder of the public IRs")
    parser.add_argument("--decode-threads", type=int, default=1)
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder for the result")
    parser.add_argument("--table", action="store_true")
    arguments = parser.parse_args()
    if arguments.table:
        print(table(arguments.results))
        return 0
    for model in arguments.models.split(","):
        result = measure(model, arguments)
        arguments.results.mkdir(exist_ok=True)
        path = arguments.results / f"{result['date'][:10]}-export-speed-{model}.json"
        path.write_text(json.dumps(result, indent=2) + "\n")
        print(path)
    print(table(arguments.results))
    return 0


def measure(model: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Export the weights of the public IR of this size, and measure both in one run."""
    name = MODELS[model]
    public = arguments.public / name / "FP16" / f"{name}.xml"
    with tempfile.TemporaryDirectory() as work:
        files = [copy(public, Path(work) / "public"), *export(public, model, Path(work))]
        result = speed.compare_speed(
            files,
            pictures=speed.find_pictures(arguments.pictures),
            devices=["CPU"],
            seconds=arguments.seconds,
            decode_threads=arguments.decode_threads,
        )
    plain = speed_table.to_plain(result)
    for row in plain["rows"]:
        row["name"] = NAMES[[str(file) for file in files].index(row["file"])]
        row["file"] = Path(row["file"]).name
    return {"model": model, "public": name, "pictures": arguments.pictures.parent.name, **plain}


def copy(xml: Path, folder: Path) -> Path:
    """A copy of an IR in a folder of its own: all files are read from the same disk."""
    folder.mkdir()
    for path in (xml, xml.with_suffix(".bin")):
        shutil.copy(path, folder)
    return folder / xml.name


def export(public: Path, model: str, work: Path) -> list[Path]:
    """Our files with the weights and anchors of a public IR: alternative FP16, alternative FP32, default FP32."""
    imported = read_ir(public)
    template = config.load(bundled_templates()[f"mobilenet_v2-2s_ssd-{model}x{model}"])
    assert imported.input_size == template.input.size
    network = config.replace(template.model, anchors_px=imported.anchors_px, box_variances=imported.box_variances)
    template = config.replace(template, model=network)
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
        "| date | input | file | hint | computes in | p50 ms | latency ratio | img/s | throughput ratio "
        "| whole way img/s | whole way / network | network's part of processor time |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for path in sorted(results.glob("*-export-speed-*.json")):
        result = json.loads(path.read_text())
        for row in result["rows"]:
            alone, whole = row["network"], row["whole_way"]
            rows.append(
                f"| {result['date'][:10]} | {row['input_size']} | {row['name']} | {row['precision_hint']} "
                f"| {row['computes_in']} | {alone['p50_ms']:.2f} | {spread(alone['latency_ratio'])} "
                f"| {alone['images_per_second']:.1f} | {spread(alone['throughput_ratio'])} "
                f"| {whole['images_per_second']:.1f} | {spread(row['whole_way_share'])} "
                f"| {row['processor_ms']['network'] / sum(row['processor_ms'].values()):.3f} |"
            )
    return "\n".join(rows)


def spread(ratio: dict[str, float]) -> str:
    """Median and quartiles."""
    return f"{ratio['median']:.3f} ({ratio['lower']:.2f}-{ratio['upper']:.2f})"


if __name__ == "__main__":
    sys.exit(main())
