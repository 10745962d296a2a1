from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from multibox.errors import OptionError
from multibox.predict.drawings import plan, saving
from multibox.predict.frames import Frame
from multibox.predict.sources import Source

IMAGE = Source("image", "in/deep er/1.png", "deep er/1.png")
VIDEO = Source("video", "in/clip.avi", "clip.avi")
OTHER_VIDEO = Source("video", "in/clip.mp4", "clip.mp4")
CAMERA = Source("camera", 0, "camera_0.mp4")
OUT = Path("an output")


def test_in_a_folder_drawings_have_the_names_of_their_sources() -> None:
    sources = [IMAGE, VIDEO, OTHER_VIDEO, CAMERA, Source("image", "a.gif", "a.gif"), Source("image", "b", "b")]
    assert {name: path.relative_to(OUT).as_posix() for name, path in plan(sources, OUT).items()} == {
        "deep er/1.png": "deep er/1.png",
        "clip.avi": "clip.avi.mp4",
        "clip.mp4": "clip.mp4",
        "camera_0.mp4": "camera_0.mp4",
        "a.gif": "a.gif" if cv2.haveImageWriter("a.gif") else "a.gif.jpg",
        "b": "b.jpg",
    }


@pytest.mark.parametrize(
    ("source", "save_to"), [(IMAGE, "found.jpg"), (IMAGE, "found.PNG"), (VIDEO, "found.mp4"), (CAMERA, "found.MP4")]
)
def test_a_single_source_can_have_a_file(source: Source, save_to: str) -> None:
    assert plan([source], Path(save_to)) == {source.name: Path(save_to)}


def test_a_folder_that_is_there_is_a_folder_whatever_its_name(tmp_path: Path) -> None:
    folder = tmp_path / "found.jpg"
    folder.mkdir()
    assert plan([IMAGE], folder) == {IMAGE.name: folder / IMAGE.name}


@pytest.mark.parametrize(
    ("sources", "save_to", "message"),
    [
        ([IMAGE, VIDEO], "found.jpg", "one file cannot take 2 sources. Name a folder."),
        ([IMAGE], "found.mp4", "is written as an image, .jpg or .png, or name a folder."),
        ([VIDEO], "found.jpg", "is written as a video, .mp4, or name a folder."),
    ],
)
def test_a_file_that_does_not_fit_is_refused(sources: list[Source], save_to: str, message: str) -> None:
    with pytest.raises(OptionError) as error:
        plan(sources, Path(save_to))
    assert str(error.value).endswith(message)


def test_two_sources_never_share_a_drawing() -> None:
    with pytest.raises(OptionError, match=r"in/clip\.avi and in/clip\.avi\.mp4 would both be saved as"):
        plan([VIDEO, Source("video", "in/clip.avi.mp4", "clip.avi.mp4")], OUT)


def test_images_and_videos_are_saved_side_by_side(tmp_path: Path) -> None:
    sources = [IMAGE, VIDEO, OTHER_VIDEO]
    picture = np.full((48, 64, 3), 100, dtype=np.uint8)
    with saving(plan(sources, tmp_path)) as save:
        save(Frame(IMAGE, width=64, height=48), picture)
        for index in range(5):
            save(Frame(VIDEO, width=64, height=48, index=index, time_s=0, rate=10), picture)
        assert not (tmp_path / "clip.avi.mp4").exists()
        save(Frame(OTHER_VIDEO, width=64, height=48, index=0, time_s=0, rate=10), picture)
        assert (tmp_path / "clip.avi.mp4").exists()

    found = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert found == {"deep er/1.png", "clip.avi.mp4", "clip.mp4"}
    assert np.array_equal(cv2.imread(str(tmp_path / "deep er/1.png")), picture)
    assert cv2.VideoCapture(str(tmp_path / "clip.avi.mp4")).get(cv2.CAP_PROP_FRAME_COUNT) == 5
