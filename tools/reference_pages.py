"""The reference pages of the documentation site, made from the code, so that they are complete and never out of date.

A command, an option or a template field without an explanation is an error: `make docs` fails then.
"""

from __future__ import annotations

import ast
import inspect
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from cyclopts import App
from msgspec import inspect as kinds

from multibox import config, errors
from multibox.cli import app

ROOT = Path(__file__).parents[1]


class Field(NamedTuple):
    """A field of a template.

    `values`: its value in each bundled template that has it. `reasons`: the comments beside these values.
    """

    place: str
    of: str
    kind: str
    default: str
    meaning: str
    values: dict[str, Any]
    reasons: tuple[str, ...]


class Row(NamedTuple):
    """A field as `multibox.config` describes it; `of` says which models have it, if not all."""

    place: str
    of: str
    kind: str
    default: str
    meaning: str


def pages() -> dict[str, str]:
    """The text of each generated page, by its path below `docs`."""
    return {
        "reference/commands.md": commands_page(),
        **{f"reference/commands/{name}.md": command_page(name) for name in command_names()},
        "reference/template-fields.md": template_page(),
        "reference/exit-codes.md": exit_codes_page(),
        "decisions/index.md": decisions_page(),
    }


def command_names() -> list[str]:
    """The commands, in the order of the command line's help."""
    return [name for name in app if not name.startswith("-")]


def commands_page() -> str:
    """A table of the commands with what each does."""
    rows = [f"| [`multibox {name}`](commands/{name}.md) | {_summary(app[name])} |" for name in command_names()]
    return "\n".join(["# Commands", "", "| Command | What it does |", "|---|---|", *rows, ""])


def command_page(name: str) -> str:
    """What a command does, and every argument and option with what it may be and its default.

    Raises:
        ValueError: the command or one of its options has no explanation.
    """
    command: App = app[name]
    nameless = [
        argument.name
        for argument in command.assemble_argument_collection(parse_docstring=True)
        if argument.show and not (argument.parameter.help or "").strip()
    ]
    if nameless or not _summary(command):
        raise ValueError(f"multibox {name}: no explanation of {', '.join(nameless) or 'the command itself'}.")
    text = command.generate_docs(output_format="markdown")
    return text.replace(' *[default: ""]*', "").replace(" *[default: False]*", "")


def _summary(command: App) -> str:
    return (command.help or "").strip().split("\n")[0]


def template_page() -> str:
    """Every field of a template, with what it may be, its values in the templates that multibox has, and why."""
    lines = [
        "# Template fields",
        "",
        "How to use a template: [Templates](../templates.md). A field with a default may be left out. "
        "The values are those of the templates that come with multibox, and the reasons are the comments beside them.",
    ]
    part = None
    # The fields of the model as a whole come first, whatever their place in the files.
    for field in sorted(template_fields(), key=lambda field: "." in field.place):
        first = re.split(r"[.\[]", field.place)[0] if "." in field.place else "The model"
        lines += [] if first == part else ["", f"## {first}"]
        part = first
        lines += ["", f"### `{field.place}`{f' ({field.of})' if field.of else ''}", "", field.meaning, ""]
        lines += [f"- May be: {field.kind}"]
        lines += [f"- Default: {field.default}"] if field.default else []
        lines += [f"- Value: {_values(field.values)}"] if field.values else []
        lines += [f"- Why: {reason}" for reason in field.reasons if reason.rstrip(".") not in field.meaning]
    return "\n".join([*lines, ""])


