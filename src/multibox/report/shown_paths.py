"""Paths as a page shows them: whoever gets the page need not know how the folders of its author are named."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

ABSOLUTE = re.compile(r"""(?<![\w./\\<&])(?:/|[A-Za-z]:[\\/])[^\s'",;:()<>|]*[\\/][^\s'",;:()<>|]+""")
"""An absolute path without a blank, of two parts or more, somewhere in a sentence."""


@dataclass(frozen=True)
class ShownPaths:
    """How the paths of a report are written: below `folder` relative to it, others by their names.

    `known` are folders that paths in sentences may begin with. If `is_full`, every path stays as it is.
    """

    folder: Path
    known: tuple[Path, ...] = ()
    is_full: bool = False

    def file(self, path: str | Path) -> str:
        """A path, relative to the work directory or, of another place, its name alone."""
        text = str(path)
        if self.is_full:
            return text
        relative = _relative(Path(text), self.folder)
        if relative is not None or not _is_absolute(text):
            return text if relative is None else relative
        return PureWindowsPath(text).name if _is_windows(text) else PurePosixPath(text).name

    def command(self, line: str) -> str:
        """A command line, each of its paths as `file` writes it; lists with commas and `--option=PATH` as well."""
        if self.is_full:
            return line
        try:
            words = shlex.split(line)
        except ValueError:  # a quotation mark is missing
            return self.sentence(line)
        return shlex.join(self._word(word) for word in words)

    def sentence(self, text: str) -> str:
        """A sentence with paths in it."""
        if self.is_full:
            return text
        for root in sorted({self.folder, self.folder.resolve(), *self.known}, key=lambda root: -len(str(root))):
            if len(root.parts) > 1 or not root.is_absolute():
                text = re.sub(rf"(?<![\w./\\-]){re.escape(str(root))}[/\\]", "", text)
        return ABSOLUTE.sub(lambda found: self.file(found[0]), text)

    def _word(self, word: str) -> str:
        option, sign, value = word.partition("=")
        if sign and option.startswith("--"):
            return f"{option}={self._word(value)}"
        return ",".join(self.file(part) if _is_absolute(part) else part for part in word.split(","))


def folders_of(files: Iterable[Path], roots: Iterable[Path]) -> tuple[Path, ...]:
    """The folders that messages about a data set of these annotation files and image folders may begin with."""
    return tuple(path for path in (*(file.parent for file in files), *roots) if path.is_absolute())


def _relative(path: Path, folder: Path) -> str | None:
    for base in (folder, folder.resolve()):
        if path != base and path.is_relative_to(base):
            return path.relative_to(base).as_posix()
    return None


def _is_absolute(text: str) -> bool:
    return text.startswith("/") or _is_windows(text)


def _is_windows(text: str) -> bool:
    return bool(re.match(r"[A-Za-z]:[\\/]|\\\\", text))
