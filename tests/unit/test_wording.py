"""Hand-typed sentences."""

from __future__ import annotations

import pytest

from multibox.errors import DataError
from multibox.wording import (
    NO_VALUE,
    Detailed,
    counted,
    listed,
    percent,
    quoted,
    shortened,
    typed,
    visible,
    without_details,
    wrapped,
)


@pytest.mark.parametrize(
    ("number", "nouns", "text"),
    [
        (0, ("image",), "0 images"),
        (1, ("image",), "1 image"),
        (1200, ("image",), "1,200 images"),
        (1, ("class", "classes"), "1 class"),
        (3, ("class", "classes"), "3 classes"),
    ],
)
def test_a_number_and_its_noun(number, nouns, text):
    assert counted(number, *nouns) == text


@pytest.mark.parametrize(
    ("names", "text"),
    [
        ([], ""),
        (["a"], "a"),
        (["a", "b"], "a and b"),
        (["a", "b", "c"], "a, b and c"),
        (["a", "b", "c", "d"], "a, b and 2 more"),
    ],
)
def test_names_in_a_sentence(names, text):
    assert listed(names, limit=3) == text


def test_a_name_stays_on_its_line_and_in_its_quotation_marks():
    assert quoted('a "b"\nc') == r'"a \"b\"\nc"'
    assert quoted("né") == '"né"'


@pytest.mark.parametrize(
    ("fraction", "digits", "text"), [(0.12345, 1, "12.3"), (1.0, 2, "100.00"), (None, 1, NO_VALUE)]
)
def test_percent(fraction, digits, text):
    assert percent(fraction, digits) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("né 漢字 👩‍👧", "né 漢字 👩‍👧"),
        ("a\nb\tc\r", r"a\nb\tc\r"),
        ("\x1b[31mred\x9b0m\x7f\0", r"\x1b[31mred\x9b0m\x7f\x00"),
        ("\u202egpj.exe\u2069 \u2028", r"\u202egpj.exe\u2069 \u2028"),
        ("half \ud800", r"half \ud800"),
    ],
)
def test_what_a_terminal_obeys_is_shown_by_its_number(text, shown):
    assert visible(text) == shown
    assert shown.encode()


@pytest.mark.parametrize("limit", [20, 21, 100])
def test_long_texts_keep_their_beginning_and_their_end(limit):
    text = "beginning" + "\n" * 10_000 + "end"
    shown = shortened(text, limit)
    assert len(shown) <= limit
    assert shown.startswith("begin") and shown.endswith("end")
    assert " ... " in shown
    assert shortened("x" * limit, limit) == "x" * limit


def test_a_message_is_one_line_whatever_names_are_in_it():
    message = str(DataError("a\n" * 5000 + "\x1b[31m"))
    assert len(message) <= 1900
    assert message.isprintable()


NAMES = ("'runs/my photos/export/alt_ssd_export/model.xml'", "`multibox train 'my photos'`", '"a photo of mine.jpg"')


@pytest.mark.parametrize("width", [20, 40, 80, 140])
def test_lines_break_between_words_and_never_in_a_name(width):
    text = f"Exported: {NAMES[0]}, and the user's own {NAMES[1]} says so of {NAMES[2]}. The users' next step is short."
    lines = wrapped(text, width, indent=2)
    assert " ".join(line.strip() for line in lines) == text
    assert [name for name in NAMES if not any(name in line for line in lines)] == []
    longest = max(map(len, NAMES)) + 3  # with what stands before and after it
    assert max(map(len, lines)) <= max(width, longest)
    assert all(line.startswith("  ") for line in lines[1:])


def test_the_path_that_a_message_begins_with_stays_whole():
    lines = wrapped("runs/my photos/best.pth: there is no such file. Name another one.", 24)
    assert lines == ["runs/my photos/best.pth:", "there is no such file.", "Name another one."]


def test_a_path_is_typed_as_a_shell_takes_it():
    assert typed("runs/my photos") == "'runs/my photos'"
    assert typed("runs/photos") == "runs/photos"


def test_a_line_with_details_is_text_and_knows_what_is_left_without_them():
    line = Detailed("AP 0.5, in 3 seconds", brief="AP 0.5")
    assert line == "AP 0.5, in 3 seconds"
    assert without_details(line) == "AP 0.5"
    assert without_details(Detailed("3 threads")) is None
    assert without_details("plain") == "plain"
