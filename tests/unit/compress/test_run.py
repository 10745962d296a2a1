from __future__ import annotations

import io
import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import rich.console
import torch
from torch import nn

from multibox import config
from multibox.compress import result as compress_report
from multibox.compress.candidates import Candidate
from multibox.compress.ladder import FAST_IMAGES, Ladder, Plan, _Times, calibration_squares
from multibox.compress.result import Attempt, CompressResult, Measured
from multibox.compress.run import compress_file
from multibox.data import coco
from multibox.errors import DataError, OptionError
from multibox.evaluate.average_precision import ClassMetrics, Metrics
from multibox.evaluate.intervals import Interval
from multibox.model import ssd
from multibox.model.folding import fold, unfold
from multibox.model.quantized import Scale, scales_to_plain
from multibox.runs.compressing import _check_compressed
from multibox.structures import Detections
from multibox.train.quantised_run import train_quantised
from multibox.train.run import train
from multibox.weights import checkpoint
from multibox.weights.checkpoint import Checkpoint


class Lines(list[str]):
    """Where a compression tells how it goes: lines are kept, the bar is not."""

    def line(self, text: str) -> None:
        self.append(text)

    def progress(self, **_: object) -> None:
        pass


@pytest.fixture(scope="module")
def train_data(shapes_data):
    return coco.read([shapes_data.train_file], [shapes_data.train_root], classes=shapes_data.classes)


@pytest.fixture(scope="module")
def val_data(shapes_data):
    return coco.read([shapes_data.val_file], [shapes_data.val_root], classes=shapes_data.classes)


class Finder:
    """Finds all objects of the first `count` images of a data set, and nothing in the others."""

    input_size = 96

    def __init__(self, data: coco.CocoData, count: int) -> None:
        self.classes = data.classes
        self._data, self._count = data, count

    def __call__(self, images):
        return list(self.stream(images))

    def stream(self, images: Iterable[object]) -> Iterator[Detections]:
        for index, (_, record) in enumerate(zip(images, self._data.records, strict=True)):
            found = slice(len(record.labels) if index < self._count else 0)
            scores = record.boxes[found, 0] * 0 + 1
            yield Detections(record.boxes[found], scores, record.labels[found])


class Finders:
    """Can be compressed: a file named 5.xml finds the objects of 5 images, the FP32 file those of all 8."""

    source = Path("model.pth")
    input_size = 96
    float_xml = Path("8.xml")

    def __init__(self, data: coco.CocoData, *, is_thorough_more: bool) -> None:
        self._data = data
        self.is_thorough_more = is_thorough_more
        self.published: list[tuple[str, dict[str, object]]] = []

    def open(self, xml: Path) -> Finder:
        return Finder(self._data, int(xml.stem))

    def quantise(self, squares, *, thorough):
        raise AssertionError("these tests bring rungs that are made already")

    def simulation(self, candidate):
        return self.open(candidate.xml)

    def write(self, candidate, folder, facts):
        self.published.append((candidate.xml.stem, dict(facts)))
        (folder / "latest.pth").write_text(candidate.xml.stem)
        return folder / "latest.pth"


@pytest.fixture
def climb(train_data, val_data, tmp_path):
    """A ladder whose rungs give files of these names, and the model that it published."""

    def run(files, *, measured=True, until=None, is_thorough_more=True, **wanted):
        model = Finders(val_data, is_thorough_more=is_thorough_more)
        ladder = Ladder(model, train_data, val_data if measured else None, tmp_path, Lines(), Plan(**wanted))
        made = []

        def make(name):
            made.append(name)
            return None if name == until else Candidate(Path(f"{name}.xml"), num_images=16)

        names = ("ptq", "ptq-thorough", "qat")
        rungs = {rung: lambda name=name: make(name) for rung, name in zip(names, files, strict=False)}
        return ladder.climb(rungs, batch_size=4), model, made

    return run


def test_a_rung_within_the_budget_is_the_last(climb):
    result, model, made = climb(["5", "8", "7"], max_drop=0.5)
    assert made == ["5", "8"]
    assert result.chosen.rung == "ptq-thorough" and result.is_within_budget
    assert result.chosen.measured.drop == Interval(0, 0, 0)
    assert [name for name, _ in model.published] == ["5", "8"]


