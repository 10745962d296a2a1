"""Train a lightweight detector on your own objects and deploy it to OpenVINO.

`load` opens a model, `draw` paints what it finds; training and evaluation are commands (`multibox --help`), whose
functions are `multibox.train.run.train` and `multibox.evaluate.evaluate`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from multibox.drawing import draw
    from multibox.errors import MultiboxError
    from multibox.runtime.opening import open_runtime as load
    from multibox.runtime.protocol import Runtime
    from multibox.structures import Detections

__all__ = ["Detections", "MultiboxError", "Runtime", "__version__", "draw", "load"]

# Opened at first use: `multibox --help` and torch-free prediction must not pay for what they do not need.
_HOMES = {
    "Detections": ("structures", "Detections"),
    "MultiboxError": ("errors", "MultiboxError"),
    "Runtime": ("runtime.protocol", "Runtime"),
    "draw": ("drawing", "draw"),
    "load": ("runtime.opening", "open_runtime"),
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _HOMES[name]
    value = globals()[name] = getattr(import_module(f"{__name__}.{module}"), attribute)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
