"""How the parity gate is told: a table on the console, export.json and export.md beside the exported files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec
import rich.box
from rich.table import Table

from multibox.errors import OptionError
from multibox.export.agreement import Comparison, Tolerance
from multibox.export.parity import LOST_ALWAYS, LOST_SHARE, Parity, ParityRow
from multibox.files import write_atomically
from multibox.machine import made_by, provenance
from multibox.structures import DEFAULT_THRESHOLD
from multibox.wording import NO_VALUE, cell, percent, visible

COLUMNS = ("form", "in", "AP", "AP50", "matched", "tied", "box px", "score", "MB", "ms", "")
NUM_TEXT_COLUMNS = 2
"""Number of first columns that hold text, which is set to the left; numbers are set to the right."""

LEFT_OUT_IF_NARROW = {"AP50", "tied", "MB"}

SHORT = {"float32": "f32", "bfloat16": "bf16", "float16": "f16"}


def parity_table(parity: Parity, *, width: int = 100) -> Table:
    """The rows for a console, 80 columns wide or more; a row that is not judged is dim and has no verdict.

    What has no room below 100 columns is in export.md.
    """
    columns = [name for name in COLUMNS if width >= 100 or name not in LEFT_OUT_IF_NARROW]
    result = Table(box=rich.box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1), collapse_padding=True)
    for place, name in enumerate(COLUMNS):
        is_text = place < NUM_TEXT_COLUMNS or name == COLUMNS[-1]
        if name in columns:
            result.add_column(name, justify="left" if is_text else "right", no_wrap=place > 0, overflow="fold")
    for row in parity.rows:
        style = "red" if row.passed is False else "dim" if row.passed is None else None
        cells = dict(zip(COLUMNS, _cells(row), strict=True))
        # A second row of a file, in other arithmetic, is told by its precision. A name may hold what rich would read
        # as markup.
        is_file = row.form.reference is not None and row.form.size_bytes is not None
        cells[COLUMNS[0]] = cell(row.form.file if is_file else row.form.name)
        cells[COLUMNS[1]] = SHORT.get(row.form.precision, row.form.precision.split()[0])
        result.add_row(*(cells[name] for name in columns), style=style)
    return result


def parity_to_plain(parity: Parity, *, checkpoint: str, images: str, threshold: float | None = None) -> dict[str, Any]:
    """The content of export.json: verdict, rows with unrounded numbers, and what was compared where by what.

    `checkpoint` names the file, `images` says what the images are ("the 16 images of val.json"), `threshold` is what
    the files suggest.
    """
    facts = {"checkpoint": checkpoint, "images": images, "threshold": threshold}
    return {**facts, **parity.to_plain(), "made_by": provenance()}


def to_markdown(parity: Parity, *, checkpoint: str, images: str) -> str:
    """The content of export.md; see `to_plain`."""
    lines = [
        f"# Export of {checkpoint}: {'PASSED' if parity.passed else 'REJECTED'}",
        "",
        f"Every form was run on {images} and compared with the checkpoint, detection by detection.",
        *_notes(parity),
        "",
        "| " + " | ".join((COLUMNS[0], "file", *COLUMNS[1:])) + " |",
        "|---|---|---|" + "---:|" * (len(COLUMNS) - NUM_TEXT_COLUMNS - 1) + "---|",
        *("| " + " | ".join(_escaped(text) for text in _with_file(row)) + " |" for row in parity.rows),
        "",
        *explanations(parity),
        "",
        made_by(),
    ]
    return "\n".join(map(visible, lines)) + "\n"


def write_report(
    folder: str | os.PathLike[str],
    parity: Parity,
    *,
    checkpoint: str,
    images: str,
    threshold: float | None = None,
) -> None:
    """Write export.json and export.md into a folder.

    Raises:
        OptionError: a file cannot be written.
    """
    plain = msgspec.json.encode(parity_to_plain(parity, checkpoint=checkpoint, images=images, threshold=threshold))
    contents: dict[str, bytes | str] = {
        "export.json": msgspec.json.format(plain, indent=2) + b"\n",
        "export.md": to_markdown(parity, checkpoint=checkpoint, images=images),
    }
    for name, content in contents.items():
        path = Path(folder) / name
        try:
            write_atomically(path, content)
        except OSError as error:
            raise OptionError(f"{path}: cannot write the file: {error.strerror}.") from error


def _cells(row: ParityRow) -> tuple[str, ...]:
    megabytes = NO_VALUE if row.form.size_bytes is None else f"{row.form.size_bytes / 1e6:.1f}"
    return (
        row.form.name,
        row.form.precision,
        percent(row.ap, 2),
        percent(row.ap50, 2),
        *_compared(row.comparison),
        megabytes,
        NO_VALUE if row.median_ms is None else f"{row.median_ms:.1f}",
        _verdict(row),
    )


def _with_file(row: ParityRow) -> tuple[str, ...]:
    name, *rest = _cells(row)
    return (name, row.form.file, *rest)


def _compared(comparison: Comparison | None) -> tuple[str, str, str, str]:
    if comparison is None:
        return NO_VALUE, NO_VALUE, NO_VALUE, NO_VALUE
    return (
        f"{comparison.num_matched}/{comparison.num_reference}",
        str(comparison.num_undecided),
        f"{comparison.largest_box_px:.4f}",
        f"{comparison.largest_score:.1e}",
    )


def _verdict(row: ParityRow) -> str:
    if row.passed is None:
        return NO_VALUE
    return "passed" if row.passed else "FAILED"


def _notes(parity: Parity) -> list[str]:
    notes = []
    if parity.is_empty:
        notes.append("The checkpoint finds nothing on them, so there was nothing to compare.")
    notes.extend(parity.reasons)
    return [line for note in notes for line in ("", note)]


def explanations(parity: Parity) -> list[str]:
    """What the columns mean, and by how much a form may differ, a line each."""
    names: dict[str, list[str]] = {}
    for row in parity.rows:
        if row.passed is not None:
            allowed = _allowed_int8(row.form.tolerance) if row.form.is_int8 else _allowed(row.form.tolerance)
            names.setdefault(allowed, []).append(row.form.name)
    return [
        *(f"- Tolerance of {', '.join(of_forms)}: {allowed}." for allowed, of_forms in names.items()),
        "- `in`: the arithmetic. AP and AP50 in percent. `matched`: detections of the reference that have a partner. "
        "`box px` (pixels of the network input) and `score`: largest differences. `ms`: median of a call with "
        "one image, from image to detections, all forms taking turns.",
        "- `tied`: detections that one list has and the other not, because a score or an overlap is "
        "within the tolerance of a threshold, or two detections are equally good. Few may be.",
        "- A row without a verdict is a reference, or shown for information.",
    ]


def _allowed(tolerance: Tolerance) -> str:
    if tolerance.only_ap:
        return (
            f"AP at most {tolerance.ap_points:g} points lower, or further if the 95 % interval of the difference "
            "(bootstrap over the images) reaches there"
        )
    ap = f"AP within {tolerance.ap_points:g} points"
    return f"labels equal, boxes within {tolerance.box_px:g} px, scores within {tolerance.score:g}, {ap}"


def _allowed_int8(tolerance: Tolerance) -> str:
    return (
        f"computed in 8 bits, where engines that round ties differently agree to about the error of 8 bits itself. "
        f"AP may be {tolerance.ap_points:g} points lower, or further if the 95 % interval of the difference (bootstrap "
        f"over the images) reaches there. `matched` counts the detections of both sides with a score of "
        f"{DEFAULT_THRESHOLD:g} or more; without annotations they decide: at most {100 * LOST_SHARE:g} % (or "
        f"{LOST_ALWAYS}) may have no partner within {tolerance.box_px:g} px and a score of {tolerance.score:g}"
    )


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")