def template_fields() -> list[Field]:
    """Every field of a template, in the order of the files.

    Raises:
        ValueError: a field has no explanation in `multibox.config`.
    """
    paths = config.bundled_templates()
    templates = {name: config.to_plain(config.load_template(path)) for name, path in paths.items()}
    # One template of each family: the comments of the others are the same.
    first_of_family = {name.rpartition("-")[0]: path for name, path in reversed(paths.items())}
    comments = {path.stem: _comments(path.read_text(encoding="utf-8")) for path in reversed(first_of_family.values())}
    found = []
    for row in _rows(config.Template, "", "", _meanings()):
        values = {name: value for name, plain in templates.items() for value in _at(plain, row.place, row.of)}
        reasons = dict.fromkeys(
            page[row.place] for name, page in comments.items() if row.place in page and (name in values or not values)
        )
        found.append(Field(*row, values=values, reasons=tuple(reasons)))
    return found


def _rows(struct: type, prefix: str, of: str, meanings: Mapping[tuple[str, str], str]) -> Iterator[Row]:
    """The fields of a struct and of the structs in it."""
    described = kinds.type_info(struct)
    assert isinstance(described, kinds.StructType)
    for field in described.fields:
        place, parts = f"{prefix}{field.encode_name}", _structs(field.type)
        is_list = isinstance(field.type, kinds.VarTupleType)
        can_be_null = isinstance(field.type, kinds.UnionType) and field.type.includes_none
        if not parts or can_be_null or is_list:
            meaning = meanings.get((struct.__name__, field.name))
            if not meaning:
                raise ValueError(f"{struct.__name__}.{field.name} has no docstring in multibox/config.py.")
            kind = _words(field.type)
            if parts:
                kind = "list of mappings of the fields below" if is_list else "mapping of the fields below, or null"
            yield Row(place, of, kind, "" if field.required else _default(field), meaning)
        if len(parts) > 1:
            tags = " or ".join(f"`{part.tag}`" for part in parts)
            yield Row(f"{place}.{parts[0].tag_field}", of, tags, f'`"{parts[0].tag}"`', "Which of the kinds below.")
        for part in parts:
            many = "[]" if is_list else ""
            yield from _rows(part.cls, f"{place}{many}.", str(part.tag) if len(parts) > 1 else of, meanings)


def _default(field: kinds.Field) -> str:
    value = field.default_factory() if field.default is msgspec.NODEFAULT else field.default
    return f"`{json.dumps(msgspec.to_builtins(value))}`"


def _structs(kind: kinds.Type) -> list[kinds.StructType]:
    match kind:
        case kinds.StructType():
            return [kind]
        case kinds.UnionType():
            return [part for option in kind.types for part in _structs(option)]
        case kinds.VarTupleType():
            return _structs(kind.item_type)
    return []


def _words(kind: kinds.Type) -> str:
    """What a value may be, in words."""
    match kind:
        case kinds.BoolType():
            return "true or false"
        case kinds.StrType():
            return "text"
        case kinds.NoneType():
            return "null"
        case kinds.IntType():
            multiple = f", a multiple of {kind.multiple_of}" if kind.multiple_of else ""
            return f"whole number{_bounds(kind)}{multiple}"
        case kinds.FloatType():
            return f"number{_bounds(kind)}"
        case kinds.LiteralType():
            return " or ".join(f"`{value}`" for value in kind.values)
        case kinds.UnionType():
            return " or ".join(_words(option) for option in kind.types)
        case kinds.TupleType():
            return "list of " + ", ".join(_words(item) for item in kind.item_types)
        case kinds.VarTupleType():
            return f"list, each: {_words(kind.item_type)}"
        case kinds.DictType():
            return "mapping"
    return "any"


def _bounds(kind: kinds.IntType | kinds.FloatType) -> str:
    low = f", {kind.ge:,} or more" if kind.ge is not None else f", above {kind.gt:,}" if kind.gt is not None else ""
    # Limits of a million and more only keep nonsense out.
    return low + (f", at most {kind.le:,}" if kind.le is not None and kind.le < 1e6 else "")


def _meanings() -> dict[tuple[str, str], str]:
    """The docstring below each field of the structs of `multibox.config`, by struct and field."""
    found = {}
    for struct in ast.parse(inspect.getsource(config)).body:
        if not isinstance(struct, ast.ClassDef):
            continue
        for field, after in zip(struct.body, struct.body[1:], strict=False):
            is_text = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and is_text:
                found[struct.name, field.target.id] = " ".join(str(after.value.value).split())  # type: ignore[attr-defined]
    return found


