from __future__ import annotations

import yaml

from multibox.overwriting import is_card
from multibox.report.card import model_card
from multibox.report.figures import figures_of
from multibox.report.page import ReportSubject
from multibox.report.shown_paths import ShownPaths
from multibox.report.work_dir import gather
from tests.report_case import work_dir


def card_of(folder, **options):
    work = gather(folder)
    one = work.evaluation
    subject = ReportSubject(work, one, figures_of(one) if one is not None else None, ShownPaths(work.path))
    return model_card(subject, **{"name": "mill", "licence": "apache-2.0", **options}), subject.figures


def header_of(card):
    start, header, _ = card.split("---\n", 2)
    assert start == ""
    return yaml.safe_load(header)


def test_the_header_has_what_hubs_read(tmp_path):
    work_dir(tmp_path, ("cat", "dog"))
    card, figures = card_of(tmp_path)
    header = header_of(card)
    assert header["license"] == "apache-2.0"
    assert (header["library_name"], header["pipeline_tag"]) == ("multibox", "object-detection")
    (model,) = header["model-index"]
    (result,) = model["results"]
    assert (model["name"], result["task"]["type"], result["dataset"]["name"]) == (
        "mill",
        "object-detection",
        "val.json",
    )
    values = {metric["name"]: metric["value"] for metric in result["metrics"]}
    assert values == {"AP50-95": round(figures.metrics.ap, 4), "AP50": round(figures.metrics.ap50, 4)}


def test_the_card_has_a_row_for_each_class_and_the_alarm(tmp_path):
    work_dir(tmp_path, ("cat", "dog"))
    card, figures = card_of(tmp_path)
    rows = [line for line in card.splitlines() if line.startswith("| ")]
    assert [row.split(" | ")[0] for row in rows] == ["| class", "| all", "| cat", "| dog"]
    assert f"| {figures.metrics.num_objects} | {100 * figures.metrics.ap:.1f} (" in rows[1]
    assert "Trained too briefly: it had 15 steps" in card


def test_names_are_text_whatever_they_hold_and_no_folder_is_named(tmp_path):
    work_dir(tmp_path, ("<b>|`x`", "a\n# b"))
    card, _ = card_of(tmp_path, name="x: [y]\n---", licence="")
    assert header_of(card)["model-index"][0]["name"] == "x: [y]\\n---" and "license" not in header_of(card)
    assert "<b>" not in card.split("---\n", 2)[2] and "\n# b" not in card
    assert "no licence" in card
    assert str(tmp_path) not in card


def test_a_card_is_known_until_somebody_edits_it(tmp_path):
    work_dir(tmp_path / "w", ("cät",))
    path = tmp_path / "MODEL_CARD.md"
    text, _ = card_of(tmp_path / "w")
    path.write_text(text, encoding="utf-8", newline="")
    assert is_card(path)
    path.write_text(text.replace("## Limits", "## Limits\n\nNot for medical use."), encoding="utf-8", newline="")
    assert not is_card(path)
    path.write_text("# My own notes\n")
    assert not is_card(path)


def test_without_an_evaluation_the_card_says_so(tmp_path):
    work_dir(tmp_path, ("cat",))
    (tmp_path / "outputs/evaluation.json").unlink()
    card, figures = card_of(tmp_path)
    assert figures is None and "has not been measured" in card
    assert "model-index" not in header_of(card)
