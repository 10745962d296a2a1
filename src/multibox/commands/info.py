"""`multibox info`."""

from __future__ import annotations

from pathlib import Path

from multibox.commands.console import say
from multibox.commands.options import found_model


def info(model: Path | None = None, /) -> int:
    """Say what a model is: its classes, input size, threshold, form, and where it comes from.

    Example: multibox info runs/my_photos/export/model.xml

    Args:
        model: A run, or a model (.pth, .xml, .onnx). Default: the run of this folder, else the newest in runs.
    """
    from multibox.runs.model_facts import model_facts

    facts = model_facts(found_model(model))
    longest = max(map(len, facts))
    for what, value in facts.items():
        say(f"{what:<{longest}}  {value}", indent=longest + 2)
    return 0
