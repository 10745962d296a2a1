from __future__ import annotations

from pathlib import Path

import pytest

from multibox.report.shown_paths import ShownPaths, folders_of

WORK = Path("/home/ann lee/customers/mill")


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("/home/ann lee/customers/mill/outputs/best.pth", "outputs/best.pth"),
        ("/data/secret/val.json", "val.json"),
        ("export/model.xml", "export/model.xml"),
        ("C:\\Users\\ann\\val.json", "val.json"),
        ("best.pth", "best.pth"),
    ],
)
def test_a_file_is_shown_relative_to_the_work_directory_or_by_its_name(path, shown):
    assert ShownPaths(WORK).file(path) == shown
    assert ShownPaths(WORK, is_full=True).file(path) == path


def test_no_word_of_a_command_keeps_its_folder():
    command = (
        "multibox train --train-ann-files '/data/a b/one.json,/data/two.json' --config=/etc/t.yaml --epochs 3 "
        "--save-checkpoints-to '/home/ann lee/customers/mill/outputs' --classes 'and/or,n/a'"
    )
    assert ShownPaths(WORK).command(command) == (
        "multibox train --train-ann-files one.json,two.json --config=t.yaml --epochs 3 "
        "--save-checkpoints-to outputs --classes and/or,n/a"
    )
    assert ShownPaths(WORK, is_full=True).command(command) == command


def test_a_command_with_half_a_quotation_is_still_shown_without_folders():
    assert ShownPaths(WORK).command("multibox train '/data/secret/val.json") == "multibox train 'val.json"


def test_sentences_lose_folders_with_blanks_if_these_are_known():
    known = folders_of([Path("/srv/our data/val.json")], [Path("/srv/our data/images")])
    paths = ShownPaths(WORK, known)
    assert paths.sentence("/srv/our data/val.json: line 3 of /srv/our data/images/a b.jpg") == (
        "val.json: line 3 of a b.jpg"
    )
    assert paths.sentence("/home/ann lee/customers/mill/x/run.json: left out") == "x/run.json: left out"
    assert paths.sentence("see /var/lib/thing/x.json, 12 images/s and 3/4 of all") == (
        "see x.json, 12 images/s and 3/4 of all"
    )
