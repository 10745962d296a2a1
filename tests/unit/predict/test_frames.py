"""Small images and videos of plain grey, whose value tells which frame is which."""

from __future__ import annotations

import http.server
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from multibox.predict.frames import Failure, Frame, read_frames
from multibox.predict.sources import Source
from multibox.structures import Image

SIZE = (64, 48)


class Stop:
    """Set by hand."""

    def __init__(self) -> None:
        self.wanted = False

    def is_set(self) -> bool:
        return self.wanted


def grey(value: int) -> Image:
    return np.full((SIZE[1], SIZE[0], 3), value, dtype=np.uint8)


def write_video(path: Path, count: int, *, rate: float = 12.5, codec: str = "mp4v") -> Source:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), rate, SIZE)
    for index in range(count):
        writer.write(grey(8 * index))
    writer.release()
    return Source("video", str(path), path.name)


def write_image(path: Path, value: int) -> Source:
    path.write_bytes(cv2.imencode(".png", grey(value))[1].tobytes())
    return Source("image", str(path), path.name)


def read_all(*sources: Source) -> list[tuple[Any, ...]]:
    """Name, index, time and grey value, or name and reason."""
    return [told(item) for item in read_frames(sources, stop=Stop())]


def told(item: tuple[Frame, Image] | Failure) -> tuple[Any, ...]:
    if isinstance(item, Failure):
        return item.source.name, item.reason.removeprefix(f"{item.source.address}: ")
    frame, image = item
    assert image.shape == (frame.height, frame.width, 3)
    time_s = None if frame.time_s is None else round(frame.time_s, 3)
    return frame.source.name, frame.index, time_s, int(image.mean().round())


def test_images_come_in_order_and_without_a_time(tmp_path: Path) -> None:
    sources = [write_image(tmp_path / f"{value}.png", value) for value in range(20)]
    assert read_all(*sources) == [(f"{value}.png", None, None, value) for value in range(20)]


def test_a_video_comes_frame_by_frame_with_its_times(tmp_path: Path) -> None:
    source = write_video(tmp_path / "Ünï: 1.mp4", 10, rate=12.5)
    frames = list(read_frames([source], stop=Stop()))

    assert all(not isinstance(item, Failure) and item[0].rate == 12.5 for item in frames)
    assert [told(item)[:3] for item in frames] == [(source.name, i, round(i / 12.5, 3)) for i in range(10)]
    values = [told(item)[3] for item in frames]
    assert values == pytest.approx([8 * i for i in range(10)], abs=7)  # it is compressed
    assert values == sorted(set(values))


def test_images_and_videos_mix_and_what_cannot_be_read_keeps_its_place(tmp_path: Path) -> None:
    (tmp_path / "no.mp4").write_text("no video")
    (tmp_path / "no.jpg").write_text("no image")
    sources = [
        write_image(tmp_path / "a.png", 1),
        Source("image", str(tmp_path / "no.jpg"), "no.jpg"),
        write_image(tmp_path / "b.png", 2),
        Source("video", str(tmp_path / "no.mp4"), "no.mp4"),
        Source("video", str(tmp_path / "gone.mp4"), "gone.mp4"),
        write_video(tmp_path / "c.mp4", 1),
        write_image(tmp_path / "d.png", 3),
    ]
    assert read_all(*sources) == [
        ("a.png", None, None, 1),
        ("no.jpg", "the image cannot be decoded. Replace or remove it."),
        ("b.png", None, None, 2),
        ("no.mp4", "the video cannot be decoded. Is it complete?"),
        ("gone.mp4", "the video is missing."),
        ("c.mp4", 0, 0, 0),
        ("d.png", None, None, 3),
    ]


def test_a_video_that_breaks_off_is_told_after_its_frames(tmp_path: Path) -> None:
    source = write_video(tmp_path / "whole.avi", 30, codec="MJPG")
    data = (tmp_path / "whole.avi").read_bytes()
    (tmp_path / "half.avi").write_bytes(data[: len(data) * 3 // 4])

    *frames, last = read_all(Source("video", str(tmp_path / "half.avi"), "half.avi"))

    assert 10 < len(frames) < 27
    assert last == ("half.avi", f"it breaks off after {len(frames)} of 30 frames.")
    assert len(read_all(source)) == 30


def test_the_number_of_frames_is_told_before_they_come(tmp_path: Path) -> None:
    sources = [
        write_video(tmp_path / "a.mp4", 5),
        write_image(tmp_path / "b.png", 1),
        write_video(tmp_path / "c.mp4", 3),
    ]
    told_counts: list[tuple[str, int | None]] = []

    list(read_frames(sources, stop=Stop(), on_open=lambda source, count: told_counts.append((source.name, count))))

    assert told_counts == [("a.mp4", 5), ("c.mp4", 3)]


def test_a_wish_to_stop_ends_the_frames_and_their_threads(tmp_path: Path) -> None:
    stop = Stop()
    frames = read_frames([write_video(tmp_path / "a.mp4", 30), write_image(tmp_path / "b.png", 1)], stop=stop)
    next(frames)
    stop.wanted = True

    assert list(frames) == []
    assert [thread for thread in threading.enumerate() if thread.name.startswith("multibox")] == []


# Streams


class Server(http.server.SimpleHTTPRequestHandler):
    """Files of a folder, and at /camera an endless series of JPEGs, 100 a second, until `num_frames` are out."""

    num_frames = 10**6

    def do_GET(self) -> None:
        if self.path != "/camera":
            super().do_GET()
            return
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        try:
            for index in range(self.num_frames):
                data = cv2.imencode(".jpg", grey(index % 256))[1].tobytes()
                head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
                self.wfile.write(head.encode() + data + b"\r\n")
                time.sleep(0.01)
        except OSError:  # nobody listens any more
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Server, directory=str(tmp_path))) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_video_on_a_server_is_read_frame_by_frame(tmp_path: Path, address: str) -> None:
    write_video(tmp_path / "a.mp4", 20)
    found = read_all(Source("stream", f"{address}/a.mp4", "a.mp4"))
    assert [index for _, index, _, _ in found] == list(range(20))


def test_of_a_live_stream_the_latest_frame_is_taken(address: str) -> None:
    stop = Stop()
    frames = []
    for item in read_frames([Source("stream", f"{address}/camera", "camera")], stop=stop):
        assert not isinstance(item, Failure)
        frames.append(item[0])
        time.sleep(0.1)  # ten times as long as a frame takes to come
        stop.wanted = len(frames) == 5

    indices = [frame.index or 0 for frame in frames]
    assert indices == sorted(set(indices))
    assert indices[-1] > len(frames)  # some were left out
    assert [frame.time_s or 0 for frame in frames] == sorted(frame.time_s or 0 for frame in frames)


def test_a_stream_that_ends_ends_the_frames(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Server, "num_frames", 30)
    found = read_all(Source("stream", f"{address}/camera", "camera"))
    assert found and all(len(item) == 4 for item in found)


@pytest.mark.parametrize("url", ["{address}/nothing.mp4", "rtsp://127.0.0.1:9/x"])
def test_a_stream_that_is_not_there_is_told(address: str, url: str) -> None:
    url = url.format(address=address)
    assert read_all(Source("stream", url, "x.mp4")) == [
        ("x.mp4", "the stream cannot be opened. Is the address right, and the server running?")
    ]


def test_a_camera_that_is_not_there_is_told() -> None:
    assert read_all(Source("camera", 987, "camera_987.mp4")) == [
        ("camera_987.mp4", "camera 987: there is no such camera, or another program uses it.")
    ]
