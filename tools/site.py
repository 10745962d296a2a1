"""Gather what the documentation site is built from: `docs`, the pages that the code makes, and files of the root.

`python -m tools.site FOLDER` writes them, with links that fit, to FOLDER/docs and the navigation to FOLDER/mkdocs.yml.
"""

from __future__ import annotations

import os.path
import re
import shutil
import sys
from pathlib import Path, PurePosixPath
from typing import Any

import yaml
from tools import reference_pages

ROOT = Path(__file__).parents[1]

ROOT_PAGES = {
    "ARCHITECTURE.md": "project/architecture.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "CHANGELOG.md": "project/changelog.md",
    "SECURITY.md": "project/security.md",
}
"""Files of the root that are pages of the site, with the path of the page."""

LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s#:]*)(#[^)\s]*)?\)")

FENCED = re.compile(r"(^```.*?^```$)", flags=re.MULTILINE | re.DOTALL)
"""A block of code, which has no links."""


def gather(target: Path) -> None:
    """Write the sources of the site to a folder, which is emptied first."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(ROOT / "docs", target / "docs")
    for path, text in reference_pages.pages().items():
        _write(target / "docs" / path, text)
    for source, path in ROOT_PAGES.items():
        _write(target / "docs" / path, (ROOT / source).read_text(encoding="utf-8"))
    for page in sorted((target / "docs").rglob("*.md")):
        _write(page, with_site_links(page.read_text(encoding="utf-8"), page.relative_to(target / "docs").as_posix()))
    _write(target / "mkdocs.yml", yaml.safe_dump(_settings(), sort_keys=False, allow_unicode=True))


def with_site_links(text: str, path: str) -> str:
    """The page at `path` with links to files of the repository as links to their pages.

    A link to a file that has no page becomes plain text. One to a file that does not exist stays, and the build fails.
    """
    source = {page: name for name, page in ROOT_PAGES.items()}.get(path, f"docs/{path}")

    def rewritten(link: re.Match[str]) -> str:
        mark, words, target, anchor = link[1], link[2], link[3], link[4] or ""
        if not target:
            return link[0]
        wanted = os.path.normpath(PurePosixPath(source).parent / target).replace(os.sep, "/")
        if wanted in ROOT_PAGES:
            wanted = f"docs/{ROOT_PAGES[wanted]}"
        if wanted == "docs/decisions":
            wanted = "docs/decisions/index.md"
        if wanted.startswith("docs/"):
            to_page = os.path.relpath(wanted.removeprefix("docs/"), PurePosixPath(path).parent).replace(os.sep, "/")
            return f"{mark}[{words}]({to_page}{anchor})"
        return words if (ROOT / wanted).exists() else link[0]

    return "".join(part if part.startswith("```") else LINK.sub(rewritten, part) for part in FENCED.split(text))


def _settings() -> dict[str, Any]:
    """The content of mkdocs.yml, with the commands and the decisions in the navigation, for the gathered folder."""
    settings: dict[str, Any] = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    commands = ["reference/commands.md", *(f"reference/commands/{name}.md" for name in reference_pages.command_names())]
    decisions = ["decisions/index.md", *(f"decisions/{path.name}" for path in reference_pages.decision_files())]
    _fill(settings["nav"], {"Commands": commands, "Decisions": decisions})
    for plugin in settings["plugins"]:
        if isinstance(plugin, dict) and "mkdocstrings" in plugin:
            plugin["mkdocstrings"]["handlers"]["python"]["paths"] = [str(ROOT / "src")]
    return settings


def _fill(entries: list[Any], lists: dict[str, list[str]]) -> None:
    for entry in entries:
        for title, content in entry.items() if isinstance(entry, dict) else ():
            if title in lists:
                entry[title] = lists[title]
            elif isinstance(content, list):
                _fill(content, lists)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    gather(Path(sys.argv[1]))
