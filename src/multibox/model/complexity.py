"""How large and how expensive a network is, in the units that the published tables use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn


def size_mp(model: nn.Module) -> float:
    """Millions of trainable parameters, two decimals; statistics of normalisation layers are not counted."""
    return round(sum(p.numel() for p in model.parameters() if p.requires_grad) / 1e6, 2)


def complexity_gflops(model: nn.Module, input_size: int) -> float:
    """Billions of operations for one square image, counted as the published tables count them.

    That is twice `operations`, which is rounded to hundredths first: hence always an even number of hundredths.
    """
    return round(2 * round(operations(model, input_size) / 1e9, 2), 2)


def operations(model: nn.Module, input_size: int) -> int:
    """Operations for one square image: the raw count behind `complexity_gflops`.

    A multiplication with its addition counts 1, adding a bias 1, normalising a value 2, rectifying a value 1.
    Residual sums, softmax and everything after the network are left out, as they were in the published figures.
    """
    import torch

    counts: list[int] = []

    def count(module: nn.Module, _inputs: Any, output: Tensor) -> None:
        counts.append(_operations_of(module, output))

    was_training = {module: module.training for module in model.modules()}
    hooks = [module.register_forward_hook(count) for module in was_training if _is_counted(module)]
    weight = next(model.parameters())
    try:
        with torch.no_grad():
            model.eval()(torch.zeros(1, 3, input_size, input_size, device=weight.device, dtype=weight.dtype))
    finally:
        for hook in hooks:
            hook.remove()
        for module, training in was_training.items():
            module.training = training
    return sum(counts)


def _is_counted(module: nn.Module) -> bool:
    from torch import nn

    return isinstance(module, nn.Conv2d | nn.BatchNorm2d | nn.ReLU | nn.ReLU6)


def _operations_of(module: nn.Module, output: Tensor) -> int:
    from torch import nn

    if isinstance(module, nn.Conv2d):
        weights_per_output = module.weight[0].numel()  # (in_channels / groups) * height * width
        return output.numel() * (weights_per_output + (module.bias is not None))
    return output.numel() * (2 if isinstance(module, nn.BatchNorm2d) else 1)
