from __future__ import annotations

import math

import pytest
import yaml

from multibox.config import bundled_templates
from multibox.plain_yaml import MAX_DEPTH, MAX_VALUES, read_yaml

BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{name}: &{name} [{','.join(['*' + before] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize("path", bundled_templates().values(), ids=lambda path: path.stem)
def test_templates_are_read_as_by_the_whole_language(path):
    text = path.read_text(encoding="utf-8")
    assert read_yaml(text) == yaml.safe_load(text)
    assert read_yaml(text, as_text=True) == yaml.load(text, yaml.BaseLoader)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", None),
        ("a: [1, -2.5, yes, null, 'x', 1_000, 0x10]", {"a": [1, -2.5, True, None, "x", 1000, 16]}),
        ("a: .inf", {"a": math.inf}),
        ("a: 2020-01-31\nb: 2020-13-45", {"a": "2020-01-31", "b": "2020-13-45"}),
        ("a: &x [1, 2]\nb: *x", {"a": [1, 2], "b": [1, 2]}),
        ("{1: a, 2.5: b}", {1: "a", 2.5: "b"}),
    ],
)
def test_values(text, expected):
    assert read_yaml(text) == expected


def test_as_text_nothing_is_more_than_it_says():
    assert read_yaml("a: [no, 1, 2020-01-01, !!int x]", as_text=True) == {"a": ["no", "1", "2020-01-01", "x"]}


@pytest.mark.parametrize(
    "text",
    [
        "a: !!timestamp 2020-01-01",
        "a: !!int foo",
        "a: !!float x",
        "a: !!bool x",
        "a: 0x_",
        "a: !!binary '?'",
        "a: !!python/object/apply:os.system ['true']",
        "a: !own x",
        "? [a]\n: b",
        "a: &a [*a]",
        "a: &a {b: *a}",
        "a: *never",
        "[1, 2",
        "a: 1\n---\nb: 2",
        "\0",
        "%YAML 9.9\n---\nx: 1",
        "9" * 5000,
        "x" * (1 << 21),
        "[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1),
        BOMB,
        "[" + "1," * (MAX_VALUES + 1) + "]",
    ],
    ids=lambda text: text[:20].replace("\0", "null"),
)
def test_anything_else_is_no_yaml_here(text):
    with pytest.raises(yaml.YAMLError):
        read_yaml(text)


@pytest.mark.parametrize("text", ["[" * 100_000, "{" * 100_000, "- " * 100_000, "? " * 100_000, BOMB])
@pytest.mark.parametrize("as_text", [False, True])
def test_nesting_and_aliases_are_refused_before_they_cost_anything(text, as_text):
    # Else, this would take hours, or all memory.
    with pytest.raises(yaml.YAMLError):
        read_yaml(text, as_text=as_text)
