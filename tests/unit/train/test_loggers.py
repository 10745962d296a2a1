"""What loggers get of a run, read back by the tools they are for."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from multibox.errors import OptionError
from multibox.evaluate.average_precision import measure
from multibox.evaluate.run import Evaluation
from multibox.train.loggers import MlflowLogger, TensorBoardLogger, as_params, glance_at
from multibox.train.run_log import RunLog
from tests.report_case import SIDE, dataset, found, record

BOX, OTHER = [10, 10, 60, 60], [100, 100, 160, 160]


@pytest.fixture
def validation(tmp_path):
    """Two objects of which one is found with 0.9, and a wrong box with 0.5; the second image is gone."""
    path = tmp_path / "a photo.png"
    cv2.imwrite(str(path), np.full((SIDE, SIDE, 3), 90, np.uint8))
    data = dataset(record([BOX, OTHER], path=path), record([], path=tmp_path / "gone.png"))
    detections = (found([BOX, [150, 10, 190, 50]], [0.9, 0.5]), found([], []))
    return Evaluation(measure(detections, data), detections), data


def test_a_glance_has_the_images_that_can_be_read_and_the_curves(validation):
    glance = glance_at(*validation)
    ((name, image),) = glance.images
    assert name == "a photo.png" and image.shape == (SIDE, SIDE, 3)
    assert (image != 90).any()  # something is drawn
    # At 0.02, both boxes are shown, and one of two objects is hit; at 0.60, only the hit is shown.
    assert (glance.counts.precision[0, 0], glance.counts.recall[0, 0]) == (0.5, 0.5)
    assert (glance.counts.precision[0, 58], glance.counts.recall[0, 58]) == (1.0, 0.5)


def test_tensorboard_gets_images_and_curves(validation, tmp_path):
    log = RunLog(tmp_path, [TensorBoardLogger(tmp_path / "board", first_epoch=1)], first_epoch=1)
    log.show(3, *validation)
    log.close()

    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.util.tensor_util import make_ndarray

    events = EventAccumulator(str(tmp_path / "board"), size_guidance={"images": 0, "tensors": 0})
    events.Reload()
    (image,) = events.Images("validation/a photo.png")
    assert (image.step, image.width, image.height) == (3, SIDE, SIDE)
    assert events.Tags()["tensors"] == ["precision_recall/a"]
    # Rows: true and false positives, true and false negatives, precision, recall; of 98 thresholds, the first is 0.02.
    (curve,) = events.Tensors("precision_recall/a")
    values = make_ndarray(curve.tensor_proto)
    assert values.shape == (6, 98)
    assert values[:, 0].tolist() == [1, 1, 0, 1, 0.5, 0.5]


def test_settings_are_flat():
    assert as_params({"a": {"b": 1, "c": {"d": None}}, "e": (1, 2)}) == {"a.b": "1", "a.c.d": "None", "e": "(1, 2)"}


@pytest.fixture
def mlflow_client(tmp_path, monkeypatch):
    """The client of MLflow, as somebody would look at what was logged into a folder of this test."""
    pytest.importorskip("mlflow", reason="mlflow-skinny is not installed (extra mlflow)")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME", raising=False)
    monkeypatch.chdir(tmp_path)
    from mlflow.tracking import MlflowClient

    return MlflowClient(tracking_uri=(tmp_path / "mlruns").as_uri())


def logger_of(run, said):
    return MlflowLogger(run=run, name="my run", say=said.append)


@pytest.mark.filterwarnings("ignore")
def test_mlflow_has_settings_metrics_and_files(mlflow_client, validation, tmp_path):
    output, said = tmp_path / "out", []
    output.mkdir()
    (output / "best.pth").write_bytes(b"weights")
    logger = logger_of("run-1", said)
    logger.begin({f"setting {n}": str(n) for n in range(120)} | {"long": "x" * 9000})
    log = RunLog(output, [logger], first_epoch=1)
    log.write(1, {"loss": 2.5, "ap": None})
    log.write(2, {"loss": 1.5, "ap": 0.25})
    log.show(2, *validation)
    log.close()

    (run,) = mlflow_client.search_runs([mlflow_client.get_experiment_by_name("multibox").experiment_id])
    run_id = run.info.run_id
    assert (run.info.run_name, run.info.status) == ("my run", "FINISHED")
    assert len(run.data.params) == 121 and run.data.params["setting 119"] == "119"
    assert [(m.step, m.value) for m in mlflow_client.get_metric_history(run_id, "loss")] == [(1, 2.5), (2, 1.5)]
    assert [(m.step, m.value) for m in mlflow_client.get_metric_history(run_id, "ap")] == [(2, 0.25)]
    names = {item.path for item in mlflow_client.list_artifacts(run_id)}
    assert names == {"best.pth", "metrics.jsonl", "precision_recall.csv", "validation"}
    assert [item.path for item in mlflow_client.list_artifacts(run_id, "validation/00002")] == [
        "validation/00002/0.jpg"
    ]
    assert said == []


@pytest.mark.filterwarnings("ignore")
def test_a_resumed_run_goes_on_in_mlflow_too(mlflow_client):
    for run, loss in (("run-1", 3.0), ("run-2", 2.0), ("run-1", 1.0)):
        logger = logger_of(run, [])
        logger.begin({"seed": "0" if loss > 1 else "another"})
        logger.write(1, {"loss": loss})
        logger.end([])
    runs = mlflow_client.search_runs([mlflow_client.get_experiment_by_name("multibox").experiment_id])
    histories = {
        one.data.tags["multibox.run"]: [m.value for m in mlflow_client.get_metric_history(one.info.run_id, "loss")]
        for one in runs
    }
    assert histories == {"run-1": [3.0, 1.0], "run-2": [2.0]}
    assert {one.data.params["seed"] for one in runs} == {"0"}


@pytest.mark.filterwarnings("ignore")
def test_a_store_that_cannot_be_written_to_stops_before_the_training_and_not_in_it(mlflow_client, tmp_path):
    said = []
    logger = logger_of("run-1", said)
    logger.end([tmp_path / "gone.pth"])
    logger.end([tmp_path / "gone.pth"])
    assert len(said) == 1 and said[0].startswith("MLflow misses a part of this run: ")
    (tmp_path / "mlruns").rename(tmp_path / "moved")
    (tmp_path / "mlruns").write_text("a file")
    with pytest.raises(OptionError, match="mlruns: cannot make this folder"):
        logger_of("run-2", [])
