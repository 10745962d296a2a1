"""The doctor: everything that is found out about a data set, told as soon as it is known."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any, Protocol

from multibox.data.coco import CocoData
from multibox.data.layouts import Split
from multibox.doctor import checks, duplicates, looks, orientation, pixels
from multibox.doctor.checks import Finding, gravest_first
from multibox.doctor.contents import Contents, contents
from multibox.doctor.duplicates import Twins
from multibox.doctor.looks import Seen
from multibox.doctor.model_fit import Advice, TemplateFit, advise, fit_templates, measure_speed, with_times

EXIT_WARNINGS, EXIT_ERRORS = 1, 2

REPORTED_EVERY = 20
"""Number of images after which a listener hears how many have been looked at."""


@dataclass(frozen=True)
class Examination:
    """What a data set holds (`contents` by split), what is wrong with it, and how it suits each template.

    `findings` begin with the gravest. `fits` are by the names of templates; they and `advice` are empty without PyTorch
    and where there is no object. `usable`: the splits without the images that cannot be used.
    """

    contents: Mapping[str, Contents]
    findings: tuple[Finding, ...]
    fits: Mapping[str, TemplateFit]
    advice: Advice | None
    twins: tuple[Twins, ...]
    usable: Mapping[str, CocoData] = field(default_factory=dict, repr=False)

    @property
    def exit_code(self) -> int:
        """0 if there is nothing above a note, 1 with warnings, 2 with errors."""
        severities = {finding.severity for finding in self.findings}
        return EXIT_ERRORS if "error" in severities else EXIT_WARNINGS if "warning" in severities else 0


class Listener(Protocol):
    """Who hears of an examination while it goes on."""

    def doing(self, text: str) -> None:
        """What is being looked at now."""

    def findings(self, findings: Sequence[Finding]) -> None:
        """Findings that are known now, the gravest first."""

    def contents(self, contents: Mapping[str, Contents]) -> None:
        """What each split holds."""

    def fits(self, fits: Mapping[str, TemplateFit], advice: Advice) -> None:
        """How the data suit each template, and which one to take."""

    def times(self, fits: Mapping[str, TemplateFit]) -> None:
        """How long a training takes at each input size of a family, roughly."""


class Silence:
    """A listener that passes nothing on."""

    def doing(self, text: str) -> None:
        """Nothing."""

    def findings(self, findings: Sequence[Finding]) -> None:
        """Nothing."""

    def contents(self, contents: Mapping[str, Contents]) -> None:
        """Nothing."""

    def fits(self, fits: Mapping[str, TemplateFit], advice: Advice) -> None:
        """Nothing."""

    def times(self, fits: Mapping[str, TemplateFit]) -> None:
        """Nothing."""


def doctor(
    splits: Mapping[str, CocoData],
    *,
    is_timed: bool,
    parts: Mapping[str, Sequence[Split]] | None = None,
    listener: Listener | None = None,
) -> Examination:
    """Examine the splits of a data set, by their names (`train`, `val`), whose images need not have been verified.

    What annotations tell comes first, then what images tell, each with its errors and warnings before it goes on; notes
    follow, then what is in the set, what it means for a model, and the speed of a training if `is_timed`. `parts`: the
    annotation files that each split was read from, for what only they tell. Without PyTorch, nothing is said of models:
    the cells that anchors belong to are the network's.
    """
    listener = listener or Silence()
    listener.doing("Looking at the annotations")
    of_annotations = _check_annotations(splits, parts or {})
    listener.findings([finding for finding in of_annotations if finding.severity != "note"])
    num_images = sum(len(data.records) for data in splits.values())
    seen = looks.see(splits, report=lambda done: _count(listener, done, num_images))
    usable = {name: split.data for name, split in seen.items() if split.data is not None}
    listener.doing("Comparing images")
    twins = duplicates.find_twins({name: split.looks for name, split in seen.items()})
    of_images = _check_images(seen, usable, twins)
    listener.findings([finding for finding in of_images if finding.severity != "note"])
    listener.findings([finding for finding in [*of_annotations, *of_images] if finding.severity == "note"])
    held = {name: contents(data) for name, data in usable.items()}
    listener.contents(held)
    fits, advice = _fit(usable, is_timed=is_timed, listener=listener)
    return Examination(held, tuple(gravest_first([*of_annotations, *of_images])), fits, advice, tuple(twins), usable)


def find_faults(splits: Mapping[str, CocoData]) -> tuple[Finding, ...]:
    """What is wrong with the splits of a data set, the gravest first, without what the data mean for a model."""
    seen = looks.see(splits)
    usable = {name: split.data for name, split in seen.items() if split.data is not None}
    twins = duplicates.find_twins({name: split.looks for name, split in seen.items()})
    return tuple(gravest_first([*_check_annotations(splits, {}), *_check_images(seen, usable, twins)]))


def examination_to_plain(examination: Examination) -> dict[str, Any]:
    """Turn an examination into dictionaries and numbers, ready for JSON."""
    return {
        "contents": {split: dataclasses.asdict(held) for split, held in examination.contents.items()},
        "findings": [{**dataclasses.asdict(finding), "remedy": finding.remedy} for finding in examination.findings],
        "twins": [dataclasses.asdict(twin) for twin in examination.twins],
        "fits": [dataclasses.asdict(suits) for suits in examination.fits.values()],
        "advice": dataclasses.asdict(examination.advice) if examination.advice else None,
        "exit_code": examination.exit_code,
    }


def _check_annotations(splits: Mapping[str, CocoData], parts: Mapping[str, Sequence[Split]]) -> list[Finding]:
    findings: list[Finding] = []
    for split, data in splits.items():
        findings += checks.converted(split, parts.get(split, ()))
        findings += checks.unusable(split, data)
        findings += checks.doubtful(split, data)
        findings += checks.questionable(split, data)
        findings += pixels.check_odd_sizes(split, data)
        findings += checks.much_larger(split, data)
    findings += checks.classes_with_few_objects(splits)
    return gravest_first(findings)


def _check_images(seen: Mapping[str, Seen], usable: Mapping[str, CocoData], twins: Sequence[Twins]) -> list[Finding]:
    findings: list[Finding] = []
    for name, split in seen.items():
        findings += checks.broken(name, split.unusable)
        findings += pixels.check_pixels(name, split.looks)
        if split.data is not None:
            findings += orientation.check_orientation(name, split.data, split.looks)
    findings += duplicates.report_twins(twins)
    findings += duplicates.check_boxes_of_twins(usable, twins)
    return gravest_first(findings)


def _fit(
    usable: Mapping[str, CocoData], *, is_timed: bool, listener: Listener
) -> tuple[dict[str, TemplateFit], Advice | None]:
    """How the training images suit each template, and which to take; with rough times of a training if `is_timed`."""
    train = usable.get("train", next(iter(usable.values()), None))
    if train is None or not sum(train.objects_per_class) or find_spec("torch") is None:
        return {}, None
    templates = {template.name: template for template in checks.shipped_templates()}
    listener.doing("Fitting anchors")
    fits = fit_templates(train, templates.values())
    advice = advise(fits)
    listener.fits(fits, advice)
    if is_timed:
        chosen = templates[advice.template]
        listener.doing(f"Timing {chosen.name}")
        speed = measure_speed(train, chosen)
        num_val_images = len(usable["val"].records) if "val" in usable else 0
        fits = with_times(fits, templates, speed, chosen, num_images=len(train.records), num_val_images=num_val_images)
        listener.times(fits)
    return fits, advice


def _count(listener: Listener, done: int, total: int) -> None:
    if done % REPORTED_EVERY == 0:
        listener.doing(f"Looking at the images: {done:,} of {total:,}")
