from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from multibox.errors import OptionError
from multibox.predict.frames import Frame
from multibox.predict.sources import Source
from multibox.predict.video_file import open_video
from multibox.structures import Image

VIDEO = Source("video", "clip.avi", "clip.avi")
CAMERA = Source("camera", 0, "camera_0.mp4")


def picture(index: int, width: int = 64, height: int = 48) -> Image:
    return np.full((height, width, 3), 20 * index % 256, dtype=np.uint8)


def frame(source: Source, index: int, *, time_s: float = 0.0, rate: float | None = 29.97) -> Frame:
    return Frame(source, width=64, height=48, index=index, time_s=time_s, rate=rate)


def read_back(path: Path) -> tuple[float, list[Image]]:
    capture = cv2.VideoCapture(str(path))
    images = []
    while (read := capture.read())[0]:
        images.append(read[1])
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == len(images)
    return capture.get(cv2.CAP_PROP_FPS), images


def test_a_video_has_the_frames_the_rate_and_the_size_of_its_source(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "Ünï 1.mp4"
    with open_video(path, frame(VIDEO, 0)) as write:
        for index in range(12):
            write(frame(VIDEO, index), picture(index))
        assert not path.exists()

    rate, images = read_back(path)
    assert rate == pytest.approx(29.97)
    assert [image.shape for image in images] == [(48, 64, 3)] * 12
    assert [image.mean() for image in images] == pytest.approx([20 * i for i in range(12)], abs=10)
    assert [one.name for one in path.parent.iterdir()] == ["Ünï 1.mp4"]


def test_without_a_rate_it_is_25(tmp_path: Path) -> None:
    first = frame(VIDEO, 0, rate=None)
    with open_video(tmp_path / "a.mp4", first) as write:
        write(first, picture(0))
    assert read_back(tmp_path / "a.mp4")[0] == 25


def test_a_live_source_that_left_frames_out_is_shown_at_its_own_pace(tmp_path: Path) -> None:
    # 10 frames a second; taken at 0.0, 0.3, 0.31 and 0.5 s, due as frames 0, 3, 3 and 5: the third comes too early.
    with open_video(tmp_path / "a.mp4", frame(CAMERA, 0, rate=10)) as write:
        for index, time_s in enumerate((0.0, 0.3, 0.31, 0.5)):
            write(frame(CAMERA, index, time_s=time_s, rate=10), picture(4 * index))

    rate, images = read_back(tmp_path / "a.mp4")
    assert rate == 10
    assert [image.mean() for image in images] == pytest.approx([0, 80, 80, 80, 240, 240], abs=10)


def test_a_frame_of_another_size_is_fitted_in(tmp_path: Path) -> None:
    with open_video(tmp_path / "a.mp4", frame(VIDEO, 0)) as write:
        write(frame(VIDEO, 0), picture(1))
        write(Frame(VIDEO, width=32, height=32, index=1, time_s=0.1, rate=29.97), picture(2, 32, 32))
    assert [image.shape for image in read_back(tmp_path / "a.mp4")[1]] == [(48, 64, 3)] * 2


def test_an_error_leaves_no_video(tmp_path: Path) -> None:
    with pytest.raises(KeyError), open_video(tmp_path / "a.mp4", frame(VIDEO, 0)) as write:
        write(frame(VIDEO, 0), picture(0))
        raise KeyError
    assert list(tmp_path.iterdir()) == []


def test_a_picture_that_no_video_can_have_is_refused(tmp_path: Path) -> None:
    first = Frame(VIDEO, width=1, height=1, index=0, time_s=0.0, rate=25.0)
    with (
        pytest.raises(OptionError, match=r"a\.mp4: cannot write a video of 1x1 pixels"),
        open_video(tmp_path / "a.mp4", first),
    ):
        pass
    assert list(tmp_path.iterdir()) == []