def test_the_estimate_of_the_drop_decides_and_not_its_interval(climb):
    result, _, made = climb(["7", "8"], max_drop=30)
    drop = result.chosen.measured.drop
    assert made == ["7"] and 0 < drop.value < 30
    assert drop.low < drop.value < drop.high
    assert climb(["7", "8"], max_drop=drop.value - 0.01)[2] == ["7", "8"]


def test_a_rung_that_would_repeat_the_one_before_is_not_made(climb, train_data):
    assert len(train_data.records) <= FAST_IMAGES
    result, _, made = climb(["5", "7", "6"], is_thorough_more=False)
    assert made == ["5", "6"] and [attempt.rung for attempt in result.attempts] == ["ptq", "qat"]
    assert not result.left_out


def test_if_all_miss_the_budget_the_best_is_kept_and_that_is_said(climb, tmp_path):
    result, model, made = climb(["5", "7", "6"], max_drop=0.5)
    assert made == ["5", "7", "6"]
    assert result.chosen.rung == "ptq-thorough" and result.is_within_budget is False
    # The third is worse than what was there.
    assert [name for name, _ in model.published] == ["5", "7"]
    written = json.loads((tmp_path / "compress.json").read_text())
    assert written["verdict"].endswith(", more than --max-drop 0.5. No method did better than ptq-thorough.")
    assert [rung["rung"] for rung in written["rungs"]] == ["ptq", "ptq-thorough", "qat"]
    assert (written["chosen"], written["is_within_budget"], written["source"]) == ("ptq-thorough", False, "model.pth")


def test_drops_of_classes_are_points_that_each_loses(climb, val_data):
    result, _, _ = climb(["0"])
    assert set(result.chosen.measured.drop_per_class.values()) == {100}
    assert result.chosen.measured.drop == Interval(100, 100, 100)
    assert (result.ap_float, result.chosen.measured.metrics.ap) == (1, 0)


def test_the_simulation_is_measured_beside_the_file(climb):
    measured = climb(["7"], max_drop=100)[0].chosen.measured
    assert measured.ap_torch == measured.metrics.ap and measured.apart.value == 0


def test_what_is_published_says_what_it_is(climb, train_data):
    _, model, _ = climb(["8"], max_drop=0.25)
    ((_, facts),) = model.published
    assert facts["method"] == "ptq" and facts["is_within_budget"] is True
    assert facts["calibration_images"] == {"count": 16, "fingerprint": train_data.fingerprint}
    assert (facts["ap_float"], facts["ap_int8"], facts["ap_torch"]) == (1, 1, 1)
    assert facts["drop"] == {"value": 0, "low": 0, "high": 0}
    assert facts["drop_per_class"] == dict.fromkeys(train_data.classes, 0)
    assert facts["metrics"]["num_images"] == 8


def test_who_asks_for_training_gets_it_and_the_better_of_both(climb):
    result, _, made = climb(["8", "7"], method="qat", max_drop=100)
    assert made == ["8", "7"] and result.chosen.rung == "ptq"


def test_without_validation_data_nothing_is_measured_and_the_last_rung_counts(climb):
    result, model, made = climb(["5", "7"], measured=False, method="qat")
    assert made == ["5", "7"] and result.chosen.rung == "ptq-thorough"
    assert result.ap_float is None and result.chosen.measured is None and result.is_within_budget is None
    assert "nothing was measured" in compress_report.verdict(result)
    assert "metrics" not in model.published[-1][1]


def test_an_interrupted_rung_does_not_count(climb):
    result, model, made = climb(["5", "6", "7"], until="6")
    assert made == ["5", "6"] and result.is_interrupted
    assert [name for name, _ in model.published] == ["5"]


def test_a_rung_without_time_is_left_out_and_named_but_the_first_is_always_made(climb):
    result, _, made = climb(["5", "6", "7"], deadline=time.monotonic() - 1)
    assert made == ["5"]
    assert [line.split()[0] for line in result.left_out] == ["ptq-thorough", "qat"]
    assert compress_report.notes(result)[:2] == list(result.left_out)


