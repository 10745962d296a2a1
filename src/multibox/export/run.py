"""From a checkpoint to files that are proved to be it: `export` writes them aside, compares, and then moves them."""

from __future__ import annotations

import dataclasses
import gc
import os
from collections.abc import Callable, Iterator, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from multibox import config
from multibox.data.builtin_images import builtin_images
from multibox.data.coco import CocoData
from multibox.data.images import read_image
from multibox.errors import OptionError
from multibox.evaluate.run import evaluate
from multibox.evaluate.thresholds import suggested
from multibox.export import openvino_model, parity, parity_report
from multibox.export.agreement import Tolerance
from multibox.export.input_layer import round_to_half
from multibox.export.parity import ComparedForm, Parity
from multibox.export.timing import median_ms
from multibox.files import kind_of, model_files, sha256
from multibox.machine import provenance
from multibox.model.complexity import complexity_gflops, size_mp
from multibox.model.detector import Detector, strides_of
from multibox.openvino_graph import write_graph
from multibox.overwriting import Output, has_inside, is_export_json, is_export_page, is_onnx, is_openvino_xml
from multibox.runtime.contract import ExportInfo, Form, Origin
from multibox.runtime.onnx_runtime import OnnxRuntime
from multibox.runtime.openvino_runtime import OpenVINORuntime
from multibox.runtime.protocol import Runtime
from multibox.runtime.torch_runtime import runtime_of
from multibox.structures import shown_from
from multibox.unfinished import publish, unfinished_folder
from multibox.weights.checkpoint import Checkpoint

ALTERNATIVE = "alt_ssd_export"
RAW = "raw"
REJECTED = ".rejected"
CHECKPOINT = "checkpoint"

ROUNDED = Tolerance(only_ap=True)
"""Tolerance for weights in half precision, which moves single detections: what counts is that it costs no AP."""

INT8_AP_POINTS, INT8_SCORE, INT8_BOX_SHARE = 0.2, 0.1, 1 / 32
"""Tolerance for files that compute in 8 bits: AP in points, a score, a box as a share of the input's side."""

COARSE = Tolerance(box_px=4, score=0.05)
"""Tolerance for bfloat16, whose numbers have 8 bits; such rows are shown, not judged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Which files to write, and how.

    `raw` adds files that end before non-maximum suppression. `channel_order` and `precision` are those of the images
    and of the weights of OpenVINO files; a compressed checkpoint, whose weights are in 8 bits, needs FP32. `batch` is
    the number of images per call, 0 for any number.
    """

    openvino: bool = True
    onnx: bool = True
    raw: bool = False
    channel_order: Literal["BGR", "RGB"] = "BGR"
    precision: Literal["FP32", "FP16"] = "FP32"
    batch: int = 1


@dataclass(frozen=True, slots=True)
class ExportedFile:
    """A file of an export: `name` is its path below the folder of the export, `path` where it is now."""

    name: str
    path: Path
    info: ExportInfo

    @property
    def num_bytes(self) -> int:
        """Size on disk in bytes, weights included."""
        return sum(path.stat().st_size for path in self.parts)

    @property
    def parts(self) -> tuple[Path, ...]:
        """The files that it consists of, the one to open last."""
        return model_files(self.path)


@dataclass(frozen=True, slots=True)
class Export:
    """What an export left in its folder: the files to open, how they compare, and the score that they recommend.

    The files of an export that did not pass have `.rejected` in their names. `threshold` is the score from which a
    detection is worth showing, `infos` what each file says of itself. `removed` are files of earlier exports of another
    checkpoint.
    """

    paths: tuple[Path, ...]
    infos: tuple[ExportInfo, ...]
    parity: Parity
    threshold: float
    removed: tuple[Path, ...] = ()


