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
