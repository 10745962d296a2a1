"""YAML as templates and descriptions of data sets need it: plain values, few and shallow; everything else is refused.

What YAML can do besides is what hostile files live on: objects of programs, dates that are none, values that multiply
through aliases, nesting without end.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import yaml

MAX_CHARACTERS = 1 << 20
"""Largest length of a text: a thousand times that of a template."""

MAX_DEPTH = 32
"""Largest number of values inside each other; templates have seven."""

MAX_VALUES = 100_000
"""Largest number of values, each counted as often as it is referred to."""

PLAIN_TAGS = {f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float", "str", "map", "seq")}
"""The kinds of values that are read; a date without a tag is text."""


class _Limited:
    """Mixed into a loader: refuses what is nested too deeply while it is read, before it costs anything."""

    _depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise yaml.MarkedYAMLError(problem="it is nested too deeply", problem_mark=self.peek_event().start_mark)  # type: ignore[attr-defined]
        node = super().compose_node(parent, index)  # type: ignore[misc]
        self._depth -= 1
        return node


class _TextLoader(_Limited, yaml.BaseLoader):
    """Everything is text, as it stands there."""


class _ValueLoader(_Limited, yaml.SafeLoader):
    """Numbers, truths and null are told from text, dates are not."""


_ValueLoader.yaml_implicit_resolvers = {
    letter: [(tag, pattern) for tag, pattern in resolvers if tag in PLAIN_TAGS]
    for letter, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def read_yaml(text: str, *, as_text: bool = False) -> Any:
    """The dictionaries, lists, texts, numbers, truths and nulls in a YAML text.

    With `as_text`, all that is no dictionary or list is the text that stands there: `no` is a word, `1_0` is no number.

    Raises:
        yaml.YAMLError: the text is no YAML, has more than plain values in it, or is too long or nested too deeply.
    """
    if len(text) > MAX_CHARACTERS:
        raise yaml.YAMLError(f"it has more than {MAX_CHARACTERS:,} characters")
    loader = (_TextLoader if as_text else _ValueLoader)(text)
    try:
        node = loader.get_single_node()
        return None if node is None else _Reading(loader).value(node, 0)
    finally:
        loader.dispose()


class _Reading:
    """Makes values of nodes, and counts them."""

    def __init__(self, loader: Any) -> None:
        self._loader = loader
        self._count = 0

    def value(self, node: yaml.Node, depth: int) -> Any:
        self._count += 1
        # An alias to what it lies in is the one way to come here with more depth than the text has.
        if self._count > MAX_VALUES or depth > MAX_DEPTH:
            raise _refusal("there are too many values in it", node)
        if not isinstance(self._loader, yaml.BaseLoader) and node.tag not in PLAIN_TAGS:
            raise _refusal("only lists, keys, text, numbers, true, false and null are read", node)
        if isinstance(node, yaml.MappingNode):
            return {self._key(key, depth): self.value(value, depth + 1) for key, value in node.value}
        if isinstance(node, yaml.SequenceNode):
            return [self.value(value, depth + 1) for value in node.value]
        return self._scalar(node)

    def _key(self, node: yaml.Node, depth: int) -> Hashable:
        key = self.value(node, depth + 1)
        if isinstance(key, dict | list):
            raise _refusal("a key is a list or has keys of its own", node)
        return key  # type: ignore[no-any-return]

    def _scalar(self, node: yaml.Node) -> Any:
        if not is_unicode(node.value):
            raise _refusal("there is half a letter in it", node)
        if isinstance(self._loader, yaml.BaseLoader):
            return node.value
        try:
            return self._loader.construct_object(node)
        except (ValueError, KeyError, OverflowError, IndexError) as error:
            raise _refusal("a value is not what it is said to be", node) from error


def is_unicode(text: str) -> bool:
    """Whether a text can be written to a file: half a pair of surrogates cannot, which `\\ud800` stands for."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _refusal(problem: str, node: yaml.Node) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)
