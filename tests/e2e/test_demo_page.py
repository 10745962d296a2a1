"""The page of `multibox demo`, and the one that `multibox export --web` writes, in a real browser."""

from __future__ import annotations

import base64
import copy
import json
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from multibox import config
from multibox.data.images import read_image
from multibox.demo.uploads import MAX_BYTES
from multibox.demo.web_page import ASSETS, OTHERS, outputs_of_page, write_web_page
from multibox.errors import OptionError
from multibox.export.run import Request, write_files
from multibox.model.anchors import make_anchors
from multibox.model.postprocess import select
from multibox.overwriting import check_outputs
from multibox.runtime.contract import ExportInfo
from multibox.runtime.onnx_runtime import OnnxRuntime
from tests.e2e.conftest import ENVIRONMENT
from tests.unit.data.test_images import HEIC

pytestmark = pytest.mark.e2e

CLASSES = ("red, tiny triangle", "square")
SIDE = 96
PATIENCE_S = 60  # how long a page may take for anything
NAMES = [f"image {number}.png" for number in range(3)] + ["telephone.heic"]
"""The images of the tests; browsers on Linux do not show the last."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tiny_template_file: Path, tiny_model: Any) -> Path:
    """Every file of an export, of a network with few and clear detections, and images."""
    from multibox.weights.checkpoint import Checkpoint, save

    network = copy.deepcopy(tiny_model)
    for _, _, _, last in network.bbox_head.cls_convs:
        last.weight.data *= 10
        last.bias.data.unflatten(0, (-1, len(CLASSES) + 1))[:, -1] += 10
    folder = tmp_path_factory.mktemp("export")
    checkpoint = Checkpoint(network.state_dict(), CLASSES, config.load_template(tiny_template_file))
    save(folder / "latest.pth", checkpoint)
    write_files(checkpoint, folder / "latest.pth", folder, Request(openvino=False, raw=True))
    random = np.random.default_rng(0)
    for number in range(3):
        # As large as the network's input, and without loss: no resize and no JPEG stands between two programs.
        noise = random.integers(0, 256, (8, 8, 3)).astype(np.uint8)
        image = cv2.resize(noise, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
        (folder / f"image {number}.png").write_bytes(cv2.imencode(".png", image)[1].tobytes())
    (folder / "text.png").write_text("no image")
    (folder / "telephone.heic").write_bytes(base64.b64decode(HEIC))
    return folder


def expected(folder: Path, name: str, threshold: float) -> list[tuple[str, float, list[float]]]:
    """What our runtime finds in an image: class, score, box in pixels, best first."""
    image = read_image(folder / name)
    found = OnnxRuntime(folder / "model.onnx")(image).above(threshold)
    height, width = image.shape[:2]
    rows = zip(found.labels.tolist(), found.scores.tolist(), found.boxes_px(width, height).tolist(), strict=True)
    return [(CLASSES[label], score, box) for label, score, box in rows]


@pytest.fixture(scope="module")
def address(folder: Path) -> Iterator[str]:
    """The page of the command, which Ctrl-C ends in good order afterwards."""
    command = [sys.executable, "-m", "multibox", "demo", str(folder / "model.onnx"), "--no-browser"]
    with subprocess.Popen(
        command, env=ENVIRONMENT | {"PYTHONUNBUFFERED": "1"}, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        found = next(filter(None, (re.search(r"http://127\.0\.0\.1:\d+/", line) for line in process.stdout)))
        yield found[0]
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 0
        assert process.stdout.read().endswith("Stopped.\n")


@contextmanager
def visited(browser: Any, address: str) -> Iterator[Any]:
    """A page, once for all tests; afterwards, that no script failed and nothing was fetched from elsewhere."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, permissions=["camera"])
    tab = context.new_page()
    tab.set_default_timeout(120_000)
    fetched: list[str] = []
    faults: list[str] = []
    tab.on("request", lambda request: fetched.append(request.url))
    tab.on("pageerror", lambda error: faults.append(str(error)))
    tab.goto(address)
    yield tab
    context.close()
    assert faults == []
    site = address[: address.index("/", len("http://")) + 1]
    assert [url for url in fetched if not url.startswith((site, "blob:", "data:"))] == []


