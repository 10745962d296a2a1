"""The model template: one complete, typed YAML per model, without inheritance. Reading, writing, changing.

The keys that the original templates had keep their names and places; `model`, `input`, `postprocess`, `train` and
`compress` hold what the original kept in Python. The reasons for the values stand in the YAML files beside them.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import msgspec
import yaml
from msgspec import Meta, Struct

from multibox import files, plain_yaml
from multibox.errors import TemplateError

Fraction = Annotated[float, Meta(ge=0, le=1)]
Positive = Annotated[float, Meta(gt=0, le=1e6)]
NotNegative = Annotated[float, Meta(ge=0, le=1e6)]
Count = Annotated[int, Meta(ge=1, le=10**9)]
CountOrZero = Annotated[int, Meta(ge=0, le=10**12)]
Side = Annotated[int, Meta(ge=32, le=4096, multiple_of=32)]
AnchorSize = tuple[Positive, Positive]
AnchorSizes = Annotated[tuple[AnchorSize, ...], Meta(max_length=64)]


class Strict(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of a template: immutable, and a misspelt key is an error."""


class Dependency(Strict, frozen=True):
    """A file to bring into the work directory: `source` is a path or an address."""

    source: str
    destination: str
    size: CountOrZero | None = None
    sha256: str | None = None


class BasicHyperParameters(Strict, frozen=True):
    """Defaults of the options of the same names."""

    batch_size: Count
    base_learning_rate: Annotated[float, Meta(gt=0, le=1e30)]
    epochs: Count


class HyperParameters(Strict, frozen=True):
    """`basic` is read; `extra` describes options to user interfaces, as in the original."""

    basic: BasicHyperParameters
    extra: dict[str, Any] = {}


class OnnxOutput(Strict, frozen=True):
    """Whether export writes ONNX by default."""

    default: bool = True


class OpenVINOOutput(Strict, frozen=True):
    """Whether export writes IR by default, and the channel order that it takes."""

    default: bool = True
    input_format: Literal["BGR", "RGB"] = "BGR"


class OutputFormat(Strict, frozen=True):
    """Defaults of the export."""

    onnx: OnnxOutput = OnnxOutput()
    openvino: OpenVINOOutput = OpenVINOOutput()


class Optimisation(Strict, frozen=True):
    """Whether a kind of compression is on by default."""

    default: bool = False


class Optimisations(Strict, frozen=True):
    """Kinds of compression."""

    nncf_quantization: Optimisation = Optimisation()


class Metric(Strict, frozen=True):
    """One published figure of the model, in the form that metrics.yaml uses."""

    display_name: str
    key: str
    unit: str
    value: float


class SSDConfig(Strict, frozen=True, tag_field="family", tag="ssd"):
    """The network of an SSD: which backbone, and the anchors of each of its levels.

    `anchors_px`: for each level the (width, height) of its anchors in pixels of the network input.
    `box_variances`: units of the centre and of the size deltas.
    """

    backbone: str
    anchors_px: Annotated[tuple[AnchorSizes, ...], Meta(max_length=8)]
    box_variances: tuple[Positive, Positive]

    @property
    def anchor_offset(self) -> float:
        """Where in its cell an anchor has its centre: in the middle."""
        return 0.5


class YOLOXNanoConfig(Strict, frozen=True, tag_field="family", tag="yolox_nano"):
    """The network YOLOX-Nano, which has one anchor at each place: a square of one stride on the cell's corner."""

    backbone: Literal["csp_darknet"]
    neck: Literal["pafpn"]
    head: Literal["decoupled"]
    strides: tuple[Literal[8], Literal[16], Literal[32]]

    @property
    def anchors_px(self) -> tuple[tuple[AnchorSize, ...], ...]:
        """For each level the (width, height) of its only anchor in pixels of the network input."""
        return tuple(((float(stride), float(stride)),) for stride in self.strides)

    @property
    def box_variances(self) -> tuple[float, float]:
        """Units of the centre and of the size deltas."""
        return 1.0, 1.0

    @property
    def anchor_offset(self) -> float:
        """Where in its cell an anchor has its centre: on the top left corner."""
        return 0.0


