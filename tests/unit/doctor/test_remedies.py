"""Every kind of finding says what to do about it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import multibox
from multibox.doctor.remedies import FOR_THE_REST, REMEDIES, remedy

PACKAGE = Path(multibox.__file__).parent
FILES = [file for room in ("data", "doctor") for file in (PACKAGE / room).glob("*.py") if file.stem != "remedies"]
FROM_VARIABLES = {"exif-shown", "exif-stored", "exif-unknown"}
"""Kinds that are put together when they are found."""


def as_kind(plural: str) -> str:
    return plural.split(",", maxsplit=1)[0].split(":", maxsplit=1)[0].replace(" ", "-")


def texts_of(trees: list[ast.Module]) -> set[str]:
    nodes = [node for tree in trees for node in ast.walk(tree)]
    return {as_kind(node.value) for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}


def named_kinds(trees: list[ast.Module]) -> set[str]:
    """Kinds that stand as text in a call that makes a finding, or notes what it is made of."""
    position = {"Finding": 1, "Doubt": 0, "add": 0, "lose": 0, "doubt": 0, "remark": 0}
    kinds = set()
    for node in (node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Call)):
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        place = position.get(name)
        if place is None or len(node.args) <= max(place, 1):
            continue
        argument = node.args[place]
        if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
            kinds.add(as_kind(argument.value))
    return kinds


@pytest.fixture(scope="module")
def trees() -> list[ast.Module]:
    return [ast.parse(file.read_text(encoding="utf-8")) for file in FILES]


def test_each_kind_that_the_checks_name_has_a_remedy_of_its_own(trees: list[ast.Module]) -> None:
    kinds = named_kinds(trees)

    assert {"leaks", "bad-boxes", "missing-images", "gifs"} <= kinds
    assert kinds - REMEDIES.keys() == set()


def test_no_remedy_is_for_a_kind_that_is_never_found(trees: list[ast.Module]) -> None:
    assert REMEDIES.keys() - texts_of(trees) - FROM_VARIABLES == set()


@pytest.mark.parametrize("text", [*REMEDIES.values(), *FOR_THE_REST.values()])
def test_a_remedy_is_a_sentence(text: str) -> None:
    assert text[0].isupper()
    assert text[-1] in ".?"


def test_a_kind_without_a_remedy_of_its_own_has_that_of_its_severity() -> None:
    assert remedy("something new", "error") == "Correct these in your labelling tool, or let --fix leave them out."
