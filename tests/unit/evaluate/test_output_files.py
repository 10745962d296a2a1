"""What an evaluation leaves behind: files and a table."""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import yaml
from rich.console import Console

from multibox.errors import OptionError
from multibox.evaluate import output_files
from multibox.evaluate.average_precision import ClassMetrics, Metrics, measure
from multibox.evaluate.output_files import (
    detections_to_coco,
    metrics_table,
    write_detections,
    write_metrics_json,
    write_metrics_yaml,
)
from multibox.structures import Detections
from tests.coco_case import A, B, dataset, detections, random_problem, record


def some_metrics(**changes: Any) -> Metrics:
    metrics = Metrics(
        ap=0.34549,
        ap50=0.5,
        ap75=0.25,
        ap_small=None,
        ap_medium=0.125,
        ap_large=0.5,
        recall=0.4,
        per_class={
            "cat": ClassMetrics(ap=0.34549, ap50=0.5, recall=0.4, num_objects=7),
            "dog [old]": ClassMetrics(ap=None, ap50=None, recall=None, num_objects=0),
        },
        num_images=5,
        num_objects=7,
    )
    return replace(metrics, **changes)


def test_metrics_yaml_is_the_originals_byte_for_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("outputs").mkdir()
    Path("outputs/epoch_15.pth").write_bytes(b"weights")
    Path("outputs/latest.pth").symlink_to("epoch_15.pth")
    write_metrics_yaml(
        "metrics.yaml",
        weights_path="outputs/latest.pth",
        metrics=some_metrics(),
        size_mp=1.84,
        complexity_gflops=0.82,
    )
    assert Path("metrics.yaml").read_bytes().decode() == (
        "files:\n"
        "- name: epoch_15.pth\n"
        f"  sha256: {hashlib.sha256(b'weights').hexdigest()}\n"
        "  size: 7\n"
        "  source: outputs/epoch_15.pth\n"
        "metrics:\n"
        "- display_name: Size\n"
        "  key: size\n"
        "  unit: Mp\n"
        "  value: 1.84\n"
        "- display_name: Complexity\n"
        "  key: complexity\n"
        "  unit: GFLOPs\n"
        "  value: 0.82\n"
        "- display_name: AP @ [IoU=0.50:0.95]\n"
        "  key: bbox\n"
        "  unit: '%'\n"
        "  value: 34.5\n"
    )


@pytest.mark.parametrize(
    ("ap", "line"),
    [
        (0.0, "value: 0.0"),
        (1.0, "value: 100.0"),
        (0.3456, "value: 34.6"),
        (0.289, "value: 28.9"),  # 100 * 0.289 is 28.899999999999995
        (None, "value: null"),
    ],
)
def test_ap_is_written_in_percent_with_one_decimal(tmp_path: Path, ap: float | None, line: str) -> None:
    write_some_yaml(tmp_path / "metrics.yaml", some_metrics(ap=ap))
    assert (tmp_path / "metrics.yaml").read_text().splitlines()[-1].strip() == line


