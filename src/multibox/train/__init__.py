"""From data and starting weights to a checkpoint.

The room can be called, as the first step of the way in Python (see `runs.journey` and docs/decisions/0017):

    run = multibox.train("my_photos", minutes=15)
    run.metrics.ap50

`multibox.train.train` is what trains a template on data that are read.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
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


class CallableRoom(ModuleType):
    """The module `multibox.train`, which is a function as well: both have been promised this name."""

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        """Train a detector on labelled images, see `runs.journey.train_run`."""
        # By its name: the rooms above this one are none of its business but for this door.
        return import_module("multibox.runs.journey").train_run(*arguments, **options)

    @property
    def __signature__(self) -> Any:
        """What help and editors show."""
        from inspect import signature

        return signature(import_module("multibox.runs.journey").train_run)


sys.modules[__name__].__class__ = CallableRoom
