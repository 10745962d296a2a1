"""Where in a run lies what is made of its model."""

from __future__ import annotations

from pathlib import Path

from multibox.errors import OptionError
from multibox.runs.finding import FoundModel

EXPORT, COMPRESSED, METRICS = "export", "compressed", "metrics.yaml"
"""What exports, the model in 8 bits and measurements are called in a run."""


def place_in_run(found: FoundModel, name: str) -> Path:
    """The folder in a run for what is made of its model; `_int8` is added for a compressed one.

    Raises:
        OptionError: the model belongs to no run.
    """
    if found.run is None:
        raise OptionError(f"{found.path}: this model belongs to no run. Name a folder for the result by --out.")
    is_compressed = found.path.parent.name == COMPRESSED
    return found.run.home / (f"{name}_int8" if is_compressed else name)
