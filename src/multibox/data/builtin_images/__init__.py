"""Six images of an airport apron, on which an export is compared where there is no validation set.

The program that drew data/airport drew them too; data/airport/README.md tells where it is. Nothing in them is real, and
their licence is that of the project.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path


def builtin_images() -> list[Path]:
    """The files of the images, JPEGs of 640 x 360 pixels, in the order of their names."""
    folder = Path(str(files(__package__)))
    return sorted(folder.glob("*.jpg"))