def _comments(text: str) -> dict[str, str]:
    """The comment above each key of a template, by the key's place."""
    found: dict[str, str] = {}
    stack: list[tuple[int, str]] = []
    comment: list[str] = []
    for line in text.split("\n"):
        if match := re.match(r"\s*(?:- )?# (.*)", line):
            comment.append(match[1])
        elif match := re.match(r"( *)(?:- )?([a-z_0-9]+):", line):
            indent, key = len(line) - len(line.lstrip("- ")), match[2]
            while stack and stack[-1][0] >= indent:
                stack.pop()
            stack.append((indent, key))
            # What stands above the first key is about the whole file.
            if comment and key != "name":
                found[".".join(name for _, name in stack)] = " ".join(comment)
            comment = []
        else:
            comment = []
    return found


def _at(plain: Any, place: str, of: str) -> list[Any]:
    """The value at a place of a template as a list of one; empty where the template has no such place."""
    for key in place.split("."):
        if (
            not isinstance(plain, Mapping)
            or key not in plain
            or (of and of != plain.get("family", plain.get("kind", of)))
        ):
            return []
        plain = plain[key]
    return [plain]


def _values(values: Mapping[str, Any]) -> str:
    """The value that all templates have, or each value with the families or the input sizes that have it."""
    texts = {name: json.dumps(value) for name, value in values.items()}
    if any(len(text) > 120 or text.startswith("{") for text in texts.values()):
        return "see the template"
    if len(set(texts.values())) == 1:
        return f"`{next(iter(texts.values()))}`"
    for label in (lambda name: name.rpartition("-")[0], lambda name: name.rpartition("x")[2] + " px", str):
        groups: dict[str, dict[str, None]] = {}
        for name, text in texts.items():
            groups.setdefault(text, {})[label(name)] = None
        if len(set().union(*groups.values())) == sum(map(len, groups.values())):
            break
    return "; ".join(f"`{text}` ({', '.join(names)})" for text, names in groups.items())


def exit_codes_page() -> str:
    """The exit codes of the commands, and the errors that lead to them."""
    rows = [
        ("0", "Done.", ""),
        (
            "1",
            "The training failed, a part of the input could not be read, or the data have warnings.",
            "TrainingError",
        ),
        ("2", "Something that you gave cannot be used: the message says what, where and what to do.", "MultiboxError"),
        ("3", "An exported file differs from its checkpoint.", "ParityError"),
        ("130", "Stopped with Ctrl-C.", ""),
    ]
    for code, _, name in rows:
        assert not name or getattr(errors, name).exit_code == int(code)
    table = [f"| {code} | {meaning} | {f'`{name}`' if name else ''} |" for code, meaning, name in rows]
    return "\n".join(["# Exit codes", "", "| Code | Meaning | Error |", "|---|---|---|", *table, "", _error_tree(), ""])


def _error_tree() -> str:
    text = inspect.getdoc(errors) or ""
    return f"{text.split(chr(10))[0]}\n\n```\n{text.partition(chr(10) * 2)[2]}\n```"


def decision_files() -> list[Path]:
    """The files of the decisions, by number."""
    return sorted((ROOT / "docs/decisions").glob("0*.md"))


def decisions_page() -> str:
    """The index of the decisions, by number."""
    rows = []
    for path in decision_files():
        number, _, title = path.read_text(encoding="utf-8").split("\n")[0].removeprefix("# ").partition(". ")
        rows.append(f"| {number} | [{title}]({path.name}) |")
    lines = ["# Decisions", "", "Choices that were not obvious, each with its reasons and figures.", ""]
    return "\n".join([*lines, "| | Decision |", "|---|---|", *rows, ""])
