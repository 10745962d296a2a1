"""What pages about a detector are made of beyond its run: named images, and what the doctor finds in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from multibox.data.coco import CocoData
from multibox.errors import DataError
from multibox.runs.display import SILENT, Audience
from multibox.runs.measuring import NO_DATA, NamedData, named_images, recorded_images

if TYPE_CHECKING:
    from multibox.report.data_view import DataExamination
    from multibox.report.run import DataSources


def card_of(
    folder: Path,
    *,
    out: Path | None = None,
    name: str = "",
    licence: str = "",
    named: NamedData = NO_DATA,
    audience: Audience = SILENT,
) -> Path:
    """Write the model card of what lies in a folder; where it is. See `report.run.card`.

    Raises:
        OptionError: the folder has nothing of multibox in it, or the card cannot be written.
    """
    from multibox.report.run import card

    sources = report_sources(named, audience)
    return card(
        folder, save_to=out, name=name, licence=licence, sources=sources, say=audience.say, count=audience.count
    )


def report_sources(named: NamedData, audience: Audience) -> DataSources:
    """Where a page takes images from: what is named, or what the training recorded; and who looks at them."""
    from multibox.report.run import DataSources

    def read_named(classes: Sequence[str]) -> CocoData:
        data = named_images(named, None, classes, say=audience.say)
        assert data is not None
        return data

    def recorded(facts: Mapping[str, Any], classes: Sequence[str]) -> CocoData | None:
        return recorded_images(facts, None, classes, say=audience.say)

    return DataSources(None if named.is_empty else read_named, recorded, _examine)


def _examine(splits: Mapping[str, CocoData], with_findings: bool) -> DataExamination:
    """What the doctor finds in the data of a run, and samples of them."""
    from multibox.doctor.contact_sheet import contact_sheet
    from multibox.doctor.run import find_faults
    from multibox.report.data_view import DataExamination, DataFinding

    shown = "train" if "train" in splits else next(iter(splits))
    try:
        sheet = contact_sheet(splits[shown])
    except DataError:  # an image is gone or broken; the findings say which
        sheet = None
    sheet_of = "training" if shown == "train" else "validation"
    if not with_findings:
        return DataExamination(sheet=sheet, sheet_of=sheet_of)
    findings = tuple(
        DataFinding(one.severity, one.split, one.text, one.examples, one.remedy) for one in find_faults(splits)
    )
    return DataExamination(findings, "looked for in these images now", sheet, sheet_of)
