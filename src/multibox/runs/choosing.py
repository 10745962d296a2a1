"""Which template a training takes: the named one, or the one that suits the objects and the time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from multibox import config
from multibox.config import (
    DEFAULT_FAMILY,
    FAMILIES,
    Template,
    bundled_templates,
    family_of,
    load_template,
    templates_of,
)
from multibox.data.coco import CocoData
from multibox.doctor.checks import shipped_templates
from multibox.doctor.model_fit import advise, fit_templates, measure_speed, scaled_speed
from multibox.errors import OptionError
from multibox.runs.run import TEMPLATE
from multibox.train.progress import BRIEF_STEPS
from multibox.wording import Detailed, listed

AUTO = "auto"
"""The size that stands for the one that suits the data."""

SHORT_MINUTES = 10
"""Minutes below which it is measured whether the advised size gets enough steps: measuring takes some seconds, and a
training that is longer has enough of them at any size."""

UNMEASURED_MINUTES = 1
"""Minutes below which the smallest input is taken unmeasured: measuring would take too much of them."""

TRAINING_SHARE = 0.8
"""Share of a time budget that goes into steps; the rest are the trial of starts, validations and saving."""


def named_template(model: str, size: str) -> Template | None:
    """The template of a model's name, a file, or a family with a size; None where the data are to decide the size.

    Where neither is named, the template of the work directory that the command runs in is taken, if it is one.

    Raises:
        OptionError: there is no such model or size, or they contradict each other.
        TemplateError: the file is no template.
    """
    if not model and not size and Path(TEMPLATE).exists():
        return load_template(TEMPLATE)
    if model and model not in FAMILIES:
        template = load_template(bundled_templates().get(model, model))
        if size not in ("", str(template.input.size)):
            raise OptionError(f"--size {size}: {model} has an input of {template.input.size} px. Leave one out.")
        return template
    sizes = {str(template.input.size): template for template in _templates(model)}
    if size in ("", AUTO):
        return None
    if size not in sizes:
        raise OptionError(f"--size {size}: there is no such input size. Choose {listed([*sizes, AUTO])}.")
    return sizes[size]


def suitable_template(data: CocoData, model: str, minutes: float | None, say: Callable[[str], None]) -> Template:
    """The template that `multibox doctor` would advise for these objects, or a smaller one of its family for the time.

    With the name of a family as `model`, it is one of this family.
    """
    candidates = _templates(model) if model else list(shipped_templates())
    fits = fit_templates(data, candidates)
    advice = advise(fits, model or DEFAULT_FAMILY)
    chosen = next(template for template in candidates if template.name == advice.template)
    reason, is_plain = advice.reason, fits[advice.template].is_suitable
    relatives = [template for template in candidates if family_of(template) == family_of(chosen)]
    smaller = [template for template in relatives if template.input.size < chosen.input.size]
    if smaller and minutes is not None and minutes < SHORT_MINUTES:
        affordable = _affordable(data, [*smaller, chosen], minutes)
        if affordable is not chosen:
            reason = f"{chosen.input.size} px would suit the objects better, but get too few steps in {minutes:g} min"
            chosen, is_plain = affordable, False
    brief = f"Model {chosen.name}: the smallest input at which these objects are large enough." if is_plain else ""
    line = f"Model {chosen.name}: {reason}."
    say(Detailed(line, brief=brief or line))
    return chosen


def _affordable(data: CocoData, candidates: list[Template], minutes: float) -> Template:
    """The largest of some templates, from small to large, that gets enough steps in the time; else the smallest."""
    *smaller, chosen = candidates
    if minutes < UNMEASURED_MINUTES:
        return candidates[0]
    speed = measure_speed(data, chosen)
    while smaller and _steps(chosen, minutes, speed.images_per_second) < BRIEF_STEPS:
        lower = smaller.pop()
        speed = scaled_speed(speed, chosen.input.size, lower.input.size)
        chosen = lower
    return chosen


def _templates(model: str) -> list[Template]:
    return [config.load_template(path) for path in templates_of(model or DEFAULT_FAMILY).values()]


def _steps(template: Template, minutes: float, images_per_second: float) -> float:
    return 60 * minutes * TRAINING_SHARE * images_per_second / template.hyper_parameters.basic.batch_size