@pytest.fixture(scope="module")
def demo(browser: Any, address: str) -> Iterator[Any]:
    """The page of the command, when it has its detector."""
    with visited(browser, address) as tab:
        tab.locator("#classes li").nth(1).wait_for()
        yield tab


@pytest.fixture
def tab(demo: Any) -> Any:
    """That page as it is at first: nothing on it, all classes shown from the suggested threshold on."""
    demo.evaluate("document.querySelector('[data-do=clear]').click()")
    demo.locator("#all").click()
    demo.locator("#suggested").click()
    return demo


def wait_for(tab: Any, code: str) -> Any:
    """What a script says, when it says something; the page's own rules forbid the browser's way of waiting for it."""
    until = time.monotonic() + PATIENCE_S
    while not (value := tab.evaluate(code)):
        assert time.monotonic() < until, f"in {PATIENCE_S} s, this was never so: {code}"
        tab.wait_for_timeout(50)
    return value


def badges(tab: Any) -> list[str]:
    """The numbers on the small images, when there are no more to wait for."""
    texts = "[...document.querySelectorAll('#strip span')].map(span => span.textContent)"
    return list(wait_for(tab, f"(list => list.length && !list.includes('…') && list)({texts})"))


def test_images_are_shown_with_what_the_detector_finds(tab, folder, tmp_path):
    tab.set_input_files("#files", [folder / name for name in (*NAMES, "text.png")])
    assert badges(tab) == [*(str(len(expected(folder, name, 0.3))) for name in NAMES), "!"]
    assert "image 0.png" in tab.locator("#status").inner_text()
    before = tab.evaluate("document.getElementById('view').toDataURL()")

    # A class that is switched off, and another threshold, change the boxes, the counts and what is saved.
    tab.locator("#classes input").first.uncheck()
    tab.locator("#threshold").fill("0.6")
    kept = [[row for row in expected(folder, name, 0.6) if row[0] == CLASSES[1]] for name in NAMES]
    assert badges(tab) == [*(str(len(rows)) for rows in kept), "!"]
    assert tab.evaluate("document.getElementById('view').toDataURL()") != before
    with tab.expect_download() as download:
        tab.locator("#save").click()
    download.value.save_as(tmp_path / "labels.zip")
    content = json.loads(zipfile.ZipFile(tmp_path / "labels.zip").read("annotations.json"))
    assert [image["file_name"] for image in content["images"]] == NAMES
    assert len(content["annotations"]) == sum(map(len, kept)) > 0

    tab.locator("#strip button").last.click()
    wait_for(tab, "document.getElementById('status').textContent.includes('another kind than JPEG')")


def test_a_webcam_is_looked_at_frame_by_frame_and_let_go(tab):
    tab.locator(".empty [data-do=webcam]").click()
    wait_for(tab, "Number(document.getElementById('rate').textContent) > 0")
    assert tab.locator("#status").inner_text().startswith("Webcam")
    tab.evaluate("window.before = document.getElementById('view').toDataURL()")
    wait_for(tab, "document.getElementById('view').toDataURL() !== window.before")
    tracks = "document.getElementById('video').srcObject?.getTracks().map(track => track.readyState)"
    assert tab.evaluate(tracks) == ["live"]
    tab.locator("#webcam").click()
    wait_for(tab, f"!{tracks}")
    assert tab.locator("#webcam").inner_text() == "Use the webcam"


