"""`multibox export`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from multibox.commands.console import console, counting
from multibox.commands.options import (
    Flag,
    ModelName,
    find_template,
    found_model,
    known_data,
    place_in_run,
    require,
    require_together,
    say,
    say_next,
)
from multibox.errors import OptionError, ParityError
from multibox.files import make_folder

if TYPE_CHECKING:
    from multibox.export.run import Export


def _is_batch(text: str | None) -> bool:
    return text is None or text == "dynamic" or (text.isascii() and text.isdigit() and int(text) > 0)


Batch = Annotated[str, Parameter(validator=lambda _, text: require(_is_batch(text), "a number above 0, or dynamic"))]


def export(
    model: ModelName = None,
    *,
    out: Annotated[Path | None, Parameter(name=["--out", "--save-model-to"])] = None,
    data: Path | None = None,
    openvino: bool | None = None,
    onnx: bool | None = None,
    raw: Flag = False,
    precision: Literal["FP32", "FP16"] = "FP32",
    batch: Batch = "1",
    openvino_input_format: Literal["BGR", "RGB"] | None = None,
    classes: str = "",
    config: str = "",
    val_ann_files: str = "",
    val_data_roots: str = "",
) -> int:
    """Write a detector as OpenVINO and ONNX files, and prove that they find what the checkpoint finds.

    Example: multibox export

    Each file is run on the validation images and compared with the checkpoint; the table of that is saved as
    export.json and export.md. If one differs, the files get names with `.rejected`, and the exit code is 3.

    Args:
        model: A run, or a checkpoint (.pth). Default: the run of this folder, else the newest in runs.
        out: Folder for model.xml, model.bin, model.onnx and alt_ssd_export/model.xml, model.bin. Default: export in the
            run; of a compressed model, export_int8.
        data: A labelled data set to compare on. Default: the images that the training validated on, if they are still
            there; else some that come with multibox.
        openvino: Write OpenVINO files. Default: as the template says.
        onnx: Write an ONNX file. Default: as the template says.
        raw: Also write raw/model.xml and raw/model.onnx, which end before non-maximum suppression.
        precision: Of the weights in OpenVINO files. ONNX files are always FP32.
        batch: Images per call, or `dynamic`.
        openvino_input_format: Channel order of the images that the OpenVINO files take. Default: as the template says.
        classes: Must name the classes of the checkpoint, in its order. Default: these.
        config: Template of a snapshot that carries none. Default: template.yaml of the work directory.
        val_ann_files: Instead of --data: annotation files (COCO json), separated by commas.
        val_data_roots: The folder of images of each of these.
    """
    require_together(val_ann_files, val_data_roots, "--val-ann-files", "--val-data-roots")

    from multibox.config import require_ssd
    from multibox.data import coco
    from multibox.data.pictures import builtin_images
    from multibox.data.reading import DataFiles
    from multibox.evaluate.run import check_classes
    from multibox.export import parity_report
    from multibox.export.run import Request
    from multibox.export.run import export as run
    from multibox.runtime.opening import load_checkpoint

    found = found_model(model)
    load_weights = found.path
    save_model_to = out or place_in_run(found, "export")
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
    measured = known_data(found, data, DataFiles(val_ann_files, val_data_roots), names, checkpoint.meta.get("val_data"))
    make_folder(save_model_to)
    if measured is None:
        say("There is no validation set: the files are compared on images that come with multibox, without AP.")
    with counting("Comparing", len(builtin_images() if measured is None else measured.records)) as progress:
        result = run(checkpoint, load_weights, save_model_to, request, data=measured, progress=progress)
    console.print(parity_report.parity_table(result.parity, width=console.width))
    _report(result, save_model_to)
    if found.run is not None:
        say_next(found.run, "export" if checkpoint.quantization is None else "compress")
    return 0


def _report(result: Export, folder: Path) -> None:
    names = ", ".join(str(path) for path in result.paths)
    if not result.parity.passed:
        raise ParityError(
            f"{folder}: the export is rejected. {' '.join(result.parity.reasons)} Its files are kept as {names}; "
            "please report this."
        )
    if result.parity.is_empty:
        say("The checkpoint finds nothing in these images, so nothing was compared but that.")
    say(f"Exported: {names}. The table above is also in export.md, export.json.")
    say(f"Recommended score threshold: {result.threshold:g}.")
