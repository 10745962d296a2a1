"""Whether this commit can be released: `make release-check`. Version, changelog, tag, packages, and a try of the wheel.

The packages are left in `dist`. Nothing is published.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterable
from email.parser import HeaderParser
from pathlib import Path

ROOT = Path(__file__).parents[1]
DIST = ROOT / "dist"

MOST_WHEEL_MB = 30
"""Largest size of the wheel; nearly all of it are the weights to start from."""

NEVER = re.compile(r"^(\.git|\.venv|runs|shared)(/|$)|(^|/)__pycache__(/|$)|\.(pth|pyc)$")
"""Paths, from the root of the repository, that no package may have in it."""


class NotReadyError(Exception):
    """A reason why this commit cannot be released."""


def check_version(version: str, changelog: str, tags: Iterable[str]) -> None:
    """Raise unless the newest section of the changelog is this version's, and the commit has no other version's tag.

    Raises:
        NotReadyError: the section is missing or still called unreleased, or a tag is of another version.
    """
    first = re.search(r"^## (.*)$", changelog, re.MULTILINE)
    title = first[1] if first else "nothing"
    if not re.fullmatch(rf"{re.escape(version)} \(\d{{4}}-\d\d-\d\d\)", title):
        raise NotReadyError(f'CHANGELOG.md: the first section is "{title}", not "{version} (YEAR-MONTH-DAY)".')
    for tag in tags:
        if tag.startswith("v") and tag != f"v{version}":
            raise NotReadyError(f"This commit has the tag {tag}, but the version is {version}.")


def check_wheel(wheel: Path, version: str) -> None:
    """Raise unless a wheel has all files of the package and nothing else, and says what it is.

    Raises:
        NotReadyError: something is missing, too much, or wrong.
    """
    megabytes = wheel.stat().st_size / 1e6
    if megabytes > MOST_WHEEL_MB:
        raise NotReadyError(f"{wheel.name}: {megabytes:.1f} MB, more than {MOST_WHEEL_MB}.")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        info = f"multibox-{version}.dist-info"
        metadata = HeaderParser().parsestr(archive.read(f"{info}/METADATA").decode())
    wanted = {path.relative_to(ROOT / "src").as_posix() for path in _tracked("src")}
    there = {name for name in names if not name.startswith(info)}
    _compare(wheel, wanted, there)
    for name in ("licenses/LICENSE", "licenses/NOTICE", "entry_points.txt"):
        if f"{info}/{name}" not in names:
            raise NotReadyError(f"{wheel.name}: {name} is missing.")
    for key in ("Name", "Version", "Summary", "Requires-Python", "License-Expression", "Description-Content-Type"):
        if not metadata[key]:
            raise NotReadyError(f"{wheel.name}: its metadata has no {key}.")
    if metadata["Version"] != version:
        raise NotReadyError(f"{wheel.name}: its metadata says version {metadata['Version']}.")


def check_sdist(sdist: Path) -> None:
    """Raise unless a source archive has the package, its tests and documentation, and nothing that must stay outside.

    Raises:
        NotReadyError: something is missing or too much.
    """
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    wanted = {path.relative_to(ROOT).as_posix() for folder in ("src", "tests", "docs") for path in _tracked(folder)}
    _compare(sdist, wanted, {name for name in names if name.startswith(("src/", "tests/", "docs/"))} & wanted)
    outside = sorted(name for name in names if NEVER.search(name))
    if outside:
        raise NotReadyError(f"{sdist.name}: {outside[0]} must not be in it.")


def _compare(package: Path, wanted: set[str], there: set[str]) -> None:
    for names, what in ((wanted - there, "is missing"), (there - wanted, "is not in the repository")):
        if names:
            raise NotReadyError(f"{package.name}: {min(names)} {what}.")


def _tracked(folder: str) -> list[Path]:
    done = subprocess.run(["git", "ls-files", "-z", folder], cwd=ROOT, check=True, capture_output=True, text=True)
    return [ROOT / name for name in done.stdout.split("\0") if name]


def smoke_test(wheel: Path, model: Path | None, image: Path) -> None:
    """Install a wheel without extras in a fresh environment, and use it: predict, and be told what training needs.

    Raises:
        NotReadyError: a command does not do what it should.
    """
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        programs = Path(folder) / ("Scripts" if sys.platform == "win32" else "bin")
        python, multibox = programs / "python", programs / "multibox"
        install: list[str | Path] = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", wheel]
        subprocess.run(install, check=True)
        _expect([multibox, "--version"], 0, r"^\d+\.\d+\.\d+$")
        train = [
            "train",
            "--config",
            "mobilenet_v2-2s_ssd-256x256",
            "--train-ann-files",
            "a",
            "--train-data-roots",
            "b",
        ]
        _expect([multibox, *train], 2, r'pip install "multibox\[train\]"')
        if model is not None:
            _expect([multibox, "predict", image, "--load-weights", model], 0, r"1 image")


def _expect(command: list[str | Path], code: int, words: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tempfile.gettempdir())
    said = done.stdout + done.stderr
    if done.returncode != code or not re.search(words, said):
        shown = " ".join(str(word) for word in command[1:3])
        raise NotReadyError(f"multibox {shown}: exit code {done.returncode} instead of {code}, or other words:\n{said}")


def main() -> int:
    """Make all checks, and say what is ready."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, help="an exported model (.xml) to predict with in the smoke test")
    parser.add_argument("--image", type=Path, default=ROOT / "data/airport/val/image_000003.jpg")
    options = parser.parse_args()
    source = (ROOT / "src/multibox/__init__.py").read_text(encoding="utf-8")
    version = re.findall(r'^__version__ = "(.*)"$', source, re.MULTILINE)[0]
    tags = subprocess.run(["git", "tag", "--points-at", "HEAD"], cwd=ROOT, check=True, capture_output=True, text=True)
    try:
        check_version(version, (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), tags.stdout.split())
        subprocess.run([sys.executable, "-m", "build", "--outdir", DIST, ROOT], check=True, stdout=subprocess.DEVNULL)
        wheel, sdist = DIST / f"multibox-{version}-py3-none-any.whl", DIST / f"multibox-{version}.tar.gz"
        subprocess.run([sys.executable, "-m", "twine", "check", "--strict", wheel, sdist], check=True)
        check_wheel(wheel, version)
        check_sdist(sdist)
        smoke_test(wheel, options.model and options.model.resolve(), options.image.resolve())
    except NotReadyError as reason:
        print(f"Not ready: {reason}", file=sys.stderr)
        return 1
    print(f"Ready: {wheel.name} ({wheel.stat().st_size / 1e6:.1f} MB), {sdist.name}. Tag it v{version}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
