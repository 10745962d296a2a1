"""How fast a graphics card trains, and what holds it up: one command, under four minutes.

    python benchmarks/gpu_speed.py                          one card: measures, adds rows to the table, prints it
    python benchmarks/gpu_speed.py --profile                where the time of a step goes, at the first batch size
    python benchmarks/gpu_speed.py --device cpu --quick     the same steps in a minute, to try the script; no rows
    python benchmarks/gpu_speed.py --table                  the recorded results as Markdown

2,000 drawn images of 640 x 480 pixels, 256 px, `bundled-classifier`, the default recipe. For each batch size, images
per second of
- `multibox train`, from the second epoch on, everything included but validation: the median epoch;
- the same with a validation on 200 of the images after each epoch, which counts ("validated");
- the threads that prepare batches, with nothing else to do;
- steps on one batch that lies on the card ("ready"), and the same with `train.cuda_graph` ("recorded");
- forward and backward of the stages that train, alone, as one CUDA graph.
And the seconds of a `multibox train` of one step, from the command to its end, so that the first step is earlier.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common import RESULTS, append, circumstances, read  # the modules beside this one
from train_speed import MODEL, RATE, training_run, wait_for

if TYPE_CHECKING:
    from torch import Tensor

    from multibox.train.loop import TrainingRun

TABLE = RESULTS / "gpu_speed.tsv"
START = "bundled-classifier"
CACHE_BYTES = 4 << 30
COLUMNS = ("train", "validated", "loader", "ready", "recorded", "graph")
NUM_IMAGES, EPOCHS, SECONDS, NUM_VALIDATED = 2000, 5, 3.0, 200
QUICK_NUM_IMAGES, QUICK_EPOCHS, QUICK_SECONDS = 24, 2, 0.1


def main() -> int:
    """Measure, record, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--batch-sizes", default="")
    parser.add_argument("--quick", action="store_true", help="few images and steps; nothing is recorded")
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--table", action="store_true")
    arguments = parser.parse_args()
    if arguments.table:
        print(table(read(TABLE)))
        return 0
    if arguments.device.startswith("cuda") and not has_card():
        parser.error("PyTorch sees no graphics card here. To try the script: --device cpu --quick")
    sizes = [int(size) for size in (arguments.batch_sizes or ("8" if arguments.quick else "16,64,256")).split(",")]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        draw_images(folder, QUICK_NUM_IMAGES if arguments.quick else NUM_IMAGES)
        if arguments.profile:
            profile(folder, sizes[0], arguments)
            return 0
        first_step = round(seconds_to_first_step(folder, arguments.device), 1)
        print(f"one step from the command to its end: {first_step} s", flush=True)
        rows = [measure(folder, size, arguments) for size in sizes]
    facts = {
        "date": date.today().isoformat(),
        **circumstances(),
        "device": arguments.device,
        "first_step_s": first_step,
    }
    rows = [facts | row for row in rows]
    if not arguments.quick:
        append(rows, TABLE)
    print(table(rows))
    return 0


def has_card() -> bool:
    import torch

    return torch.cuda.is_available()


