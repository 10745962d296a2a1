"""Draws the airport toy data set: photo-like apron pictures of three fixed cameras with their COCO annotations.

Everything is computed from a seed with numpy and OpenCV; no picture, texture or font of anyone else is used.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from airport.dataset import draw_dataset
from airport.pictures import draw_pictures


def main() -> None:
    """Draw the data set that the command line asks for."""
    parser = argparse.ArgumentParser(description="Draw the airport toy data set.")
    parser.add_argument("output", type=Path, help="folder to write to")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--train", type=int, default=48, help="number of training pictures")
    parser.add_argument("--val", type=int, default=16, help="number of validation pictures")
    parser.add_argument("--pictures", action="store_true", help="draw the pictures inside the package instead")
    options = parser.parse_args()
    if options.pictures:
        draw_pictures(options.output)
        return
    draw_dataset(options.output, seed=options.seed, train=options.train, val=options.val)


if __name__ == "__main__":
    main()
