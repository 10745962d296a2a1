"""Which template a training takes where nobody names one."""

from __future__ import annotations

from pathlib import Path

import pytest

from multibox.config import Template, family_of
from multibox.data import coco
from multibox.data.coco import CocoData
from multibox.doctor import model_fit
from multibox.doctor.checks import shipped_templates
from multibox.runs import choosing
from multibox.runs.choosing import suitable_template
from tests.unit.runs.conftest import blots, write_set


def data_of(folder: Path, size: tuple[int, int]) -> CocoData:
    file = write_set(folder / "set", {f"{number}.png": blots(number) for number in range(8)}, size=size)
    return coco.read([file], [file.parent])


def chosen(data: CocoData, model: str = "", minutes: float | None = None) -> tuple[Template, str]:
    said: list[str] = []
    template = suitable_template(data, model, minutes, said.append)
    (line,) = said
    return template, line


def test_large_objects_get_the_smallest_input(tmp_path):
    template, line = chosen(data_of(tmp_path, (60, 50)), "ssd")
    assert template.input.size == 256
    assert line.startswith("Model mobilenet_v2-2s_ssd-256x256: at 256 px, ")


# 6 of 160 by 6 of 120 pixels: a side of 0.043, or 11 px at 256, 17 at 384.
SMALL = (6, 6)


def test_small_objects_get_a_larger_input_of_the_family_that_is_named(tmp_path):
    data = data_of(tmp_path, SMALL)
    for family in ("ssd", "yolox_nano"):
        template, _ = chosen(data, family)
        assert family_of(template) == family
        assert template.input.size > 256


@pytest.mark.parametrize("is_measured", [True, False])
def test_too_little_time_for_it_gets_a_smaller_one_and_it_is_said(tmp_path, monkeypatch, is_measured):
    if is_measured:
        monkeypatch.setattr(choosing, "UNMEASURED_MINUTES", 0)
    # As few images as the speed can be measured with.
    monkeypatch.setattr(model_fit, "TIMED_STEPS", 3)
    monkeypatch.setattr(model_fit, "TIMED_BATCH", 2)
    data = data_of(tmp_path, SMALL)
    wanted, _ = chosen(data, "ssd")
    template, line = chosen(data, "ssd", minutes=0.01)
    assert template.input.size == 256
    assert line.endswith(f"{wanted.input.size} px would suit the objects better, but get too few steps in 0.01 min.")


@pytest.mark.parametrize("size", [(60, 50), SMALL])
def test_without_a_family_it_is_what_doctor_advises(tmp_path, size):
    data = data_of(tmp_path, size)
    advice = model_fit.advise(model_fit.fit_templates(data, shipped_templates()))
    assert chosen(data)[0].name == advice.template
