"""What is wrong with a data set: collected by kind, and put into words for the person who is to correct it."""

from __future__ import annotations

from pathlib import Path

from multibox.errors import DataError
from multibox.wording import counted

NUM_EXAMPLES = 3


class Problems:
    """What is wrong in one annotation file, by kind, in the order of discovery."""

    def __init__(self, file: Path, *, skip_bad: bool) -> None:
        self.file = file
        self.skip_bad = skip_bad
        self.lines: dict[str, list[str]] = {}

    def add(self, kind: str, line: str) -> None:
        """Note a problem; `kind` is a plural that the number of such problems is named with."""
        self.lines.setdefault(kind, []).append(line)

    def stop(self) -> None:
        """Raise what was found so far, unless it is to be skipped."""
        if not self.lines or self.skip_bad:
            return
        kind, lines = next(iter(self.lines.items()))
        text = "; ".join(lines[:NUM_EXAMPLES])
        if len(lines) > NUM_EXAMPLES:
            text += f"; ... ({len(lines)} {kind})"
        num_others = sum(map(len, self.lines.values())) - len(lines)
        others = (
            f" There {'is' if num_others == 1 else 'are'} {counted(num_others, 'other problem')}." if num_others else ""
        )
        pronouns = ("it", "it") if len(lines) + num_others == 1 else ("them", "them")
        raise DataError(
            f"{self.file}: {text}.{others} Correct {pronouns[0]}, or pass --skip-bad to leave {pronouns[1]} out."
        )

    def by_kind(self) -> dict[str, list[str]]:
        """The same lines, by what is wrong (a plural: "bad boxes")."""
        return {kind: [f"{self.file}: {line}" for line in lines] for kind, lines in self.lines.items()}

    def skipped(self) -> list[str]:
        """A line for each problem, with the file that it is in."""
        return [f"{self.file}: {line}" for lines in self.lines.values() for line in lines]
