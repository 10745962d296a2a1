"""`multibox export`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from multibox.commands.console import console, counting
from multibox.commands.options import (
    Flag,
    find_template,
    read_named_data,
    recorded_data,
    require,
    require_together,
    say,
)
from multibox.errors import OptionError, ParityError
from multibox.files import make_folder
from multibox.overwriting import check_outputs
from multibox.wording import listed

if TYPE_CHECKING:
    from multibox.data.coco import CocoData
    from multibox.export.run import Export


def _is_batch(text: str | None) -> bool:
    return text is None or text == "dynamic" or (text.isascii() and text.isdigit() and int(text) > 0)


Batch = Annotated[str, Parameter(validator=lambda _, text: require(_is_batch(text), "a number above 0, or dynamic"))]


def export(
    *,
    load_weights: Path,
    save_model_to: Path,
    classes: str = "",
    openvino: bool | None = None,
    onnx: bool | None = None,
    openvino_input_format: Literal["BGR", "RGB"] | None = None,
    precision: Literal["FP32", "FP16"] = "FP32",
    batch: Batch = "1",
    raw: Flag = False,
    val_ann_files: str = "",
    val_data_roots: str = "",
    config: str = "",
) -> int:
    """Write a detector as OpenVINO and ONNX files, and prove that they find what the checkpoint finds.

    Each file is run on the validation images and compared with the checkpoint; the table of that is saved as
    export.json and export.md. If one differs, the files get names with `.rejected`, and the exit code is 3.

    Args:
        load_weights: The checkpoint (.pth).
        save_model_to: Folder for model.xml, model.bin, model.onnx and alt_ssd_export/model.xml, model.bin.
        classes: Must name the classes of the checkpoint, in its order; default: these.
        openvino: Write OpenVINO files; default: as the template says.
        onnx: Write an ONNX file; default: as the template says.
        openvino_input_format: Channel order of the images that the OpenVINO files take; default: as the template says.
        precision: Of the weights in OpenVINO files. ONNX files are always FP32.
        batch: Images per call, or `dynamic`.
        raw: Also write raw/model.xml and raw/model.onnx, which end before non-maximum suppression.
        val_ann_files: Annotation files (COCO json) of the images to compare on. Default: those that the training
            validated on, if they are still there; else some images that come with multibox.
        val_data_roots: The folder of images of each of these.
        config: Template of a snapshot that carries none. Default: template.yaml of the work directory.
    """
    require_together(val_ann_files, val_data_roots, "--val-ann-files", "--val-data-roots")

    from multibox.config import require_ssd
    from multibox.data import coco
    from multibox.data.pictures import builtin_images
    from multibox.evaluate.run import check_classes
    from multibox.export import parity_report
    from multibox.export.run import Request, outputs_of_export
    from multibox.export.run import export as run
    from multibox.runtime.opening import load_checkpoint

    checkpoint = load_checkpoint(load_weights, template=find_template(config))
    require_ssd(checkpoint.template, purpose="exported")
    names = check_classes(checkpoint.classes, coco.split_list(classes))

    formats = checkpoint.template.output_format
    request = Request(
        openvino=formats.openvino.default if openvino is None else openvino,
        onnx=formats.onnx.default if onnx is None else onnx,
        raw=raw,
        channel_order=openvino_input_format or formats.openvino.input_format,
        precision=precision,
        batch=0 if batch == "dynamic" else int(batch),
    )
    if not (request.openvino or request.onnx):
        raise OptionError("Nothing is left to export. Leave out --no-openvino or --no-onnx.")
    if val_ann_files:
        data: CocoData | None = read_named_data(
            val_ann_files, val_data_roots, names, skip_bad=False, allow_missing_classes=True
        )
    else:
        data = recorded_data(checkpoint, "val_data")
    check_outputs(outputs_of_export(save_model_to, request), [load_weights], say=say)
    make_folder(save_model_to)
    if data is None:
        say("There is no validation set: the files are compared on images that come with multibox, without AP.")
    with counting("Comparing", len(builtin_images() if data is None else data.records)) as progress:
        result = run(checkpoint, load_weights, save_model_to, request, data=data, progress=progress)
    console.print(parity_report.parity_table(result.parity, width=console.width))
    return _report(result, save_model_to)


def _report(result: Export, folder: Path) -> int:
    names = ", ".join(str(path) for path in result.paths)
    if not result.parity.passed:
        raise ParityError(
            f"{folder}: the export is rejected. {' '.join(result.parity.reasons)} Its files are kept as {names}; "
            "please report this."
        )
    if result.removed:
        say(f"Removed, because they are of another checkpoint: {listed(map(str, result.removed))}.")
    if result.parity.is_empty:
        say("The checkpoint finds nothing in these images, so nothing was compared but that.")
    say(f"The files suggest to show detections from a score of {result.threshold:g} on.")
    say(f"Exported: {names}. The table above is also in export.md, export.json.")
    return 0