def test_missing_ap_is_told_on_stderr(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_some_yaml(tmp_path / "metrics.yaml", some_metrics(ap=None))
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "AP is null, because the data has no object of the model's classes.\n" in printed.err


def test_other_keys_of_an_existing_file_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "metrics.yaml"
    path.write_text("note: mine\nfiles: [old]\nmetrics: [old]\n")
    write_some_yaml(path, some_metrics())
    content = yaml.safe_load(path.read_text())
    assert list(content) == ["files", "metrics", "note"]
    assert content["note"] == "mine"
    assert "old" not in path.read_text()


def test_empty_existing_file_is_filled(tmp_path: Path) -> None:
    (tmp_path / "metrics.yaml").touch()
    write_some_yaml(tmp_path / "metrics.yaml", some_metrics())
    assert len(yaml.safe_load((tmp_path / "metrics.yaml").read_text())["metrics"]) == 3


@pytest.mark.parametrize("content", [b"a: [", b"just text", b"- 1\n- 2\n", b"\xff\xfe"])
def test_broken_existing_file_is_refused_and_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "metrics.yaml"
    path.write_bytes(content)
    with pytest.raises(OptionError, match=r"metrics\.yaml: the existing file is not .* Move it away") as caught:
        write_some_yaml(path, some_metrics())
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == content


def test_missing_folders_are_made(tmp_path: Path) -> None:
    write_some_yaml(tmp_path / "a/b/metrics.yaml", some_metrics())
    assert (tmp_path / "a/b/metrics.yaml").is_file()


def test_unwritable_file_is_an_option_error(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    with pytest.raises(OptionError, match=r"metrics\.json: cannot write the file"):
        write_metrics_json(
            tmp_path / "a/metrics.json",
            weights_path=weights(tmp_path),
            metrics=some_metrics(),
            size_mp=1.0,
            complexity_gflops=1.0,
        )


def test_missing_weights_are_an_option_error(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"none\.pth: cannot read the weights"):
        write_metrics_yaml(
            tmp_path / "metrics.yaml",
            weights_path=tmp_path / "none.pth",
            metrics=some_metrics(),
            size_mp=1.0,
            complexity_gflops=1.0,
        )


def test_exported_model_is_reported_by_the_name_that_was_given(tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(b"12345")
    write_metrics_yaml(
        tmp_path / "metrics.yaml",
        weights_path=tmp_path / "model.bin",
        metrics=some_metrics(),
        size_mp=None,
        complexity_gflops=None,
    )
    content = yaml.safe_load((tmp_path / "metrics.yaml").read_text())
    assert (content["files"][0]["name"], content["files"][0]["size"]) == ("model.bin", 5)
    assert [metric["value"] for metric in content["metrics"]] == [None, None, 34.5]


def test_metrics_json_holds_all_numbers(tmp_path: Path) -> None:
    path = tmp_path / "metrics.json"
    write_metrics_json(
        path, weights_path=weights(tmp_path), metrics=some_metrics(), size_mp=1.84, complexity_gflops=0.82
    )
    content = json.loads(path.read_text())
    assert list(content) == ["files", "size_mp", "complexity_gflops", "metrics"]
    assert content["metrics"]["ap"] == 0.34549
    assert content["metrics"]["ap_small"] is None
    assert content["metrics"]["per_class"]["cat"] == {"ap": 0.34549, "ap50": 0.5, "recall": 0.4, "num_objects": 7}


def test_metrics_of_nothing_are_valid_json() -> None:
    metrics = measure([detections()], dataset(record()))
    assert json.loads(json.dumps(metrics.to_plain(), allow_nan=False))["ap"] is None


def test_detections_have_the_ids_of_the_data_set(tmp_path: Path) -> None:
    data = dataset(record(image_id=17), record(image_id="b"), classes=("cat", "dog"))
    found = [detections((A, 0.123456789, 1)), detections(((0.1234567, 0, 100, 200), 0.5, 0))]
    write_detections(tmp_path / "detections.json", found, data)
    assert json.loads((tmp_path / "detections.json").read_text()) == [
        {"image_id": 17, "category_id": 4, "bbox": [10, 10, 40, 40], "score": 0.123457},
        {"image_id": "b", "category_id": 3, "bbox": [0.123, 0, 99.877, 200], "score": 0.5},
    ]


def test_images_with_one_id_in_two_files_are_told_apart() -> None:
    data = dataset(record(image_id=1, source=0, name="a/0.jpg"), record(image_id=1, source=1, name="0.jpg"))
    output_files = detections_to_coco([detections((A, 0.5, 0)), detections((B, 0.5, 0))], data)
    assert [(entry["file_name"], entry["source"]) for entry in output_files] == [("a/0.jpg", 0), ("0.jpg", 1)]


def test_written_detections_measure_the_same(tmp_path: Path) -> None:
    data, found = random_problem(0)
    write_detections(tmp_path / "detections.json", found, data)
    entries = msgspec.json.decode((tmp_path / "detections.json").read_bytes())
    assert len(entries) == 60 * 120
    again = []
    for one in data.records:
        rows = [entry for entry in entries if entry["image_id"] == one.image_id]
        corners = np.array([entry["bbox"] for entry in rows])
        corners[:, 2:] += corners[:, :2]
        again.append(
            Detections(
                (corners / [one.width, one.height, one.width, one.height]).astype(np.float32),
                np.array([entry["score"] for entry in rows], dtype=np.float32),
                np.array([entry["category_id"] for entry in rows]),
            )
        )
    assert measure(again, data).ap == pytest.approx(measure(found, data).ap, abs=1e-3)


def test_table_shows_percent_and_a_dash_where_nothing_was_measured() -> None:
    console = Console(file=io.StringIO(), width=120)
    console.print(metrics_table(some_metrics()))
    lines = [line.replace("│", " ").split() for line in console.file.getvalue().splitlines()]  # type: ignore[attr-defined]
    assert ["all", "34.5", "50.0", "25.0", "-", "12.5", "50.0", "40.0", "7"] in lines
    assert ["cat", "34.5", "50.0", "40.0", "7"] in lines
    assert ["dog", "[old]", "-", "-", "-", "0"] in lines


def weights(folder: Path) -> Path:
    path = folder / "model.pth"
    path.write_bytes(b"weights")
    return path


def write_some_yaml(path: Path, metrics: Metrics) -> None:
    (path.parent.parent / "weights").mkdir(parents=True, exist_ok=True)
    weights_path = weights(path.parent.parent / "weights")
    output_files.write_metrics_yaml(
        path, weights_path=weights_path, metrics=metrics, size_mp=1.84, complexity_gflops=0.82
    )


def test_what_is_not_measured_is_said_and_written(tmp_path: Path) -> None:
    data = replace(dataset(record()), unchosen={"alien": 3, "Cat": 1}, areas_from_boxes=2)

    assert output_files.limits(data) == [
        "Not measured, because the model has no such class: alien (3) and Cat (1, meant cat?).",
        "2 objects annotated with an area of 0 or less: AP of small, medium and large objects takes the areas of their "
        "boxes.",
    ]
    path = tmp_path / "metrics.json"
    write_metrics_json(
        path, weights_path=weights(tmp_path), metrics=some_metrics(), size_mp=1.84, complexity_gflops=0.82, data=data
    )
    content = json.loads(path.read_text())
    assert content["not_measured"] == {"objects_of_other_classes": {"alien": 3, "Cat": 1}, "crowds": 0}
    assert content["areas_from_boxes"] == 2


def test_data_of_crowds_only_is_said_to_be_nothing_to_measure_on() -> None:
    plain, crowd = record((A, 0)), record((A, 0), crowd=[0])

    assert output_files.limits(dataset(crowd)) == [
        "Flagged as crowds (iscrowd), and so neither for nor against: 1 box; there is nothing else to measure on."
    ]
    assert output_files.limits(dataset(plain, crowd)) == [
        "Flagged as crowds (iscrowd), and so neither for nor against: 1 box."
    ]
    assert output_files.limits(dataset(plain)) == []
