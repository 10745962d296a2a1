"""`multibox card`."""

from __future__ import annotations

from pathlib import Path

from multibox.commands.console import counting, say
from multibox.commands.options import require_together
from multibox.commands.report import reported_folder
from multibox.wording import typed


def card(
    work_dir: Path | None = None,
    /,
    *,
    out: Path | None = None,
    name: str = "",
    license: str = "",
    val_ann_files: str = "",
    val_data_roots: str = "",
) -> int:
    """Write a model card: what a detector is, how good it is and what its limits are, as hubs of models read it.

    Example: multibox card --name "Cap detector" --license apache-2.0

    It is made of what train, eval and export left in a run: Markdown, with a YAML header for the hub. A card that
    somebody has edited is not replaced.

    Args:
        work_dir: A run, or a work directory. Default: the run of this folder, else the newest in runs.
        out: The card. Default: MODEL_CARD.md in the run. A hub wants it as README.md.
        name: What the detector is called. Default: as its folder is.
        license: Under which licence you give the detector away, as hubs name it: apache-2.0, cc-by-4.0, other.
        val_ann_files: Annotation files (COCO json) to measure on, separated by commas. Default: those of the last
            evaluation.
        val_data_roots: The folder of images of each of these.
    """
    require_together(val_ann_files, val_data_roots, "--val-ann-files", "--val-data-roots")

    from multibox.data.reading import DataFiles
    from multibox.runs.display import Audience
    from multibox.runs.explaining import card_of
    from multibox.runs.measuring import NamedData

    named = NamedData(files=DataFiles(val_ann_files, val_data_roots), skip_bad=True)
    path = card_of(
        reported_folder(work_dir), out=out, name=name, licence=license, named=named, audience=Audience(say, counting)
    )
    say(f"Model card: {typed(path)}. Read it before you publish it.")
    return 0