ModelConfig = SSDConfig | YOLOXNanoConfig
"""The network of a template; `model.family` says which of the two."""


class InputConfig(Strict, frozen=True):
    """What the network takes: a square RGB image of `size` pixels, scaled to 0..1."""

    size: Side


class PostprocessConfig(Strict, frozen=True):
    """From scores to detections."""

    score_threshold: Fraction
    iou_threshold: Fraction
    max_per_class: Count
    max_detections: Count


class LossConfig(Strict, frozen=True, kw_only=True, tag_field="kind", tag="multibox"):
    """Matching and MultiBox loss, of the SSD.

    `learn_balance`: whether the weight of the class loss is learnt, as in the original, or 1.
    `object_exponent`: an object counts as the number of its anchors to this power; 1 is the original's.
    """

    match_iou_threshold: Fraction
    negatives_per_positive: NotNegative
    learn_balance: bool = True
    object_exponent: Fraction = 1.0


class TaskAlignedConfig(Strict, frozen=True, tag_field="kind", tag="task_aligned"):
    """Assignment by score and overlap, and its losses, of YOLOX-Nano; see `multibox.model.task_aligned`.

    `num_places`: places that learn an object, those where score^`score_exponent` x IoU^`iou_exponent` is largest among
    the places inside its box. `min_object_px`: a box with a shorter side counts as this wide or high there, in pixels
    of the network input. `box_weight`: of the box loss beside those of classes and objectness.
    """

    num_places: Count
    score_exponent: NotNegative
    iou_exponent: NotNegative
    min_object_px: NotNegative
    box_weight: Positive


class PhotometricConfig(Strict, frozen=True):
    """Colour distortion; each is applied with probability one half, in units of 0..255 values and degrees."""

    brightness: NotNegative
    contrast: tuple[Positive, Positive]
    saturation: tuple[Positive, Positive]
    hue_degrees: NotNegative
    permute_channels: Fraction


class CropConfig(Strict, frozen=True):
    """Random crop that keeps enough of at least the least covered object (`min_ious`; 1 means the whole image)."""

    min_ious: tuple[Fraction, ...]
    min_side: Fraction


class MosaicConfig(Strict, frozen=True):
    """Four samples as one, see `multibox.data.augment.mosaic`.

    `share` of the samples are mosaics, `until` that share of the run. Sets of more than `max_images` have none. No
    sample is shrunk so far that half of its objects are smaller than `min_object_px`, the square root of their area in
    pixels of the network input; those that are smaller as they are keep their size.
    """

    share: Fraction
    until: Fraction
    max_images: Count
    # Templates of work directories made before there was such a limit have none.
    min_object_px: NotNegative = 0.0


class AugmentConfig(Strict, frozen=True):
    """Random changes of the training images, in the order in which they are applied. A null part is off."""

    photometric: PhotometricConfig | None
    crop: CropConfig | None
    flip: Fraction
    # Templates of work directories made before there were mosaics have none.
    mosaic: MosaicConfig | None = None


class AnchorClustering(Strict, frozen=True):
    """Anchors fitted to the training boxes, when they beat by a margin both those of the start and the template's.

    `min_gain`: how much the share of boxes that some anchor meets must grow. `min_boxes`: below this, never.
    """

    enabled: bool
    min_gain: Fraction
    min_boxes: Count


class ScheduleConfig(Strict, frozen=True):
    """Learning rate and length of a run; see `multibox.train.schedule`."""

    min_steps_per_epoch: Count
    warmup_fraction: Fraction
    max_warmup_steps: CountOrZero
    warmup_start: Fraction
    final_factor: Fraction


class RefineConfig(Strict, frozen=True):
    """How to train on from weights that know the classes of all training objects.

    `rate_factor`: share of the base learning rate. `start_share`: of the starting weights in those that are saved.
    """

    rate_factor: Positive
    start_share: Fraction


