"""The page of benchmarks says what the tables say."""

from __future__ import annotations

from tools import benchmarks_page as page


def test_accuracy_is_the_mean_over_seeds_of_runs_of_15_minutes():
    run = {"data": "cells", "model": 256, "budget": 15.0}
    rows = [{**run, "ap": 0.5, "ap50": 0.8}, {**run, "ap": 0.6, "ap50": 0.9}]
    short = {**run, "budget": 3.0, "ap": 0.1, "ap50": 0.2}
    other = {**run, "model": "yolox_nano-384x384", "ap": 0.7, "ap50": 0.95}
    assert page._in_minutes([*rows, short, other]).split("\n")[2:] == [
        "| cells | SSD | 256 px | 0.550 | 0.850 | 2 |",
        "| cells | YOLOX-Nano | 384 px | 0.700 | 0.950 | 1 |",
    ]


def test_ours_is_the_better_of_two_kinds_of_weights():
    run = {"data": "cells", "model": "256, SGD", "budget": 3.0}
    scores = {"bundled-classifier": 0.4, "bundled-detector": 0.7, "random": 0.1}
    rows = [{**run, "start": start, "ap50": ap50} for start, ap50 in scores.items()]
    assert page._against_starts(rows).split("\n")[2:] == ["| cells | 0.700 | 0.100 |  |  |"]


def test_a_ratio_of_speed_is_to_the_plain_loop_on_the_same_data():
    run = {"kind": "trainings", "device": "cpu", "data": "cells"}
    rows = [
        {**run, "way": "plain loop", "images_per_second": [10.0, 20.0]},
        {**run, "way": "frozen", "images_per_second": [90.0]},
    ]
    assert page._training_speed(rows).split("\n")[2:] == [
        "| cells | frozen | 90 | 6.0 |",  # 90 / mean(10, 20)
        "| cells | plain loop | 15 | 1.0 |",
    ]


def test_the_latest_journey_of_each_kind_is_shown():
    row = {"journey": "YOLO", "set": "cells", "characters": 113, "minutes_to_first_boxes": 2.04, "minutes": 2.6}
    rows = [{**row, "ap": 0.1, "ap50": 0.2}, {**row, "ap": 0.5, "ap50": 0.75}]
    assert page._journeys(rows).split("\n")[2:] == ["| YOLO | cells | 113 | 2.0 | 2.6 | 0.500 | 0.750 |"]


def test_only_the_default_recipe_is_shown_as_a_mean_over_seeds():
    run = {"variant": "default", "model": "yolox_nano-256x256", "length": "210steps", "data": "cells"}
    rows = [{**run, "ap": 0.5, "ap50": 0.8}, {**run, "ap": 0.6, "ap50": 0.9}]
    others = [{**run, "variant": "rate-2x", "ap": 1, "ap50": 1}, {**run, "model": 256, "ap": 1, "ap50": 1}]
    assert page._in_steps([*rows, *others]).split("\n")[2:] == ["| cells | 256 px | 210 | 0.550 | 0.850 | 2 |"]


def test_the_page_answers_six_questions_with_a_table_each():
    parts = page.benchmarks_page().split("\n## ")[1:]
    assert [part.split("\n")[0] for part in parts] == [
        *(
            "How good in 15 minutes?",
            "How far is it from photos to a report?",
            "Against others?",
            "How fast to train?",
            "How fast to run?",
            "What does INT8 cost?",
        )
    ]
    assert all(part.count("\n| ") > 4 and "python benchmarks/" in part for part in parts)
