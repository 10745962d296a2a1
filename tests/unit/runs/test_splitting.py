"""Which images are held out: how many, of which classes, and that images that are alike stay together."""

from __future__ import annotations

import json

import numpy as np
import pytest

from multibox.data import coco
from multibox.data.layouts import Split
from multibox.runs.splitting import account, announcement, choose_groups, divide, num_held_out, write_parts
from tests.unit.runs.conftest import blots, write_set


@pytest.mark.parametrize(
    ("num_images", "share", "expected"),
    [
        (100, 0.2, 20),
        (1000, 0.2, 200),
        (48, 0.2, 10),  # a fifth would be 9.6, and ten are the least
        (31, 0.2, 10),  # 32 %
        (30, 0.2, 10),  # just a third
        (29, 0.2, 0),  # ten of 29 are more than a third
        (5, 0.2, 0),
        (20, 0.5, 10),  # who asks for half gets half
        (100, 0.0, 0),
    ],
)
def test_how_many_are_held_out(num_images, share, expected):
    assert num_held_out(num_images, share) == expected


def test_doctor_can_say_beforehand_what_will_be_done():
    assert announcement(100) == (
        "There is no validation set: `multibox train` will hold out about 20 of the 100 images."
    )
    assert announcement(12) == "There is no validation set, and 12 images are too few to hold any out."


def test_groups_are_held_out_whole_and_every_class_is_on_both_sides():
    # Twenty groups of three; the rare class is in two of them only.
    groups = [number // 3 for number in range(60)]
    labels = [[0, 1] if group in {4, 17} else [0] for group in groups]
    for seed in range(20):
        held_out = choose_groups(labels, groups, num_classes=2, wanted=12, seed=seed)
        assert len(held_out) == 12
        chosen = {groups[position] for position in held_out}
        assert len(chosen) == 4
        assert len(chosen & {4, 17}) == 1


def test_a_class_in_a_single_group_stays_to_be_learnt():
    labels = [[0, 1] if number == 7 else [0] for number in range(40)]
    for seed in range(20):
        assert 7 not in choose_groups(labels, list(range(40)), num_classes=2, wanted=10, seed=seed)


def test_one_seed_gives_one_choice():
    labels = [[number % 3] for number in range(50)]
    first, again, other = (choose_groups(labels, range(50), num_classes=3, wanted=10, seed=seed) for seed in (1, 1, 2))
    assert first == again != other
    counts = np.bincount([labels[position][0] for position in first], minlength=3)
    assert counts.min() >= 3  # ten of 17, 17 and 16: as even as can be


@pytest.fixture
def scenes(tmp_path):
    """Ten scenes of four frames each: a square moves on. And twelve images, each of which is there mirrored as well."""
    images = {}
    for scene in range(10):
        for number in range(4):
            frame = blots(scene)
            frame[40:60, 20 + 12 * number : 40 + 12 * number] = 255
            images[f"scene{scene}_{number}.png"] = frame
    for number in range(12):
        images[f"left{number}.png"] = blots(100 + number)
        images[f"right{number}.png"] = blots(100 + number)[:, ::-1]
    file = write_set(tmp_path / "scenes", images)
    return coco.read([file], [file.parent]), Split(file, file.parent)


def test_frames_of_a_scene_and_mirrored_copies_stay_together(scenes):
    data, _ = scenes
    division = divide(data, wanted=13)
    names = {data.records[position].file_name for position in division.held_out}
    assert 10 <= len(names) <= 16
    assert not division.is_cut
    for scene in range(10):
        assert len([name for name in names if name.startswith(f"scene{scene}_")]) in {0, 4}
    for number in range(12):
        assert len(names & {f"left{number}.png", f"right{number}.png"}) in {0, 2}


def test_copies_that_an_export_made_of_one_image_stay_together(tmp_path):
    # Too different for the eye of a hash, but their names say it.
    images = {f"cat{number // 2}.rf.{number:032x}.png": blots(number) for number in range(60)}
    file = write_set(tmp_path / "export", images)
    data = coco.read([file], [file.parent])
    held_out = {data.records[position].file_name.split(".")[0] for position in divide(data, wanted=12).held_out}
    assert len(held_out) == 6


def test_where_all_images_are_alike_stretches_are_cut_and_it_is_said(tmp_path):
    def frame(number: int) -> np.ndarray:
        image = blots(1)
        image[40:60, 10 + 2 * number : 30 + 2 * number] = 255
        return image

    file = write_set(tmp_path / "film", {f"frame_{number}.png": frame(number) for number in range(50)})
    data = coco.read([file], [file.parent])
    division = divide(data, wanted=10)
    assert division.is_cut
    assert len(division.held_out) == 10
    assert "AP may come out too good" in account(data, division)
    numbers = sorted(int(data.records[position].file_name[6:-4]) for position in division.held_out)
    # Stretches of five frames in the order of their numbers, not of their letters.
    assert [numbers[0] + 4, numbers[5] + 4] == [numbers[4], numbers[9]]


def test_both_files_together_say_what_the_users_file_says(scenes, tmp_path):
    data, split = scenes
    parts = write_parts(split, data, divide(data, wanted=13), tmp_path)
    original = json.loads(split.annotation_file.read_text())
    train, val = (json.loads(parts[name].annotation_file.read_text()) for name in ("train", "val"))
    assert train["info"] == val["info"] == {"by": "hand"}
    assert train["categories"] == val["categories"] == original["categories"]
    for key in ("images", "annotations"):
        written = sorted(train[key] + val[key], key=lambda entry: entry["id"])
        assert [{name: entry[name] for name in original[key][0]} for entry in written] == original[key]
    held_out = coco.read([parts["val"].annotation_file], [parts["val"].root])
    assert sorted(record.file_name for record in held_out.records) == sorted(
        data.records[position].file_name for position in divide(data, wanted=13).held_out
    )
