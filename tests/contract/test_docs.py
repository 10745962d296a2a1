"""The documentation is complete and whole: every option and field is explained, every link leads somewhere."""

from __future__ import annotations

import os.path
import re
import shlex
from pathlib import Path

import msgspec
import pytest
import yaml
from tools import reference_pages, site

from multibox import config
from multibox.cli import app

ROOT = Path(__file__).parents[2]
GENERATED = reference_pages.pages()
PAGES = [*sorted((ROOT / "docs").rglob("*.md")), *sorted(ROOT.glob("*.md"))]


@pytest.mark.parametrize("command", reference_pages.command_names())
def test_the_page_of_a_command_has_every_option(command):
    page = GENERATED[f"reference/commands/{command}.md"]
    arguments = app[command].assemble_argument_collection(parse_docstring=True)
    options = {name for argument in arguments if argument.show for name in argument.names if name.startswith("--")}
    assert {option for option in options if f"`{option}" not in page and f", {option}" not in page} == set()


def test_a_command_without_an_explanation_of_an_option_is_an_error():
    def unexplained(*, size: int = 1) -> None:
        """Do something."""

    app.command(unexplained)
    try:
        with pytest.raises(ValueError, match="multibox unexplained: no explanation of --size"):
            reference_pages.command_page("unexplained")
    finally:
        del app["unexplained"]


def test_the_page_of_template_fields_has_every_field_of_every_template():
    page = GENERATED["reference/template-fields.md"]

    def places(part, prefix):
        for key, value in part.items():
            if isinstance(value, dict) and key != "extra":
                yield from places(value, f"{prefix}{key}.")
            elif isinstance(value, list | tuple) and value and isinstance(value[0], dict):
                yield from places(value[0], f"{prefix}{key}[].")
            else:
                yield f"{prefix}{key}"

    for path in config.bundled_templates().values():
        template = msgspec.to_builtins(config.load_template(path))
        assert [place for place in places(template, "") if f"### `{place}`" not in page] == [], path.stem


def test_a_field_of_a_template_has_type_value_and_reason():
    page = GENERATED["reference/template-fields.md"]
    part = page.partition("### `train.max_gradient_norm`")[2].partition("###")[0]
    assert "- May be: number, above 0\n- Value: `35.0`\n- Why: Far above the usual norm" in part


def test_every_decision_is_in_the_index():
    numbers = [f"| {number} |" for number in range(1, len(list((ROOT / "docs/decisions").glob("*.md"))) + 1)]
    assert [number for number in numbers if number not in GENERATED["decisions/index.md"]] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_link_leads_to_a_file(page):
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    targets = [target for _, _, target, _ in site.LINK.findall(text) if target]
    made = {os.path.normpath(ROOT / "docs" / path) for path in GENERATED}
    found = [os.path.normpath(page.parent / target) for target in targets]
    assert [path for path in found if not Path(path).exists() and path not in made] == []


def test_every_page_is_in_the_navigation():
    settings = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    named = set(re.findall(r"[\w/-]+\.md", str(yaml.safe_load(settings)["nav"])))
    pages = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    pages |= set(site.ROOT_PAGES.values()) | set(GENERATED)
    left_out = {path for path in pages - named if not re.match(r"decisions/|reference/commands", path)}
    assert left_out == set()
    assert {path for path in named if path not in pages} == set()


def test_a_link_to_a_file_without_a_page_becomes_text():
    text = "[a](../benchmarks/README.md) [b](../CHANGELOG.md#010) [c](data-formats.md) [d](nowhere.md) [e](decisions)"
    assert site.with_site_links(text, "tutorial.md") == (
        "a [b](project/changelog.md#010) [c](data-formats.md) [d](nowhere.md) [e](decisions/index.md)"
    )


def commands_in(text: str) -> list[list[str]]:
    """The words of each `multibox` command in the code blocks of a page; those with `...` stand for several."""
    blocks = re.findall(r"^ *```bash\n(.*?)^ *```$", text, flags=re.MULTILINE | re.DOTALL)
    lines = [line.strip() for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    commands = [shlex.split(part, comments=True) for line in lines for part in line.split(" && ")]
    return [words[1:] for words in commands if words[:1] == ["multibox"] and "..." not in words]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_command_on_a_page_can_be_typed(page):
    for words in commands_in(page.read_text(encoding="utf-8")):
        app.parse_args(words, exit_on_error=False, print_error=False)


def test_most_pages_show_commands():
    assert sum(len(commands_in(page.read_text(encoding="utf-8"))) for page in PAGES) > 40
