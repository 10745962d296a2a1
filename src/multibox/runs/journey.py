"""The way from labelled images to a detector in Python: `multibox.train(...)` is `train_run`."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from multibox.runs.display import display_here
from multibox.runs.run import Run

if TYPE_CHECKING:
    from multibox.train.loop import Display


def train_run(
    data: str | os.PathLike[str],
    *,
    minutes: float | None = None,
    epochs: int | None = None,
    size: int | Literal["auto"] | None = None,
    val: str | os.PathLike[str] | None = None,
    val_share: float | None = None,
    model: str = "",
    out: str | os.PathLike[str] | None = None,
    name: str = "",
    load_weights: str | os.PathLike[str] = "",
    classes: Sequence[str] = (),
    batch_size: int | None = None,
    base_learning_rate: float | None = None,
    seed: int = 0,
    device: str = "auto",
    skip_bad: bool = False,
    display: Display | None = None,
) -> Run:
    """Train a detector on labelled images, and return the run.

        run = multibox.train("my_photos", minutes=15)
        run.metrics.ap50, run.history[-1]["loss"]
        run.export()

    `data` is a folder, an annotation file, a data.yaml or a .zip of COCO, YOLO, Pascal VOC, labelme, CVAT, Label
    Studio, VIA or Open Images. The options are those of `multibox train`: a fifth of the images is held out to measure
    on if `data` has no part for that and `val` names none; `size` is the side of the network's input in pixels; the run
    is a new folder in `runs` unless `out` names one. The training is shown in a terminal or a notebook, or on the
    `display` that is given.

    Raises:
        MultiboxError: the data, an option or the weights cannot be used; the message says what to do.
        KeyboardInterrupt: the training was stopped; the run is saved, and `multibox train --resume-from` goes on.
    """
    from multibox.runs.training import Wish, train_on

    wish = Wish(
        val=None if val is None else Path(val),
        val_share=val_share,
        minutes=minutes,
        epochs=epochs,
        size="" if size is None else str(size),
        model=model,
        out=None if out is None else Path(out),
        name=name,
        load_weights=os.fspath(load_weights),
        classes=tuple(classes),
        batch_size=batch_size,
        base_learning_rate=base_learning_rate,
        seed=seed,
        device=device,
        skip_bad=skip_bad,
        started_at=time.monotonic(),
        command=f"multibox.train({os.fspath(data)!r}, ...)",
    )
    if display is not None:
        return _finished(train_on(Path(data), wish, display=display))
    with display_here() as shown:
        return _finished(train_on(Path(data), wish, display=shown))


def _finished(run: Run) -> Run:
    if run.training is not None and run.training.is_interrupted:
        raise KeyboardInterrupt
    return run
