"""The whole of it learns: a few images by heart, and the same again for the same seed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from multibox import config
from multibox.data import coco
from multibox.train.run import train
from multibox.weights import checkpoint
from multibox.weights.start import open_starting_point


class Silent:
    """A display that keeps its lines."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def line(self, text: str) -> None:
        self.lines.append(text)

    def progress(self, **_: float) -> None:
        pass


@pytest.fixture
def data(shapes_data):
    return coco.read([shapes_data.train_file], [shapes_data.train_root], classes=shapes_data.classes)


def small(tiny_template_file: Path, *, epochs: int, steps: int, batch_size: int, rate: float) -> config.Template:
    template = config.load_template(tiny_template_file)
    basic = config.replace(
        template.hyper_parameters.basic, epochs=epochs, batch_size=batch_size, base_learning_rate=rate
    )
    schedule = config.replace(template.train.schedule, min_steps_per_epoch=steps)
    augment = config.replace(template.train.augment, photometric=None, crop=None)
    return config.replace(
        template,
        hyper_parameters=config.replace(template.hyper_parameters, basic=basic),
        train=config.replace(template.train, schedule=schedule, augment=augment),
    )


@pytest.mark.e2e
def test_sixteen_images_are_learnt_by_heart(data, tiny_template_file, tmp_path):
    template = small(tiny_template_file, epochs=1, steps=150, batch_size=8, rate=0.03)
    result = train(template, data, tmp_path, display=Silent(), val_data=data, device="cpu")
    assert result.metrics is not None
    assert result.metrics.ap50 > 0.9


@pytest.mark.e2e
def test_yolox_nano_learns_sixteen_images_by_heart_from_its_coco_weights(data, tiny_yolox_file, tmp_path):
    template = config.changed(config.load_template(tiny_yolox_file), {"train.schedule.min_steps_per_epoch": 100})
    start = open_starting_point("bundled", template)
    display = Silent()
    result = train(template, data, tmp_path, display=display, val_data=data, start=start, device="cpu")
    assert result.metrics is not None
    assert result.metrics.ap50 > 0.9
    (scalars,) = map(json.loads, (tmp_path / "metrics.jsonl").read_text().splitlines())
    parts = [scalars[f"loss_{name}"] for name in ("classes", "objectness", "boxes")]
    assert sum(parts) == pytest.approx(scalars["loss"], rel=1e-5)
    assert any("New classes, learned from scratch: square, circle" in line for line in display.lines)


@pytest.mark.e2e
def test_a_run_of_yolox_nano_that_goes_on_ends_as_one_that_never_stopped(data, tiny_yolox_file, tmp_path):
    template = config.load_template(tiny_yolox_file)
    two = config.changed(template, {"hyper_parameters.basic.epochs": 2, "train.schedule.warmup_fraction": 0})
    two = config.changed(two, {"train.schedule.final_factor": 1})
    one = config.changed(two, {"hyper_parameters.basic.epochs": 1})
    whole = train(two, data, tmp_path / "whole", display=Silent(), device="cpu")
    first = train(one, data, tmp_path / "parts", display=Silent(), device="cpu")
    resume = checkpoint.load(first.latest)
    second = train(two, data, tmp_path / "parts", display=Silent(), resume=resume, device="cpu")
    weights = checkpoint.load(second.latest).state_dict
    assert second.steps == whole.steps
    for key, value in checkpoint.load(whole.latest).state_dict.items():
        assert torch.equal(weights[key], value), key


@pytest.mark.e2e
def test_a_run_without_a_better_ap_stops_early_and_says_so(data, tiny_template_file, tmp_path):
    first = small(tiny_template_file, epochs=1, steps=60, batch_size=8, rate=0.03)
    assert train(first, data, tmp_path / "first", display=Silent(), val_data=data, device="cpu").best_ap
    # With the start as the whole of what is saved, nothing can get better.
    still = small(tiny_template_file, epochs=10, steps=1, batch_size=8, rate=0.01)
    refine = config.replace(still.train.refine, start_share=1.0)
    still = config.replace(still, train=config.replace(still.train, patience_epochs=3, refine=refine))
    start = open_starting_point(tmp_path / "first/latest.pth", still)
    display = Silent()
    result = train(
        still, data, tmp_path / "second", display=display, val_data=data, start=start, refine=True, device="cpu"
    )
    # 3 epochs are the patience, but two fifths of 10 are 4.
    assert (result.best_epoch, result.epochs) == (0, 4)
    assert "No better AP for 4 epochs: stopped early." in display.lines


def losses_with(
    template: config.Template, mosaic: config.MosaicConfig | None, data, folder: Path, **options
) -> list[float]:
    """The loss of each epoch, of a training with these mosaics."""
    augment = config.replace(template.train.augment, mosaic=mosaic)
    template = config.replace(template, train=config.replace(template.train, augment=augment))
    train(template, data, folder, display=Silent(), device="cpu", **options)
    return [json.loads(line)["loss"] for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.e2e
def test_mosaics_end_at_their_share_of_the_run(data, tiny_template_file, tmp_path):
    template = small(tiny_template_file, epochs=2, steps=4, batch_size=8, rate=0.01)
    half, whole, none, no_share = (
        losses_with(template, mosaic, data, tmp_path / str(number))
        for number, mosaic in enumerate(
            (
                config.MosaicConfig(share=1.0, until=0.5, max_images=16),
                config.MosaicConfig(share=1.0, until=1.0, max_images=16),
                None,
                config.MosaicConfig(share=1.0, until=0.0, max_images=16),
            )
        )
    )
    assert no_share == none
    assert half[0] == whole[0] != none[0]
    assert half[1] != whole[1]


@pytest.mark.e2e
def test_weights_that_are_refined_see_no_mosaics(data, tiny_template_file, tmp_path):
    template = small(tiny_template_file, epochs=1, steps=4, batch_size=8, rate=0.01)
    losses_with(template, None, data, tmp_path / "first")
    start = open_starting_point(tmp_path / "first/latest.pth", template)
    mosaics = config.MosaicConfig(share=1.0, until=1.0, max_images=16)
    refined = [
        losses_with(template, mosaic, data, tmp_path / name, start=start, refine=True)
        for name, mosaic in (("with", mosaics), ("without", None))
    ]
    assert refined[0] == refined[1]


@pytest.mark.e2e
def test_patience_waits_for_what_the_end_without_mosaics_brings(data, tiny_template_file, tmp_path):
    losses_with(small(tiny_template_file, epochs=1, steps=60, batch_size=8, rate=0.03), None, data, tmp_path / "first")
    # At such a rate, nothing gets better than the start, which is judged first.
    still = small(tiny_template_file, epochs=10, steps=1, batch_size=8, rate=1.0)
    still = config.replace(still, train=config.replace(still.train, patience_epochs=1))
    start = open_starting_point(tmp_path / "first/latest.pth", still)
    mosaics = config.MosaicConfig(share=0.1, until=0.6, max_images=16)
    num_epochs = [
        len(losses_with(still, mosaic, data, tmp_path / name, val_data=data, start=start))
        for name, mosaic in (("without", None), ("with", mosaics))
    ]
    # Two fifths of the ten without mosaics; with them, half of the four that have none.
    assert num_epochs == [4, 8]
