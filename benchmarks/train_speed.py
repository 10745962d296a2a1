"""How fast training is on this machine, beside a plain loop, as ratios of one interleaved run.

    python benchmarks/train_speed.py FOLDER --start FILE [--rounds 3]   whole trainings, and the plain loop
    python benchmarks/train_speed.py FOLDER --start FILE --ceiling      epochs, beside steps on a batch that is ready
    python benchmarks/train_speed.py FOLDER --start FILE --cache        epochs with all images in memory, or not all
    python benchmarks/train_speed.py FOLDER --loader                    batches without a step, as for a graphics card
    python benchmarks/train_speed.py --parts [--rounds 9]               single parts of a step, on random numbers
    python benchmarks/train_speed.py --table                            the recorded results as Markdown

FOLDER holds train/ and annotations_train.json. In each round, all run one after the other in processes of their own:
the plain loop, `multibox train` with all stages training, and with those up to stride 8 frozen. Speeds are images per
second from the second epoch on, everything included but validation. The plain loop is what a tutorial would write: the
same network and loss, float32, PyTorch's DataLoader, Pillow for decoding and augmentation, no average of weights.
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
from contextlib import ExitStack, closing, contextmanager, nullcontext
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common import RESULTS, annotations, append, circumstances, read  # the module beside this one

if TYPE_CHECKING:
    from multibox.train.loop import TrainingRun

TABLE = RESULTS / "train_speed.tsv"

MODEL = "mobilenet_v2-2s_ssd-256x256"
VARIANTS = ("plain loop", "all stages train", "frozen to stride 8")
FIRST_WAYS = (VARIANTS[0], "all")
SPEED = "images_per_second"
WARM_UP_STEPS = 4
PARTS_BATCH = 16
RATE = 0.01
"""Learning rate of steps on a batch that is ready; it does not change their time."""


def main() -> int:
    """Measure, record, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--start", default="", help="pretrained weights: without them, nothing can be frozen")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--steps", type=int, default=20, help="of an epoch")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="cpu", help="cpu or cuda, for all but the plain loop, --parts and --loader")
    parser.add_argument("--parts", action="store_true")
    parser.add_argument("--ceiling", action="store_true")
    parser.add_argument("--cache", action="store_true")
    parser.add_argument("--loader", action="store_true")
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--plain", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.table:
        print(table())
        return 0
    facts = {"date": date.today().isoformat(), **circumstances(), "device": arguments.device}
    if arguments.parts:
        append([{**facts, "kind": "parts", **row} for row in measure_parts(arguments.rounds)], TABLE)
        print(table())
        return 0
    if arguments.folder is None:
        parser.error("name a folder, or --parts, or --table")
    if arguments.plain:
        print(plain_loop(arguments.folder, arguments.batch_size, arguments.steps))
        return 0
    if arguments.loader:
        kind, rows = "loader", measure_loader(arguments)
    elif not arguments.start:
        parser.error("--start: name pretrained weights")
    elif arguments.ceiling:
        kind, rows = "ceiling", measure_ceiling(arguments)
    elif arguments.cache:
        kind, rows = "cache", measure_cache(arguments)
    else:
        kind, rows = "trainings", measure_trainings(arguments)
    facts |= {"kind": kind, "data": arguments.folder.resolve().name, "batch_size": arguments.batch_size}
    append([facts | row for row in rows], TABLE)
    print(table())
    return 0


