"""How good a detector is, how sure that is, and how fast it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from multibox.evaluate.run import evaluate

__all__ = ["evaluate"]


def __getattr__(name: str) -> Any:
    # Opened at first use: parts of this room are used where COCO's metric is not.
    if name != "evaluate":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from multibox.evaluate.run import evaluate

    return evaluate
