"""A folder with a page that detects in the browser: the page of `multibox demo` with an engine of its own.

ONNX Runtime Web, which runs the network, is not in the folder: whoever publishes the page fetches it with npm.
"""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path

from multibox.drawing import PALETTE
from multibox.errors import OptionError
from multibox.files import write_atomically
from multibox.overwriting import Output, is_onnx, is_page, is_part_of_page

ASSETS = {
    "index.html": "page.html",
    "page.css": "page.css",
    "page.js": "page.js",
    "engine.js": "onnx_engine.js",
    "detections.js": "detections.js",
}
"""The files of the folder that are the same for all detectors, and their names in `assets`."""

OTHERS = ("model.onnx", "model.js", "package.json", "README.md")
"""The files of the folder that are made for a detector."""

ORT_WEB = "^1.30.0"
"""The versions of ONNX Runtime Web that npm takes; the first of them is the one that the page is tested with."""


def outputs_of_page(folder: Path) -> list[Output]:
    """The files that `write_web_page` writes into a folder."""
    kinds = {"index.html": is_page, "model.onnx": is_onnx}
    return [Output("--web", folder / name, kinds.get(name, is_part_of_page)) for name in (*ASSETS, *OTHERS)]


def write_web_page(folder: Path, model: Path, *, name: str) -> None:
    """Write the page of a detector to a folder. `model`: its ONNX file without suppression; `name`: what to call it.

    Raises:
        OptionError: the folder cannot be written to.
    """
    package = {"name": "multibox-page", "private": True, "dependencies": {"onnxruntime-web": ORT_WEB}}
    contents = {target: (files("multibox.demo") / "assets" / asset).read_bytes() for target, asset in ASSETS.items()}
    contents |= {
        "model.js": _model_script(name).encode(),
        "package.json": (json.dumps(package, indent=2) + "\n").encode(),
        "README.md": (files("multibox.demo") / "assets/web_readme.md").read_bytes(),
        "model.onnx": model.read_bytes(),
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for target, content in contents.items():
            write_atomically(folder / target, content)
    except OSError as error:
        raise OptionError(f"{folder}: cannot write the page: {error.strerror}.") from error


def _model_script(name: str) -> str:
    colours = [f"#{PALETTE[start : start + 3].hex()}" for start in range(0, len(PALETTE), 3)]
    return (
        "// The name of the detector, and a colour for each class, as the drawings of multibox have them.\n"
        f"export const NAME = {json.dumps(name)};\nexport const COLOURS = {json.dumps(colours)};\n"
    )
