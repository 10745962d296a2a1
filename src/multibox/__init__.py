"""Train a lightweight detector on your own objects and deploy it to OpenVINO.

    run = multibox.train("my_photos", minutes=15)    # labelled images in, a run out
    detector = multibox.load(run)                    # or a folder, .pth, .xml, .onnx
    found = detector(image)                          # boxes, scores and labels

`multibox --help` lists the commands for the same way.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from multibox.drawing import draw
    from multibox.errors import MultiboxError
    from multibox.runs.journey import train_run as train
    from multibox.runs.run import Run
    from multibox.runtime.opening import open_runtime as load
    from multibox.runtime.protocol import Runtime
    from multibox.structures import Detections

__all__ = ["Detections", "MultiboxError", "Run", "Runtime", "__version__", "draw", "load", "train"]

# Opened at first use: `multibox --help` and torch-free prediction must not pay for what they do not need.
_HOMES = {
    "Detections": ("structures", "Detections"),
    "MultiboxError": ("errors", "MultiboxError"),
    "Run": ("runs.run", "Run"),
    "Runtime": ("runtime.protocol", "Runtime"),
    "draw": ("drawing", "draw"),
    "load": ("runtime.opening", "open_runtime"),
}


def __getattr__(name: str) -> Any:
    if name == "train":
        return import_module(f"{__name__}.train")  # a room that can be called, see there
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _HOMES[name]
    value = globals()[name] = getattr(import_module(f"{__name__}.{module}"), attribute)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
