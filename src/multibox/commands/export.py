"""`multibox export`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from multibox.commands.console import begin, console, counting, say
from multibox.commands.options import (
    Flag,
    ModelName,
    Verbose,
    find_template,
    found_model,
    require,
    require_together,
    say_next,
)
from multibox.errors import OptionError
from multibox.wording import counted, listed, typed

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
    web: Path | None = None,
    serve: Path | None = None,
    openvino_input_format: Literal["BGR", "RGB"] | None = None,
    classes: str = "",
    config: str = "",
    val_ann_files: str = "",
    val_data_roots: str = "",
    verbose: Verbose = False,
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
        web: Folder for a page that detects in the browser, with the model in it; implies --onnx and --raw.
        serve: Folder for what OpenVINO Model Server and Triton want: folders and configurations.
        openvino_input_format: Channel order of the images that the OpenVINO files take. Default: as the template says.
        classes: Must name the classes of the checkpoint, in its order. Default: these.
        config: Template of a snapshot that carries none. Default: template.yaml of the work directory.
        val_ann_files: Instead of --data: annotation files (COCO json), separated by commas.
        val_data_roots: The folder of images of each of these.
        verbose: Show details: the table of comparisons, what may differ by how much, speed and size, versions.
    """
    begin(verbose=verbose)
    require_together(val_ann_files, val_data_roots, "--val-ann-files", "--val-data-roots")

    from multibox.data.coco import split_list
    from multibox.data.reading import DataFiles
    from multibox.export import parity_report
    from multibox.runs.display import Audience
    from multibox.runs.exporting import ExportPlan, export_model
    from multibox.runs.measuring import NamedData
    from multibox.runs.places import COMPRESSED

    if web is not None and onnx is False:
        raise OptionError("--web needs the ONNX file: browsers run no other. Leave --no-onnx out.")
    found = found_model(model)
    _check_bridges(web, serve, model=found.path)
    plan = ExportPlan(
        out=out,
        openvino=openvino,
        onnx=True if web is not None else onnx,
        raw=raw or web is not None,
        precision=precision,
        batch=0 if batch == "dynamic" else int(batch),
        channel_order=openvino_input_format,
        classes=tuple(split_list(classes)),
        template=find_template(config),
    )
    named = NamedData(data, DataFiles(val_ann_files, val_data_roots))
    result = export_model(found, named, plan, audience=Audience(say, counting))
    if verbose or not result.parity.passed:
        console.print(parity_report.parity_table(result.parity, width=console.width))
        for line in parity_report.explanations(result.parity):
            say(line)
    _report(result)
    name = found.path.stem if found.run is None else found.run.home.resolve().name
    _write_bridges(result, web=web, serve=serve, name=name)
    if found.run is not None:
        say_next(found.run, "export" if found.path.parent.name != COMPRESSED else "compress")
    return 0


def _report(result: Export) -> None:
    from multibox.runs.exporting import require_parity

    require_parity(result)
    if result.removed:
        say(f"Removed, because they are of another checkpoint: {listed(map(str, result.removed))}.")
    if result.parity.is_empty:
        say("The checkpoint finds nothing in these images, so nothing was compared but that.")
    else:
        say(_agreement(result))
    for path in result.paths:
        say(f"Exported: {typed(path)}")
    say(f"How they compare with the checkpoint: {typed(result.paths[0].parent / 'export.md')}")
    say(f"Recommended score threshold: {result.threshold:g}.")


def _agreement(result: Export) -> str:
    """That all files find the same as the checkpoint, and how good that is, in a sentence."""
    checkpoint = result.parity.rows[0]
    accuracy = "" if checkpoint.ap is None else f" (AP {checkpoint.ap:.3f})"
    files = "The file finds" if len(result.paths) == 1 else f"All {counted(len(result.paths), 'file')} find"
    return f"{files} what the checkpoint finds{accuracy}."


def _check_bridges(web: Path | None, serve: Path | None, *, model: Path) -> None:
    """Refuse folders in which something would be lost, before there is anything to lose by it."""
    from multibox.demo.web_page import outputs_of_page
    from multibox.export.serving import outputs_for_servers
    from multibox.overwriting import check_outputs

    outputs = [] if web is None else outputs_of_page(web)
    outputs += [] if serve is None else outputs_for_servers(serve)
    check_outputs(outputs, [model], say=say)


def _write_bridges(result: Export, *, web: Path | None, serve: Path | None, name: str) -> None:
    """Write the folders that other programs take, of files that have passed."""
    from multibox.demo.web_page import write_web_page
    from multibox.export.serving import write_serving_folders

    exported = dict(zip(result.paths, result.infos, strict=True))
    if web is not None:
        (model,) = (path for path, info in exported.items() if path.suffix == ".onnx" and info.form == "raw")
        write_web_page(web, model, name=name)
        say(f"Page: {web}. Its README.md says how to fetch ONNX Runtime Web and to publish it.")
    if serve is not None:
        folders = write_serving_folders(serve, exported)
        say(f"For model servers: {', '.join(map(str, folders))}.")
