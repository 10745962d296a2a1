"""`multibox card`."""

from __future__ import annotations

from pathlib import Path

from multibox.commands.console import counting
from multibox.commands.options import say
from multibox.commands.report import data_sources


def card(
    work_dir: Path,
    /,
    *,
    save_to: Path | None = None,
    name: str = "",
    license: str = "",
    val_ann_files: str = "",
    val_data_roots: str = "",
) -> int:
    """Write a model card: what a detector is, how good it is and what its limits are, as hubs of models read it.

    It is made of what train, eval and export left in a work directory: Markdown, with a YAML header for the hub.

    Args:
        work_dir: The work directory.
        save_to: The card. Default: MODEL_CARD.md in the work directory. A hub wants it as README.md.
        name: What the detector is called. Default: as the work directory is.
        license: Under which licence you give the detector away, as hubs name it: apache-2.0, cc-by-4.0, other.
        val_ann_files: Annotation files (COCO json) to measure on, separated by commas. Default: those of the last
            evaluation.
        val_data_roots: The folder of images of each of these.
    """
    from multibox.report import run

    path = run.card(
        work_dir,
        save_to=save_to,
        name=name,
        licence=license,
        sources=data_sources(val_ann_files, val_data_roots),
        say=say,
        count=counting,
    )
    say(f"Model card: {path}. Read it before you publish it.")
    return 0
