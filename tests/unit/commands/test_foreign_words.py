"""Words of other tools."""

from __future__ import annotations

import pytest

from multibox.cli import IN_ORDER_OF_WORK, app, main
from multibox.commands.foreign_words import COMMANDS, OPTIONS


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["val"], "What is meant: multibox eval."),
        (["detect", "photos"], "What is meant: multibox predict IMAGES."),
        (["help"], "What is meant: multibox --help"),
        (["train", "photos", "--imgsz", "640"], "There is no option --imgsz. What is meant: --size."),
        (["eval", "--conf=0.3"], "There is no option --conf. What is meant: --threshold."),
        (["predict", "--source", "0"], "What is meant: no option: name the images after the command"),
        (["trian", "photos"], 'Did you mean "train"?'),
        (["train", "photos", "--minuts", "3"], "Did you mean --minutes?"),
    ],
)
def test_they_are_told_what_is_meant(words, said, capsys):
    assert main(words) == 2
    error = capsys.readouterr().err
    assert said in error
    assert len(error.splitlines()) == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["train", "data=set", "imgsz=640", "epochs=3"],
            "for data=set, set; for imgsz=640, --size 640; for epochs=3, --epo",
        ),
        (["train", "set", "patience=3"], "for patience=3, nothing: there is no such option"),
        (
            ["predict", "model=best.pth", "source=x.jpg"],
            "Write for model=best.pth, --model best.pth; for source=x.jpg, x.jpg.",
        ),
        (["export", "half=True"], "for half=True, --precision FP16."),
    ],
)
def test_options_without_dashes_are_told_how_they_are_written(words, said, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    error = capsys.readouterr().err
    assert said in error
    assert len(error.splitlines()) == 1


@pytest.mark.parametrize(
    "words",
    [
        ["source=x.txt"],
        ["year=2024/*.jpg"],
        ["year=20*/a.jpg"],
        ["year=2024/gone.jpg"],
        ["no.jpg", "--out", "run=1"],
        ["https://127.0.0.1:9/a?b=c"],
    ],
)
def test_files_patterns_and_values_with_an_equals_sign_are_no_options(words, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "source=x.txt").write_text("no image")
    (tmp_path / "year=2024").mkdir()
    assert main(["predict", *words]) == 2
    assert "NAME=VALUE" not in capsys.readouterr().err


def test_a_word_too_long_for_a_file_is_one_line(capsys):
    assert main(["predict", "a=" + 5000 * "x"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_word_that_nobody_knows_is_answered_with_all_commands(capsys):
    assert main(["fly"]) == 2
    assert f"Commands: {', '.join(IN_ORDER_OF_WORK)}." in capsys.readouterr().err


def test_no_word_of_ours_is_called_foreign():
    assert not set(COMMANDS) & set(IN_ORDER_OF_WORK)
    of_every_command = {
        name
        for command in IN_ORDER_OF_WORK
        for argument in app[command].assemble_argument_collection()
        for name in argument.names
    }
    assert set(OPTIONS) & of_every_command == {"--batch"}  # which export has
