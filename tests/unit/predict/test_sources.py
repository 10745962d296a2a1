"""From words of a command line to sources. Files here are empty: nothing is opened."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from multibox.errors import OptionError
from multibox.predict.sources import Source, find_sources, natural_key, printable


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder of the test, and what is in it."""
    for name in (
        *("photos/img10.jpg", "photos/img9.JPG", "photos/img9.txt", "photos/.hidden.jpg", "photos/.git/x.jpg"),
        *("photos/deep er/Ünï cöde.png", "photos/clip.mp4", "a/same.jpg", "b/same.jpg", "photos[1]/one [a].jpg"),
        *("empty/notes.txt", "./7"),
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def names(*texts: str, output_folder: Path | None = None) -> list[str]:
    sources, problems = find_sources(texts, output_folder=output_folder)
    assert problems == []
    return [source.name for source in sources]


def test_a_folder_is_searched_in_depth_and_sorted_as_people_do(folder: Path) -> None:
    assert names("photos") == ["clip.mp4", "deep er/Ünï cöde.png", "img9.JPG", "img10.jpg"]
    assert names(str(folder / "photos") + os.sep) == names("photos")


def test_images_and_videos_are_told_apart_by_their_ending(folder: Path) -> None:
    sources, _ = find_sources(["photos"])
    assert [source.kind for source in sources] == ["video", "image", "image", "image"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("photos/img9.JPG", ["img9.JPG"]),
        ("photos/*.jpg", ["img10.jpg"]),
        ("photos/img*", ["img9.JPG", "img10.jpg"]),  # not img9.txt
        ("photos/**/*.png", ["deep er/Ünï cöde.png"]),
        ("**/same.jpg", ["a/same.jpg", "b/same.jpg"]),
        ("?/*", ["a/same.jpg", "b/same.jpg"]),
        ("photos/deep*", ["deep er/Ünï cöde.png"]),  # a folder that matches is searched
        ("photos/*.txt", ["img9.txt"]),  # nothing but text: the reader will say that it is no image
    ],
)
def test_patterns(folder: Path, text: str, expected: list[str]) -> None:
    assert names(text) == expected


def test_a_name_that_is_there_is_no_pattern(folder: Path) -> None:
    assert names("photos[1]") == ["one [a].jpg"]
    assert names("photos[1]/one [a].jpg") == ["one [a].jpg"]


def test_equal_names_keep_their_folders(folder: Path) -> None:
    assert names("a", "b") == ["a/same.jpg", "b/same.jpg"]
    assert names("a/same.jpg", "b/same.jpg", "photos/clip.mp4") == ["a/same.jpg", "b/same.jpg", "photos/clip.mp4"]


def test_a_file_that_is_named_twice_comes_once(folder: Path) -> None:
    assert names("a/same.jpg", "a", "./a/../a/same.jpg") == ["same.jpg"]


def test_a_link_in_a_circle_is_followed_once(folder: Path) -> None:
    (folder / "a" / "round").symlink_to(folder / "a")
    assert names("a") == ["same.jpg"]


def test_pictures_of_the_last_run_are_no_input(folder: Path) -> None:
    (folder / "a" / "out").mkdir()
    (folder / "a" / "out" / "same.jpg").touch()
    assert names("a", output_folder=Path("a/out")) == ["same.jpg"]
    assert names("a/**/*.jpg", output_folder=Path("a/out")) == ["same.jpg"]
    assert names("a/*", output_folder=Path("a/out")) == ["same.jpg"]
    assert names("a/out", output_folder=Path("a/out")) == ["same.jpg"]  # named itself: it is refused later


def test_what_is_not_there_is_told_and_the_rest_stays(folder: Path) -> None:
    sources, problems = find_sources(["a", "missing.jpg", "empty", "*.bmp", ""])
    assert [source.name for source in sources] == ["same.jpg"]
    assert problems == [
        "missing.jpg: there is no such file or folder.",
        "empty: there is no image or video in this folder.",
        "*.bmp: nothing has a name like this.",
        '"": there is no such file or folder.',
    ]


def test_a_whole_number_is_a_camera_and_a_path_to_it_a_file(folder: Path) -> None:
    assert find_sources(["7"]) == ([Source("camera", 7, "camera_7.mp4")], [])
    assert find_sources(["./7"])[0][0].kind == "image"


@pytest.mark.parametrize(
    ("url", "title", "name"),
    [
        ("rtsp://admin:s3cret@10.0.0.7:554/ch1?x=1", "rtsp://10.0.0.7:554/ch1?x=1", "10.0.0.7_554_ch1.mp4"),
        ("HTTP://host/video.mp4", "HTTP://host/video.mp4", "host_video.mp4.mp4"),
        ("https://host/", "https://host/", "host.mp4"),
    ],
)
def test_a_stream_and_no_password_in_what_is_written_of_it(url: str, title: str, name: str) -> None:
    (source,), _ = find_sources([url])
    assert (source.kind, source.address, source.title, source.name) == ("stream", url, title, name)


@pytest.mark.parametrize("texts", [["0", "1"], ["rtsp://a/b", "a"], ["a", "0"]])
def test_what_has_no_end_comes_alone(folder: Path, texts: list[str]) -> None:
    with pytest.raises(OptionError, match="a camera or stream has no end, so it comes alone"):
        find_sources(texts)


def test_numbers_are_sorted_by_value_within_each_folder() -> None:
    paths = [Path(name) for name in ("b/1.jpg", "a10/x.jpg", "a9/x.jpg", "a2.jpg", "A10.jpg", "a3.jpg")]
    ordered = ["a2.jpg", "a3.jpg", "a9/x.jpg", "a10/x.jpg", "A10.jpg", "b/1.jpg"]
    assert [path.as_posix() for path in sorted(paths, key=natural_key)] == ordered


def test_a_name_of_bytes_that_are_no_text_can_be_printed() -> None:
    assert printable(os.fsdecode(b"caf\xe9.jpg")) == "caf\N{REPLACEMENT CHARACTER}.jpg"
    assert printable("café.jpg") == "café.jpg"
