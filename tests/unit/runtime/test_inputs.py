"""What a detector can be given: each comes out as the same image, and the result knows where it is from."""

from __future__ import annotations

import gc
import pickle
import shutil
import threading
from collections.abc import Iterator, Sequence
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import pytest

from multibox.errors import DataError, DependencyError
from multibox.runtime import inputs
from multibox.runtime.protocol import CheckedRuntime
from multibox.structures import Detections, Image
from tests.conftest import set_orientation

SIZE = (60, 40)


class Witness(CheckedRuntime):
    """Keeps what it was shown; finds one object of its only class in each image."""

    classes = ("thing",)
    threshold = 0.25

    def __init__(self) -> None:
        self.seen: list[Image] = []

    def detect_all(self, images: Sequence[Image]) -> list[Detections]:
        self.seen += images
        box, score = np.array([[0, 0, 0.5, 1]], np.float32), np.array([0.5], np.float32)
        return [Detections(box, score, np.array([0])) for _ in images]


@pytest.fixture
def detector() -> Witness:
    return Witness()


@pytest.fixture
def image() -> Image:
    return np.random.default_rng(5).integers(0, 255, (SIZE[1], SIZE[0], 3), np.uint8)


@pytest.fixture
def folder(tmp_path: Path, image: Image) -> Path:
    """Three images in a folder and one below it, each brighter than the one before."""
    folder = tmp_path / "my photos"
    (folder / "inner").mkdir(parents=True)
    for number, name in enumerate(("a.png", "b.png", "inner/c.png")):
        cv2.imwrite(str(folder / name), (image // 4 + 20 * number).astype(np.uint8))
    (folder / "notes.txt").write_text("no image")
    return folder


@pytest.fixture
def address(folder: Path) -> Iterator[str]:
    """The address of a web server that has the folder."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def test_one_file_gives_one_result_that_knows_all_of_its_image(detector: Witness, folder: Path) -> None:
    for path in (folder / "a.png", str(folder / "a.png")):
        found = detector(path)
        assert (found.size, found.classes, found.threshold, found.source) == (SIZE, ("thing",), 0.25, str(path))
        assert np.array_equal(found.plot(threshold=1.0), cv2.imread(str(folder / "a.png")))


def test_a_folder_gives_a_list_in_the_order_of_the_names(detector: Witness, folder: Path, tmp_path: Path) -> None:
    file = shutil.make_archive(str(tmp_path / "photos"), "zip", folder)
    for source in (folder, str(folder), file):
        found = detector(source)
        assert [one.source for one in found] == [f"{source}/{name}" for name in ("a.png", "b.png", "inner/c.png")]
        assert np.array_equal(found[2].plot(threshold=1.0), cv2.imread(str(folder / "inner/c.png")))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="there is no image in this folder"):
        detector(tmp_path / "empty")


def test_a_list_may_hold_anything(detector: Witness, folder: Path, image: Image) -> None:
    found = detector([image, folder / "a.png", PIL.Image.open(folder / "b.png"), folder / "inner"])

    assert [Path(one.source).name for one in found] == ["", "a.png", "b.png", "c.png"]
    assert np.array_equal(detector.seen[0], image)
    assert [one.size for one in detector.stream(iter([str(folder), image]))] == [SIZE] * 4
    assert detector([]) == []


def test_an_address_is_fetched_once(detector: Witness, folder: Path, address: str) -> None:
    found = detector(f"{address}/a.png")

    assert found.source == f"{address}/a.png" and found.size == SIZE
    (folder / "a.png").unlink()
    assert np.array_equal(found.plot(threshold=1.0), detector.seen[0])


@pytest.mark.parametrize(
    ("name", "reason"),
    [("absent.png", "cannot be fetched: File not found"), ("notes.txt", "the image cannot be decoded")],
)
def test_an_address_without_an_image_is_one_line(detector: Witness, address: str, name: str, reason: str) -> None:
    with pytest.raises(DataError, match=rf"^{address}/{name}: {reason}"):
        detector(f"{address}/{name}")


def test_an_address_that_sends_too_much_is_left(
    detector: Witness, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inputs, "MAX_DOWNLOAD_BYTES", 100)
    with pytest.raises(DataError, match="more than 100 bytes"):
        detector(f"{address}/a.png")


def test_what_cannot_be_read_is_one_line(detector: Witness, folder: Path) -> None:
    for name in ("absent.png", "notes.txt"):
        with pytest.raises(DataError, match=rf"{name}: the image "):
            detector(folder / name)
    with pytest.raises((DataError, DependencyError), match=r"nothing://x/a\.png"):
        detector("nothing://x/a.png")
    with pytest.raises(ValueError, match="not int"):
        detector(7)  # type: ignore[call-overload]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_image_of_pil_is_that_of_its_file(detector: Witness, tmp_path: Path, orientation: int) -> None:
    file = tmp_path / "a.jpg"
    cv2.imwrite(str(file), np.full((40, 60, 3), 90, np.uint8) + np.arange(60, dtype=np.uint8)[None, :, None])
    set_orientation(file, orientation)

    of_pil, of_file = detector([PIL.Image.open(file), file])

    assert of_pil.size == of_file.size == ((40, 60) if orientation > 4 else (60, 40))
    # Two decoders round differently.
    assert np.abs(detector.seen[0].astype(int) - detector.seen[1]).max() <= 2


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "1", "I;16"])
def test_an_image_of_pil_may_be_of_any_mode(detector: Witness, tmp_path: Path, mode: str) -> None:
    grey = np.tile(np.arange(60, dtype=np.uint8) * 4, (40, 1))
    if mode == "I;16":
        picture = PIL.Image.fromarray(grey.astype(np.uint16) * 16)  # a camera of 12 bits
    else:
        picture = PIL.Image.fromarray(grey).convert(mode, dither=PIL.Image.Dither.NONE)

    detector(picture)

    (seen,) = detector.seen
    expected = np.where(grey > 127, 255, 0) if mode == "1" else grey
    assert seen.shape == (40, 60, 3) and seen.dtype == np.uint8
    assert np.array_equal(seen, np.repeat(expected[:, :, None], 3, axis=2))


def test_an_array_is_not_kept_alive_by_its_result(detector: Witness, image: Image) -> None:
    own = image.copy()
    found = detector(own)
    assert np.array_equal(found.plot(threshold=1.0), image)
    detector.seen.clear()
    del own
    gc.collect()
    assert (found.plot(threshold=1.0) == found.plot(threshold=1.0)[0, 0]).all()


def test_a_result_can_be_sent_to_another_process(detector: Witness, folder: Path, image: Image) -> None:
    of_array, of_file = pickle.loads(pickle.dumps(detector([image, folder / "a.png"])))

    assert of_array.plot().shape == image.shape
    assert np.array_equal(of_file.plot(threshold=1.0), cv2.imread(str(folder / "a.png")))


def test_a_stream_is_closed_with_what_it_takes_from(detector: Witness, image: Image) -> None:
    closed = threading.Event()

    def frames() -> Iterator[Image]:
        try:
            while True:
                yield image
        finally:
            closed.set()

    results = detector.stream(frames())
    assert next(results).size == SIZE
    results.close()  # type: ignore[attr-defined]
    gc.collect()
    assert closed.is_set()


def test_several_threads_use_one_detector(detector: Witness, folder: Path) -> None:
    results: list[list[Detections]] = []
    threads = [threading.Thread(target=lambda: results.append(detector(folder))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [[Path(one.source).name for one in found] for found in results] == [["a.png", "b.png", "c.png"]] * 8