def test_validation_data_without_objects_are_refused(train_data, val_data, tmp_path):
    empty = replace(val_data, records=tuple(one for one in val_data.records if not len(one.labels)))
    with pytest.raises(DataError, match="have no object of square"):
        Ladder(Finders(val_data, is_thorough_more=True), train_data, empty, tmp_path, Lines(), Plan())


def test_times_of_the_first_rung_tell_those_of_the_others():
    times = _Times()
    times.learn("ptq", make=6, measure=10, num_images=64)
    times.torch_image = 0.05
    # Twice the time of 64 images for 300 / 64 as many, and measuring.
    assert times.estimate("ptq-thorough", num_images=1000, batch_size=16) == pytest.approx(2 * 6 * 300 / 64 + 10)
    # At least 20 steps of 16 images, each as long as three evaluations, loading, and measuring.
    assert times.estimate("qat", num_images=1000, batch_size=16) == pytest.approx(20 * 16 * 3 * 0.05 + 6 + 10)


def test_calibration_takes_one_image_from_each_stretch_of_the_data(train_data):
    squares = calibration_squares(train_data, 4, 32, seed=0)
    every = calibration_squares(train_data, 99, 32, seed=0)
    assert len(every) == 16 and squares[0].shape == (32, 32, 3)
    places = [next(i for i, one in enumerate(every) if (one == square).all()) for square in squares]
    assert [place // 4 for place in places] == [0, 1, 2, 3]


def test_calibration_images_depend_on_the_seed_alone(train_data):
    one, again, other = (calibration_squares(train_data, 4, 32, seed=seed) for seed in (0, 0, 1))
    assert all((a == b).all() for a, b in zip(one, again, strict=True))
    assert any((a != b).any() for a, b in zip(one, other, strict=True))


def test_without_training_images_there_is_nothing_to_calibrate_on(train_data):
    with pytest.raises(DataError, match="no training image"):
        calibration_squares(replace(train_data, records=()), 4, 32, seed=0)


METRICS = Metrics(0.4545, None, None, None, None, None, None, {"a": ClassMetrics(0.4, None, None, 1)}, 72, 99)
MEASURED = Measured(
    METRICS, Interval(0.48, -0.1, 1.02), {"[a]": 0.7, "b": -0.1, "c": None}, 0.4582, Interval(-0.37, -0.83, 0.01)
)
PTQ = Attempt("ptq", 64, 0.52, MEASURED)
THOROUGH = Attempt("ptq-thorough", 300, 1.25, MEASURED)


def result_of(*attempts: Attempt, chosen: Attempt, max_drop: float = 0.5) -> CompressResult:
    return CompressResult(Path("latest.pth"), attempts, chosen, max_drop, 0.4593, 72)


def printed(result: CompressResult, width: int) -> list[str]:
    console = rich.console.Console(width=width, file=io.StringIO())
    console.print(compress_report.attempts_table(result, width=width))
    return console.file.getvalue().splitlines()[1:]


def test_the_table_shows_every_figure_of_every_rung():
    lines = printed(result_of(PTQ, THOROUGH, chosen=PTQ), 100)
    assert " ".join(lines[0].split()) == "method images FP32 torch INT8 drop 95 % of draws minutes"
    assert " ".join(lines[2].split()) == "ptq 64 45.93 45.82 45.45 +0.48 -0.10 +1.02 0.5"
    assert " ".join(lines[3].split()) == "ptq-thorough 300 45.93 45.82 45.45 +0.48 -0.10 +1.02 1.2"


@pytest.mark.parametrize("width", [80, 100])
def test_the_table_fits_the_console(width):
    wide = replace(MEASURED, drop=Interval(-12.34, -23.45, 34.56), ap_torch=1.0)
    lines = printed(result_of(replace(THOROUGH, minutes=123.4, measured=wide), chosen=PTQ), width)
    assert max(len(line.rstrip()) for line in lines) <= width
    assert lines[2].split()[-5:] == ["45.45", "-12.34", "-23.45", "+34.56", "123.4"]
    assert "…" not in "".join(lines)


def test_the_verdict_says_what_was_reached_by_what_and_how_sure_that_is():
    assert compress_report.verdict(result_of(PTQ, chosen=PTQ)) == (
        "INT8 loses 0.48 AP points on 72 images (95 % interval of the loss: -0.10 to 1.02), within --max-drop 0.5. "
        "Method: ptq, quantised after training, by up to 64 training images."
    )
    assert compress_report.verdict(result_of(PTQ, chosen=PTQ, max_drop=0.47)).endswith(
        ", more than --max-drop 0.47. No method did better than ptq."
    )


def test_a_gain_is_called_a_gain():
    better = replace(PTQ, measured=replace(MEASURED, drop=Interval(-0.1, -1.34, 0.52)))
    assert compress_report.verdict(result_of(better, chosen=better)).startswith(
        "INT8 gains 0.10 AP points on 72 images (95 % interval of the loss: -1.34 to 0.52), within --max-drop"
    )


def test_notes_name_the_worst_class_and_what_does_not_agree():
    notes = compress_report.notes(result_of(PTQ, chosen=PTQ))
    assert notes[0] == "Largest drop: [a], -0.70 AP points."
    assert notes[1].startswith("The file and PyTorch's simulation of it are 0.37 AP points apart (-0.83 to +0.01)")
    close = replace(PTQ, measured=replace(MEASURED, apart=Interval(0.19, -1, 1)))
    assert len(compress_report.notes(result_of(close, chosen=close))) == 1


def test_a_file_is_not_trained(tmp_path, train_data):
    with pytest.raises(OptionError, match=r"needs a checkpoint \(\.pth\)"):
        compress_file(Path("m.xml"), train_data, None, tmp_path, plan=Plan(method="qat"), display=Lines())


@pytest.mark.parametrize("weights", ["run/latest.pth", "run/../run/latest.pth", "run/model.bin", "run/model.xml"])
def test_what_is_compressed_is_not_written_over(weights, tmp_path):
    for name in ("latest.pth", "model.xml", "model.bin"):
        (tmp_path / "run").mkdir(exist_ok=True)
        (tmp_path / "run" / name).touch()
    with pytest.raises(OptionError, match=r"would write over .*, which is read"):
        _check_compressed(tmp_path / weights, tmp_path / "run", say=print)


def test_what_is_no_compression_is_not_written_over(tmp_path):
    (tmp_path / "latest.pth").write_text("a run")
    with pytest.raises(OptionError, match=r"latest\.pth is there, and not from this command"):
        _check_compressed(tmp_path / "best.pth", tmp_path, say=print)
    (tmp_path / "compress.json").write_text('{"source": "best.pth", "rungs": []}')
    _check_compressed(tmp_path / "best.pth", tmp_path, say=print)


def rounding(network: nn.Module) -> dict[str, object]:
    """Scales for all weights of a folded network, and for the image."""
    scales = {("backbone.features.init_block.conv", "input"): Scale(torch.tensor([1 / 255]), 0, 255)}
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d):
            scales[name, "weight"] = Scale(module.weight.abs().amax(dim=(1, 2, 3)).clamp(min=1e-8) / 127, -127, 127)
    return scales


