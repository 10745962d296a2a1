"""A fake detector on small pictures: who gets which result, in which order."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from multibox.predict.frames import Failure, Frame
from multibox.predict.run import FrameResult, Tally, predict
from multibox.predict.sources import Source
from multibox.signals import Interruption
from multibox.structures import Detections, Image


class Darkness:
    """Finds two objects in every picture: label 1 with its brightness in per cent as score, label 0 with 0.1."""

    classes = ("faint", "bright")
    input_size = 8

    def __init__(self) -> None:
        self.num_taken = 0

    def __call__(self, image: Image) -> Detections:
        scores = np.array([image.mean() / 100, 0.1], dtype=np.float32)
        return Detections(np.tile(np.array([0, 0, 1, 1], dtype=np.float32), (2, 1)), scores, np.array([1, 0]))

    def stream(self, images: Iterable[Image]) -> Iterator[Detections]:
        waiting: list[Detections] = []
        for image in images:
            self.num_taken += 1
            waiting.append(self(image))
            if len(waiting) > 3:  # several are under way
                yield waiting.pop(0)
        yield from waiting


def make_sources(folder: Path, values: Iterable[int]) -> list[Source]:
    """A picture for each value from 0; a value below 0 is a file that is no picture."""
    sources = []
    for number, value in enumerate(values):
        path = folder / f"{number}.png"
        image = np.full((8, 8, 3), max(value, 0), dtype=np.uint8)
        path.write_bytes(cv2.imencode(".png", image)[1].tobytes() if value >= 0 else b"no picture")
        sources.append(Source("image", str(path), path.name))
    return sources


class Kept:
    """Keeps what a file would get."""

    def __init__(self) -> None:
        self.entries: list[tuple[str, list[float]] | str] = []
        self.threads: set[str] = set()

    def write(self, frame: Frame, found: Detections) -> None:
        self.threads.add(threading.current_thread().name)
        self.entries.append((frame.source.name, found.scores.astype(float).round(2).tolist()))

    def fail(self, failure: Failure) -> None:
        self.entries.append(failure.source.name)


@pytest.mark.parametrize("values", [[], [50], [-1], [50, 60, -1, 70, 20, -1, -1, 80, 90, -1]])
def test_every_source_comes_once_and_in_order(tmp_path: Path, values: list[int]) -> None:
    kept, told = Kept(), list[str]()

    def on_result(result: FrameResult | Failure) -> None:
        told.append((result if isinstance(result, Failure) else result.frame).source.name)

    tally = predict(
        Darkness(),  # type: ignore[arg-type]
        make_sources(tmp_path, values),
        threshold=0.3,
        stop=Interruption(),
        files=[kept],
        on_result=on_result,
    )

    expected = [
        f"{number}.png" if value < 0 else (f"{number}.png", [value / 100] if value >= 30 else [])
        for number, value in enumerate(values)
    ]
    assert kept.entries == expected
    assert told == [f"{number}.png" for number in range(len(values))]
    assert kept.threads <= {"multibox-behind_0"}
    seen = [value for value in values if value >= 0]
    assert (tally.num_images, len(tally.failures)) == (len(seen), len(values) - len(seen))
    assert tally.objects == {1: sum(value >= 30 for value in seen)} if seen else not tally.objects


def test_drawings_are_of_their_own_picture(tmp_path: Path) -> None:
    values = [40, 50, 60, 70, 80, 90]
    corners: list[tuple[str, int]] = []
    predict(
        Darkness(),  # type: ignore[arg-type]
        make_sources(tmp_path, values),
        threshold=0.95,  # nothing is drawn: the picture as it is
        stop=Interruption(),
        save_drawing=lambda frame, drawing: corners.append((frame.source.name, int(drawing[0, 0, 0]))),
    )
    assert corners == [(f"{number}.png", value) for number, value in enumerate(values)]


def test_a_drawing_that_cannot_be_saved_ends_the_run(tmp_path: Path) -> None:
    def save(_: Frame, __: Image) -> None:
        raise OSError("the disk is full")

    runtime = Darkness()
    with pytest.raises(OSError, match="the disk is full"):
        predict(
            runtime,  # type: ignore[arg-type]
            make_sources(tmp_path, [50] * 40),
            threshold=0.3,
            stop=Interruption(),
            save_drawing=save,
        )
    # Three are under way in the runtime, two wait for being saved, and a few were on their way to it.
    assert runtime.num_taken < 12


def test_after_a_wish_to_stop_what_is_under_way_is_finished(tmp_path: Path) -> None:
    stop, kept = Interruption(), Kept()
    runtime = Darkness()
    tally = predict(
        runtime,  # type: ignore[arg-type]
        make_sources(tmp_path, [50] * 40),
        threshold=0.3,
        stop=stop,
        files=[kept],
        on_result=lambda _: stop.ask(),
    )
    # The first result came when four were taken.
    assert runtime.num_taken == tally.num_images == len(kept.entries) == 4


def test_the_frames_that_a_live_source_left_out_are_counted() -> None:
    nothing = Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))
    source = Source("camera", 0, "camera_0.mp4")
    tally = Tally()
    for index in (0, 1, 5, 6, 9):  # 2, 3, 4, 7, 8 are missing
        tally.count(FrameResult(Frame(source, width=8, height=8, index=index, time_s=0.0), nothing, None))
    assert (tally.num_frames, tally.num_dropped) == (5, 5)
