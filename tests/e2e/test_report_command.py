"""`multibox report` as a command, and its page in a real browser."""

from __future__ import annotations

import csv
import json
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from multibox.commands.card import card
from multibox.commands.report import report
from multibox.evaluate import record
from multibox.evaluate.average_precision import measure
from tests.report_case import deployed_files

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def work(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A work directory in which `train` was run, with what export and compress leave."""
    folder = tmp_path_factory.mktemp("a work dir é")
    shutil.copytree(trained.parent, folder / "outputs")
    deployed_files(folder)
    return folder


@pytest.fixture(scope="module")
def page(work: Path) -> Path:
    assert report([work]) == 0
    return work / "report.html"


@pytest.fixture(scope="module")
def opened(browser: Any, page: Path) -> Iterator[tuple[Any, list[str], list[str]]]:
    """The page, opened from disk once for all tests; what it fetched; and what went wrong in its script."""
    context = browser.new_context()
    tab = context.new_page()
    fetched: list[str] = []
    faults: list[str] = []
    tab.on("request", lambda request: fetched.append(request.url))
    tab.on("console", lambda message: faults.append(message.text))
    tab.on("pageerror", lambda error: faults.append(str(error)))
    tab.goto(page.as_uri())
    yield tab, fetched, faults
    context.close()


@pytest.fixture
def tab(opened: tuple[Any, list[str], list[str]], page: Path) -> Iterator[Any]:
    """The page, wide and light; afterwards, that nothing was fetched and no script failed."""
    tab, fetched, faults = opened
    tab.set_viewport_size({"width": 1280, "height": 900})
    tab.emulate_media(color_scheme="light")
    yield tab
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
    assert background() == "rgb(20, 22, 26)"  # with nothing chosen, as the system has it


def test_nothing_sticks_out_sideways(tab: Any) -> None:
    for width in (320, 390, 1280):
        tab.set_viewport_size({"width": width, "height": 800})
        assert tab.evaluate("document.documentElement.scrollWidth") == width


@pytest.mark.parametrize(("width", "scheme"), [(390, "dark"), (1280, "light")])
def test_whole_images_open_large_and_the_keys_go_on(tab: Any, width: int, scheme: str) -> None:
    tab.set_viewport_size({"width": width, "height": 800})
    tab.emulate_media(color_scheme=scheme)
    viewer, title = tab.locator("#viewer"), tab.locator("#viewer-title")
    names = tab.locator(".strip .file").all_inner_texts()
    assert 4 <= len(names) <= 6
    tab.locator(".strip button").first.click()
    assert viewer.is_visible() and title.inner_text() == names[0]
    box = tab.locator("#viewer-stage svg").first.bounding_box()
    assert box["width"] > 0.4 * width and box["x"] >= 0 and box["x"] + box["width"] <= width
    # Both halves show the image: the second by a reference to the first.
    shown = "svg => svg.querySelector('image, use').getBoundingClientRect().width"
    assert all(one > 0.4 * width for one in tab.locator("#viewer-stage svg").evaluate_all(f"all => all.map({shown})"))
    # No name is cut at the border of its image.
    ends = "svg => [...svg.querySelectorAll('text')].map(text => text.getBoundingClientRect().right)"
    for half in tab.locator("#viewer-stage svg").all():
        names_end = half.evaluate(ends)
        assert names_end and max(names_end) <= half.bounding_box()["x"] + half.bounding_box()["width"] + 1
    tab.keyboard.press("ArrowRight")
    assert title.inner_text() == names[1]
    tab.keyboard.press("ArrowLeft")
    tab.keyboard.press("ArrowLeft")  # from the first to the last
    last, of = (int(number) for number in tab.locator("#viewer-place").inner_text().split(" of "))
    assert last == of >= len(names)
    tab.keyboard.press("Escape")
    assert not viewer.is_visible()


def test_every_crop_opens_its_image_with_its_box_marked(tab: Any) -> None:
    crops = tab.locator(".crop button")
    assert crops.count() == tab.locator(".crop").count() > 4
    for at in (0, crops.count() - 1):
        name = tab.locator(".crop .file").nth(at).text_content()
        crops.nth(at).click()
        assert tab.locator("#viewer-title").inner_text() == name
        assert tab.locator("#viewer-stage .meant").count() >= 1
        tab.keyboard.press("Escape")


def test_a_pointer_over_a_plot_shows_its_values(tab: Any, work: Path) -> None:
    plot = tab.locator("#training .plot").nth(1)
    plot.scroll_into_view_if_needed()
    box = plot.bounding_box()
    tab.mouse.move(box["x"] + 0.99 * box["width"], box["y"] + box["height"] / 2)
    words = tab.locator("#hint").inner_text()
    last = json.loads((work / "outputs/metrics.jsonl").read_text().splitlines()[-1])
    assert words.split("\n") == ["epoch 30", f"AP {100 * last['ap']:.1f}", f"AP50 {100 * last['ap50']:.1f}"]
    tab.mouse.move(0, 0)
    assert tab.locator("#hint").is_hidden()


def test_tables_are_saved_as_csv(tab: Any, tmp_path: Path) -> None:
    button = tab.locator("#accuracy .scroll:has(table[data-csv]) + .csv")
    with tab.expect_download() as download:
        button.click()
    download.value.save_as(tmp_path / "a.csv")
    with (tmp_path / "a.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["class"] for row in rows] == ["all", "square", "circle", "red, tiny triangle"]
    assert all(float(row["AP from"]) <= float(row["AP"]) <= float(row["AP to"]) for row in rows)
    assert int(rows[0]["objects"]) == sum(int(row["objects"]) for row in rows[1:])


def test_the_matrix_shows_numbers_or_shares(tab: Any) -> None:
    row = tab.locator(".confusion tbody tr").first.locator("td")
    numbers = [int(text or 0) for text in row.all_inner_texts()]
    tab.locator(".switch button").nth(1).click()
    shares = [int(text or 0) for text in row.all_inner_texts()]
    assert shares == [round(100 * number / sum(numbers)) for number in numbers]
    assert "detected as" in tab.locator(".confusion .axis").inner_text()


def test_on_a_phone_the_first_column_stays_and_the_verdict_is_seen(tab: Any) -> None:
    tab.set_viewport_size({"width": 390, "height": 800})
    scroller = tab.locator("#deployment .scroll").first
    name, verdict = scroller.locator("tbody th").nth(1), scroller.locator(".verdict").nth(1)
    assert verdict.inner_text() == "passed"
    assert verdict.bounding_box()["x"] + verdict.bounding_box()["width"] < 390
    before = name.bounding_box()["x"]
    scroller.evaluate("one => { one.scrollLeft = 200; }")
    assert scroller.evaluate("one => one.scrollLeft") > 50
    assert name.bounding_box()["x"] == before


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
    assert str(work) not in text and str(shapes_root(work)) not in text
    plain = json.loads(page.with_suffix(".json").read_text(encoding="utf-8"))
    assert plain["accuracy"]["ap"]["value"] == pytest.approx(100 * best)
    assert plain["compression"]["max_drop"] == 0.5


def shapes_root(work: Path) -> Path:
    return Path(json.loads((work / "outputs/run.json").read_text())["val_data"]["data_roots"][0])


def test_a_card_is_written_beside_the_report(work: Path) -> None:
    for _ in range(2):  # the second time, it replaces its own
        assert card(work, license="mit") == 0
    assert (work / "MODEL_CARD.md").read_text(encoding="utf-8").startswith("---\nlicense: mit\n")


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


def test_without_matplotlib_it_says_what_to_install(multibox, work, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    done = multibox("report", work)
    assert done.returncode == 2
    assert done.stderr == 'A report needs matplotlib. Install with: pip install "multibox[report]"\n'