@pytest.fixture(scope="module")
def compressed(tiny_template_file, shapes_data):
    """A checkpoint in 8 bits, of random weights."""
    torch.manual_seed(3)
    template = config.load_template(tiny_template_file)
    template = config.changed(template, {"compress.epochs": 2, "compress.learning_rate": 0.001})
    folded = fold(ssd.build_ssd(template, num_classes=3).eval())
    return Checkpoint(
        unfold(folded, template), shapes_data.classes, template, quantization=scales_to_plain(rounding(folded))
    )


def weights_of(path: Path) -> dict[str, torch.Tensor]:
    return dict(checkpoint.load(path).state_dict)


def test_training_in_8_bits_changes_weights_and_keeps_names_and_scales(compressed, train_data, val_data, tmp_path):
    lines = Lines()
    result = train_quantised(
        compressed, train_data, tmp_path, display=lines, val_data=val_data, batch_size=8, device="cpu"
    )
    assert {path.name for path in tmp_path.iterdir()} >= {"latest.pth", "template.yaml", "run.json", "metrics.jsonl"}
    assert (result.epochs, result.steps, result.is_interrupted) == (2, 4, False)
    trained = checkpoint.load(result.latest)
    assert trained.state_dict.keys() == compressed.state_dict.keys()
    for key, value in compressed.quantization.items():
        assert torch.equal(trained.quantization[key]["step"], value["step"])
    changed = [key for key, value in compressed.state_dict.items() if not torch.equal(trained.state_dict[key], value)]
    assert any(key.endswith("init_block.conv.weight") for key in changed)
    # Normalisation adds what was learnt and does nothing else.
    assert not any(key.endswith(("running_mean", "running_var")) for key in changed)
    # What is saved is what was measured.
    metrics = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["learning_rate"] for line in metrics] == [0.001, 0.001]


