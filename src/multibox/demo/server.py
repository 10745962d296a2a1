"""The small server behind the page: who may ask, how much, and what is answered. It keeps nothing.

Only requests to this machine by its own names are served, so no page of another site can use the server by letting its
own name point here; and pages of other sites are refused by their `Origin`.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from multibox import __version__
from multibox.data.jpeg_header import UnusableError
from multibox.data.labels_out import NAMES_OF_FORMATS
from multibox.demo.found import labels_zip, read_wanted
from multibox.demo.uploads import KINDS, MAX_BYTES, MAX_PIXELS, UnknownKindError, as_jpeg, decode_upload
from multibox.drawing import colour
from multibox.errors import DataError, MultiboxError
from multibox.predict.result_files import detection_rows
from multibox.runtime.protocol import Runtime

NAMES = ("127.0.0.1", "localhost")
"""What the machine may be called in a request."""

MAX_WAITING = 64
"""Number of requests that may be under way; those beyond are told to come again."""

NUM_READING, NUM_RUNNING = 8, 2
"""Number of requests whose images are in memory, and of those that are decoded or looked at, at any time.

The detector takes all cores for one image; with two, one is decoded while the detector looks at the other.
"""

READ_TIMEOUT_S = 30
"""How long a request may take to arrive, in seconds."""

LABELS_MAX_BYTES = 16 << 20
"""Largest list of detections that is taken to be saved as labels, in bytes."""

ASSETS = {
    "/": ("page.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    "/page.js": ("page.js", "text/javascript"),
    "/engine.js": ("server_engine.js", "text/javascript"),
}
"""The files of the page: the path of each, its name in `assets`, its kind."""

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' blob: data:; media-src blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
"""What every answer tells the browser: to run and show nothing that is not from here, and to keep nothing."""


@dataclass(frozen=True, slots=True)
class NamedDetector:
    """A detector and how the page shows it: its name, and the score from which a detection is worth showing."""

    runtime: Runtime
    name: str
    threshold: float


def build_app(shown: NamedDetector) -> Starlette:
    """The web application that serves the page, `POST /detect`, `/preview` and `/labels` of one detector."""
    queue = _Queue()
    pages = [Route(path, _asset(name, kind)) for path, (name, kind) in ASSETS.items()]

    async def model(_: Request) -> Response:
        return JSONResponse(_description(shown))

    async def detect(request: Request) -> Response:
        threshold = _threshold(request.query_params.get("threshold"), shown.threshold)
        return await queue.answer(request, lambda data: _detected(shown, data, threshold))

    async def preview(request: Request) -> Response:
        return await queue.answer(request, lambda data: Response(as_jpeg(data), media_type="image/jpeg"))

    async def labels(request: Request) -> Response:
        data = await _read_body(request, LABELS_MAX_BYTES)
        zipped = await asyncio.to_thread(lambda: labels_zip(read_wanted(data), shown.runtime.classes, model=shown.name))
        return Response(zipped, media_type="application/zip")

    return Starlette(
        routes=[
            *pages,
            Route("/model", model),
            Route("/detect", detect, methods=["POST"]),
            Route("/preview", preview, methods=["POST"]),
            Route("/labels", labels, methods=["POST"]),
        ],
        middleware=[Middleware(_OnlyThisMachine)],
        exception_handlers={
            HTTPException: _http_error,
            UnknownKindError: lambda _, error: _error(415, f"The image {error}."),
            UnusableError: lambda _, error: _error(422, f"The image {error}."),
            DataError: lambda _, error: _error(422, str(error)),
            MultiboxError: lambda _, error: _error(500, str(error)),
            ClientDisconnect: lambda _, error: Response(status_code=499),  # nobody is there to read it
        },
    )


class _Queue:
    """Has the images of requests worked on in the order in which they came, a few at a time."""

    def __init__(self) -> None:
        self._reading = asyncio.Semaphore(NUM_READING)
        self._running = asyncio.Semaphore(NUM_RUNNING)
        self._num_waiting = 0

    async def answer(self, request: Request, work: Callable[[bytes], Response]) -> Response:
        """What `work` makes of the body of the request."""
        if self._num_waiting >= MAX_WAITING:
            raise HTTPException(503, f"{MAX_WAITING} requests are under way. Try again.", {"Retry-After": "1"})
        self._num_waiting += 1
        try:
            async with self._reading:
                data = await _read_body(request, MAX_BYTES)
                async with self._running:
                    if await request.is_disconnected():  # a closed tab: spare the work
                        raise ClientDisconnect
                    return await asyncio.to_thread(work, data)
        finally:
            self._num_waiting -= 1


def _detected(shown: NamedDetector, data: bytes, threshold: float) -> Response:
    """The detections in the image of a request."""
    started = time.perf_counter()
    image = decode_upload(data)
    decoded = time.perf_counter()
    detected = shown.runtime(image).above(threshold)
    done = time.perf_counter()
    height, width = image.shape[:2]
    return JSONResponse(
        {
            "width": width,
            "height": height,
            "threshold": threshold,
            "detections": detection_rows(detected, shown.runtime.classes, width=width, height=height),
            "milliseconds": {
                "decode": round(1000 * (decoded - started), 2),
                "detect": round(1000 * (done - decoded), 2),
            },
        }
    )


class _OnlyThisMachine:
    """Refuses requests that call this machine by another name, or come from another site's page; adds `HEADERS`."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        headers = Headers(scope=scope)
        host, origin = headers.get("host", ""), headers.get("origin")
        if host.rsplit(":", 1)[0] not in NAMES:
            refusal = _error(403, f"This page is served as {' and '.join(NAMES)} only.")
            await refusal(scope, receive, send_with_headers)
        elif origin not in {None, f"http://{host}"}:
            await _error(403, "Pages of other sites are not served.")(scope, receive, send_with_headers)
        else:
            await self._app(scope, receive, send_with_headers)


