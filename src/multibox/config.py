"""The model template: one complete, typed YAML per model, without inheritance. Reading, writing, changing.

The keys that the original templates had keep their names and places; `model`, `input`, `postprocess`, `train` and
`compress` hold what the original kept in Python. The reasons for the values stand in the YAML files beside them.
"""

from __future__ import annotations

import functools
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
from multibox.prepared import prepared

Fraction = Annotated[float, Meta(ge=0, le=1)]
Positive = Annotated[float, Meta(gt=0, le=1e6)]
NotNegative = Annotated[float, Meta(ge=0, le=1e6)]
Count = Annotated[int, Meta(ge=1, le=10**9)]
CountOrZero = Annotated[int, Meta(ge=0, le=10**12)]
Side = Annotated[int, Meta(ge=32, le=4096, multiple_of=32)]
AnchorSize = tuple[Positive, Positive]
AnchorSizes = Annotated[tuple[AnchorSize, ...], Meta(min_length=1, max_length=64)]
LevelAnchors = Annotated[tuple[AnchorSizes, ...], Meta(min_length=1, max_length=8)]


class Strict(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of a template: immutable, and a misspelt key is an error."""


class Dependency(Strict, frozen=True):
    """A file to bring into the work directory: `source` is a path or an address."""

    source: str
    """Path or address of the file."""
    destination: str
    """Its name in the work directory."""
    size: CountOrZero | None = None
    """Size in bytes; a file of another size is not kept."""
    sha256: str | None = None
    """Checksum; a file with another one is not kept."""


class BasicHyperParameters(Strict, frozen=True):
    """Defaults of the options of the same names."""

    batch_size: Count
    """Default of `--batch-size`: images per training step."""
    base_learning_rate: Annotated[float, Meta(gt=0, le=1e30)]
    """Default of `--base-learning-rate`: the highest learning rate of the run."""
    epochs: Count
    """Default of `--epochs`: length of the run where no time is given."""


class HyperParameters(Strict, frozen=True):
    """`basic` is read; `extra` describes options to user interfaces, as in the original."""

    basic: BasicHyperParameters
    extra: dict[str, Any] = {}
    """Options as a user interface shows them; not read by multibox."""


class OnnxOutput(Strict, frozen=True):
    """Whether export writes ONNX by default."""

    default: bool = True
    """Whether `export` writes ONNX."""


class OpenVINOOutput(Strict, frozen=True):
    """Whether export writes IR by default, and the channel order that it takes."""

    default: bool = True
    """Whether `export` writes OpenVINO files."""
    input_format: Literal["BGR", "RGB"] = "BGR"
    """Order of the colours that the exported OpenVINO file takes."""


class OutputFormat(Strict, frozen=True):
    """Defaults of the export."""

    onnx: OnnxOutput = OnnxOutput()
    openvino: OpenVINOOutput = OpenVINOOutput()


class Optimisation(Strict, frozen=True):
    """Whether a kind of compression is on by default."""

    default: bool = False
    """Whether a user interface offers it switched on; not read by multibox."""


class Optimisations(Strict, frozen=True):
    """Kinds of compression."""

    nncf_quantization: Optimisation = Optimisation()


class Metric(Strict, frozen=True):
    """One published figure of the model, in the form that metrics.yaml uses."""

    display_name: str
    """Name for people."""
    key: str
    """Name for programs."""
    unit: str
    """Unit of the value."""
    value: float
    """The published figure."""


class SSDConfig(Strict, frozen=True, tag_field="family", tag="ssd"):
    """The network of an SSD: which backbone, and the anchors of each of its levels."""

    backbone: str
    """Network that computes the features."""
    anchors_px: LevelAnchors
    """For each level the (width, height) of its anchors, in pixels of the network input."""
    box_variances: tuple[Positive, Positive]
    """Units of the centre offsets and of the size offsets."""

    @property
    def anchor_offset(self) -> float:
        """Where in its cell an anchor has its centre: in the middle."""
        return 0.5


class YOLOXNanoConfig(Strict, frozen=True, tag_field="family", tag="yolox_nano"):
    """The network YOLOX-Nano, which has one anchor at each place: a square of one stride on the cell's corner."""

    backbone: Literal["csp_darknet"]
    """Network that computes the features."""
    neck: Literal["pafpn"]
    """Part that joins the levels."""
    head: Literal["decoupled"]
    """Part that predicts classes and boxes."""
    strides: tuple[Literal[8], Literal[16], Literal[32]]
    """Cell size of each level, in pixels of the network input. The anchors follow from it."""

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
    """Side of the square network input, in pixels."""


class PostprocessConfig(Strict, frozen=True):
    """From scores to detections."""

    score_threshold: Fraction
    """Detections with a lower score are dropped."""
    iou_threshold: Fraction
    """Of two detections of one class that overlap more than this, the weaker is dropped."""
    max_per_class: Count
    """Candidates of each class that enter non-maximum suppression."""
    max_detections: Count
    """Detections of one image."""


class LossConfig(Strict, frozen=True, kw_only=True, tag_field="kind", tag="multibox"):
    """Matching and MultiBox loss, of the SSD."""

    match_iou_threshold: Fraction
    """IoU from which an anchor learns an object."""
    negatives_per_positive: NotNegative
    """Background anchors that count for each anchor with an object."""
    learn_balance: bool = True
    """Whether the weight of the class loss is learned, as in the original; if not, it is 1."""
    object_exponent: Fraction = 1.0
    """An object counts as the number of its anchors to this power. 1 is the original's; with 0 all objects count the
    same.
    """


class TaskAlignedConfig(Strict, frozen=True, tag_field="kind", tag="task_aligned"):
    """Assignment by score and overlap, and its losses, of YOLOX-Nano; see `multibox.model.task_aligned`."""

    num_places: Count
    """Places that learn an object: those inside its box with the largest score^`score_exponent` x IoU^`iou_exponent`.
    """
    score_exponent: NotNegative
    """Power of the score in the choice of the places."""
    iou_exponent: NotNegative
    """Power of the IoU in the choice of the places."""
    min_object_px: NotNegative
    """A box with a shorter side counts as this wide or high when places are chosen, in pixels of the network input."""
    box_weight: Positive
    """Weight of the box loss beside those of classes and objectness."""


class PhotometricConfig(Strict, frozen=True):
    """Colour distortion; each is applied with probability one half, in units of 0..255 values and degrees."""

    brightness: NotNegative
    """Largest change of the brightness, in values of 0..255."""
    contrast: tuple[Positive, Positive]
    """Smallest and largest factor of the contrast."""
    saturation: tuple[Positive, Positive]
    """Smallest and largest factor of the saturation."""
    hue_degrees: NotNegative
    """Largest turn of the hue, in degrees."""
    permute_channels: Fraction
    """Chance that the colour channels change places."""


class CropConfig(Strict, frozen=True):
    """Random crop that keeps enough of at least the least covered object."""

    min_ious: tuple[Fraction, ...]
    """How much of the least covered object a crop keeps; one is drawn for each sample. 1 means the whole image."""
    min_side: Fraction
    """Smallest side of a crop, as a share of the image's."""


class MosaicConfig(Strict, frozen=True):
    """Four samples as one, see `multibox.data.augment.mosaic`.

    Objects that are smaller than `min_object_px` as they are keep their size.
    """

    share: Fraction
    """Share of the samples that are mosaics."""
    until: Fraction
    """Share of the run after which there are no more mosaics."""
    max_images: Count
    """Sets with more images have no mosaics."""
    # Templates of work directories made before there was such a limit have none.
    min_object_px: NotNegative = 0.0
    """No sample is shrunk so far that half of its objects are smaller than this. The size is the square root of the
    area, in pixels of the network input.
    """


class AugmentConfig(Strict, frozen=True):
    """Random changes of the training images, in the order in which they are applied. A null part is off."""

    photometric: PhotometricConfig | None
    """Random colours."""
    crop: CropConfig | None
    """Random crops."""
    flip: Fraction
    """Chance that an image is mirrored, left to right."""
    # Templates of work directories made before there were mosaics have none.
    mosaic: MosaicConfig | None = None
    """Four images as one."""


class AnchorClustering(Strict, frozen=True):
    """Anchors fitted to the training boxes, when they beat by a margin both those of the start and the template's."""

    enabled: bool
    """Whether anchors may be fitted to the training boxes."""
    min_gain: Fraction
    """How much the share of boxes that some anchor meets must grow; otherwise the given anchors stay."""
    min_boxes: Count
    """With fewer training boxes, no anchors are fitted."""


class ScheduleConfig(Strict, frozen=True):
    """Learning rate and length of a run; see `multibox.train.schedule`."""

    min_steps_per_epoch: Count
    """A small set is shown several times until an epoch has this many steps."""
    warmup_fraction: Fraction
    """Share of the run in which the learning rate rises."""
    max_warmup_steps: CountOrZero
    """Largest number of steps in which it rises."""
    warmup_start: Fraction
    """Share of the learning rate at the first step."""
    final_factor: Fraction
    """Share of the learning rate at the end of the run."""


class RefineConfig(Strict, frozen=True):
    """How to train on from weights that know the classes of all training objects."""

    rate_factor: Positive
    """Share of the base learning rate."""
    start_share: Fraction
    """Share of the starting weights in those that are saved."""


class TrainConfig(Strict, frozen=True, kw_only=True):
    """Everything else that a training needs; the reasons stand beside the values in the template."""

    refine: RefineConfig
    frozen_stride: Literal[0, 2, 4, 8, 16] = 0
    """Stages up to this stride keep the weights that they start with; random ones always train. 0 trains everything."""
    sync_norm_below: CountOrZero = 16
    """With several processes that have fewer images each per step, batch statistics are over all processes."""
    cuda_graph: bool = False
    """Whether one graphics card runs forward and backward as a recorded CUDA graph. Other devices do not."""
    optimizer: Literal["sgd", "adamw"] = "sgd"
    """How the weights follow the gradients."""
    momentum: Fraction
    """Momentum of SGD; for AdamW, the decay of its mean of gradients."""
    weight_decay: NotNegative
    """Pull of the weights towards 0, as each optimizer means it."""
    max_gradient_norm: Positive
    """Longer gradients are shortened to this length."""
    precision: Literal["auto", "float32", "bfloat16"]
    """Arithmetic of the convolutions."""
    schedule: ScheduleConfig
    ema_decay: Fraction
    """How slowly the averaged weights follow; these are the weights that are validated and saved."""
    patience_epochs: Count
    """Epochs without a better AP after which the run ends, if they are also two fifths of it."""
    keep_images_without_objects: bool
    """False drops images without objects, as the original did."""
    cache_fraction_of_free_memory: Fraction
    """Share of the free memory for decoded images; other images are decoded each time."""
    calibration_images: Count
    """Images that give batch statistics to weights out of an exported model."""
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
    """Length of training in 8 bits."""
    learning_rate: Positive
    """Highest learning rate of training in 8 bits."""


class Template(Strict, frozen=True):
    """A complete model description. `load` reads one, `dump` writes it, `replace` makes a changed copy."""

    name: str
    """Name of the model."""
    domain: str
    """Field of work, for user interfaces."""
    problem: str
    """Kind of task, for user interfaces."""
    framework: str
    """Program that trains the model."""
    summary: str
    """One sentence, for user interfaces."""
    annotation_format: Literal["COCO"]
    """Format of the annotations."""
    initial_weights: str
    """File of the work directory that training starts from, or the name of bundled weights."""
    dependencies: tuple[Dependency, ...]
    """Files that `multibox new` brings into the work directory."""
    max_nodes: Count
    """Machines that a training may use, for user interfaces."""
    training_target: tuple[str, ...]
    """Devices that train, for user interfaces."""
    inference_target: tuple[str, ...]
    """Devices that run the exported model, for user interfaces."""
    hyper_parameters: HyperParameters
    output_format: OutputFormat
    optimisations: Optimisations
    metrics: tuple[Metric, ...]
    """Published figures of the model, for user interfaces."""
    gpu_num: CountOrZero
    """Graphics cards that are used, if there are as many. 0 trains on the processor."""
    tensorboard: bool
    """Whether training writes records for TensorBoard."""
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


DEFAULT_FAMILY = "yolox_nano"
"""The family of the models that are trained where nobody names one."""

FAMILIES = ("ssd", "yolox_nano")
"""What families of models are called."""


def family_of(template: Template) -> str:
    """What the family of a template's model is called, one of `FAMILIES`."""
    return str(template.model.__struct_config__.tag)


def templates_of(family: str = DEFAULT_FAMILY) -> dict[str, Path]:
    """The templates of a family that come with the package, by the names of their models, smallest input first."""
    ssds = ssd_templates()
    if family == "ssd":
        return ssds
    return {name: path for name, path in bundled_templates().items() if path.parent.name == family}


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


@functools.lru_cache(maxsize=16)  # a command looks at all bundled templates, some of them several times
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
            f"{source}{where}: this is not valid YAML; compare it with the template it was made from."
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
        template = msgspec.convert(_with_kinds(content), prepared(Template), strict=False)
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
        result = msgspec.convert(content, prepared(type(template)), strict=False)
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