def export(
    checkpoint: Checkpoint,
    source: Path,
    output: Path,
    request: Request,
    *,
    data: CocoData | None,
    progress: Callable[[int], None] | None = None,
) -> Export:
    """Write a checkpoint, whose file is `source`, as model files to `output`, with export.json and export.md.

    All files are compared with the checkpoint on the images of `data`, or, without AP, on the images that come with
    multibox. If one of them differs, all of them get names with `.rejected`. `progress` is told after each batch how
    many images that was.

    Raises:
        OptionError: a file cannot be written, or half precision is asked for where weights are in 8 bits.
        DependencyError: ONNX is asked for and its packages are not installed.
        DataError: an image cannot be read.
    """
    checkpoint = with_threshold(checkpoint, data)
    with unfinished_folder(output) as folder:
        files = write_files(checkpoint, source, folder, request)
        compared = prove(checkpoint, files, builtin_images() if data is None else data, progress=progress)
        threshold = files[0].info.suggested_threshold
        parity_report.write_report(
            folder, compared, checkpoint=source.name, images=_described(data), threshold=threshold
        )
        paths, removed = _publish(files, folder, is_rejected=not compared.passed)
    return Export(paths, tuple(file.info for file in files), compared, threshold, removed)


def outputs_of_export(output: Path, request: Request) -> list[Output]:
    """The files that an export writes into a folder if it passes."""
    option = "--save-model-to"
    pages = {"export.json": is_export_json, "export.md": is_export_page}
    outputs = [Output(option, output / name, is_ours) for name, is_ours in pages.items()]
    parts = [path for name in _names(request) for path in model_files(output / name)]
    return outputs + [Output(option, path, _is_ours) for path in parts]


def _names(request: Request) -> dict[str, Form]:
    """The names of the files of an export below its folder, and their forms."""
    names: dict[str, Form] = {}
    if request.openvino:
        names |= {"model.xml": "boxes_labels", f"{ALTERNATIVE}/model.xml": "detection_output"}
        names |= {f"{RAW}/model.xml": "raw"} if request.raw else {}
    if request.onnx:
        names["model.onnx"] = "boxes_labels"
        names |= {f"{RAW}/model.onnx": "raw"} if request.raw else {}
    return names


def _is_ours(path: Path) -> bool:
    """Whether an earlier export wrote this part of a model, and not the compression of a file."""
    if (path.parent / "compress.json").exists() and not (path.parent / "latest.pth").exists():
        return False
    to_open = model_files(path)[-1]
    return to_open.is_file() and (is_onnx if kind_of(path) == "onnx" else is_openvino_xml)(to_open)


def write_files(checkpoint: Checkpoint, source: Path, folder: Path, request: Request) -> tuple[ExportedFile, ...]:
    """Write everything that is asked for below `folder`, and say what there is; `source` is the checkpoint's file.

    Raises:
        OptionError: a file cannot be written, or half precision is asked for where weights are in 8 bits.
        DependencyError: ONNX is asked for and its packages are not installed.
    """
    if checkpoint.quantization is not None and request.precision != "FP32":
        raise OptionError(
            f"--precision {request.precision}: the checkpoint is compressed, its weights are in 8 bits. "
            "Leave --precision out."
        )
    network = checkpoint.build_folded()
    describe = _Description(checkpoint, source)
    files = []
    forms = _names(request)
    if request.openvino:
        infos = {name: describe.ir(form, request) for name, form in forms.items() if kind_of(name) == "openvino"}
        converted = openvino_model.convert_network(network, next(iter(infos.values())))
        for name, info in infos.items():
            path = folder / name
            write_graph(openvino_model.finish(converted, info), path, half_precision=request.precision == "FP16")
            files.append(ExportedFile(name, path, info))
    if request.onnx:
        from multibox.export import onnx_model

        for name in filter(lambda name: kind_of(name) == "onnx", forms):
            info = describe.onnx(forms[name], request)
            path = folder / name
            _write(path, onnx_model.build_onnx_model(network, info).SerializeToString(deterministic=True))
            files.append(ExportedFile(name, path, info))
    return tuple(files)


def with_threshold(checkpoint: Checkpoint, data: CocoData | None) -> Checkpoint:
    """The checkpoint with the score from which a detection is worth showing, which its files then suggest.

    Training has left it; of a checkpoint of another origin it is found on `data`, if there is any.
    """
    if checkpoint.meta.get("threshold") is not None or data is None:
        return checkpoint
    evaluation = evaluate(runtime_of(checkpoint), data)
    meta = {**checkpoint.meta, "threshold": suggested(evaluation.detections, data)}
    return dataclasses.replace(checkpoint, meta=meta)


