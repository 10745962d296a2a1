"""The server behind the page, asked over a real port of 127.0.0.1."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

from multibox.demo import server as server_module
from multibox.demo.run import build_server, listening
from multibox.demo.server import MAX_WAITING, NamedDetector
from multibox.demo.uploads import MAX_BYTES
from multibox.runtime.protocol import CheckedRuntime
from multibox.structures import Detections, Image

SIZE = (90, 60)


class Watcher(CheckedRuntime):
    """Finds one object in the left half of every image, whose score is the value of the first pixel in per mille.

    It waits until `may_answer` is set.
    """

    classes = ("cat", "dog")
    input_size = 32
    threshold = 0.1

    def __init__(self) -> None:
        self.may_answer = threading.Event()
        self.may_answer.set()
        self.num_seen = 0

    def detect_all(self, images: Sequence[Image]) -> list[Detections]:
        self.may_answer.wait(30)
        self.num_seen += len(images)
        box, label = np.array([[0, 0, 0.5, 1]], dtype=np.float32), np.array([1])
        return [Detections(box, np.array([image[0, 0, 0] / 1000], dtype=np.float32), label) for image in images]


@dataclass
class Site:
    """A server that runs, and ways to ask it."""

    port: int
    runtime: Watcher
    headers: dict[str, str] = field(default_factory=dict)

    def ask(
        self, method: str, path: str, body: bytes | None = None, **headers: str
    ) -> tuple[int, bytes, dict[str, str]]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        return answer.status, content, {name.lower(): value for name, value in answer.getheaders()}

    def detect(self, body: bytes, query: str = "") -> tuple[int, Any]:
        status, content, _ = self.ask("POST", f"/detect{query}", body)
        return status, json.loads(content)

    def send_only(self, body: bytes) -> socket.socket:
        """A connection over which an image went, and that waits for the answer."""
        connection = socket.create_connection(("127.0.0.1", self.port))
        head = f"POST /detect HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body)
        return connection


@pytest.fixture(scope="module")
def running() -> Iterator[Site]:
    runtime = Watcher()
    with listening(None) as place:
        server = build_server(NamedDetector(runtime, "model.xml", 0.1))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [place]})
        thread.start()
        try:
            yield Site(place.getsockname()[1], runtime)
        finally:
            runtime.may_answer.set()
            server.should_exit = True
            thread.join()


@pytest.fixture
def site(running: Site) -> Iterator[Site]:
    """The server of all tests here; each begins with a detector that has seen nothing and answers at once."""
    running.runtime.num_seen = 0
    yield running
    running.runtime.may_answer.set()


def image_of(value: int) -> bytes:
    return cv2.imencode(".png", np.full((SIZE[1], SIZE[0], 3), value, dtype=np.uint8))[1].tobytes()


def test_an_image_comes_back_as_its_detections(site):
    status, answer = site.detect(image_of(200))
    assert status == 200
    assert (answer["width"], answer["height"], answer["threshold"]) == (90, 60, 0.1)
    assert answer["detections"] == [{"class": "dog", "label": 1, "score": 0.2, "box_px": [0, 0, 45, 60]}]
    assert set(answer["milliseconds"]) == {"decode", "detect"}


def test_an_image_comes_back_as_a_jpeg_for_a_browser_that_does_not_show_it(site):
    status, content, headers = site.ask("POST", "/preview", image_of(200))
    assert (status, headers["content-type"]) == (200, "image/jpeg")
    assert cv2.imdecode(np.frombuffer(content, dtype=np.uint8), cv2.IMREAD_COLOR).shape == (60, 90, 3)
    assert site.ask("POST", "/preview", b"text")[0] == 415


def test_the_threshold_is_that_of_the_request(site):
    assert site.detect(image_of(200), "?threshold=0.3")[1]["detections"] == []
    assert site.detect(image_of(50))[1]["detections"] == []
    assert len(site.detect(image_of(50), "?threshold=0")[1]["detections"]) == 1


def test_of_200_requests_16_at_once_none_is_lost_and_each_gets_its_own_answer(site):
    def score_of(number: int) -> float:
        status, answer = site.detect(image_of(number), "?threshold=0")
        assert status == 200
        return answer["detections"][0]["score"]

    with ThreadPoolExecutor(16) as pool:
        scores = list(pool.map(score_of, range(200)))
    assert scores == [number / 1000 for number in range(200)]
    assert site.runtime.num_seen == 200


@pytest.mark.parametrize(
    ("body", "query", "status", "words"),
    [
        (b"", "", 415, "another kind than JPEG, PNG, WebP, BMP"),
        (b"GIF89a" + bytes(100), "", 415, "another kind"),
        (image_of(0)[:60], "", 422, "is truncated"),
        (image_of(0), "?threshold=2", 400, "from 0 to 1"),
        (image_of(0), "?threshold=nan", 400, "from 0 to 1"),
        (image_of(0), "?threshold=", 400, "from 0 to 1"),
    ],
)
def test_what_cannot_be_answered_is_refused_in_a_sentence(site, body, query, status, words):
    answered, answer = site.detect(body, query)
    assert answered == status
    assert words in answer["error"]


def test_what_is_too_large_is_refused_before_it_is_sent(site):
    connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=60)
    connection.putrequest("POST", "/detect")
    connection.putheader("Content-Length", str(MAX_BYTES + 1))
    connection.endheaders()
    answer = connection.getresponse()
    assert answer.status == 413
    assert "32 MB" in json.loads(answer.read())["error"]
    connection.close()


def test_what_does_not_say_how_large_it_is_is_cut_off(site, monkeypatch):
    monkeypatch.setattr(server_module, "MAX_BYTES", 1000)
    status, content, _ = site.ask("POST", "/detect", iter([bytes(600), bytes(600)]))
    assert status == 413, content


@pytest.mark.parametrize(
    ("host", "status"), [("127.0.0.1", 200), ("localhost:1", 200), ("evil.example", 403), ("", 403)]
)
def test_only_the_names_of_this_machine_are_served(site, host, status):
    # A page of evil.example that makes its own name point to 127.0.0.1 sends that name.
    assert site.ask("GET", "/", Host=host)[0] == status
    assert site.ask("GET", "/model", Host=host)[0] == status


def test_pages_of_other_sites_are_refused_and_none_is_told_that_it_may_read(site):
    own = f"http://127.0.0.1:{site.port}"
    assert site.ask("POST", "/detect", image_of(1), Origin=own)[0] == 200
    for origin in ("http://evil.example", "null", "http://127.0.0.1:1", own.replace("http", "https")):
        status, _, headers = site.ask("POST", "/detect", image_of(1), Origin=origin)
        assert status == 403
        assert not any(name.startswith("access-control") for name in headers)
    assert site.runtime.num_seen == 1


def test_the_page_may_load_nothing_from_elsewhere(site):
    status, content, headers = site.ask("GET", "/")
    assert status == 200
    assert "default-src 'none'" in headers["content-security-policy"]
    assert headers["cache-control"] == "no-store"
    for path in ("/page.css", "/page.js", "/engine.js"):
        status, text, _ = site.ask("GET", path)
        assert status == 200
        content += text
    assert b"http://" not in content and b"https://" not in content


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/x", 404), ("GET", "/detect", 405), ("POST", "/", 405)]
)
def test_other_addresses_are_refused_in_a_sentence(site, method, path, status):
    answered, content, _ = site.ask(method, path)
    assert answered == status
    assert json.loads(content)["error"]


def test_labels_come_as_a_zip_file(site):
    image = {
        "name": "a.jpg",
        "width": 9,
        "height": 9,
        "detections": [{"label": 0, "score": 0.5, "box_px": [1, 2, 3, 4]}],
    }
    body = json.dumps({"format": "yolo", "images": [image]}).encode()
    status, content, headers = site.ask("POST", "/labels", body)
    assert (status, headers["content-type"], content[:2]) == (200, "application/zip", b"PK")
    status, content, _ = site.ask("POST", "/labels", b"[]")
    assert status == 422
    assert "no detections to save" in json.loads(content)["error"]


def test_who_has_gone_is_not_worked_for_and_others_are(site):
    site.runtime.may_answer.clear()
    gone = [site.send_only(image_of(1)) for _ in range(20)]
    for connection in gone:
        connection.close()
    assert site.ask("GET", "/model")[0] == 200  # what was closed before is known to be closed now
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(site.detect, image_of(100))
        site.runtime.may_answer.set()
        assert waiting.result()[0] == 200
    # Two at most had begun when their tabs were closed.
    assert site.runtime.num_seen <= 3


def test_more_than_can_wait_are_told_to_come_again(site):
    site.runtime.may_answer.clear()
    waiting = [site.send_only(image_of(1)) for _ in range(MAX_WAITING)]
    status, content, headers = site.ask("POST", "/detect", image_of(1))
    assert (status, headers["retry-after"]) == (503, "1")
    assert "Try again" in json.loads(content)["error"]
    site.runtime.may_answer.set()
    for connection in waiting:
        assert connection.recv(12) == b"HTTP/1.1 200"
        connection.close()