def test_the_saved_network_is_the_one_that_was_trained(compressed, train_data, tmp_path):
    result = train_quantised(compressed, train_data, tmp_path, display=Lines(), batch_size=8, device="cpu")
    trained = checkpoint.load(result.latest)
    assert trained.training is not None
    network = trained.build()
    assert network.state_dict().keys() == trained.training["model"].keys()
    assert trained.template.train.weight_decay == 0
    again = unfold(network, trained.template)
    assert all(torch.equal(again[key], value) for key, value in trained.state_dict.items())


def test_training_in_8_bits_is_the_same_for_the_same_seed(compressed, train_data, tmp_path):
    runs = [
        train_quantised(
            compressed, train_data, tmp_path / str(i), display=Lines(), batch_size=8, device="cpu", seed=seed
        )
        for i, seed in enumerate((5, 5, 6))
    ]
    first, second, other = (weights_of(run.latest) for run in runs)
    assert all(torch.equal(value, second[key]) for key, value in first.items())
    assert not all(torch.equal(value, other[key]) for key, value in first.items())


def test_a_resumed_training_ends_as_one_that_never_stopped(compressed, train_data, tmp_path):
    whole = train_quantised(compressed, train_data, tmp_path / "a", display=Lines(), batch_size=8, device="cpu")
    short = replace(
        compressed,
        template=config.changed(compressed.template, {"compress.epochs": 1}),
    )
    half = checkpoint.load(
        train_quantised(short, train_data, tmp_path / "b", display=Lines(), batch_size=8, device="cpu").latest
    )
    template = config.changed(half.template, {"hyper_parameters.basic.epochs": 2})
    lines = Lines()
    rest = train_quantised(
        compressed,
        train_data,
        tmp_path / "b",
        display=lines,
        device="cpu",
        resume=replace(half, template=template),
    )
    assert "Resuming in epoch 2, after 2 steps." in lines
    expected, found = weights_of(whole.latest), weights_of(rest.latest)
    assert all(torch.equal(value, found[key]) for key, value in expected.items())


def test_a_deadline_cuts_training_short_and_never_makes_it_longer(compressed, train_data, tmp_path):
    cut, whole = (
        train_quantised(
            compressed,
            train_data,
            tmp_path / str(seconds),
            display=Lines(),
            batch_size=4,
            device="cpu",
            deadline=time.monotonic() + seconds,
        )
        for seconds in (-1, 3600)
    )
    assert cut.steps == 1
    assert whole.steps == 8  # 2 epochs of 16 images, 4 at a time


def test_an_ordinary_training_does_not_go_on_with_one_in_8_bits(compressed, train_data, tmp_path):
    result = train_quantised(compressed, train_data, tmp_path, display=Lines(), batch_size=16, device="cpu")
    resume = checkpoint.load(result.latest)
    with pytest.raises(OptionError, match="multibox compress --resume-from"):
        train(resume.template, train_data, tmp_path, display=Lines(), resume=resume, device="cpu")
