"""How fast the files of both families are, size by size, in ratios to the SSD of the same input.

    python benchmarks/family_speed.py [--sizes 256,384,512,640] [--rounds 60] [--images FOLDER]
    python benchmarks/family_speed.py --layers 384     milliseconds of the kernels that run, for each file of a size
    python benchmarks/family_speed.py --table          the recorded results as Markdown

Networks have the weights to start from that come with the package, and three classes; their files end before
suppression, whose time hangs on what is found. What is measured is processor time of one image on one thread, which a
busy machine disturbs least. All files of a size take turns in one run: the SSD of this input (at 640 px, that of 512),
YOLOX-Nano, and the SSD
whose GFLOPs are nearest to those of YOLOX-Nano, each in float32, in bfloat16 and in 8 bits.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import openvino
from numpy.typing import NDArray

from common import RESULTS, append, circumstances, flat, read  # the module beside this one
from export_speed import spread
from multibox import config
from multibox.compress.candidates import CheckpointModel
from multibox.config import Template, bundled_templates
from multibox.data.images import read_image, resize
from multibox.export.run import Request, write_files
from multibox.model import detector
from multibox.model.complexity import complexity_gflops
from multibox.weights.bundled import BUNDLED
from multibox.weights.checkpoint import Checkpoint, save
from multibox.weights.start import open_starting_point
from multibox.weights.transfer import transfer

TABLE = "family_speed.tsv"
IMAGES = Path(__file__).parents[2] / "shared" / "data" / "bccd" / "val"
CLASSES = ("red cell", "white cell", "platelet")
CALIBRATION_IMAGES = 16

WARM_UP = 3
"""Number of first rounds that do not count."""

NEAREST_SSD = {256: 256, 384: 256, 512: 384, 640: 512}
"""Input of the SSD whose GFLOPs are nearest to those of YOLOX-Nano at an input: 0.41, 0.92, 1.64 and 2.56 of it."""


def main() -> int:
    """Measure the sizes one after the other, or print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="256,384,512,640", help="sizes, separated by commas")
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--images", type=Path, default=IMAGES)
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder for the table")
    parser.add_argument("--layers", type=int, help="one size")
    parser.add_argument("--table", action="store_true")
    arguments = parser.parse_args()
    if arguments.layers:
        print(layers(arguments.layers, arguments.images))
        return 0
    if not arguments.table:
        for size in arguments.sizes.split(","):
            append(measure(int(size), arguments), arguments.results / TABLE)
    print(table(arguments.results))
    return 0


