"""PyTorch modules run by OpenVINO on the processor, several times as fast, with the weights of the moment."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from multibox.model.detector import Detector
from multibox.model.folding import fold
from multibox.model.openvino_layers import build_layers
from multibox.openvino_graph import core
from multibox.structures import RawOutput


def compile_module(folded: nn.Module, *, input_size: int, precision: torch.dtype, takes_bytes: bool = False) -> Any:
    """The `openvino.CompiledModel` of a folded network, or of its first stages, for images (B, 3, S, S).

    With `takes_bytes`, the compiled one takes (B, S, S, 3) in 0..255 instead, where the module's images are in 0..1.
    """
    import openvino
    from openvino import opset13 as ops

    side = input_size
    if takes_bytes:
        image = ops.parameter([-1, side, side, 3], np.uint8)
        planar = ops.transpose(image, np.array([0, 3, 1, 2], dtype=np.int64))
        network_input = ops.divide(ops.convert(planar, "f32"), np.float32(255))
    else:
        image = network_input = ops.parameter([-1, 3, side, side], np.float32)
    built = build_layers(folded, network_input)
    model = openvino.Model(list(built) if isinstance(built, RawOutput) else [built], [image], "stages")
    # Each batch is waited for, and PyTorch computes on all processors before and after.
    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "bf16" if precision == torch.bfloat16 else "f32",
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
    }
    return core().compile_model(model, "CPU", settings)


def compile_network(model: Detector, *, input_size: int) -> Callable[[Tensor], RawOutput]:
    """A function from images (B, 3, S, S), RGB in 0..1, to what `model` makes of them now, in float32."""
    request = compile_module(fold(model), input_size=input_size, precision=torch.float32).create_infer_request()

    def run(images: Tensor) -> RawOutput:
        output = request.infer([images.numpy()], share_inputs=True)
        return RawOutput(torch.from_numpy(output[0].copy()), torch.from_numpy(output[1].copy()))

    return run