def prove(
    checkpoint: Checkpoint,
    files: Sequence[ExportedFile],
    images: CocoData | Sequence[Path],
    *,
    progress: Callable[[int], None] | None = None,
) -> Parity:
    """How the detections of each file compare with the checkpoint's over images; AP where these are annotated.

    OpenVINO files are judged in float32 arithmetic. Where the processor's own choice is another one, the first of them
    has a second row, which shows what that costs; the others have the same layers. A file with weights in half
    precision is judged against the network with its weights rounded so, whose row says what the rounding costs. Files
    that compute in 8 bits have looser rules, see `parity.ComparedForm`.
    """
    template, classes = checkpoint.template, checkpoint.classes
    with ThreadPoolExecutor() as pool:
        # OpenVINO compiles one network on one core; PyTorch's is built meanwhile.
        first = next((file for file in files if kind_of(file.path) == "openvino"), None)
        opening = pool.map(lambda file: tuple(_open(file, as_usual=file is first)), files)
        forms = [ComparedForm(CHECKPOINT, CHECKPOINT, "float32", None)]
        runtimes: dict[str, Runtime] = {CHECKPOINT: parity.Reference(checkpoint.build(), template, classes)}
        for precision, rounded in _rounded_networks(checkpoint, files).items():
            name = f"{CHECKPOINT}, weights in {precision}"
            runtimes[name] = parity.Reference(rounded, template, classes)
            forms.append(ComparedForm(name, CHECKPOINT, "float32", None, CHECKPOINT, ROUNDED))
        opened = list(opening)
    for file, runtimes_of_file in zip(files, opened, strict=True):
        reference = f"{CHECKPOINT}, weights in FP16" if file.info.precision == "FP16" else CHECKPOINT
        is_int8 = file.info.precision == "INT8"
        for runtime, name, precision in runtimes_of_file:
            runtimes[name] = runtime
            is_exact = precision == "float32"
            tolerance = _int8_tolerance(template.input.size) if is_int8 else Tolerance() if is_exact else COARSE
            arithmetic = "int8" if is_int8 and is_exact else precision
            forms.append(
                ComparedForm(
                    name,
                    file.name,
                    arithmetic,
                    file.num_bytes,
                    reference,
                    tolerance,
                    is_judged=is_exact,
                    is_int8=is_int8,
                )
            )
    data = images if isinstance(images, CocoData) else None
    paths = [record.path for record in data.records] if data else list(cast(Sequence[Path], images))
    return parity.check_parity(
        forms,
        parity.collect(runtimes, images, progress=progress),
        image_names=[path.name for path in paths],
        data=data,
        classes=classes,
        rules=template.postprocess,
        input_size=template.input.size,
        median_ms=median_ms(runtimes, read_image(paths[0])),
    )


def _int8_tolerance(input_size: int) -> Tolerance:
    return Tolerance(INT8_BOX_SHARE * input_size, INT8_SCORE, INT8_AP_POINTS, only_ap=True)


def _rounded_networks(checkpoint: Checkpoint, files: Sequence[ExportedFile]) -> dict[str, Detector]:
    """The checkpoint's network with the weights that half precision files hold, if there are such."""
    infos = [file.info for file in files if file.info.precision == "FP16"]
    if not infos:
        return {}
    folded = checkpoint.build_folded()
    rounded = round_to_half(folded, channel_order=infos[0].channel_order, input_maximum=infos[0].input_maximum)
    return {"FP16": rounded}


def _open(file: ExportedFile, *, as_usual: bool) -> Iterator[tuple[Runtime, str, str]]:
    """The runtimes of a file, each with the name of its row and the arithmetic that it computes in.

    With `as_usual`, the processor's own choice of arithmetic is one of them, if that is not float32.
    """
    if kind_of(file.path) == "onnx":
        yield OnnxRuntime(file.path), file.name, "float32"
        return
    yield OpenVINORuntime(file.path, precision="f32"), file.name, "float32"
    if not as_usual:
        return
    usual = OpenVINORuntime(file.path)
    if usual.inference_precision != "float32":
        yield usual, f"{file.name}, {usual.inference_precision}", f"{usual.inference_precision}"


