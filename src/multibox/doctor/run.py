"""The doctor: everything that is found out about a data set, put together."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from multibox import config
from multibox.config import ssd_templates
from multibox.data.coco import CocoData
from multibox.data.layouts import Split
from multibox.doctor import checks, duplicates, orientation, pixels
from multibox.doctor.checks import SEVERITIES, Finding
from multibox.doctor.contents import Contents, contents
from multibox.doctor.duplicates import Twins
from multibox.doctor.model_fit import Advice, TemplateFit, advise, fit_template

EXIT_WARNINGS, EXIT_ERRORS = 1, 2


@dataclass(frozen=True)
class Examination:
    """What a data set holds (`contents` by split), what is wrong with it, and how it suits each input size."""

    contents: Mapping[str, Contents]
    findings: tuple[Finding, ...]
    fits: Mapping[int, TemplateFit]
    advice: Advice | None
    twins: tuple[Twins, ...]

    @property
    def exit_code(self) -> int:
        """0 if there is nothing above a note, 1 with warnings, 2 with errors."""
        severities = {finding.severity for finding in self.findings}
        return EXIT_ERRORS if "error" in severities else EXIT_WARNINGS if "warning" in severities else 0


def doctor(
    splits: Mapping[str, CocoData],
    *,
    is_timed: bool,
    parts: Mapping[str, Sequence[Split]] | None = None,
    report: Callable[[str], None] = lambda _: None,
) -> Examination:
    """Examine the splits of a data set, by their names (`train`, `val`).

    `is_timed`: measure the speed of training too, which takes some seconds. `parts`: the annotation files that each
    split was read from, for what only they tell. `report` hears what is being looked at. Without PyTorch, `fits` and
    `advice` are left out: the cells that anchors belong to are the network's.
    """
    findings: list[Finding] = []
    for split, data in splits.items():
        report(f"Looking at {split}")
        findings += checks.converted(split, (parts or {}).get(split, ()))
        findings += checks.unusable(split, data)
        findings += checks.doubtful(split, data)
        findings += checks.questionable(split, data)
        findings += orientation.check_orientation(split, data)
        findings += pixels.check_pixels(split, data)
        findings += pixels.check_odd_sizes(split, data)
        findings += checks.much_larger(split, data)
    findings += checks.classes_with_few_objects(splits)
    report("Comparing images")
    twins = duplicates.find_twins(splits)
    findings += duplicates.report_twins(twins)
    findings += duplicates.check_boxes_of_twins(splits, twins)
    train = splits.get("train", next(iter(splits.values())))
    fits: dict[int, TemplateFit] = {}
    if sum(train.objects_per_class) and find_spec("torch") is not None:
        num_val_images = len(splits["val"].records) if "val" in splits else 0
        # Advice for the other family is to follow, when more of its commands are there.
        for path in ssd_templates().values():
            template = config.load_template(path)
            report(f"{'Timing' if is_timed else 'Fitting'} {template.input.size} px")
            fits[template.input.size] = fit_template(train, template, num_val_images=num_val_images, is_timed=is_timed)
    return Examination(
        contents={split: contents(data) for split, data in splits.items()},
        findings=tuple(sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity))),
        fits=fits,
        advice=advise(fits) if fits else None,
        twins=tuple(twins),
    )


def examination_to_plain(examination: Examination) -> dict[str, Any]:
    """Turn an examination into dictionaries and numbers, ready for JSON."""
    return {
        "contents": {split: dataclasses.asdict(held) for split, held in examination.contents.items()},
        "findings": [dataclasses.asdict(finding) for finding in examination.findings],
        "twins": [dataclasses.asdict(twin) for twin in examination.twins],
        "fits": [dataclasses.asdict(suits) for suits in examination.fits.values()],
        "advice": dataclasses.asdict(examination.advice) if examination.advice else None,
        "exit_code": examination.exit_code,
    }
