"""What is wrong with a data set: collected by kind, and put into words for the person who is to correct it."""

from __future__ import annotations

from dataclasses import dataclass

from multibox.errors import DataError
from multibox.wording import counted, visible

NUM_EXAMPLES = 3


@dataclass(frozen=True, slots=True)
class Doubt:
    """Something that can be used but is hardly meant: said before a training, and by `multibox doctor`.

    `kind` names it for programs, `text` for people, in one sentence without its end; `examples` say where to look.
    `is_fatal`: the data mean something else, so that nothing good comes of training on them.
    """

    kind: str
    text: str
    examples: tuple[str, ...] = ()
    is_fatal: bool = False


class Problems:
    """What is wrong in one annotation file, by kind, in the order of discovery."""

    def __init__(self, file: str, *, skip_bad: bool) -> None:
        self.file = file
        self.skip_bad = skip_bad
        self.lines: dict[str, list[str]] = {}

    def add(self, kind: str, line: str) -> None:
        """Note a problem; `kind` is a plural that the number of such problems is named with."""
        self.lines.setdefault(kind, []).append(line)

    def put_first(self, kind: str) -> None:
        """Name the problems of this kind, if there are any, before all others."""
        if kind in self.lines:
            self.lines = {kind: self.lines[kind], **self.lines}

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
        """A line for each problem, with the file that it is in, by what is wrong (a plural: "bad boxes")."""
        return {kind: [visible(f"{self.file}: {line}") for line in lines] for kind, lines in self.lines.items()}

    def skipped(self) -> list[str]:
        """A line for each problem, with the file that it is in."""
        return [line for lines in self.by_kind().values() for line in lines]