def _publish(
    files: Sequence[ExportedFile], folder: Path, *, is_rejected: bool
) -> tuple[tuple[Path, ...], tuple[Path, ...]]:
    """Move files and pages from `folder` to where it lies; rejected ones as `NAME.rejected.SUFFIX` beside good ones.

    Good ones leave no file of another checkpoint beside them. Returns the files to open, and those that have gone.
    """
    if os.name == "nt":  # a file that a model is still mapped to cannot be moved there
        gc.collect()
    output = folder.parent
    moved: list[tuple[Path, Path]] = []
    published = []
    for file in files:
        target = output / file.name
        if is_rejected:
            target = target.with_name(f"{target.stem}{REJECTED}{target.suffix}")
        moved += [(part, target.with_suffix(part.suffix)) for part in file.parts]
        published.append(target)
    moved += [(folder / name, output / name) for name in ("export.md", "export.json")]
    removed = [] if is_rejected else _of_another_checkpoint(output, files[0].info, {place for _, place in moved})
    publish(folder, moved, outdated=removed)
    return tuple(published), tuple(removed)


def _of_another_checkpoint(output: Path, info: ExportInfo, new: Set[Path]) -> list[Path]:
    """Files of earlier exports of another checkpoint that a new export, of these files, does not replace."""
    models = [each for each in outputs_of_export(output, Request(raw=True)) if kind_of(each.path) is not None]
    is_same = has_inside(info.origin.sha256.encode())
    there = [each for each in models if each.path not in new and each.path.is_file() and each.is_ours(each.path)]
    return [each.path for each in reversed(there) if not is_same(model_files(each.path)[-1])]


class _Description:
    """Makes the `ExportInfo` of each file of a checkpoint."""

    def __init__(self, checkpoint: Checkpoint, source: Path) -> None:
        # Size and complexity are those of the network as it was trained, whatever it is compressed to.
        template, network = checkpoint.template, checkpoint.build_float()
        self._is_int8 = checkpoint.quantization is not None
        after = template.postprocess
        self._fields: dict[str, Any] = {
            "classes": checkpoint.classes,
            "input_size": template.input.size,
            "suggested_threshold": shown_from(None, checkpoint.meta.get("threshold"))[0],
            "min_score": after.score_threshold,
            "iou_threshold": after.iou_threshold,
            "max_per_class": after.max_per_class,
            "max_detections": after.max_detections,
            "anchors_px": template.model.anchors_px,
            "strides": tuple(strides_of(network)),
            "box_variances": template.model.box_variances,
            "anchor_offset": template.model.anchor_offset,
            "origin": Origin(
                checkpoint=source.resolve().name,
                sha256=sha256(source),
                trained_from=Path(str(checkpoint.meta.get("start", "unknown"))).name,
            ),
            "versions": {"multibox": provenance()["multibox_version"], **provenance()["libraries"]},
            "template": config.to_plain(template),
            "size_mp": size_mp(network),
            "complexity_gflops": complexity_gflops(network, template.input.size),
        }

    def ir(self, form: Form, request: Request) -> ExportInfo:
        """The description of an OpenVINO file, which takes raw images."""
        return ExportInfo(
            form=form,
            channel_order=request.channel_order,
            input_maximum=255,
            batch=request.batch,
            precision="INT8" if self._is_int8 else request.precision,
            **self._fields,
        )

    def onnx(self, form: Form, request: Request) -> ExportInfo:
        """The description of an ONNX file, which takes RGB divided by 255, as the original's did."""
        return ExportInfo(
            form=form,
            channel_order="RGB",
            input_maximum=1,
            batch=request.batch,
            precision="INT8" if self._is_int8 else "FP32",
            **self._fields,
        )


def _described(data: CocoData | None) -> str:
    if data is None:
        return "the images that come with multibox"
    names = ", ".join(file.name for file, _ in data.sources)
    return f"the {len(data.records)} images of {names}"


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        path.write_bytes(content)
    except OSError as error:
        raise OptionError(f"{path}: cannot write the file: {error.strerror}.") from error