def measure(size: int, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Rows of all files of an input size, measured in one run."""
    with tempfile.TemporaryDirectory() as work:
        files = files_of(size, Path(work), arguments.images)
        calls = [(name, hint, _call(path, hint)) for name, path in files.items() for hint in _hints(name)]
        times: list[list[float]] = [[] for _ in calls]
        for number in range(arguments.rounds + WARM_UP):
            for (_, _, call), of_call in zip(calls, times, strict=True):
                started_at = time.process_time()
                call()
                if number >= WARM_UP:
                    of_call.append(1000 * (time.process_time() - started_at))
    reference = {hint: np.array(of_call) for (_, hint, _), of_call in reversed(list(zip(calls, times, strict=True)))}
    rows = []
    for (name, hint, _), of_call in zip(calls, times, strict=True):
        ratios = np.quantile(np.array(of_call) / reference[hint], (0.25, 0.5, 0.75))
        facts = {"date": date.today().isoformat(), **circumstances(), "size": size, "name": name, "computes_in": hint}
        quartiles = dict(zip(("lower", "median", "upper"), ratios.tolist(), strict=True))
        rows.append(flat({**facts, "processor_ms": float(np.median(of_call)), "ratio": quartiles}))
    return rows


def _hints(name: str) -> tuple[str, ...]:
    """What a file computes in, by what is asked for: one in 8 bits does the rest in float32."""
    return ("8 bits",) if "INT8" in name else ("f32", "bf16")


def _call(path: Path, hint: str) -> Callable[[], Any]:
    """A function that runs a file on one image, on one thread."""
    request = _compiled(path, hint, is_profiled=False).create_infer_request()
    image = _image(request)
    return lambda: request.infer([image])


def _compiled(path: Path, hint: str, *, is_profiled: bool) -> Any:
    settings = {
        "INFERENCE_PRECISION_HINT": "bf16" if hint == "bf16" else "f32",
        "INFERENCE_NUM_THREADS": 1,
        "PERFORMANCE_HINT": "LATENCY",
        "PERF_COUNT": is_profiled,
    }
    return openvino.Core().compile_model(path, "CPU", settings)


def _image(request: Any) -> NDArray[np.float32]:
    side = request.get_input_tensor().shape[-1]
    return np.random.default_rng(0).integers(0, 256, (1, 3, side, side)).astype(np.float32)


def files_of(size: int, work: Path, images: Path) -> dict[str, Path]:
    """The files to compare at an input size of YOLOX-Nano, by their names, the one that ratios refer to first."""
    nearest = NEAREST_SSD[size]
    ssds = [f"mobilenet_v2-2s_ssd-{side}x{side}" for side in (size, nearest)]
    known = [name for name in dict.fromkeys(ssds) if name in bundled_templates()]
    names = [known[0], f"yolox_nano-{size}x{size}", *known[1:]]
    templates = [config.load_template(bundled_templates()[name]) for name in names]
    made = [_files(template, work / template.name, images) for template in templates]
    return {name: path for files in made for name, path in files.items()}


def _files(template: Template, folder: Path, images: Path) -> dict[str, Path]:
    """The raw files of a template, in float32 and in 8 bits."""
    network = detector.build(template, num_classes=len(CLASSES))
    start = open_starting_point(BUNDLED, template)
    transfer(network, CLASSES, start.weights, start.classes)
    template = config.changed(template, {"model.anchors_px": start.anchors_px}) if _has_anchors(template) else template
    made = Checkpoint(network.state_dict(), CLASSES, template)
    gflops = complexity_gflops(network, template.input.size)
    folder.mkdir()
    save(folder / "latest.pth", made)
    model = CheckpointModel(made, folder / "latest.pth", folder, device="cpu")
    squares = [resize(read_image(path), template.input.size) for path in sorted(images.iterdir())[:CALIBRATION_IMAGES]]
    quantised = model.quantise(squares, thorough=False).checkpoint
    assert quantised is not None
    paths = {}
    for kind, checkpoint in (("float", made), ("INT8", quantised)):
        save(folder / "latest.pth", checkpoint)
        files = write_files(checkpoint, folder / "latest.pth", folder / kind, Request(onnx=False, raw=True))
        name = f"{config.family_of(template)} {template.input.size}, {gflops:g} GFLOPs, {kind}"
        paths[name] = next(file.path for file in files if file.name.startswith("raw/"))
    return paths


def _has_anchors(template: Template) -> bool:
    return config.family_of(template) == "ssd"


def layers(size: int, images: Path) -> str:
    """Where the time of each file goes: milliseconds of one image on one thread, by kernel, the most first."""
    lines = ["| file | computes in | kernel: ms |", "|---|---|---|"]
    with tempfile.TemporaryDirectory() as work:
        for name, path in files_of(size, Path(work), images).items():
            for hint in _hints(name):
                parts = ", ".join(f"{kernel} {ms:.2f}" for kernel, ms in _profile(path, hint)[:8])
                lines.append(f"| {name} | {hint} | {parts} |")
    return "\n".join(lines)


def _profile(path: Path, hint: str, *, calls: int = 40) -> Sequence[tuple[str, float]]:
    request = _compiled(path, hint, is_profiled=True).create_infer_request()
    image = _image(request)
    times: dict[tuple[str, str], list[float]] = defaultdict(list)
    for _ in range(calls):
        request.infer([image])
        for part in request.profiling_info:
            if part.status == part.Status.EXECUTED:
                kernel = f"{part.node_type} {part.exec_type}"
                times[part.node_name, kernel].append(1000 * part.real_time.total_seconds())
    kernels: dict[str, float] = defaultdict(float)
    for (_, kernel), of_node in times.items():
        kernels[kernel] += min(of_node)  # it is wall time, which other programs lengthen
    return sorted(kernels.items(), key=lambda item: -item[1])


def table(results: Path) -> str:
    """The recorded results, a row for each file and precision."""
    rows = ["| date | px | file | computes in | processor ms | ratio (quartiles) |", "|---|---|---|---|---|---|"]
    rows += [
        f"| {row['date']} | {row['size']} | {row['name']} | {row['computes_in']} | {row['processor_ms']:.2f} "
        f"| {spread(row, 'ratio')} |"
        for row in read(results / TABLE)
    ]
    return "\n".join(rows)


if __name__ == "__main__":
    sys.exit(main())