def measure_trainings(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """A row for each variant: its images per second in each round."""
    speeds: dict[str, list[float]] = {name: [] for name in VARIANTS}
    options = ["--batch-size", str(arguments.batch_size), "--steps", str(arguments.steps), "--plain"]
    for _ in range(arguments.rounds):
        plain = subprocess.run(
            [sys.executable, __file__, str(arguments.folder), *options], check=True, capture_output=True, text=True
        )
        speeds["plain loop"].append(float(plain.stdout))
        for name, stride in (("all stages train", 0), ("frozen to stride 8", 8)):
            speeds[name].append(real_training(arguments, stride))
        print({name: round(values[-1], 1) for name, values in speeds.items()}, flush=True)
    return [
        {"way": name, "images_per_second": [round(value, 2) for value in values]} for name, values in speeds.items()
    ]


def measure_ceiling(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Images per second of whole epochs, and of as many steps on one batch that is ready, in turns: a row of each."""
    ways = (("all stages train", 0), ("frozen to stride 8", 8))
    return [{"way": name, **ceiling(arguments, stride)} for name, stride in ways]


def ceiling(arguments: argparse.Namespace, frozen_stride: int) -> dict[str, list[float]]:
    """Images per second of the epochs of one run and of steps on a ready batch, the first epoch left out."""
    from multibox.train.batches import device_batches
    from multibox.train.step import step

    epochs: list[float] = []
    steps: list[float] = []
    with training_run(arguments, frozen_stride, cache_bytes=2 << 30) as run:
        with closing(device_batches(run.loader, run.learner.fabric.device, 0)) as batches:
            batch = next(batches)
        for number in range(arguments.rounds + 1):
            whole = epoch_speed(run)
            started_at = time.perf_counter()
            for _ in range(run.loader.steps_per_epoch):
                step(run.learner, batch, run.counters, rate=RATE)
            wait_for(run)
            num_images = run.loader.steps_per_epoch * arguments.batch_size
            pure = num_images / (time.perf_counter() - started_at)
            if number:
                epochs.append(round(whole, 2))
                steps.append(round(pure, 2))
    return {"images_per_second": epochs, "ready_batch_images_per_second": steps}


def measure_cache(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """A row for each share of the decoded images that the memory holds: images per second of epochs in turns."""
    # Bytes of all images, as the data set itself counts them.
    with training_run(arguments, 8, cache_bytes=1 << 40) as run:
        size = run.loader.dataset.bytes_in_cache
    limits = {"all": 1 << 40, "half": size // 2, "a tenth": size // 10, "none": 0}
    speeds: dict[str, list[float]] = {name: [] for name in limits}
    with ExitStack() as stack:
        runs = {
            name: stack.enter_context(training_run(arguments, 8, cache_bytes=limit)) for name, limit in limits.items()
        }
        for number in range(arguments.rounds + 1):
            for name, run in runs.items():
                speed = epoch_speed(run)
                if number:  # the first one fills the memory
                    speeds[name].append(round(speed, 2))
    return [{"way": name, "bytes_of_all": size, "images_per_second": values} for name, values in speeds.items()]


def epoch_speed(run: TrainingRun) -> float:
    """Images per second of the next epoch, as the run records it in metrics.jsonl."""
    from multibox.train.loop import fit

    num_steps = (run.counters.epoch + 1) * run.loader.steps_per_epoch
    fit(replace(run, length=replace(run.length, epoch_steps=num_steps)))
    lines = (run.folder.path / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return float(json.loads(lines[-1])["images_per_second"])


def wait_for(run: TrainingRun) -> None:
    """Wait until a graphics card has done what it was given."""
    import torch

    if run.learner.fabric.device.type == "cuda":
        torch.cuda.synchronize(run.learner.fabric.device)


@contextmanager
def training_run(
    arguments: argparse.Namespace, frozen_stride: int, *, cache_bytes: int, cuda_graph: bool = False
) -> Iterator[TrainingRun]:
    """The run of `multibox train`, without validation, ready for its first epoch."""
    import logging

    from multibox import config
    from multibox.config import bundled_templates
    from multibox.data import coco
    from multibox.data.cache import ImageCache
    from multibox.data.dataset import Dataset
    from multibox.model import ssd
    from multibox.train.assembly import assemble
    from multibox.train.devices import connect
    from multibox.train.pace import Pace
    from multibox.weights.start import open_starting_point
    from multibox.weights.transfer import transfer

    logging.disable(logging.WARNING)
    template = config.load_template(bundled_templates()[MODEL])
    template = config.changed(
        template,
        {
            "train.schedule.min_steps_per_epoch": arguments.steps,
            "train.frozen_stride": frozen_stride,
            "train.cuda_graph": cuda_graph,
            "hyper_parameters.basic.batch_size": arguments.batch_size,
            "hyper_parameters.basic.epochs": 1000,
        },
    )
    file, root = annotations(arguments.folder, "train")
    data = coco.read([file], [root])
    model = ssd.build_ssd(template, num_classes=len(data.classes))
    start = open_starting_point(arguments.start, template)
    transfer(model, data.classes, start.weights, start.classes)
    dataset = Dataset(
        data.records,
        input_size=template.input.size,
        augment=template.train.augment,
        cache=ImageCache(cache_bytes),
    )
    with tempfile.TemporaryDirectory() as work:
        yield assemble(
            connect(arguments.device, template.train.precision),
            template,
            model,
            dataset,
            None,
            Path(work),
            Silent(),
            seed=0,
            classes=data.classes,
            meta={},
            pace=Pace(deadline=None, validation_seconds=0.0),
            name_of_rate="the learning rate",
            resume=None,
        )


class Silent:
    """A display that shows nothing."""

    def line(self, text: str) -> None:
        """See `multibox.train.loop.Display`."""

    def progress(self, *, epoch: int, share: float, loss: float, seconds_left: float) -> None:
        """See `multibox.train.loop.Display`."""


def measure_loader(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Images per second that threads prepare when nothing else runs: rows for memory or disk, mosaics or not."""
    from multibox import config
    from multibox.config import bundled_templates
    from multibox.data import coco
    from multibox.data.cache import ImageCache
    from multibox.data.dataset import Dataset
    from multibox.data.loader import TrainLoader

    template = config.load_template(bundled_templates()[MODEL])
    file, root = annotations(arguments.folder, "train")
    data = coco.read([file], [root])
    speeds: dict[str, list[float]] = {}
    loaders = {}
    for where, cached, mosaics in (
        ("in memory", 4 << 30, 0),
        ("in memory, mosaics", 4 << 30, sys.maxsize),
        ("from disk", 0, 0),
    ):
        for threads in (1, 2):
            dataset = Dataset(
                data.records,
                input_size=template.input.size,
                augment=template.train.augment,
                cache=ImageCache(cached) if cached else None,
            )
            repeat = max(1, 2000 // len(data.records))
            name = f"{where}, {threads} thread{'s' if threads > 1 else ''}"
            loader = TrainLoader(dataset, batch_size=arguments.batch_size, repeat=repeat, seed=0, num_workers=threads)
            loaders[name] = loader, mosaics
            speeds[name] = []
            if threads == 1 and cached:
                loaders[f"{name}, Python alone"] = loader, mosaics
                speeds[f"{name}, Python alone"] = []
    for number in range(arguments.rounds + 1):
        for name, (loader, mosaics) in loaders.items():
            started_at = time.perf_counter()
            with without_opencv() if "Python alone" in name and number else nullcontext():
                count = sum(len(batch.targets) for batch in loader.epoch(number, mosaic_steps=mosaics))
            if number:  # the first round decodes
                speeds[name].append(round(count / (time.perf_counter() - started_at), 1))
    record = data.records[0]
    pixels = f"{record.width}x{record.height}"
    return [{"way": name, "pixels": pixels, "images_per_second": values} for name, values in speeds.items()]


@contextmanager
def without_opencv() -> Iterator[None]:
    """Samples without their pixels: what is left of their time is what Python's lock lets one thread do at a time."""
    import cv2
    import numpy as np

    square = np.zeros((1024, 1024, 3), np.uint8)
    # Functions of OpenCV that change pixels, as those that return what they are given or a view of its size.
    instead: dict[str, Callable[..., Any]] = {
        "resize": lambda image, size, **_: square[: size[1], : size[0]],
        "transform": lambda image, matrix: image,
        "flip": lambda image, axis: image,
        "cvtColor": lambda image, code, dst=None: image,
    }
    before = {name: getattr(cv2, name) for name in instead}
    try:
        for name, function in instead.items():
            setattr(cv2, name, function)
        yield
    finally:
        for name, function in before.items():
            setattr(cv2, name, function)


def real_training(arguments: argparse.Namespace, frozen_stride: int) -> float:
    """Images per second of the second epoch of `multibox train`."""
    from multibox import config
    from multibox.config import bundled_templates

    template = config.load_template(bundled_templates()[MODEL])
    template = config.changed(
        template,
        {
            "train.schedule.min_steps_per_epoch": arguments.steps,
            "train.frozen_stride": frozen_stride,
            "tensorboard": False,
        },
    )
    annotation_file, folder = annotations(arguments.folder, "train")
    with tempfile.TemporaryDirectory() as work:
        file = Path(work) / "template.yaml"
        file.write_text(config.dump(template))
        command = [
            *(sys.executable, "-m", "multibox", "train", "--config", str(file), "--load-weights", arguments.start),
            *(
                "--train-ann-files",
                annotation_file,
                "--train-data-roots",
                folder,
                "--save-checkpoints-to",
                f"{work}/run",
            ),
            *("--batch-size", str(arguments.batch_size), "--epochs", "2", "--device", arguments.device),
        ]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        lines = (Path(work) / "run" / "metrics.jsonl").read_text().splitlines()
    return float(json.loads(lines[-1])["images_per_second"])


def plain_loop(folder: Path, batch_size: int, num_steps: int) -> float:
    """Images per second of an ordinary training of the same network."""
    import random

    import numpy as np
    import torch
    from PIL import Image, ImageEnhance
    from torch.utils.data import DataLoader, Dataset

    from multibox import config
    from multibox.config import bundled_templates
    from multibox.data import coco
    from multibox.model import ssd
    from multibox.model.anchors import make_anchors
    from multibox.model.loss import multibox_loss
    from multibox.model.matching import pad
    from multibox.structures import Targets

    template = config.load_template(bundled_templates()[MODEL])
    size = template.input.size
    annotation_file, root = annotations(folder, "train")
    data = coco.read([annotation_file], [root])

    class Pictures(Dataset):  # type: ignore[type-arg]
        """Decoded anew each time, as PyTorch's tutorials do."""

        def __len__(self) -> int:
            return 1_000_000

        def __getitem__(self, index: int) -> tuple[torch.Tensor, Targets]:
            record = data.records[index % len(data.records)]
            image = Image.open(record.path).convert("RGB")
            boxes, labels = record.targets.boxes.copy(), record.targets.labels
            share = random.uniform(0.7, 1)
            left, top = random.uniform(0, 1 - share), random.uniform(0, 1 - share)
            width, height = image.size
            corners = (left * width, top * height, (left + share) * width, (top + share) * height)
            image = image.crop(tuple(map(round, corners)))
            moved = (boxes - np.array([left, top, left, top], np.float32)) / np.float32(share)
            kept = ((moved[:, :2] + moved[:, 2:]) / 2 > 0).all(1) & ((moved[:, :2] + moved[:, 2:]) / 2 < 1).all(1)
            boxes, labels = moved[kept].clip(0, 1), labels[kept]
            image = image.resize((size, size), Image.Resampling.BILINEAR)
            for enhance in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
                image = enhance(image).enhance(random.uniform(0.7, 1.3))
            pixels = np.asarray(image, np.float32) / 255
            if random.random() < 0.5:
                pixels = pixels[:, ::-1]
                boxes[:, [0, 2]] = 1 - boxes[:, [2, 0]]
            return torch.from_numpy(pixels.transpose(2, 0, 1).copy()), Targets(boxes, labels)

    def collate(samples: list[tuple[torch.Tensor, Targets]]) -> tuple[torch.Tensor, list[Targets]]:
        return torch.stack([image for image, _ in samples]), [targets for _, targets in samples]

    loader = DataLoader(Pictures(), batch_size, num_workers=2, collate_fn=collate)
    model = ssd.build_ssd(template, num_classes=len(data.classes)).train()
    anchors = torch.from_numpy(make_anchors(template.model.anchors_px, ssd.strides(model), size))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9, weight_decay=0.0005)
    started_at = 0.0
    for step, (images, targets) in enumerate(loader):
        if step == WARM_UP_STEPS:
            started_at = time.perf_counter()
        if step == WARM_UP_STEPS + num_steps:
            break
        losses = multibox_loss(
            model(images),
            pad(targets, "cpu"),
            anchors,
            model.bbox_head.loss_weights,
            config=template.train.loss,
            variances=template.model.box_variances,
        )
        optimizer.zero_grad()
        losses.total.backward()
        optimizer.step()
    return num_steps * batch_size / (time.perf_counter() - started_at)


def measure_parts(rounds: int) -> Iterator[dict[str, Any]]:
    """A row for each part that has a way of ours: images per second of both, in turns."""
    import torch
    from torch import nn

    from multibox import config
    from multibox.config import bundled_templates
    from multibox.model import ssd
    from multibox.model.depthwise import DepthwiseConv2d
    from multibox.train.frozen import bytes_to_input, frozen_stages

    def gradient_of(convolution: nn.Module, channels: int, side: int) -> Callable[[], None]:
        x = torch.rand(PARTS_BATCH, channels, side, side, dtype=torch.bfloat16).contiguous(
            memory_format=torch.channels_last
        )
        x.requires_grad_()

        def run() -> None:
            convolution(x).sum().backward()

        return run

    for channels, side in ((96, 128), (144, 64), (192, 32), (576, 16)):
        ordinary = nn.Conv2d(channels, channels, 3, 2, padding=1, groups=channels, bias=False).bfloat16()
        ours = DepthwiseConv2d(channels, stride=2).bfloat16()
        pair = [gradient_of(each, channels, side) for each in (ordinary, ours)]
        yield compare(f"stride 2, {channels} channels of {side} x {side}, forward and backward", pair, rounds)
    template = config.load_template(bundled_templates()[MODEL])
    model = ssd.build_ssd(template, num_classes=3).to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    pictures = torch.randint(256, (PARTS_BATCH, 256, 256, 3), dtype=torch.uint8)
    by_openvino = frozen_stages(model, 8, input_size=256, device=torch.device("cpu"), precision=torch.bfloat16)
    stages = nn.Sequential(*model.blocks_up_to(8))

    def by_torch() -> None:
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            stages(bytes_to_input(pictures))

    yield compare("frozen stages", [by_torch, lambda: by_openvino(pictures)], rounds)


def compare(what: str, pair: list[Callable[[], Any]], rounds: int) -> dict[str, Any]:
    """Images per second of two ways in turns, each on a batch of `PARTS_BATCH`."""
    speeds: list[list[float]] = [[], []]
    for _ in range(rounds + 1):
        for of_way, run in zip(speeds, pair, strict=True):
            started_at = time.perf_counter()
            run()
            of_way.append(round(PARTS_BATCH / (time.perf_counter() - started_at), 1))
    torch, ours = (of_way[1:] for of_way in speeds)
    return {"way": what, "batch_size": PARTS_BATCH, SPEED: ours, "torch_images_per_second": torch}


def table() -> str:
    """All recorded results, one row each: medians, and the ratios to the plain loop of the same round."""
    rows = [
        "| date | data | batch | way | images/s | times the plain loop (of each round) |",
        "|---|---|---|---|---|---|",
    ]
    for r, first in measured("trainings"):
        facts = [r["date"], r["data"], str(r["batch_size"]), r["way"], f"{statistics.median(r[SPEED]):.1f}"]
        rows.append("| " + " | ".join([*facts, ratio_to(first, r[SPEED], 2)]) + " |")
    rows += ["", "| date | data | batch | way | epoch images/s | ready batch images/s | share of each round |"]
    rows += ["|---|---|---|---|---|---|---|"]
    for r, _ in measured("ceiling"):
        ready = r["ready_batch_images_per_second"]
        facts = [r["date"], r["data"], str(r["batch_size"])]
        facts.append(r["way"] if r["device"] == "cpu" else f"{r['way']}, {r['device']}")
        facts += [f"{statistics.median(values):.1f}" for values in (r[SPEED], ready)]
        rows.append("| " + " | ".join([*facts, ratio_to(ready, r[SPEED], 3)]) + " |")
    rows += [
        "",
        "| date | data | decoded images in memory | epoch images/s | share of all in memory |",
        "|---|---|---|---|---|",
    ]
    for r, first in measured("cache"):
        spread = ratio_to(first, r[SPEED], 2)
        rows.append(f"| {r['date']} | {r['data']} | {r['way']} | {statistics.median(r[SPEED]):.1f} | {spread} |")
    rows += ["", "| date | data | pixels | images | images/s of the loader alone |", "|---|---|---|---|---|"]
    for r, _ in measured("loader"):
        rows.append(f"| {r['date']} | {r['data']} | {r['pixels']} | {r['way']} | {statistics.median(r[SPEED]):.0f} |")
    rows += ["", "| date | part | images/s | times PyTorch's own (of each round) |", "|---|---|---|---|"]
    for r, _ in measured("parts"):
        spread = ratio_to(r["torch_images_per_second"], r[SPEED], 2)
        rows.append(f"| {r['date']} | {r['way']} | {statistics.median(r[SPEED]):.0f} | {spread} |")
    return "\n".join(rows)


def measured(kind: str) -> Iterator[tuple[dict[str, Any], list[float]]]:
    """The recorded rows of a kind, each with the images per second of the first way of its run."""
    first: list[float] = []
    for row in read(TABLE):
        if row["kind"] == kind:
            if row["way"] in FIRST_WAYS:
                first = row[SPEED]
            yield row, first


def ratio_to(bases: list[float], values: list[float], digits: int) -> str:
    """Median of the ratios of values to the bases of the same round, and their range."""
    ratios = sorted(value / base for value, base in zip(values, bases, strict=True))
    return f"{statistics.median(ratios):.{digits}f} ({ratios[0]:.{digits}f} to {ratios[-1]:.{digits}f})"


if __name__ == "__main__":
    sys.exit(main())
