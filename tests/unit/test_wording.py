"""Hand-typed sentences."""

from __future__ import annotations

import pytest

from multibox.wording import NO_VALUE, counted, listed, percent, quoted


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
