"""What a model's file says of itself, whatever its form: for people, in words."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from multibox.files import kind_of, model_files
from multibox.wording import NO_VALUE, counted, listed, typed

if TYPE_CHECKING:
    from multibox.runs.finding import FoundModel
    from multibox.runtime.contract import ExportInfo

FORMS = {
    "boxes_labels": "boxes, scores and labels, after non-maximum suppression",
    "detection_output": "DetectionOutput (1, 1, N, 7), after non-maximum suppression",
    "raw": "raw, before non-maximum suppression",
}
"""What the outputs of an exported model are, by `ExportInfo.form`."""


def model_facts(found: FoundModel) -> dict[str, str]:
    """What is known of a model, by what it is about: file, form, classes, input, threshold, origin, run.

    Raises:
        CheckpointError: the file cannot be read.
        DependencyError: what reads it is not installed.
    """
    path = found.path
    size = sum(file.stat().st_size for file in model_files(path) if file.exists())
    facts = {"file": f"{typed(path)}, {size / 1e6:.1f} MB"}
    facts |= _of_checkpoint(path) if kind_of(path) == "checkpoint" else _of_exported(path)
    if found.run is not None:
        facts["run"] = typed(found.run.folder)
        if found.run.metrics is not None and found.run.metrics.ap is not None and path == found.run.weights:
            metrics = found.run.metrics
            on = counted(metrics.num_images, "validation image")
            facts["measured"] = f"AP {metrics.ap:.3f}, AP50 {metrics.ap50:.3f} on {on}"
    return facts


def _of_checkpoint(path: Path) -> dict[str, str]:
    from multibox.runtime.opening import load_checkpoint

    checkpoint = load_checkpoint(path)
    meta, size = checkpoint.meta, checkpoint.template.input.size
    form = "checkpoint that computes in 8 bits" if checkpoint.quantization is not None else "checkpoint"
    can_resume = "" if checkpoint.training is None else ", with all that resuming needs"
    origin = meta.get("start_origin") or {}
    return {
        "form": f"{form} of PyTorch{can_resume}",
        "model": checkpoint.template.name,
        **_common(checkpoint.classes, size, meta.get("threshold")),
        "trained": _trained(meta),
        "started from": _origin(meta.get("start"), origin),
    }


def _of_exported(path: Path) -> dict[str, str]:
    from multibox.runtime.opening import open_runtime

    runtime = open_runtime(path)
    info: ExportInfo | None = getattr(runtime, "info", None)
    engine = "ONNX" if kind_of(path) == "onnx" else "OpenVINO"
    if info is None:
        return {"form": f"{engine} model of another tool", **_common(runtime.classes, runtime.input_size, None)}
    return {
        "form": f"{engine} model, {info.precision}; outputs: {FORMS[info.form]}",
        "model": str(info.template.get("name", "unknown")),
        **_common(info.classes, info.input_size, info.suggested_threshold),
        "takes": f"{info.channel_order}, 0..{info.input_maximum}, "
        + (counted(info.batch, "image") if info.batch else "any number of images")
        + " a call",
        "made from": f"{info.origin.checkpoint} (SHA-256 {info.origin.sha256[:12]}...), "
        f"trained from {info.origin.trained_from}",
    }


def _common(classes: tuple[str, ...], size: int, threshold: float | None) -> dict[str, str]:
    return {
        "classes": f"{len(classes)}: {listed(classes, limit=100)}",
        "input": f"{size} x {size} px",
        "threshold": NO_VALUE if threshold is None else f"{threshold:g}",
    }


def _trained(meta: Mapping[str, Any]) -> str:
    data = meta.get("train_data") or {}
    parts = [str(meta[key]) for key in ("time",) if meta.get(key)]
    if meta.get("epoch") is not None and meta.get("iter") is not None:
        parts.append(f"{counted(meta['epoch'], 'epoch')}, {counted(meta['iter'], 'step')}")
    if data.get("images"):
        parts.append(f"on {counted(data['images'], 'image')} of {', '.join(data.get('annotation_files', ()))}")
    return ", ".join(parts) or "unknown"


def _origin(start: Any, origin: Mapping[str, Any]) -> str:
    licence = origin.get("licence")
    return f"{start or 'unknown'}" + (f"; licence: {licence}" if licence else "")
