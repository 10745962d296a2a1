"""Hand-typed sentences."""

from __future__ import annotations

import pytest

from multibox.errors import DataError
from multibox.wording import NO_VALUE, counted, listed, percent, quoted, shortened, visible


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
