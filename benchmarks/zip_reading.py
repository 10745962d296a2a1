"""How long it takes to read a data set from a .zip against the folder: annotations, headers, all images decoded.

    python benchmarks/zip_reading.py FOLDER_OF_A_SET

The .zip is made anew, packed (deflate) as most programs do. Both take turns, five rounds; the medians of processor time
and their ratio are printed.
"""

from __future__ import annotations

import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from multibox.data import coco, images
from multibox.data.archives import archived
from multibox.data.coco import CocoData
from multibox.data.layouts import find_layout
from multibox.data.loader import evaluation_images

ROUNDS = 5


def read(source: Path) -> CocoData:
    """The training part of a COCO set, its images not looked into."""
    split = find_layout(source).splits["train"]
    return coco.read([split.annotation_file], [split.root], verify_images=False, skip_bad=True)


def main(folder: Path) -> None:
    """Print a row for each kind of reading."""
    with tempfile.TemporaryDirectory() as temporary:
        file = archived(Path(shutil.make_archive(str(Path(temporary) / "set"), "zip", folder)))
        sources = {"folder": folder, "zip": file}
        data = {name: read(source) for name, source in sources.items()}
        work: dict[str, Callable[[str], object]] = {
            "annotations": lambda name: read(sources[name]),
            "headers": lambda name: [images.read_size(record.path) for record in data[name].records],
            "images, 1 thread": lambda name: sum(1 for _ in evaluation_images(data[name].records, num_workers=0)),
            "images, 2 threads": lambda name: sum(1 for _ in evaluation_images(data[name].records, num_workers=2)),
        }
        print(f"{len(data['zip'].records)} images, {Path(file).stat().st_size / 1e6:.0f} MB packed")
        for title, task in work.items():
            seconds: dict[str, list[float]] = {name: [] for name in sources}
            for _ in range(ROUNDS):
                for name in sources:
                    start = time.process_time()
                    task(name)
                    seconds[name].append(time.process_time() - start)
            of_folder, of_zip = (statistics.median(seconds[name]) for name in sources)
            print(f"{title}: folder {of_folder:.3f} s, zip {of_zip:.3f} s, ratio {of_zip / of_folder:.2f}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
