"""What a file of weights may hold: tensors of real, finite numbers that lie in memory, of the shapes of the network."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from multibox.errors import CheckpointError
from multibox.wording import shortened

COUNTER = "num_batches_tracked"
"""End of the names of counters that batch normalisation keeps and nothing needs."""


def check_tensors(weights: Mapping[str, Any], *, source: str | os.PathLike[str]) -> None:
    """Refuse values that are no weights of a network, whatever their names and shapes.

    Raises:
        CheckpointError: one is no tensor in memory, or has numbers that are complex or not finite.
    """
    for key, value in weights.items():
        is_plain = isinstance(value, Tensor) and value.layout == torch.strided and value.device.type == "cpu"
        if not is_plain or value.is_complex() or value.is_quantized:
            raise CheckpointError(
                f"{source}: `{shortened(str(key))}` is no array of real numbers. The file is damaged."
            )
        if value.is_floating_point() and not bool(value.isfinite().all()):
            raise CheckpointError(
                f"{source}: `{shortened(str(key))}` has numbers that are not finite. The training went wrong, or the "
                "file is damaged; take an earlier checkpoint."
            )


def check_weights(
    weights: Mapping[str, Any], expected: Mapping[str, Tensor], *, source: str | os.PathLike[str]
) -> None:
    """Refuse weights that are not those of a network, whose state dict is `expected`; entries beyond it do not matter.

    Raises:
        CheckpointError: one is missing, of another shape, or has values that no training gives; `source` is the file.
    """
    for key, value in expected.items():
        if key not in weights and key.endswith(COUNTER):
            continue
        if key not in weights:
            raise CheckpointError(f"{source}: these are no weights of this model: `{key}` is missing.")
        given = weights[key]
        if not isinstance(given, Tensor) or given.shape != value.shape:
            shape = list(given.shape) if isinstance(given, Tensor) else "no tensor"
            raise CheckpointError(
                f"{source}: these weights do not fit the template: `{key}` is {shape}, not {list(value.shape)}."
            )
        check_tensors({key: given}, source=source)
        is_variance = key.endswith("running_var")
        if given.is_floating_point() != value.is_floating_point() or (is_variance and bool((given < 0).any())):
            raise CheckpointError(f"{source}: `{key}` has values that no training gives. The file is damaged.")
