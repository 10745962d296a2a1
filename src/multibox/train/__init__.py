"""From data and starting weights to a checkpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from multibox.train.run import train

__all__ = ["train"]


def __getattr__(name: str) -> Any:
    # Opened at first use: the learning rate's schedule is asked for where torch is not.
    if name != "train":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from multibox.train.run import train

    return train
