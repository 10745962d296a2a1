"""Opening OpenVINO files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from multibox.errors import CheckpointError


def read_graph(path: str | os.PathLike[str]) -> Any:
    """The OpenVINO graph in an .xml, or in that beside a .bin.

    Raises:
        CheckpointError: a file of the two is missing, or OpenVINO cannot read them.
    """
    import openvino

    xml = Path(path).with_suffix(".xml")
    if not xml.is_file():
        raise CheckpointError(f"{xml}: there is no such file; an OpenVINO model is a .xml with a .bin beside it.")
    if not xml.with_suffix(".bin").is_file():
        raise CheckpointError(f"{xml.with_suffix('.bin')}: there is no such file; it holds the weights of {xml.name}.")
    try:
        return openvino.Core().read_model(xml)
    except RuntimeError as error:
        raise CheckpointError(f"{xml}: OpenVINO cannot read this model; it is damaged or no OpenVINO model.") from error
