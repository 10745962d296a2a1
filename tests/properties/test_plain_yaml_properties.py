"""Plain values are read as by the whole language, and no text makes anything but a value or a YAMLError."""

from __future__ import annotations

from contextlib import suppress

import yaml
from hypothesis import given
from hypothesis import strategies as some

from multibox import config
from multibox.errors import TemplateError
from multibox.plain_yaml import read_yaml

LETTERS = some.characters(codec="utf-8")
SCALARS = some.none() | some.booleans() | some.integers() | some.floats(allow_nan=False) | some.text(LETTERS)
VALUES = some.recursive(
    SCALARS, lambda inner: some.lists(inner) | some.dictionaries(some.text(LETTERS), inner), max_leaves=20
)
YAML_LETTERS = some.text(alphabet="ab01.-_:,[]{}&*!?#|> '\"\n\t~%@<=\\x", max_size=60)


@given(VALUES)
def test_plain_values_are_read_as_by_the_whole_language(value):
    text = yaml.safe_dump(value)
    assert read_yaml(text) == yaml.safe_load(text)


@given(YAML_LETTERS, some.booleans())
def test_any_text_is_a_value_or_no_yaml(text, as_text):
    with suppress(yaml.YAMLError):
        read_yaml(text, as_text=as_text)


@given(YAML_LETTERS)
def test_any_text_is_refused_as_a_template_in_one_line(text):
    try:
        config.loads(text, source="a.yaml")
    except TemplateError as error:
        assert str(error).startswith("a.yaml") and "\n" not in str(error)
