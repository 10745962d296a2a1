"""A checkpoint becomes model files that are compared with it: by `multibox export` and by `Run.export`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from multibox.errors import OptionError, ParityError
from multibox.files import make_folder
from multibox.runs.display import SILENT, Audience
from multibox.runs.finding import FoundModel
from multibox.runs.measuring import NamedData, named_images, recorded_images
from multibox.runs.places import EXPORT, place_in_run

if TYPE_CHECKING:
    from multibox.config import Template
    from multibox.export.run import Export


@dataclass(frozen=True, kw_only=True)
class ExportPlan:
    """Which files an export writes, and how; what is None is as the template says.

    `out` is the folder; by default `export` in the run. `batch` is the number of images per call, 0 for any number.
    """

    out: Path | None = None
    openvino: bool | None = None
    onnx: bool | None = None
    raw: bool = False
    precision: Literal["FP32", "FP16"] = "FP32"
    batch: int = 1
    channel_order: Literal["BGR", "RGB"] | None = None
    classes: tuple[str, ...] = ()
    template: Template | None = None


def export_model(found: FoundModel, named: NamedData, plan: ExportPlan, *, audience: Audience = SILENT) -> Export:
    """Write a checkpoint as model files that are compared with it, on images that are named or those of its training.

    Raises:
        OptionError: nothing is left to write, or it has no place.
        DataError: the images cannot be read.
        CheckpointError: the checkpoint cannot be read.
        DependencyError: a library is not installed.
    """
    from multibox.data.builtin_images import builtin_images
    from multibox.evaluate.run import check_classes
    from multibox.export.run import Request, export, outputs_of_export
    from multibox.overwriting import check_outputs
    from multibox.runtime.opening import load_checkpoint

    output = plan.out or place_in_run(found, EXPORT)
    checkpoint = load_checkpoint(found.path, template=plan.template)
    names = check_classes(checkpoint.classes, plan.classes)
    formats = checkpoint.template.output_format
    request = Request(
        openvino=formats.openvino.default if plan.openvino is None else plan.openvino,
        onnx=formats.onnx.default if plan.onnx is None else plan.onnx,
        raw=plan.raw,
        channel_order=plan.channel_order or formats.openvino.input_format,
        precision=plan.precision,
        batch=plan.batch,
    )
    if not (request.openvino or request.onnx):
        raise OptionError("Nothing is left to export. Leave out --no-openvino or --no-onnx.")
    if named.is_empty:
        data = recorded_images(checkpoint.meta.get("val_data"), found.run, names, say=audience.say)
    else:
        data = named_images(named, found.run, names, say=audience.say)
    check_outputs(outputs_of_export(output, request), [found.path], say=audience.say)
    make_folder(output)
    if data is None:
        audience.say(
            "There is no validation set: the files are compared on images that come with multibox, without AP."
        )
    with audience.count("Comparing", len(builtin_images() if data is None else data.records)) as progress:
        return export(checkpoint, found.path, output, request, data=data, progress=progress)


def require_parity(result: Export) -> None:
    """Refuse an export that finds something else than its checkpoint.

    Raises:
        ParityError: it does.
    """
    if not result.parity.passed:
        names = ", ".join(str(path) for path in result.paths)
        raise ParityError(
            f"{result.paths[0].parent}: the export is rejected. {' '.join(result.parity.reasons)} Its files are kept "
            f"as {names}; please report this."
        )