def draw_video(path: Path, codec: str, images: list[Path]) -> None:
    """Each of the images for a second, at ten frames a second."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*codec), 10, (SIDE, SIDE))
    for image in images:
        for _ in range(10):
            writer.write(cv2.imread(str(image)))
    writer.release()


def drop(tab: Any, name: str, kind: str, data: bytes, *, num_more_bytes: int = 0) -> None:
    """What the browser does when somebody drops a file on the page; `num_more_bytes` of it are 0."""
    tab.evaluate(
        """([name, type, data, more]) => {
          const dataTransfer = new DataTransfer();
          const bytes = Uint8Array.from(atob(data), letter => letter.charCodeAt(0));
          dataTransfer.items.add(new File([bytes, new Uint8Array(more)], name, { type }));
          document.body.dispatchEvent(new DragEvent("drop", { dataTransfer, bubbles: true, cancelable: true }));
        }""",
        [name, kind, base64.b64encode(data).decode(), num_more_bytes],
    )


COLOURED = """() => {
  const view = document.getElementById("view");
  const { data } = view.getContext("2d").getImageData(0, 0, view.width, view.height);
  const colours = [...document.querySelectorAll("#classes .chip")].map(chip => getComputedStyle(chip).backgroundColor);
  let number = 0;
  for (let at = 0; at < data.length; at += 4)
    if (colours.includes(`rgb(${data[at]}, ${data[at + 1]}, ${data[at + 2]})`)) number += 1;
  return number;
}"""  # how many pixels of what is shown have the very colour of a class


def test_a_video_that_is_dropped_is_shown_with_its_boxes(tab, folder, tmp_path):
    draw_video(tmp_path / "clip.mp4", "vp09", [folder / name for name in NAMES[:3]])
    drop(tab, "clip.mp4", "video/mp4", (tmp_path / "clip.mp4").read_bytes())
    status = "document.getElementById('status').textContent"
    wait_for(tab, f"/^clip.mp4 · [1-9][0-9]* objects?: /.test({status})")
    wait_for(tab, "Number(document.getElementById('rate').textContent) > 0")
    tab.locator("#play").click()
    assert tab.evaluate(COLOURED) > 100

    # Paused, it shows another frame, with the boxes of that one, when somebody moves to it.
    tab.evaluate("window.before = document.getElementById('view').toDataURL()")
    tab.locator("#position").fill("0.1" if float(tab.locator("#position").input_value()) > 0.5 else "0.9")
    wait_for(tab, "document.getElementById('view').toDataURL() !== window.before")
    tab.locator("#threshold").fill("1")
    assert tab.evaluate(COLOURED) == 0
    assert tab.evaluate(status) == "clip.mp4 · 0 objects"


def test_a_video_that_the_browser_cannot_play_is_refused_in_a_sentence(tab, folder, tmp_path):
    draw_video(tmp_path / "old.mp4", "mp4v", [folder / NAMES[0]])
    drop(tab, "old.mp4", "video/mp4", (tmp_path / "old.mp4").read_bytes())
    said = wait_for(tab, "document.getElementById('message').textContent")
    assert said == "old.mp4: this browser cannot play the video. `multibox predict` reads more formats."


def test_an_image_that_is_too_large_is_refused_before_it_is_sent(tab, folder):
    drop(tab, "large.png", "image/png", (folder / NAMES[0]).read_bytes(), num_more_bytes=MAX_BYTES)
    assert badges(tab) == ["!"]
    wait_for(tab, "document.getElementById('status').textContent === 'large.png: The file is larger than 32 MB.'")


def test_a_tab_that_is_closed_in_the_middle_leaves_the_others_alone(tab, folder):
    other = tab.context.new_page()
    other.goto(tab.url)
    other.locator("#classes li").nth(1).wait_for()
    other.set_input_files("#files", [folder / name for name in NAMES[:3]] * 10)
    other.close()
    tab.set_input_files("#files", [folder / NAMES[0]])
    assert badges(tab) == [str(len(expected(folder, NAMES[0], 0.3)))]


def test_nothing_sticks_out_sideways_in_light_and_dark(tab, folder):
    tab.set_input_files("#files", [folder / "image 0.png"])
    badges(tab)
    for scheme, background in (("light", "rgb(255, 255, 255)"), ("dark", "rgb(20, 22, 26)")):
        tab.emulate_media(color_scheme=scheme)
        assert tab.evaluate("getComputedStyle(document.body).backgroundColor") == background
        for width in (320, 390, 1280):
            tab.set_viewport_size({"width": width, "height": 800})
            assert tab.evaluate("document.documentElement.scrollWidth") == width


def test_the_programs_of_the_docs_print_what_the_detector_finds(address, folder):
    text = (
        (Path(__file__).parents[2] / "docs/demo.md")
        .read_text(encoding="utf-8")
        .replace("http://127.0.0.1:8765/", address)
    )
    shutil.copy(folder / "image 0.png", folder / "picture.jpg")
    ours = expected(folder, NAMES[0], 0.3)
    (program,) = re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    printed = subprocess.run(
        [sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, check=True
    ).stdout
    assert [line.rsplit(maxsplit=5)[0] for line in printed.splitlines()] == [name for name, _, _ in ours]
    if shutil.which("curl"):
        (command,) = re.findall(r"^curl .*$", text, re.MULTILINE)
        answer = subprocess.run(["bash", "-c", command], cwd=folder, capture_output=True, text=True, check=True).stdout
        assert [found["class"] for found in json.loads(answer)["detections"]] == [name for name, _, _ in ours]


@pytest.fixture(scope="module")
def site(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """The folder of the page to publish, and its address."""
    web = tmp_path_factory.mktemp("web page")
    write_web_page(web, folder / "raw/model.onnx", name="shapes")

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            """Nothing: a server that is no part of the test has nothing to say."""

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=web)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield web, f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


def test_a_page_of_somebody_else_is_not_replaced(site, tmp_path):
    web, _ = site
    check_outputs(outputs_of_page(web), [], say=str)
    (tmp_path / "index.html").write_text("<title>mine</title>")
    with pytest.raises(OptionError, match=r"index\.html is there, and not from this command"):
        check_outputs(outputs_of_page(tmp_path), [], say=str)


def test_the_folder_of_the_page_is_complete_and_needs_nothing_else(site):
    web, _ = site
    assert {path.name for path in web.iterdir() if path.is_file()} == {*ASSETS, *OTHERS}
    named = set()
    for script in web.glob("*.js"):
        named |= set(re.findall(r'from "\./([^"]+)"', script.read_text(encoding="utf-8")))
    fetched = {name for name in named if name.startswith("node_modules/onnxruntime-web/")}
    assert len(fetched) == 1
    assert all((web / name).exists() for name in named - fetched)


@pytest.fixture(scope="module")
def scripts(browser: Any, site: tuple[Path, str]) -> Iterator[Any]:
    """A file of the folder, opened in a browser that can load its scripts from there."""
    with visited(browser, f"{site[1]}README.md") as tab:
        yield tab


def test_the_page_makes_of_raw_outputs_what_multibox_makes_of_them(scripts, folder):
    info = OnnxRuntime(folder / "raw/model.onnx").info
    described = scripts.evaluate(
        """async () => {
          const { readDescription } = await import("/detections.js");
          return readDescription(new Uint8Array(await (await fetch("/model.onnx")).arrayBuffer()));
        }"""
    )
    assert described["classes"] == list(CLASSES)
    assert described["anchors_px"] == [[list(size) for size in level] for level in info.anchors_px]
    assert described["threshold"] == info.suggested_threshold

    rules = config.PostprocessConfig(
        score_threshold=info.min_score,
        iou_threshold=info.iou_threshold,
        max_per_class=info.max_per_class,
        max_detections=info.max_detections,
    )
    for offset in (0.5, 0.0):
        deltas, scores, anchors = _raw_outputs(info, offset)
        (ours,) = select(deltas, scores, anchors, variances=info.box_variances, config=rules)
        theirs = scripts.evaluate(
            """async ([deltas, scores, info]) => {
              const { makeAnchors, select } = await import("/detections.js");
              const found = select(Float32Array.from(deltas), Float32Array.from(scores), makeAnchors(info), info);
              return found.map(({ label, score, box }) => [label, score, ...box]);
            }""",
            [deltas.ravel().tolist(), scores.ravel().tolist(), described | {"anchor_offset": offset}],
        )
        assert len(theirs) == len(ours) > 50
        assert [row[0] for row in theirs] == ours.labels.tolist()
        assert [row[1] for row in theirs] == ours.scores.tolist()
        assert np.abs(np.array([row[2:] for row in theirs]) - ours.boxes).max() < 1e-6


def _raw_outputs(info: ExportInfo, offset: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Random deltas and scores, and their anchors: boxes over the border, some huge, more than enough candidates."""
    anchors = make_anchors(info.anchors_px, info.strides, info.input_size, offset=offset)
    random = np.random.default_rng(1)
    deltas = random.normal(0, 3, (1, len(anchors), 4)).astype(np.float32)
    deltas[0, ::7] *= 100
    scores = random.random((1, len(anchors), len(CLASSES) + 1)).astype(np.float32)
    scores[0, ::5] *= 0.01
    return deltas, scores, anchors


