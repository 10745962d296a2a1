"""Going through the graph of an exported detector against the flow of data: what the walks of both families share.

Tensors are found by where they stand between `DetectionOutput` and the image, not by names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from multibox.errors import CheckpointError
from multibox.weights.graph_reader import GraphReader, compile_outputs, key_of

if TYPE_CHECKING:
    from torch import Tensor, nn

# Nodes that leave the values of a trained network as they are: quantisation only rounds what comes from its training.
ROUNDING = ("FakeQuantize", "Convert")
RESHAPING = (*ROUNDING, "Reshape", "Squeeze", "Unsqueeze")


class GraphWalk(GraphReader):
    """Goes through a graph, checks each node against our network, and collects the weights."""

    def expect(self, output: Any, *kinds: str, skip: tuple[str, ...] = ROUNDING) -> Any:
        """The node that an output comes from, behind nodes of the kinds to `skip`."""
        node = behind(output, skip).get_node()
        self.check(node.get_type_name() in kinds, " or ".join(kinds), name_of_node(node))
        return node

    def detection_output(self) -> tuple[Any, dict[str, Any]]:
        """The only node of this kind, which decodes as ours do, and its attributes."""
        nodes = [node for node in self.graph.get_ordered_ops() if node.get_type_name() == "DetectionOutput"]
        if not nodes and self.graph.has_rt_info(["multibox", "classes"]):
            raise CheckpointError(
                f"{self.source}: a training cannot start from this exported file. Take the .xml in alt_ssd_export, "
                "which `multibox export` writes beside it, or the .pth."
            )
        self.check(len(nodes) == 1, "one DetectionOutput", f"{len(nodes)}")
        attributes = nodes[0].get_attributes()
        for key, value in {
            "share_location": True,
            "variance_encoded_in_target": False,
            "code_type": "caffe.PriorBoxParameter.CENTER_SIZE",
            "normalized": True,
        }.items():
            self.check(attributes[key] == value, f"a DetectionOutput with {key} {value}", str(attributes[key]))
        return nodes[0], attributes

    def classes(self, count: int) -> tuple[str, ...] | None:
        """The names of the classes, of which there are `count`, if the file is one of ours."""
        key = ["multibox", "classes"]
        if not self.graph.has_rt_info(key):
            return None
        try:
            names = msgspec.json.decode(str(self.graph.get_rt_info(key).value), type=tuple[str, ...])
        except (msgspec.DecodeError, RecursionError):
            names = ()
        self.check(len(names) == len(set(names)) == count and all(names), f"names of {count} classes", f"{len(names)}")
        return names

    def levels(self, output: Any) -> list[Any]:
        """What each level of one kind of prediction comes from, channels not yet moved to the end."""
        flattened = self.expect(output, "Concat", skip=RESHAPING).input_values()
        transposes = [self.expect(level, "Transpose", skip=RESHAPING) for level in flattened]
        for transpose in transposes:
            order = self.constants.get(key_of(transpose.input_value(1)))
            self.check(order is not None and order.tolist() == [0, 2, 3, 1], "NHWC predictions", f"axes {order}")
        return [transpose.input_value(0) for transpose in transposes]

    def convolution(
        self, name: str, ours: nn.Conv2d, output: Any
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], Any]:
        """Weight and shift of a convolution with all scales and shifts behind it, and what it reads."""
        scale, shift, output = self.scale_and_shift(output, ours.out_channels)
        node = self.expect(output, "GroupConvolution" if ours.groups > 1 else "Convolution")
        weight = self.constants.get(key_of(node.input_value(1)))
        self.check(weight is not None, f"constant weights in {name_of_node(node)}", "computed ones")
        assert weight is not None
        shape = tuple(ours.weight.shape)
        is_like_ours = weight.size == np.prod(shape) and weight.shape[-3:] == shape[-3:]
        self.check(is_like_ours, f"weights {list(shape)} for {name}", f"{list(weight.shape)} in {name_of_node(node)}")
        attributes = node.get_attributes()
        for key, value in {
            "strides": ours.stride,
            "pads_begin": ours.padding,
            "pads_end": ours.padding,
            "dilations": ours.dilation,
        }.items():
            self.check(tuple(attributes[key]) == value, f"{key} {list(value)} for {name}", f"{list(attributes[key])}")
        folded = weight.astype(np.float64).reshape(shape) * scale.reshape(-1, 1, 1, 1)
        return folded, shift, node.input_value(0)

    def scale_and_shift(self, output: Any, channels: int) -> tuple[NDArray[np.float64], NDArray[np.float64], Any]:
        """What constants do to the channels on the way from a convolution to `output`: x * scale + shift."""
        scale, shift = np.ones(channels), np.zeros(channels)
        while True:
            output = behind(output, ROUNDING)
            step = self.constant_step(output.get_node(), channels)
            if step is None:
                return scale, shift, output
            factor, summand, output = step
            shift = shift + scale * summand
            scale = scale * factor

    def leads_to(self, output: Any, goal: Any, *, num_convolutions: int) -> bool:
        """Whether, going back, the data that a convolution reads is `goal`, that many convolutions before `output`."""
        while num_convolutions:
            node = output.get_node()
            data = [value for value in node.input_values() if key_of(value) not in self.constants]
            if len(data) != 1:
                return False
            output = data[0]
            num_convolutions -= node.get_type_name() in ("Convolution", "GroupConvolution")
        return key_of(behind(output, ROUNDING)) == key_of(behind(goal, ROUNDING))

    def input_layer(self, output: Any, *, first: str) -> int:
        """Make the convolution `first` read RGB in 0..1 instead of the file's image; the side of that image."""
        output = behind(output, ("FakeQuantize",))
        parameters = self.graph.get_parameters()
        self.check(len(parameters) == 1, "one input", f"{len(parameters)}")
        shape = parameters[0].get_partial_shape()
        is_square = len(shape) == 4 and all(shape[axis].is_static for axis in (1, 2, 3)) and shape[2] == shape[3]
        self.check(is_square and shape[1].get_length() == 3, "an input [1,3,S,S]", str(shape))
        side = int(shape[3].get_length())
        matrix = self.colour_matrix(output, parameters[0], side)
        # The file's image is raw, 255 times ours, and BGR if it does not say otherwise: channels in opposite order.
        name, order = f"{first}.weight", ["multibox", "channel_order"]
        is_rgb = self.graph.has_rt_info(order) and self.graph.get_rt_info(order).value == "RGB"
        weight = np.einsum("oihw,ij->ojhw", self.arrays[name], matrix * 255)
        self.arrays[name] = weight if is_rgb else weight[:, ::-1]
        return side

    def colour_matrix(self, output: Any, parameter: Any, side: int) -> NDArray[np.float64]:
        """The matrix (3, 3) by which the graph changes the colour of each pixel before the first convolution.

        It is measured, not read: however scales and swapped channels are written, each is a matrix.
        """
        run = compile_outputs([output], [parameter])
        dtype = parameter.get_element_type().to_dtype()
        colours = np.zeros((4, 3, side, side))
        colours[[1, 2, 3], [0, 1, 2]] = 255
        black, *primaries = [run(colour[None].astype(dtype))[0][0] for colour in colours]
        is_image = black.shape == (3, side, side)
        self.check(is_image, "the image to keep its shape before the first convolution", f"{black.shape}")
        matrix = np.stack([primary[:, 0, 0].astype(np.float64) for primary in primaries], axis=1) / 255
        image = np.random.default_rng(0).integers(0, 256, (3, side, side))
        expected = np.einsum("ij,jhw->ihw", matrix, image)
        # A constant added to colours cannot move into the convolution: its padding would have to be that constant.
        is_linear = np.allclose(
            run(image[None].astype(dtype))[0][0], expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max()
        )
        self.check(
            is_linear and not black.any(), "only scaled or swapped channels before the first convolution", "more"
        )
        return matrix

    def complete(self, model: nn.Module) -> dict[str, Tensor]:
        """All entries of our network's state dict, in its order; what no export holds is as in a fresh one."""
        import torch

        fresh = model.state_dict()
        for name, array in self.arrays.items():
            assert tuple(fresh[name].shape) == array.shape, name
            fresh[name] = torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))
        return dict(fresh)


def behind(output: Any, kinds: tuple[str, ...]) -> Any:
    """The output itself, or the first one before it that is not made by a node of these kinds."""
    while output.get_node().get_type_name() in kinds:
        output = output.get_node().input_value(0)
    return output


def name_of_node(node: Any) -> str:
    """What a node does, and its name, for messages."""
    return f"{node.get_type_name()} ({node.get_friendly_name()})"