def _asset(name: str, kind: str) -> Any:
    content = (files("multibox.demo") / "assets" / name).read_bytes()

    async def answer(_: Request) -> Response:
        return Response(content, media_type=kind)

    return answer


def _description(shown: NamedDetector) -> dict[str, Any]:
    classes = shown.runtime.classes
    return {
        "name": shown.name,
        "classes": [{"name": name, "colour": _css_colour(label)} for label, name in enumerate(classes)],
        "threshold": shown.threshold,
        "input_size": shown.runtime.input_size,
        "version": __version__,
        "formats": NAMES_OF_FORMATS,
        "limits": {"kinds": KINDS, "bytes": MAX_BYTES, "pixels": MAX_PIXELS},
    }


def _css_colour(label: int) -> str:
    blue, green, red = colour(label)
    return f"#{red:02x}{green:02x}{blue:02x}"


def _threshold(text: str | None, default: float) -> float:
    try:
        value = default if text is None else float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        raise HTTPException(400, f"threshold={text}: a number from 0 to 1 is wanted.")
    return value


async def _read_body(request: Request, limit: int) -> bytes:
    declared = request.headers.get("content-length", "")
    too_large = HTTPException(413, f"At most {limit >> 20} MB are taken.", {"Connection": "close"})
    if declared.isdecimal() and int(declared) > limit:
        raise too_large
    data = bytearray()
    try:
        async with asyncio.timeout(READ_TIMEOUT_S):
            async for part in request.stream():
                data += part
                if len(data) > limit:
                    raise too_large
    except TimeoutError as error:
        raise HTTPException(408, f"The request did not arrive within {READ_TIMEOUT_S} s.") from error
    return bytes(data)


async def _http_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return _error(error.status_code, error.detail, error.headers)


def _error(status: int, text: str, headers: Any = None) -> JSONResponse:
    return JSONResponse({"error": text}, status, headers)
