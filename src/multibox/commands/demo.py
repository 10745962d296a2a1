"""`multibox demo`."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from multibox.commands.console import say
from multibox.commands.options import Flag, ModelName, Threshold, find_template, found_model, require

Port = Annotated[
    int | None, Parameter(validator=lambda _, value: require(value is None or 0 < value < 65536, "from 1 to 65535"))
]


def demo(
    model: ModelName = None,
    *,
    threshold: Threshold = None,
    port: Port = None,
    no_browser: Flag = False,
    device: str = "auto",
    classes: str = "",
    config: str = "",
) -> int:
    """Try a detector in the browser: on images, videos, and what a webcam shows.

    Example: multibox demo

    The page is served on this machine and to this machine only. No image leaves it, and none is kept. Ctrl-C stops it.
    Scripts can use it as well: POST an image to /detect, and the detections come back as JSON.

    Args:
        model: A run, or any model: .xml, .onnx, .pth. Default: the run of this folder, else the newest in runs.
        threshold: Score from which detections are shown at first. Default: what the model's file recommends, else 0.3.
        port: Port of the page. Default: 8765, or any free one if that is in use.
        no_browser: Only say the address; do not open the browser.
        device: auto, cpu, cuda, ...; for OpenVINO files auto, CPU, GPU, NPU, AUTO.
        classes: Names of the classes of a file that names none, separated by commas.
        config: Template of a snapshot that carries none. Default: template.yaml of the work directory.
    """
    from multibox.data.coco import split_list
    from multibox.demo.run import demo as run
    from multibox.demo.run import open_browser
    from multibox.runtime.opening import open_runtime

    file = found_model(model, is_judged=False).path
    runtime = open_runtime(file, template=find_template(config), classes=split_list(classes) or None, device=device)

    def on_ready(address: str) -> None:
        say(f"{file} is served at {address}")
        say("It can be reached from this machine only. Stop it with Ctrl-C.")
        if not no_browser:
            open_browser(address)

    run(runtime, name="/".join(file.parts[-2:]), threshold=threshold, port=port, on_ready=on_ready)
    say("Stopped.")
    return 0