def measure(folder: Path, batch_size: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """A row: images per second of the four ways with one batch size."""
    seconds = QUICK_SECONDS if arguments.quick else SECONDS
    epochs = [line["images_per_second"] for line in real_epochs(folder, batch_size, arguments)]
    ends = [line["seconds"] for line in real_epochs(folder, batch_size, arguments, is_validated=True)]
    row: dict[str, Any] = {"batch_size": batch_size, "train_epochs": epochs, "train": statistics.median(epochs[1:])}
    num_images = QUICK_NUM_IMAGES if arguments.quick else NUM_IMAGES
    # From the end of the steps of one epoch to that of the next.
    row["validated"] = num_images / max(0.1, statistics.median(end - start for start, end in pairwise(ends)))
    options = run_options(folder, batch_size, arguments)
    with training_run(options, 8, cache_bytes=CACHE_BYTES, cuda_graph=True) as run:
        row["recorded"] = batch_size * calls_per_second(ready_step(run), run, seconds)
    with training_run(options, 8, cache_bytes=CACHE_BYTES) as run:
        row["loader"] = loader_speed(run, seconds)
        row["ready"] = batch_size * calls_per_second(ready_step(run), run, seconds)
        row["graph"] = batch_size * calls_per_second(forward_and_backward(run), run, seconds)
    row |= {name: round(row[name], 1) for name in COLUMNS}
    print(row, flush=True)
    return row


def run_options(folder: Path, batch_size: int, arguments: argparse.Namespace) -> argparse.Namespace:
    """The options that `train_speed.training_run` reads."""
    return argparse.Namespace(folder=folder, start=START, batch_size=batch_size, steps=1, device=arguments.device)


def real_epochs(
    folder: Path, batch_size: int, arguments: argparse.Namespace, *, is_validated: bool = False
) -> list[dict[str, float]]:
    """What `multibox train` logs of each epoch."""
    epochs = QUICK_EPOCHS if arguments.quick else EPOCHS
    options = ["--batch-size", str(batch_size), "--epochs", str(epochs)]
    with tempfile.TemporaryDirectory() as work:
        if is_validated:
            file = first_images(folder, NUM_VALIDATED, Path(work))
            options += ["--val-ann-files", str(file), "--val-data-roots", str(folder / "train")]
        train(folder, Path(work), arguments.device, *options)
        return [json.loads(line) for line in (Path(work) / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]


def first_images(folder: Path, count: int, work: Path) -> Path:
    """A file of annotations of the first images of the set."""
    few = json.loads((folder / "annotations_train.json").read_text())
    few["images"] = few["images"][:count]
    ids = {image["id"] for image in few["images"]}
    few["annotations"] = [each for each in few["annotations"] if each["image_id"] in ids]
    file = work / "few.json"
    file.write_text(json.dumps(few))
    return file


def seconds_to_first_step(folder: Path, device: str) -> float:
    """Seconds of a training of one step, its checkpoint included."""
    with tempfile.TemporaryDirectory() as work:
        file = first_images(folder, 16, Path(work))
        started_at = time.perf_counter()
        train(folder, Path(work), device, "--batch-size", "16", "--epochs", "1", file=file)
        return time.perf_counter() - started_at


def train(folder: Path, output: Path, device: str, *options: str, file: Path | None = None) -> None:
    """A whole `multibox train`, with an epoch of each image once."""
    from multibox import config
    from multibox.config import bundled_templates

    template = config.load_template(bundled_templates()[MODEL])
    template = config.changed(template, {"train.schedule.min_steps_per_epoch": 1, "tensorboard": False})
    (output / "template.yaml").write_text(config.dump(template), encoding="utf-8")
    command = [
        *(sys.executable, "-m", "multibox", "train", "--config", str(output / "template.yaml")),
        *("--train-ann-files", str(file or folder / "annotations_train.json")),
        *("--train-data-roots", str(folder / "train"), "--load-weights", START, "--device", device),
        *("--save-checkpoints-to", str(output / "run"), *options),
    ]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    (output / "run/metrics.jsonl").replace(output / "metrics.jsonl")


def loader_speed(run: TrainingRun, seconds: float) -> float:
    """Images per second of the batches of whole epochs, on the device, when no step is done; the first one decodes."""
    from multibox.train.batches import device_batches

    count, number, started_at = 0, 0, time.perf_counter()
    while number < 2 or time.perf_counter() - started_at < seconds:
        if number == 1:
            count, started_at = 0, time.perf_counter()
        with closing(device_batches(run.loader, run.learner.fabric.device, number)) as batches:
            count += sum(len(batch.images) for batch in batches)
        number += 1
    wait_for(run)
    return count / (time.perf_counter() - started_at)


def ready_step(run: TrainingRun) -> Callable[[], object]:
    """A step on a batch that lies on the device."""
    from multibox.train.batches import device_batches
    from multibox.train.step import step

    with closing(device_batches(run.loader, run.learner.fabric.device, 0)) as batches:
        batch = next(batches)
    return lambda: step(run.learner, batch, run.counters, rate=RATE)


def forward_and_backward(run: TrainingRun) -> Callable[[], object]:
    """Forward and backward of the stages that train, on numbers that lie on the device; on a card as one CUDA graph."""
    import torch

    learner, device = run.learner, run.learner.fabric.device
    inputs = inputs_of_trained_stages(run)
    parameters = [each for each in learner.model.parameters() if each.requires_grad]

    def once() -> None:
        for parameter in parameters:
            parameter.grad = None
        # Fabric's own autocast keeps what it has cast, which a graph must not.
        with learner.fabric.autocast(), torch.autocast(device.type, enabled=autocasts, cache_enabled=False):
            raw = learner.network.module(inputs)
        (raw.deltas.float().sum() + raw.logits.float().sum()).backward()

    with learner.fabric.autocast():
        autocasts = torch.is_autocast_enabled(device.type)
    if device.type != "cuda":
        return once
    beside = torch.cuda.Stream(device)
    beside.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(beside):
        for _ in range(3):
            once()
    torch.cuda.current_stream(device).wait_stream(beside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        once()
    return graph.replay


def inputs_of_trained_stages(run: TrainingRun) -> Tensor:
    """What the trained stages get of a batch of random bytes."""
    import torch

    from multibox.train.frozen import bytes_to_input

    size, learner = run.learner.template.input.size, run.learner
    images = torch.randint(256, (run.loader.batch_size, size, size, 3), dtype=torch.uint8)
    images = images.to(learner.fabric.device)
    return bytes_to_input(images) if learner.run_frozen is None else learner.run_frozen(images)


def calls_per_second(call: Callable[[], object], run: TrainingRun, seconds: float) -> float:
    """How often something can be done in a second, after some calls that warm up."""
    for _ in range(2 if seconds < 1 else 10):
        call()
    wait_for(run)
    count, started_at = 0, time.perf_counter()
    while not count or time.perf_counter() - started_at < seconds:
        call()
        count += 1
    wait_for(run)
    return count / (time.perf_counter() - started_at)


def profile(folder: Path, batch_size: int, arguments: argparse.Namespace) -> None:
    """Print what takes the time of twenty steps of an epoch, on the processor and on the card."""
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as profiling

    from multibox.train.batches import device_batches
    from multibox.train.step import step

    on_card = arguments.device.startswith("cuda")
    with training_run(run_options(folder, batch_size, arguments), 8, cache_bytes=CACHE_BYTES) as run:
        num_steps = min(20, run.loader.steps_per_epoch)
        calls_per_second(ready_step(run), run, 0.0)
        with closing(device_batches(run.loader, run.learner.fabric.device, 0)) as batches:
            batch = next(batches)
            activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_card else [])]
            with profiling(activities=activities) as profiled:
                for _ in range(num_steps):
                    step(run.learner, batch, run.counters, rate=RATE)
                    batch = next(batches, batch)
                wait_for(run)
    for order in ("self_cpu_time_total", *(("self_cuda_time_total",) if on_card else ())):
        print(profiled.key_averages().table(sort_by=order, row_limit=20))


def draw_images(folder: Path, count: int) -> None:
    """A COCO set of so many JPEGs of 640 x 480 pixels with one to eight rectangles and discs of two classes each."""
    import cv2
    import numpy as np

    (folder / "train").mkdir()
    rng = np.random.default_rng(0)
    images, annotations = [], []
    for image_id in range(count):
        coarse = rng.integers(40, 200, (12, 16, 3), dtype=np.uint8)
        picture = cv2.resize(coarse, (640, 480), interpolation=cv2.INTER_CUBIC)
        for x, y, side, kind in objects(rng):
            colour = rng.integers(0, 256, 3).tolist()
            if kind == 1:
                cv2.rectangle(picture, (x, y), (x + side - 1, y + side - 1), colour, cv2.FILLED)
            else:
                cv2.circle(picture, (x + side // 2, y + side // 2), side // 2, colour, cv2.FILLED)
            box = {"bbox": [x, y, side, side], "area": side * side, "iscrowd": 0}
            annotations.append({"id": len(annotations) + 1, "image_id": image_id, "category_id": kind, **box})
        name = f"{image_id:05d}.jpg"
        cv2.imwrite(str(folder / "train" / name), picture)
        images.append({"id": image_id, "file_name": name, "width": 640, "height": 480})
    categories = [{"id": 1, "name": "rectangle"}, {"id": 2, "name": "disc"}]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "annotations_train.json").write_text(json.dumps(content), encoding="utf-8")


def objects(rng: Any) -> Iterator[tuple[int, int, int, int]]:
    """Left, top, side and class of the objects of an image."""
    for _ in range(rng.integers(1, 9)):
        side = int(rng.integers(24, 160))
        yield int(rng.integers(0, 640 - side)), int(rng.integers(0, 480 - side)), side, int(rng.integers(1, 3))


def table(rows: list[dict[str, Any]]) -> str:
    """Rows as Markdown, with the shares that say what holds a training up."""
    lines = [
        "| date | machine | batch | `multibox train` images/s | validated | threads alone | ready batch "
        "| ready, recorded | CUDA graph of the network | train / ready | ready / graph | one step, s |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        speeds = [f"{row[name]:,.0f}" for name in COLUMNS]
        shares = [f"{row['train'] / row['ready']:.2f}", f"{row['ready'] / row['graph']:.2f}"]
        facts = [row["date"], row["machine"], str(row["batch_size"])]
        lines.append("| " + " | ".join([*facts, *speeds, *shares, str(row["first_step_s"])]) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