def test_pixels_become_the_input_of_the_network_as_opencv_makes_it(scripts):
    height, width = 25, 65
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3)).astype(np.uint8)
    rgba = cv2.cvtColor(image, cv2.COLOR_BGR2RGBA)
    for side in (16, 48):
        theirs = scripts.evaluate(
            """async ([data, width, height, side]) => {
              const { toInput } = await import("/detections.js");
              return Array.from(toInput({ data, width, height }, side), value => Math.round(255 * value));
            }""",
            [rgba.ravel().tolist(), width, height, side],
        )
        ours = cv2.resize(image, (side, side), interpolation=cv2.INTER_LINEAR)[:, :, ::-1].transpose(2, 0, 1)
        difference = np.abs(np.array(theirs) - ours.ravel().astype(int))
        assert difference.max() <= 1  # OpenCV rounds twice


def fetch_onnx_runtime(web: Path) -> None:
    """Put the files of ONNX Runtime Web that README.md of the folder names where `npm install` would put them."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not installed, which fetches ONNX Runtime Web")
    ((package, version),) = json.loads((web / "package.json").read_text())["dependencies"].items()
    command = [npm, "pack", f"{package}@{version}", "--silent", "--prefer-offline"]
    done = subprocess.run(command, cwd=web, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode:
        pytest.skip(f"npm cannot fetch ONNX Runtime Web: {' '.join(done.stderr.split())[-200:]}")
    names = re.findall(r"`(ort[\w.-]+\.(?:mjs|wasm))`", (web / "README.md").read_text(encoding="utf-8"))
    target = web / "node_modules" / package / "dist"
    target.mkdir(parents=True)
    archive = web / done.stdout.split()[-1]
    missing = {f"package/dist/{name}" for name in names}
    with tarfile.open(archive, "r|gz") as files:  # only as far as needed: it is large
        for member in files:
            if member.name in missing:
                content = files.extractfile(member)
                assert content is not None
                (target / Path(member.name).name).write_bytes(content.read())
                missing.remove(member.name)
            if not missing:
                break
    assert not missing
    archive.unlink()


def test_the_page_finds_in_the_browser_what_multibox_finds(browser, site, folder):
    web, address = site
    fetch_onnx_runtime(web)
    names = NAMES[:3]
    shutil.copy(folder / names[0], web / "image.png")
    with visited(browser, address) as tab:
        tab.locator("#classes li").nth(1).wait_for()
        tab.set_input_files("#files", [folder / name for name in (*names, "telephone.heic")])
        assert badges(tab) == [*(str(len(expected(folder, name, 0.3))) for name in names), "!"]
        found = tab.evaluate(
            """async () => {
              const { detect } = await (await import("/engine.js")).openEngine();
              const image = await (await fetch("/image.png")).blob();
              return (await detect(image)).detections.map(({ label, score, box_px }) => [label, score, ...box_px]);
            }"""
        )
    ours = expected(folder, names[0], 0.05)
    assert [CLASSES[int(row[0])] for row in found] == [row[0] for row in ours]
    assert np.abs(np.array([row[1] for row in found]) - [row[1] for row in ours]).max() < 1e-4
    assert np.abs(np.array([row[2:] for row in found]) - [row[2] for row in ours]).max() < 0.05
