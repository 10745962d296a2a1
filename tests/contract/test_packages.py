"""What packages say of themselves: bounds of libraries, version, what a release needs."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml
from tools.lowest_versions import DEVELOPERS, lowest_versions
from tools.release_check import NEVER, NotReadyError, check_version

import multibox

ROOT = Path(__file__).parents[2]
PYPROJECT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
PROJECT = tomllib.loads(PYPROJECT)["project"]
CHANGELOG = "# Changelog\n\n## {}\n\n- Something.\n\n## 0.1.0 (2026-01-31)\n"


def test_every_library_has_the_next_major_version_as_its_bound():
    extras = PROJECT["optional-dependencies"]
    texts = [text for name, texts in extras.items() if name not in DEVELOPERS for text in texts]
    unbounded = [text for text in (*PROJECT["dependencies"], *texts) if not re.search(r",<\d", text)]
    # Versions of fsspec are dates; the extras of multibox itself have no version.
    assert [text for text in unbounded if not text.startswith(("fsspec", "multibox["))] == []


def test_the_lowest_versions_are_the_lower_bounds():
    text = '[project]\ndependencies = ["numpy>=1.26,<3"]\n[project.optional-dependencies]\n'
    text += 'remote = ["fsspec[http]>=2024.6"]\nall = ["multibox[remote]"]\ndev = ["ruff>=0.9"]\n'
    assert lowest_versions(text) == {"numpy": "1.26", "fsspec": "2024.6"}


def test_training_needs_neither_nncf_nor_tensorboard():
    extras = PROJECT["optional-dependencies"]
    needed = [
        *PROJECT["dependencies"],
        *(text for name in ("train", "onnx", "report", "remote") for text in extras[name]),
    ]
    assert not [text for text in needed if re.match("nncf|tensorboard", text)]
    assert extras["all"] == ["multibox[train,int8,tensorboard,demo]"]


def test_the_citation_names_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == multibox.__version__
    assert citation["license"] == PROJECT["license"]


def test_a_dated_section_of_the_changelog_is_ready():
    check_version("0.2.0", CHANGELOG.format("0.2.0 (2026-12-24)"), ["v0.2.0", "nightly"])


@pytest.mark.parametrize("title", ["0.2.0 (unreleased)", "0.2.1 (2026-12-24)", "0.2.0", "0.2.0-rc1 (2026-12-24)"])
def test_another_section_first_is_not_ready(title):
    with pytest.raises(NotReadyError, match=re.escape(f'the first section is "{title}", not "0.2.0 (')):
        check_version("0.2.0", CHANGELOG.format(title), [])


def test_a_tag_of_another_version_is_not_ready():
    with pytest.raises(NotReadyError, match=r"the tag v0.3.0, but the version is 0.2.0"):
        check_version("0.2.0", CHANGELOG.format("0.2.0 (2026-12-24)"), ["v0.3.0"])


def test_what_no_package_may_have_is_told_from_what_it_must_have():
    refused = ["runs/quickstart/run.json", ".venv/bin/python", "tests/unit/__pycache__/a.cpython-311.pyc", "a/best.pth"]
    wanted = ["src/multibox/runs/__init__.py", "tests/unit/runs/test_finding.py", ".gitignore", "docs/runs.md"]
    assert [bool(NEVER.search(name)) for name in [*refused, *wanted]] == [True] * 4 + [False] * 4
