"""PyTorch modules run by OpenVINO on the processor, several times as fast, with the weights of the moment."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from multibox.model.detector import Detector
from multibox.model.folding import fold
from multibox.openvino_graph import core, graph_of
from multibox.structures import RawOutput


def compile_module(module: nn.Module, *, input_size: int, precision: torch.dtype, takes_bytes: bool = False) -> Any:
    """The `openvino.CompiledModel` of a module that takes images (B, 3, S, S), in evaluation mode.

    With `takes_bytes`, the compiled one takes (B, S, S, 3) in 0..255 instead, where the module's images are in 0..1.
    """
    import openvino
    from openvino.preprocess import PrePostProcessor

    with warnings.catch_warnings():
        # What the two libraries find deprecated in each other is nothing that a user could mend.
        warnings.simplefilter("ignore")
        # Traced, in a third of the time that `torch.export` takes: a training begins with it.
        example = torch.zeros(2, 3, input_size, input_size)
        converted = graph_of(module.eval(), example_input=example, input=[-1, 3, input_size, input_size])
    if takes_bytes:
        steps = PrePostProcessor(converted)
        steps.input().tensor().set_element_type(openvino.Type.u8).set_layout(openvino.Layout("NHWC"))
        steps.input().preprocess().convert_element_type(openvino.Type.f32).scale(255.0)
        steps.input().model().set_layout(openvino.Layout("NCHW"))
        converted = steps.build()
    # Each batch is waited for, and PyTorch computes on all processors before and after.
    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "bf16" if precision == torch.bfloat16 else "f32",
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
    }
    return core().compile_model(converted, "CPU", settings)


def compile_network(model: Detector, *, input_size: int) -> Callable[[Tensor], RawOutput]:
    """A function from images (B, 3, S, S), RGB in 0..1, to what `model` makes of them now, in float32."""
    request = compile_module(
        _Outputs(fold(model)), input_size=input_size, precision=torch.float32
    ).create_infer_request()

    def run(images: Tensor) -> RawOutput:
        output = request.infer([images.numpy()], share_inputs=True)
        return RawOutput(torch.from_numpy(output[0].copy()), torch.from_numpy(output[1].copy()))

    return run


class _Outputs(nn.Module):
    """A detector whose outputs are a plain pair, which tracing understands."""

    def __init__(self, model: Detector) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, S, S) to deltas (B, A, 4) and logits (B, A, K + 1)."""
        deltas, logits = self.model(images)
        return deltas, logits
