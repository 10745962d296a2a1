"""A depthwise convolution computes what PyTorch's does, forwards and backwards."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from multibox.model.depthwise import DepthwiseConv2d


def gradients(convolution: nn.Conv2d, weight: torch.Tensor, x: torch.Tensor, upstream: torch.Tensor):
    with torch.no_grad():
        convolution.weight.copy_(weight)
    x = x.clone().requires_grad_()
    y = convolution.to(x.dtype)(x)
    y.backward(upstream)
    return y.detach(), x.grad, convolution.weight.grad


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
# Odd sides: the last output of stride 2 has no right neighbour to leave out.
@pytest.mark.parametrize("sides", [(8, 8), (7, 9), (1, 1)])
def test_outputs_and_gradients_are_those_of_an_ordinary_convolution(stride, dtype, sides):
    # Small whole numbers: sums of them are exact in bfloat16 too, in whatever order they are added.
    weight = torch.randint(-2, 3, (6, 1, 3, 3)).float()
    x = torch.randint(-2, 3, (2, 6, *sides)).to(dtype).to(memory_format=torch.channels_last)
    ordinary = nn.Conv2d(6, 6, 3, stride, padding=1, groups=6, bias=False)
    ours = DepthwiseConv2d(6, stride=stride)
    upstream = torch.randint(-1, 2, ordinary(x.float()).shape).float()
    # The ordinary one always in float32: in bfloat16, with stride 2 and a side of 1, PyTorch 2.13 leaves places of the
    # weight's gradient unwritten.
    expected = gradients(ordinary, weight, x.float(), upstream)
    for wanted, found in zip(expected, gradients(ours, weight, x, upstream.to(dtype)), strict=True):
        assert found.dtype == dtype
        assert torch.equal(found.float(), wanted)


def test_gradient_of_one_number_by_hand():
    # One channel, input 2 x 2, stride 2: the only output is w11 * a + w12 * b + w21 * c + w22 * d, its gradients are
    # the pixels for those weights, and the weights for the pixels.
    #      a b        w11 w12        (w is the 3 x 3 kernel, w11 its centre)
    #      c d        w21 w22
    convolution = DepthwiseConv2d(1, stride=2).bfloat16()
    with torch.no_grad():
        convolution.weight.copy_(torch.arange(1.0, 10).view(1, 1, 3, 3))
    x = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]], dtype=torch.bfloat16, requires_grad=True)
    y = convolution(x)
    assert y.item() == 5 * 1 + 6 * 2 + 8 * 3 + 9 * 4
    y.sum().backward()
    assert x.grad.flatten().tolist() == [5, 6, 8, 9]
    assert convolution.weight.grad.flatten().tolist() == [0, 0, 0, 0, 1, 2, 0, 3, 4]


def test_weights_in_full_precision_get_gradients_in_full_precision_under_autocast():
    convolution = DepthwiseConv2d(4, stride=2)
    with torch.autocast("cpu", torch.bfloat16):
        y = convolution(torch.rand(1, 4, 6, 6).bfloat16())
    y.float().sum().backward()
    assert y.dtype == torch.bfloat16
    assert convolution.weight.grad.dtype == torch.float32


def test_in_evaluation_it_is_a_convolution_for_whoever_traces_it():
    program = torch.export.export(DepthwiseConv2d(4, stride=2).eval(), (torch.rand(1, 4, 6, 6),))
    assert [node.target for node in program.graph.nodes if node.op == "call_function"] == [
        torch.ops.aten.conv2d.default
    ]
