"""Folders of model servers: OpenVINO Model Server and Triton each want theirs in a certain way, with a config."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

from multibox.errors import OptionError
from multibox.files import model_files, write_atomically
from multibox.overwriting import Output, is_onnx, is_openvino_xml, is_ovms_config, is_triton_config
from multibox.runtime.contract import ExportInfo

NAME = "detector"
"""What the servers call the model."""

VERSION = "1"
"""The folder of the model's version, as both servers want it: a number."""

MAX_BATCH = 8
"""Number of images that Triton puts together for a file that takes any number."""

OVMS, TRITON = "openvino_model_server", "triton"


def outputs_for_servers(folder: Path) -> list[Output]:
    """The files that `write_serving_folders` may write."""
    ovms, triton = folder / OVMS, folder / TRITON / NAME
    model = ovms / NAME / VERSION / "model.xml"
    kinds = {
        ovms / "config.json": is_ovms_config,
        model: is_openvino_xml,
        model.with_suffix(".bin"): lambda _: model.is_file() and is_openvino_xml(model),
        triton / "config.pbtxt": is_triton_config,
        triton / VERSION / "model.onnx": is_onnx,
    }
    return [Output("--serve", path, is_ours) for path, is_ours in kinds.items()]


def write_serving_folders(folder: Path, exported: Mapping[Path, ExportInfo]) -> list[Path]:
    """Write a folder for each server that can run what was exported; the value is these folders.

    OpenVINO Model Server gets `model.xml`, Triton `model.onnx`, of those files in `exported` that output boxes and
    labels.

    Raises:
        OptionError: the folder cannot be written to.
    """
    usable = {path.suffix: path for path, info in exported.items() if info.form == "boxes_labels"}
    written = []
    try:
        if ".xml" in usable:
            path = usable[".xml"]
            written.append(_write(folder / OVMS, path, {"config.json": ovms_config(exported[path])}))
        if ".onnx" in usable:
            path, info = usable[".onnx"], exported[usable[".onnx"]]
            written.append(_write(folder / TRITON, path, {f"{NAME}/config.pbtxt": triton_config(info)}))
    except OSError as error:
        raise OptionError(f"{folder}: cannot write the folders: {error.strerror}.") from error
    return written


def ovms_config(info: ExportInfo) -> str:
    """The configuration of OpenVINO Model Server, whose container has the folder as /models.

    With this layout, the server itself decodes a JPEG or PNG, and resizes it. What it decodes is BGR: a file that takes
    RGB gets no layout, and its clients send arrays.

    Source: OpenVINO Model Server's documentation, "Model Server Parameters".
    """
    config = {"name": NAME, "base_path": f"/models/{NAME}", "plugin_config": {"PERFORMANCE_HINT": "LATENCY"}}
    if info.channel_order == "BGR":
        config["layout"] = "NHWC:NCHW"
    return json.dumps({"model_config_list": [{"config": config}]}, indent=2) + "\n"


def triton_config(info: ExportInfo) -> str:
    """The configuration of Triton, a text of the protobuf message ModelConfig.

    Of a file with a fixed number of images per call, the first axis is an axis as others are; of one that takes any
    number, Triton knows it as the batch, and puts requests together.

    Source: Triton Inference Server's documentation, "Model Configuration".
    """
    side, batch = info.input_size, [info.batch] if info.batch else []
    return "\n".join(
        [
            "# Written by multibox. The numbers in `labels`, -1 where there is no further box:",
            *(f"# {label} {json.dumps(name)}" for label, name in enumerate(info.classes)),
            f'name: "{NAME}"',
            'backend: "onnxruntime"',
            f"max_batch_size: {0 if info.batch else MAX_BATCH}",
            _tensor("input", "image", "TYPE_FP32", [*batch, 3, side, side]),
            _tensor("output", "boxes", "TYPE_FP32", [*batch, info.max_detections, 5]),
            _tensor("output", "labels", "TYPE_INT64", [*batch, info.max_detections]),
            *([] if info.batch else ["dynamic_batching { }"]),
            "",
        ]
    )


def _tensor(kind: str, name: str, data_type: str, dims: list[int]) -> str:
    return f'{kind} [ {{ name: "{name}" data_type: {data_type} dims: {dims} }} ]'


def _write(folder: Path, model: Path, texts: Mapping[str, str]) -> Path:
    """Copy the files of a model to the place of its version, and write texts beside it."""
    place = folder / NAME / VERSION
    place.mkdir(parents=True, exist_ok=True)
    for part in model_files(model):
        shutil.copyfile(part, place / f"model{part.suffix}")
    for name, text in texts.items():
        write_atomically(folder / name, text)
    return folder
