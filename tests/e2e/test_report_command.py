"""`multibox report` as a command, and its page in a real browser."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from multibox.commands.report import report
from multibox.evaluate import record
from multibox.evaluate.average_precision import measure

pytestmark = pytest.mark.e2e

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
ARGUMENTS = [
    *("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
]


@pytest.fixture(scope="module")
def work(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A work directory in which only `train` was run."""
    folder = tmp_path_factory.mktemp("a work dir é")
    shutil.copytree(trained.parent, folder / "outputs")
    return folder


@pytest.fixture(scope="module")
def page(work: Path) -> Path:
    assert report([work]) == 0
    return work / "report.html"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    executable = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    with playwright.sync_playwright() as running:
        if executable is None and not Path(running.chromium.executable_path).exists():
            pytest.skip(f"there is no Chromium: none of {', '.join(BROWSERS)}, nor playwright's own")
        chromium = running.chromium.launch(executable_path=executable, args=ARGUMENTS)
        yield chromium
        chromium.close()


@pytest.fixture
def tab(browser: Any, page: Path) -> Iterator[Any]:
    """The page, opened from disk; afterwards, that nothing was fetched and no script failed."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, color_scheme="light")
    tab = context.new_page()
    fetched: list[str] = []
    faults: list[str] = []
    tab.on("request", lambda request: fetched.append(request.url))
    tab.on("console", lambda message: faults.append(message.text))
    tab.on("pageerror", lambda error: faults.append(str(error)))
    tab.goto(page.as_uri())
    yield tab
    context.close()
    assert [url for url in fetched if not url.startswith("data:")] == [page.as_uri()]
    assert [text for text in faults if "Content Security Policy" not in text] == []


def test_the_chooser_moves(tab: Any) -> None:
    line = tab.locator(".wide-plot .chosen path")
    suggested, before = tab.locator("#chosen-value").inner_text(), line.get_attribute("d")
    tab.locator("#chosen").fill("96")  # 0.98, where hardly anything is left
    assert tab.locator("#chosen-value").inner_text() == "0.98"
    assert line.get_attribute("d") != before
    missed = int(tab.locator("#live-missed").inner_text())
    objects = int(tab.locator("#live-objects").inner_text().split()[1])
    cells = tab.locator("#live-table tbody tr").evaluate_all(
        "rows => rows.map(row => [...row.children].slice(1, 5).map(cell => Number(cell.textContent)))"
    )
    assert missed == sum(row[2] for row in cells)
    assert objects == sum(row[0] for row in cells) == sum(row[1] + row[2] for row in cells)
    tab.locator("#chosen").fill("0")
    assert int(tab.locator("#live-missed").inner_text()) <= missed
    tab.locator("#suggested").click()
    assert tab.locator("#chosen-value").inner_text() == suggested


def test_a_class_has_its_own_curves(tab: Any) -> None:
    curve = tab.locator(".wide-plot .recall path")
    before = curve.get_attribute("d")
    tab.locator("#whose").select_option(index=1)
    row = tab.locator("#live-table tbody tr").first
    assert tab.locator("#live-recall").inner_text() == row.locator("td").nth(5).inner_text()
    assert curve.get_attribute("d") != before


def test_light_and_dark(tab: Any) -> None:
    def background() -> str:
        return str(tab.evaluate("getComputedStyle(document.body).backgroundColor"))

    light = background()
    tab.locator("#theme").click()
    assert background() == "rgb(20, 22, 26)" != light
    tab.locator("#theme").click()
    assert background() == light
    tab.emulate_media(color_scheme="dark")
    tab.evaluate("document.documentElement.removeAttribute('data-theme')")
    assert background() == "rgb(20, 22, 26)"


@pytest.mark.parametrize("width", [320, 390, 1280])
def test_nothing_sticks_out_sideways(tab: Any, width: int) -> None:
    tab.set_viewport_size({"width": width, "height": 800})
    assert tab.evaluate("document.documentElement.scrollWidth") == width


def test_only_our_script_may_run(tab: Any) -> None:
    assert "default-src 'none'" in tab.locator("meta[http-equiv]").get_attribute("content")
    tab.evaluate("document.body.insertAdjacentHTML('beforeend', '<b id=hostile></b>')")
    # The browser refuses it and says so, once; anything else on the console fails the test as always.
    with tab.expect_console_message(lambda message: "Content Security Policy" in message.text):
        tab.evaluate("hostile.outerHTML = `<img src='data:,' onerror='document.title = 1'>`")
    assert tab.title() != "1"


def test_the_page_is_small_and_has_the_figures_of_the_training(work: Path, page: Path) -> None:
    recorded = record.read_record(work / "outputs" / record.NAME)
    best = max(json.loads(line)["ap"] for line in (work / "outputs/metrics.jsonl").read_text().splitlines())
    assert measure(recorded.detections, recorded.data).ap == pytest.approx(best, abs=1e-6)
    text = page.read_text(encoding="utf-8")
    assert len(text.encode()) < 5e6
    assert f'<div class="name">AP</div><div class="value">{100 * best:.1f}' in text
    assert text.count('class="crop"') > 4


def test_without_a_record_the_weights_are_run_where_the_data_are_now(work, shapes_data, tmp_path, capsys):
    folder = tmp_path / "moved"
    shutil.copytree(work / "outputs", folder / "out")
    (folder / "out" / record.NAME).unlink()
    facts = json.loads((folder / "out/run.json").read_text())
    facts["val_data"]["data_roots"] = ["/nowhere"]
    (folder / "out/run.json").write_text(json.dumps(facts))
    report([folder])
    assert "cannot be read again" in capsys.readouterr().out
    assert "has not been measured" in (folder / "report.html").read_text()
    page = tmp_path / "pages/one page.html"
    data = {"val_ann_files": str(shapes_data.val_file), "val_data_roots": str(shapes_data.val_root)}
    report([folder], save_to=page, **data)
    assert "measured for this report" in page.read_text()
    assert re.findall(r"measured on (\d+) images", page.read_text())[0] == "8"


def test_two_runs_are_compared(work, tmp_path, monkeypatch):
    shutil.copytree(work / "outputs", tmp_path / "second")
    monkeypatch.chdir(tmp_path)
    report([work, tmp_path / "second"])
    assert "find the same" in (tmp_path / "comparison.html").read_text()


def test_a_folder_without_anything_is_refused_in_one_line(multibox, tmp_path):
    for folder, words in (
        (tmp_path, "no multibox command left anything here"),
        (tmp_path / "x", "no such file, folder or run"),
    ):
        done = multibox("report", folder)
        assert done.returncode == 2
        assert words in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_without_matplotlib_it_says_what_to_install(work):
    command = ["report", str(work)]
    code = f"import sys; sys.modules['matplotlib'] = None; from multibox.cli import main; sys.exit(main({command!r}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == 'A report needs matplotlib. Install with: pip install "multibox[report]"\n'