class TrainConfig(Strict, frozen=True, kw_only=True):
    """Everything else that a training needs; the reasons stand beside the values in the template.

    `frozen_stride`: stages up to this stride keep the weights that they start with; random ones always train.
    `sync_norm_below`: with several processes that have fewer images each than this per step, batch statistics are over
    all of them.
    `momentum`: of SGD; for AdamW, the decay of its mean of gradients. `weight_decay`: as each of the two means it.
    """

    refine: RefineConfig
    frozen_stride: Literal[0, 2, 4, 8, 16] = 0
    sync_norm_below: CountOrZero = 32
    optimizer: Literal["sgd", "adamw"] = "sgd"
    momentum: Fraction
    weight_decay: NotNegative
    max_gradient_norm: Positive
    precision: Literal["auto", "float32", "bfloat16"]
    schedule: ScheduleConfig
    ema_decay: Fraction
    patience_epochs: Count
    keep_images_without_objects: bool
    cache_fraction_of_free_memory: Fraction
    calibration_images: Count
    # Without settings, anchors are not fitted to the data: YOLOX-Nano has none that could be.
    anchor_clustering: AnchorClustering = AnchorClustering(enabled=False, min_gain=0, min_boxes=1)
    objective: LossConfig | TaskAlignedConfig = msgspec.field(name="loss")
    augment: AugmentConfig

    @property
    def loss(self) -> LossConfig:
        """The settings of the MultiBox loss.

        Raises:
            TemplateError: the template is of a family with another loss.
        """
        if not isinstance(self.objective, LossConfig):
            raise TemplateError(
                "train.loss: this is no MultiBox loss. Only templates of the family ssd can be trained."
            )
        return self.objective


class CompressConfig(Strict, frozen=True):
    """Length and step size of quantisation-aware training."""

    epochs: Count
    learning_rate: Positive


class Template(Strict, frozen=True):
    """A complete model description. `load` reads one, `dump` writes it, `replace` makes a changed copy."""

    name: str
    domain: str
    problem: str
    framework: str
    summary: str
    annotation_format: Literal["COCO"]
    initial_weights: str
    dependencies: tuple[Dependency, ...]
    max_nodes: Count
    training_target: tuple[str, ...]
    inference_target: tuple[str, ...]
    hyper_parameters: HyperParameters
    output_format: OutputFormat
    optimisations: Optimisations
    metrics: tuple[Metric, ...]
    gpu_num: CountOrZero
    tensorboard: bool
    model: ModelConfig
    input: InputConfig
    postprocess: PostprocessConfig
    train: TrainConfig
    compress: CompressConfig


TemplatePart = TypeVar("TemplatePart", bound=Strict)


def bundled_templates() -> dict[str, Path]:
    """The templates that come with the package, by the names of their models; SSDs first, smallest input first."""
    folder = Path(str(resources.files("multibox") / "templates"))
    files = [*sorted(folder.glob("*.yaml")), *sorted(folder.glob("*/*.yaml"))]
    return {path.stem: path for path in files}


def ssd_templates() -> dict[str, Path]:
    """The SSDs among `bundled_templates`."""
    return {name: path for name, path in bundled_templates().items() if path.parent.name == "templates"}


def load_template(path: str | os.PathLike[str]) -> Template:
    """The template in a YAML file.

    Raises:
        TemplateError: the file is missing, is no YAML, or has an unknown, missing or impossible value.
    """
    try:
        text = files.read_limited(path, plain_yaml.MAX_CHARACTERS).decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        raise TemplateError(f"{path}: cannot read the template: {reason}.") from error
    return loads(text, source=str(path))


def loads(text: str, *, source: str) -> Template:
    """The template in a YAML text; `source` names it in errors."""
    try:
        content = plain_yaml.read_yaml(text)
    except yaml.YAMLError as error:
        where = (
            f", line {error.problem_mark.line + 1}"
            if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark
            else ""
        )
        raise TemplateError(
            f"{source}{where}: this is no YAML; compare it with the template it was made from."
        ) from error
    if isinstance(content, Mapping) and content.get("config") == "model.py":
        raise TemplateError(
            f"{source}: this is a template of OpenVINO Training Extensions, whose model.py multibox cannot run. "
            "Make a work directory with `multibox new` and use its template.yaml."
        )
    return from_plain(content, source=source)


