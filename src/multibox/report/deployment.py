"""What a page shows of exported files: parity, INT8, speed; and the key figures of its summary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from multibox.evaluate.speed_table import short_name
from multibox.report import plots
from multibox.report.figures import Figures
from multibox.report.sentences import column_of, range_words, share
from multibox.report.shown_paths import ShownPaths
from multibox.report.work_dir import ResultFile, WorkDir
from multibox.wording import NO_VALUE, percent


def tiles(work: WorkDir, figures: Figures | None, *, is_advised: bool = True) -> list[dict[str, str]]:
    """List the key figures: how good, how large, how fast, what 8 bits cost, what to fix first."""
    tiles: list[dict[str, str]] = []
    if figures is not None:
        intervals, column, counts = figures.intervals, column_of(figures.threshold), figures.counts
        tiles.append(_tile("AP50", f"{intervals.ap50.value:.1f}", "%", range_words(intervals.ap50)))
        tiles.append(_tile("AP", f"{intervals.ap.value:.1f}", "%", range_words(intervals.ap)))
        hits, shown = counts.hits[:, column].sum(), counts.shown[:, column].sum()
        total = counts.num_objects.sum()
        right = f"{share(hits / shown)} of the boxes are right" if shown else "no box shown"
        tiles.append(_tile("Found", f"{100 * hits / total:.0f}", "%", f"{right}, from {figures.threshold:.2f} on"))
    tiles += _size_tile(work) + _speed_tile(work) + _int8_tile(work)
    if figures is not None and figures.worst_kind is not None and is_advised:
        worst = figures.worst_kind
        value = plots.KIND_NAMES[worst.kind]
        tiles.append(_tile("Biggest gain", f"{100 * worst.gain:+.1f}", "", f"AP50 points, if this is fixed: {value}"))
    return tiles


def sections(work: WorkDir, paths: ShownPaths) -> dict[str, Any]:
    """The tables of exported files, compression and speed; what is not there is empty."""
    exports = [_export(file, paths) for file in reversed(work.exports)]
    passed = all(file.content.get("passed", False) for file in work.exports)
    return {
        "exports": exports,
        "export_sentence": (
            "Every file finds what its checkpoint finds: each was run on the same images and compared, box by box."
            if passed
            else "A file does not find what its checkpoint finds. Do not deploy it."
        ),
        "compression": _compression(work.compressions[0]) if work.compressions else None,
        "benches": [_bench(file) for file in work.benches[:1]],
    }


def _tile(name: str, value: str, unit: str, note: str) -> dict[str, str]:
    return {"name": name, "value": value, "unit": unit, "note": note}


def _size_tile(work: WorkDir) -> list[dict[str, str]]:
    sizes: dict[str, float] = {}
    for export in work.exports:
        for row in export.content["rows"]:
            form = row["form"]
            if form.get("size_bytes") and form["name"].startswith("model."):
                sizes.setdefault("INT8" if form.get("is_int8") else "full", form["size_bytes"] / 1e6)
    if not sizes:
        return []
    value, note = sizes.get("full", sizes.get("INT8", 0.0)), "of the file to deploy"
    if len(sizes) == 2:
        note = f"in INT8 {sizes['INT8']:.1f} MB"
    return [_tile("Size", f"{value:.1f}", "MB", note)]


def _speed_tile(work: WorkDir) -> list[dict[str, str]]:
    if work.benches:
        bench = work.benches[0].content
        best = min(bench["rows"], key=lambda row: row["whole_way"]["p50_ms"])
        cores = bench["machine"].get("usable_cores")
        note = f"file to boxes: {short_name(best['file'], _files(bench))}, {best['device']}, {cores} cores"
        return [_tile("Latency", f"{best['whole_way']['p50_ms']:.1f}", "ms", note)]
    times = [
        row["median_ms"]
        for export in work.exports
        for row in export.content["rows"]
        if row.get("median_ms") and row["form"].get("size_bytes")
    ]
    return [_tile("Latency", f"{min(times):.1f}", "ms", "image to boxes, the fastest file")] if times else []


def _int8_tile(work: WorkDir) -> list[dict[str, str]]:
    if not work.compressions:
        return []
    chosen = _chosen(work.compressions[0].content)
    drop = ((chosen or {}).get("measured") or {}).get("drop")
    if drop is None:
        return [_tile("INT8", "?", "", "not measured")]
    value, range_ = _change(drop)
    most = work.compressions[0].content.get("max_drop")
    verdict = f"; a loss of more than the {most:g} allowed" if most is not None and drop["value"] > most else ""
    return [_tile("INT8", value, "", f"AP points against FP32; probably {range_}{verdict}")]


def _change(drop: Mapping[str, float]) -> tuple[str, str]:
    """What 8 bits change, in AP points, and its range: below 0 is a loss, wherever a report has it."""
    return f"{-drop['value']:+.2f}", f"{-drop['high']:+.2f} to {-drop['low']:+.2f}"


def _export(file: ResultFile, paths: ShownPaths) -> dict[str, Any]:
    content = file.content
    rows = [_parity_row(row) for row in content["rows"]]
    caption = f"{paths.file(file.folder)}: {paths.file(content['checkpoint'])} on {content.get('images', 'images')}"
    return {"caption": paths.sentence(caption), "rows": rows, "gates": _gates(content["rows"])}


def _gates(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """How far a file may be from its reference: a sentence for each rule that judged a row."""
    judged = [row["form"] for row in rows if row.get("passed") is not None and row["form"].get("tolerance")]
    return list(dict.fromkeys(_gate(form, form["tolerance"]) for form in judged))


def _gate(form: Mapping[str, Any], tolerance: Mapping[str, Any]) -> str:
    ap = f"AP is within {tolerance['ap_points']:g} points of its reference"
    if form.get("is_int8"):
        return (
            f"INT8 passes if {ap}, or farther away by no more than chance among these images explains: two engines "
            "that compute in 8 bits do not agree on every box."
        )
    if tolerance.get("only_ap"):
        return f"{form['name']} passes if {ap}."
    return (
        f"A file passes if every side of every box is within {tolerance['box_px']:g} px, every score within "
        f"{tolerance['score']:g}, and {ap}."
    )


def _parity_row(row: Mapping[str, Any]) -> dict[str, Any]:
    form, comparison = row["form"], row.get("comparison")
    size, time = form.get("size_bytes"), row.get("median_ms")
    compared = (NO_VALUE,) * 3
    if comparison is not None:
        compared = (
            f"{comparison['num_matched']:,}/{comparison['num_reference']:,}",
            f"{comparison['largest_box_px']:.4f}",
            f"{comparison['largest_score']:.1g}",
        )
    return {
        "name": form["name"] if form.get("reference") is None else form["file"],
        "precision": form["precision"],
        "numbers": [
            percent(row.get("ap"), 2),
            percent(row.get("ap50"), 2),
            *compared,
            NO_VALUE if size is None else f"{size / 1e6:.1f}",
            NO_VALUE if time is None else f"{time:.1f}",
        ],
        "verdict": NO_VALUE if row.get("passed") is None else "passed" if row["passed"] else "FAILED",
    }


def _chosen(content: Mapping[str, Any]) -> Mapping[str, Any] | None:
    return next((rung for rung in content["rungs"] if rung["rung"] == content.get("chosen")), None)


def _compression(file: ResultFile) -> dict[str, Any]:
    content, chosen = file.content, _chosen(file.content)
    rows = []
    for rung in content["rungs"]:
        measured = rung.get("measured")
        figures = (NO_VALUE,) * 3
        if measured is not None:
            ap = (measured.get("metrics") or {}).get("ap")
            figures = (percent(ap, 2), *_change(measured["drop"]))
        cells = [*figures, percent(content.get("ap_float"), 2), f"{rung['num_images']:,}", f"{rung['minutes']:.1f}"]
        rows.append({"name": rung["rung"], "cells": cells, "is_chosen": rung is chosen})
    return {"verdict": _verdict_of(content, chosen), "rows": rows, "notes": content.get("notes", [])}


def _verdict_of(content: Mapping[str, Any], chosen: Mapping[str, Any] | None) -> str:
    """Whether 8 bits cost no more than allowed; as the command said it, where the record lacks the figures."""
    measured, most = (chosen or {}).get("measured"), content.get("max_drop")
    if chosen is None or measured is None or most is None:
        return str(content.get("verdict", ""))
    value, range_ = _change(measured["drop"])
    is_kept = measured["drop"]["value"] <= most
    return (
        f"{'Passed' if is_kept else 'NOT passed'}: AP may fall by {most:g} points at most (--max-drop), and with "
        f"{chosen['rung']} it changes by {value} (probably {range_})."
    )


def _bench(file: ResultFile) -> dict[str, Any]:
    content = file.content
    machine, settings = content["machine"], content["settings"]
    names = _files(content)
    rows = [
        {
            "file": short_name(row["file"], names),
            "device": row["device"],
            "computes_in": row["computes_in"],
            "numbers": [
                f"{row['network']['p50_ms']:.1f}",
                f"{row['whole_way']['p50_ms']:.1f}",
                f"{row['whole_way']['p95_ms']:.1f}",
                f"{row['whole_way']['images_per_second']:.0f}",
                f"{row['network']['throughput_ratio']['median']:.2f}x",
            ],
        }
        for row in content["rows"]
    ]
    width, height = settings["images_px"]
    return {
        "rows": rows,
        "sentence": (
            f"Measured on {machine.get('processor')}, {machine.get('usable_cores')} cores, "
            f"{str(content.get('date', ''))[:10]}: medians of one image at a time, and images per second from "
            f"files of {width}x{height} pixels with several under way. The last column is throughput against the first "
            "row, measured in turns."
        ),
    }


def _files(bench: Mapping[str, Any]) -> list[str]:
    return [row["file"] for row in bench["rows"]]
