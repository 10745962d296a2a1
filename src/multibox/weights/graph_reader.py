"""Reading weights out of an OpenVINO graph: its constants, and what they do to the channels of a convolution."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from multibox.errors import CheckpointError
from multibox.openvino_graph import core

if TYPE_CHECKING:
    from torch import nn


class GraphReader:
    """A graph whose weights are read: its constants, a check that names what is wrong, and the arrays found so far.

    `what` is what the graph has to be, in words.
    """

    what: ClassVar[str] = "a MobileNetV2"

    def __init__(self, graph: Any, *, source: str) -> None:
        self.graph = graph
        self.source = source
        self.constants = constants_of(graph)
        self.arrays: dict[str, NDArray[np.float64]] = {}

    def check(self, is_so: bool, expected: str, found: str) -> None:
        """Refuse a graph that is not as expected.

        Raises:
            CheckpointError: `is_so` is false.
        """
        if not is_so:
            raise CheckpointError(
                f"{self.source}: not {self.what} as multibox exports them: expected {expected}, "
                f"found {found}. Weights come from a .pth file, or from an IR with a DetectionOutput."
            )

    def shift(self, name: str, norm: nn.BatchNorm2d, shift: NDArray[np.float64]) -> None:
        """A batch normalisation that only adds: mean 0, and a variance that is 1 with epsilon added."""
        self.arrays[f"{name}.weight"] = np.ones_like(shift)
        self.arrays[f"{name}.bias"] = shift
        self.arrays[f"{name}.running_mean"] = np.zeros_like(shift)
        self.arrays[f"{name}.running_var"] = np.ones_like(shift) - norm.eps

    def constant_step(self, node: Any, channels: int) -> tuple[Any, Any, Any] | None:
        """Factor, summand and input of a node that scales or shifts channels by constants; None for any other."""
        inputs = node.input_values()
        values = [self.constants.get(key_of(value)) for value in inputs]
        data = [value for value, constant in zip(inputs, values, strict=True) if constant is None]
        constants = [value for value in values if value is not None]
        kind, is_in_order = node.get_type_name(), bool(values) and values[0] is None
        per_channel = ((channels,),) if kind == "BatchNormInference" else ((1, channels, 1, 1), (channels, 1, 1))
        if len(data) != 1 or not all(value.size == 1 or value.shape in per_channel for value in constants):
            return None
        numbers = [value.astype(np.float64).reshape(-1) for value in constants]
        if kind == "BatchNormInference":
            gamma, beta, mean, variance = numbers
            factor = gamma / np.sqrt(variance + node.get_attributes()["epsilon"])
            return factor, beta - factor * mean, data[0]
        if kind == "Add" or (kind == "Subtract" and is_in_order):
            return 1.0, numbers[0] if kind == "Add" else -numbers[0], data[0]
        if kind == "Multiply" or (kind == "Divide" and is_in_order):
            return numbers[0] if kind == "Multiply" else 1 / numbers[0], 0.0, data[0]
        return None


def constants_of(graph: Any) -> dict[tuple[str, int], NDArray[Any]]:
    """The value of every output that does not depend on the image but is read by a node that does."""
    dynamic: set[str] = set()
    outputs: dict[tuple[str, int], Any] = {}
    for node in graph.get_ordered_ops():
        inputs = node.input_values()
        depends = [value.get_node().get_name() in dynamic for value in inputs]
        if node.get_type_name() == "Parameter" or any(depends):
            dynamic.add(node.get_name())
            outputs |= {
                key_of(value): value for value, is_dynamic in zip(inputs, depends, strict=True) if not is_dynamic
            }
    values = compile_outputs(list(outputs.values()), [])() if outputs else []
    return dict(zip(outputs, values, strict=True))


def compile_outputs(outputs: list[Any], parameters: list[Any]) -> Callable[..., list[NDArray[Any]]]:
    """A function that computes these outputs of a graph from the values of its parameters, in float32."""
    import openvino

    exact = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = core().compile_model(openvino.Model(outputs, parameters), "CPU", exact)

    def run(*values: NDArray[Any]) -> list[NDArray[Any]]:
        results = compiled(list(values))
        return [np.array(results[index]) for index in range(len(outputs))]

    return run


def key_of(output: Any) -> tuple[str, int]:
    """What tells an output of a graph's node from all others."""
    return output.get_node().get_name(), output.get_index()
