"""A detector -> a page on 127.0.0.1, until Ctrl-C."""

from __future__ import annotations

import os
import socket
import threading
import webbrowser
from collections.abc import Callable

import uvicorn

from multibox.demo.server import NamedDetector, build_app
from multibox.errors import OptionError
from multibox.runtime.protocol import Runtime
from multibox.signals import interruption
from multibox.structures import shown_from

ADDRESS = "127.0.0.1"
"""The address of this machine that no other can reach."""

PORT = 8765
"""The port that is tried first where none is named, so that a script finds the server where it was."""

CLOSING_S = 2
"""How long answers that are under way may take at the end, in seconds."""


def demo(
    runtime: Runtime,
    *,
    name: str,
    threshold: float | None = None,
    port: int | None = None,
    on_ready: Callable[[str], None],
) -> None:
    """Serve the page of a detector until Ctrl-C or a request to terminate.

    `name` is what the page calls the detector, `threshold` the score from which it shows detections; by default, what
    the model's file recommends. `on_ready` is told the address of the page when it can be opened.

    Raises:
        OptionError: another program uses the port.
    """
    server = build_server(NamedDetector(runtime, name, shown_from(threshold, runtime.threshold)[0]))
    with listening(port) as place, interruption():
        on_ready(f"http://{ADDRESS}:{place.getsockname()[1]}/")
        # It takes the signals while it runs, ends in good order, and hands the signal on to `interruption`.
        server.run(sockets=[place])


def build_server(shown: NamedDetector) -> uvicorn.Server:
    """The server of a detector's page, which runs when it is given a socket."""
    config = uvicorn.Config(
        build_app(shown),
        log_config=None,
        access_log=False,
        lifespan="off",
        server_header=False,
        timeout_graceful_shutdown=CLOSING_S,
    )
    return uvicorn.Server(config)


def listening(port: int | None) -> socket.socket:
    """A socket that waits for connections from this machine; without a `port`, at `PORT` or where there is room.

    Raises:
        OptionError: another program uses the port.
    """
    for number in (PORT, 0) if port is None else (port,):
        place = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        if os.name != "nt":  # there it would let two programs share a port
            place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            place.bind((ADDRESS, number))
            place.listen(256)
        except OSError as error:
            place.close()
            reason = error.strerror or str(error)
        else:
            return place
    raise OptionError(f"--port {port}: {reason}. Name another port, or leave --port out.")


def open_browser(address: str) -> None:
    """Have the user's browser open a page, if there is one; this does not wait for it."""
    threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()