def from_plain(content: Any, *, source: str) -> Template:
    """The template in plain data, as YAML or a checkpoint holds it."""
    try:
        # YAML reads 1e-4 as text: numbers are converted where a number is expected.
        template = msgspec.convert(_with_kinds(content), Template, strict=False)
    except (msgspec.ValidationError, RecursionError) as error:
        raise TemplateError(f"{source}: {_plain_words(error)}.") from error
    _check_plain(template, source=source)
    if isinstance(template.model, SSDConfig) != isinstance(template.train.objective, LossConfig):
        raise TemplateError(
            f"{source}: model and loss do not belong together. With model.family ssd goes train.loss.kind multibox, "
            "with model.family yolox_nano goes train.loss.kind task_aligned."
        )
    return template


def to_plain(template: Strict) -> Any:
    """The template as dictionaries, lists, text and numbers."""
    return msgspec.to_builtins(template, builtin_types=())


def dump(template: Template) -> str:
    """The template as YAML text, keys in their order."""
    return yaml.safe_dump(
        _lists(to_plain(template)), sort_keys=False, allow_unicode=True, width=120, default_flow_style=None
    )


def replace(part: TemplatePart, **changes: Any) -> TemplatePart:
    """A copy of a part of a template with some fields changed."""
    return msgspec.structs.replace(part, **changes)


def changed(template: TemplatePart, changes: Mapping[str, Any]) -> TemplatePart:
    """A copy of a template, or of a part of one, with other values at some places; it is checked like a file.

    `changes` has the new value for each place, which is named by its keys: `{"train.schedule.min_steps_per_epoch": 5}`.

    Raises:
        TemplateError: there is no such place, or it cannot have this value.
    """
    content = to_plain(template)
    for place, value in changes.items():
        *parents, key = place.split(".")
        part = content
        for parent in parents:
            part = part.get(parent)
            if not isinstance(part, dict):
                raise TemplateError(f"{place}: the template has no `{parent}` in which a value could be changed.")
        part[key] = msgspec.to_builtins(value)
    try:
        result = msgspec.convert(content, type(template), strict=False)
    except msgspec.ValidationError as error:
        raise TemplateError(f"{', '.join(changes)}: {_plain_words(error)}.") from error
    _check_plain(result, source=", ".join(changes))
    return result


def _with_kinds(content: Any) -> Any:
    """The content of a template, in which one made before there were two families says that it is an SSD's."""
    if not isinstance(content, Mapping):
        return content
    model, train = content.get("model"), content.get("train")
    if isinstance(model, Mapping):
        content = {**content, "model": {"family": "ssd", **model}}
    if isinstance(train, Mapping) and isinstance(train.get("loss"), Mapping):
        content = {**content, "train": {**train, "loss": {"kind": "multibox", **train["loss"]}}}
    return content


def _check_plain(template: Strict, *, source: str) -> None:
    """Refuse numbers that are none: msgspec takes infinity and NaN for numbers, and so does YAML.

    Raises:
        TemplateError: there is one, or a value that is neither text nor number; its place is named.
    """
    for place, value in _leaves(template, "", 0):
        if isinstance(value, float) and not math.isfinite(value):
            raise TemplateError(f"{source}: {place} is {value}, which is no number to compute with.")
        if not isinstance(value, str | int | float | None) or (
            isinstance(value, str) and not plain_yaml.is_unicode(value)
        ):
            raise TemplateError(f"{source}: {place} has something in it that no template has.")


def _leaves(value: Any, place: str, depth: int) -> Iterator[tuple[str, Any]]:
    """The values that hold no others, with their places; what is nested too deeply counts as one."""
    if isinstance(value, Struct):
        value = msgspec.structs.asdict(value)
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list | tuple) else None
    if parts is None or depth > plain_yaml.MAX_DEPTH:
        yield place, value
        return
    for key, part in parts:
        yield from _leaves(part, f"{place}.{key}" if place else str(key), depth + 1)


def _lists(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _lists(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_lists(item) for item in value]
    return value


def _plain_words(error: msgspec.ValidationError | RecursionError) -> str:
    text = str(error).rstrip(".")
    return text.replace("Object contains unknown", "there is an unknown").replace("Object missing", "there is no")
