"""An examination on terminals of several widths: nothing is cut, and details come on demand."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from multibox.doctor.checks import Finding
from multibox.doctor.contents import ClassContents, Contents
from multibox.doctor.model_fit import Advice, TemplateFit
from multibox.doctor.tables import ConsoleDisplay

FINDING = Finding("warning", "", "train", 1, "1 box covers more than 95% of the image. Is that?", ('"a photo.jpg"',))
CONTENTS = Contents(
    140, 151, 2, (259, 194), 14, 92, (ClassContents("a man without a hat", 151, 140, (39.6, 70.0, 89.1)),)
)
ADVICE = Advice("yolox_nano-256x256", "at 256 px, 0% of the objects are under 16 px and 0% share a cell of 8 px")


def fit(family: str, size: int, *, recall: float | None) -> TemplateFit:
    return TemplateFit(
        template=f"{family}-{size}x{size}",
        input_size=size,
        small=(0.0, 0.5, 1.0),
        recall_given=recall,
        recall_fitted=recall,
        worst_class=None if recall is None else "a man without a hat",
        worst_recall=recall,
        finest_cell_px=8,
        under_cell=0.0,
        family=family,
        least_px=16,
        under_least=0.0,
        without_own_cell=0.0,
        images_per_second=20.0,
        minutes=6.0,
        is_measured=family == "yolox_nano",
    )


def shown(width: int, *, has_details: bool) -> list[str]:
    file = io.StringIO()
    console = Console(file=file, width=width, force_terminal=True, color_system=None, highlight=False, soft_wrap=True)
    display = ConsoleDisplay(console, lambda _: None, has_details=has_details)
    fits = {one.template: one for one in (fit("ssd", 256, recall=1.0), fit("yolox_nano", 256, recall=None))}
    display.findings([FINDING])
    display.contents({"train": CONTENTS})
    display.fits(fits, ADVICE)
    display.times(fits)
    return file.getvalue().splitlines()


@pytest.mark.parametrize("has_details", [False, True])
@pytest.mark.parametrize("width", [80, 140])
def test_no_line_is_wider_than_the_terminal_and_no_name_is_cut(width, has_details):
    lines = shown(width, has_details=has_details)
    assert max(map(len, lines)) <= width
    assert '        "a photo.jpg"' in lines
    text = " ".join(" ".join(lines).split())
    assert f"-> {FINDING.remedy}" in text
    reason = ADVICE.reason if has_details else "the smallest input at which these objects are large enough"
    assert f"Take yolox_nano-256x256: {reason}." in text
    # Of all tables, in one cell each.
    assert len([line for line in lines if "a man without a hat" in line]) == (2 if has_details else 1)


def test_sizes_models_and_other_times_are_details():
    brief, whole = ("\n".join(shown(140, has_details=wanted)) for wanted in (False, True))
    for detail in ("39.6", "ssd 256", "10th, 50th and 90th percentile", "images per second"):
        assert detail in whole and detail not in brief, detail
    assert "Training yolox_nano-256x256 takes about 6 minutes here" in brief
