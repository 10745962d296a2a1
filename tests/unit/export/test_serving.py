"""What model servers find in their folders, read back by the rules of their own formats."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from multibox.export.serving import (
    NAME,
    OVMS,
    TRITON,
    outputs_for_servers,
    ovms_config,
    triton_config,
    write_serving_folders,
)
from multibox.runtime.contract import ExportInfo, Origin

INFO = ExportInfo(
    form="boxes_labels",
    classes=("red, tiny triangle", "square"),
    input_size=96,
    channel_order="RGB",
    input_maximum=1,
    batch=1,
    precision="FP32",
    suggested_threshold=0.3,
    min_score=0.02,
    iou_threshold=0.45,
    max_per_class=200,
    max_detections=150,
    anchors_px=(((10.0, 10.0),),),
    strides=(16,),
    box_variances=(0.1, 0.2),
    origin=Origin(checkpoint="latest.pth", sha256="0"),
    versions={},
    template={},
)
FP32, INT64 = 11, 9  # in Triton's enumeration DataType


def model_config() -> Any:
    """The class of Triton's message ModelConfig: of its client where that is installed, else made here.

    The latter has those fields that matter. Source: model_config.proto of Triton's repository `common`. Numbers of
    fields do not matter to its text format.
    """
    with contextlib.suppress(ImportError, RuntimeError):  # the client without its extra `grpc` raises the second
        from tritonclient.grpc import model_config_pb2

        return model_config_pb2.ModelConfig
    pytest.importorskip("google.protobuf")
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="triton.proto", package="inference", syntax="proto3")
    data_type = file.enum_type.add(name="DataType")
    for name, number in (("TYPE_INVALID", 0), ("TYPE_INT64", INT64), ("TYPE_FP32", FP32)):
        data_type.value.add(name=name, number=number)
    tensors = ("ModelInput", "ModelOutput")
    for name in tensors:
        message = file.message_type.add(name=name)
        message.field.add(name="name", number=1, type=field.TYPE_STRING, label=field.LABEL_OPTIONAL)
        enum = {"type": field.TYPE_ENUM, "type_name": ".inference.DataType", "label": field.LABEL_OPTIONAL}
        message.field.add(name="data_type", number=2, **enum)
        message.field.add(name="dims", number=3, type=field.TYPE_INT64, label=field.LABEL_REPEATED)
    file.message_type.add(name="ModelDynamicBatching")
    config = file.message_type.add(name="ModelConfig")
    config.field.add(name="name", number=1, type=field.TYPE_STRING, label=field.LABEL_OPTIONAL)
    config.field.add(name="backend", number=2, type=field.TYPE_STRING, label=field.LABEL_OPTIONAL)
    config.field.add(name="max_batch_size", number=3, type=field.TYPE_INT32, label=field.LABEL_OPTIONAL)
    parts = (("input", "ModelInput", field.LABEL_REPEATED), ("output", "ModelOutput", field.LABEL_REPEATED))
    parts += (("dynamic_batching", "ModelDynamicBatching", field.LABEL_OPTIONAL),)
    for number, (name, kind, label) in enumerate(parts, start=4):
        config.field.add(name=name, number=number, type=field.TYPE_MESSAGE, type_name=f".inference.{kind}", label=label)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("inference.ModelConfig"))


def parsed(text: str) -> Any:
    message = model_config()
    from google.protobuf import text_format

    return text_format.Parse(text, message())


def tensors(values: Any) -> list[tuple[str, int, list[int]]]:
    return [(value.name, value.data_type, list(value.dims)) for value in values]


def test_triton_knows_the_inputs_and_outputs_of_a_file_with_a_fixed_batch():
    config = parsed(triton_config(INFO))
    assert (config.name, config.backend, config.max_batch_size) == (NAME, "onnxruntime", 0)
    assert tensors(config.input) == [("image", FP32, [1, 3, 96, 96])]
    assert tensors(config.output) == [("boxes", FP32, [1, 150, 5]), ("labels", INT64, [1, 150])]
    assert not config.HasField("dynamic_batching")


def test_triton_puts_requests_together_for_a_file_that_takes_any_number():
    config = parsed(triton_config(msgspec.structs.replace(INFO, batch=0)))
    assert config.max_batch_size == 8
    assert tensors(config.input) == [("image", FP32, [3, 96, 96])]
    assert tensors(config.output) == [("boxes", FP32, [150, 5]), ("labels", INT64, [150])]
    assert config.HasField("dynamic_batching")


@pytest.mark.parametrize(("order", "layout"), [("BGR", "NHWC:NCHW"), ("RGB", None)])
def test_the_model_server_decodes_images_only_for_a_file_that_takes_them_as_it_does(order, layout):
    config = json.loads(ovms_config(msgspec.structs.replace(INFO, channel_order=order, input_maximum=255)))
    (entry,) = config["model_config_list"]
    assert entry["config"]["base_path"] == f"/models/{NAME}"
    assert entry["config"].get("layout") == layout


def test_each_server_finds_its_files_and_is_given_nothing_else(tmp_path: Path):
    contents = {}
    for name in ("model.xml", "model.bin", "model.onnx", "raw/model.onnx"):
        path = tmp_path / "export" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(np.random.default_rng(len(contents)).bytes(9))
        contents[name] = path.read_bytes()
    raw = msgspec.structs.replace(INFO, form="raw")
    exported = {tmp_path / "export" / name: raw if "raw" in name else INFO for name in contents if name != "model.bin"}

    folders = write_serving_folders(tmp_path / "serve", exported)

    assert folders == [tmp_path / "serve" / OVMS, tmp_path / "serve" / TRITON]
    written = {path.relative_to(tmp_path / "serve").as_posix(): path for path in (tmp_path / "serve").rglob("*.*")}
    assert set(written) == {
        *(f"{OVMS}/config.json", f"{OVMS}/{NAME}/1/model.xml", f"{OVMS}/{NAME}/1/model.bin"),
        *(f"{TRITON}/{NAME}/config.pbtxt", f"{TRITON}/{NAME}/1/model.onnx"),
    }
    for path in written.values():
        if path.name in contents:
            assert path.read_bytes() == contents[path.name]
    assert {output.path for output in outputs_for_servers(tmp_path / "serve")} == set(written.values())


def test_triton_is_told_nothing_by_a_name_of_a_class():
    config = triton_config(msgspec.structs.replace(INFO, classes=('a\nname: "evil"',)))
    assert parsed(config).name == NAME
