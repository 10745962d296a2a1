"""The page from a work directory that the commands left, without a browser; see e2e/test_report_command.py for that."""

from __future__ import annotations

import html
import json
import re
import shutil

import pytest

from multibox.evaluate import record as evaluation_record
from multibox.evaluate.record import RecordedEvaluation, RecordedModel
from multibox.report.album import Album
from multibox.report.confusion_table import reduced
from multibox.report.figures import figures_of
from multibox.report.gallery import MAX_BYTES, galleries
from multibox.report.page import ReportSubject, _images, report_page
from multibox.report.shown_paths import ShownPaths
from multibox.report.work_dir import gather
from multibox.wording import UNSEEN
from tests.report_case import dataset, found, record, work_dir

HOSTILE = "<script>alert(1)</script>"
QUOTES = 'it\'s "$x$" & 漢字 {{ 7 * 7 }} \x1b[2J\u202e'


def page_of(folder, evaluation=None):
    work = gather(folder)
    one = work.evaluation if evaluation is None else evaluation
    figures = figures_of(one) if one is not None else None
    return report_page(ReportSubject(work, one, figures, ShownPaths(work.path)))


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("work dir ü")
    work_dir(folder, (HOSTILE, QUOTES))
    return page_of(folder)


def test_names_are_text_whatever_they_hold(page):
    assert HOSTILE not in page
    assert "<b>0" not in page and "<i>.json" not in page
    assert html.escape(HOSTILE) in page
    assert "{{ 7 * 7 }} \\x1b[2J\\u202e" in page and set(UNSEEN.findall(page)) == {"\n"}
    assert len(re.findall("<script", page)) == 2  # ours, and the figures that it reads


def test_nothing_is_loaded_from_elsewhere(page):
    addresses = re.findall(r'(?:href|src)="([^"]*)"', page)
    assert addresses and all(one.startswith(("#", "data:")) for one in addresses)
    assert "@import" not in page and "url(http" not in page and "http://" not in page


def test_every_section_that_has_something_to_say_is_there(page):
    sections = re.findall(r'<section id="(\w+)"', page)
    assert sections == [
        *("summary", "data", "training", "accuracy", "errors", "size", "threshold", "images", "provenance")
    ]
    assert re.findall(r'<a href="#(\w+)"', page) == sections


def test_tiles_are_named_in_words(page):
    names = re.findall(r'<dt[^>]*>([^<]+)</dt>|class="tile"[^>]*>\s*<\w+[^>]*>([^<]+)<', page)
    words = {name.strip() for pair in names for name in pair if name.strip()}
    assert {"AP50", "AP", "Found"} <= words
    # No name of the code: "ResultFile" once stood there.
    assert not [word for word in words if re.search("[a-z][A-Z]", word)]


def test_what_is_missing_is_named_with_its_command(page):
    for command in ("multibox export", "multibox compress"):
        assert f"<code>{command}</code>" in page


def test_ids_in_drawings_are_unique(page):
    ids = re.findall(r'\sid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r"url\(#([^)]+)\)", page)) <= set(ids)


def test_the_figures_of_the_chooser_are_those_of_the_table(page):
    live = json.loads(re.search(r'id="counts">(.*?)</script>', page)[1])
    assert len(live["classes"]) == 2
    at = live["suggested"]
    row = re.search(r'<tr data-label="0">(.*?)</tr>', page)[1]
    cells = [int(one) for one in re.findall(r'<td class="n">(\d+)</td>', row)]
    one = live["classes"][0]
    hits = one["hits"][at]
    assert cells == [one["objects"], hits, one["objects"] - hits, one["shown"][at] - hits]


def test_eighty_classes_stay_below_five_megabytes(tmp_path):
    work_dir(tmp_path, tuple(f"class number {n}" for n in range(80)), num_images=30)
    page = page_of(tmp_path)
    assert len(page.encode()) < 5e6
    assert "other classes" in page  # the small matrix
    assert "All 80 classes" in page


def test_images_that_are_gone_are_said_to_be(tmp_path):
    work_dir(tmp_path, ("a",))
    shutil.rmtree(tmp_path / "images of val")
    context = _images(figures_of(gather(tmp_path).evaluation))
    assert context["galleries"] == ()
    assert "The images are not where they were" in context["images_are_gone"]


def test_a_run_without_validation_gives_a_page_too(tmp_path):
    work_dir(tmp_path, ("a", "b"))
    (tmp_path / "outputs/evaluation.json").unlink()
    page = page_of(tmp_path)
    assert "has not been measured" in page
    assert re.findall(r'<section id="(\w+)"', page) == ["summary", "data", "training", "provenance"]


def test_measuring_on_the_training_images_is_an_alarm(tmp_path):
    data = work_dir(tmp_path, ("a",))
    path = tmp_path / "outputs/run.json"
    facts = json.loads(path.read_text())
    facts["train_data"]["fingerprint"] = data.fingerprint
    path.write_text(json.dumps(facts))
    assert "very images of the training" in page_of(tmp_path)


def evaluation(data, detections):
    model = RecordedModel(file="best.pth", sha256="0")
    return RecordedEvaluation(evaluation_record.Path("e.json"), model, data, tuple(detections), 100, {})


def test_without_any_detection_there_is_a_page(tmp_path):
    one = evaluation(dataset(record([[10, 10, 60, 60]])), [found([], [])])
    assert "<h2>Errors</h2>" in page_of(tmp_path, one)


def test_what_is_right_and_fills_the_image_has_no_worst_kind():
    figures = figures_of(evaluation(dataset(record([[0, 0, 200, 200]])), [found([[0, 0, 200, 200]], [0.9])]))
    assert figures.worst_kind is None
    assert (figures.metrics.ap, figures.confusion.tolist()) == (1, [[1, 0], [0, 0]])


def test_data_without_objects_have_no_findings(tmp_path):
    one = evaluation(dataset(record([])), [found([[1, 1, 50, 50]], [0.9])])
    assert figures_of(one) is None
    assert "have no object" in page_of(tmp_path, one)


def test_crops_stay_within_their_budget_and_show_the_boxes(tmp_path):
    work_dir(tmp_path, ("a", "b"))
    figures = figures_of(gather(tmp_path).evaluation)
    album = Album(figures)
    shown = galleries(figures, album)
    assert album.unreadable == set()
    crops = [crop for gallery in shown for crop in gallery.crops]
    assert sum(len(crop.address) for crop in crops) < MAX_BYTES
    assert all(crop.address.startswith("data:image/jpeg;base64,") for crop in crops)
    for crop in crops:
        for box in filter(None, (crop.truth, crop.detected)):
            assert box[0] < crop.width and box[1] < crop.height and box[2] > 0 and box[3] > 0


def test_the_classes_with_most_errors_stay_in_a_reduced_matrix():
    import numpy as np

    table = np.array(
        [
            [9, 0, 0, 0],
            [0, 5, 4, 1],
            [0, 0, 7, 0],
            [0, 2, 0, 0],
        ]
    )
    small, names = reduced(table, ("a", "b", "c"), limit=2)
    # b has 4 + 1 + 2 errors, c 4, a none: b stays, a and c are one.
    assert names == ["b", "other classes"]
    assert small.tolist() == [[5, 4, 1], [0, 16, 0], [2, 0, 0]]
    assert reduced(table, ("a", "b", "c"), limit=3)[0] is table
