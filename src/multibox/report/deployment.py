"""What a page shows of exported files: parity, INT8, speed; and the key figures of its summary."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from multibox.evaluate.speed_table import short_name
from multibox.report import plots
from multibox.report.figures import Figures
from multibox.report.sentences import column_of, interval, share
from multibox.report.work_dir import ResultFile, WorkDir
from multibox.wording import NO_VALUE, percent


def tiles(work: WorkDir, figures: Figures | None) -> list[dict[str, str]]:
    """List the key figures: how good, how large, how fast, what 8 bits cost, what to fix first."""
    tiles: list[dict[str, str]] = []
    if figures is not None:
        intervals, column, counts = figures.intervals, column_of(figures.threshold), figures.counts
        tiles.append(_tile("AP50", f"{intervals.ap50.value:.1f}", "%", f"95 %: {interval(intervals.ap50)}"))
        tiles.append(_tile("AP", f"{intervals.ap.value:.1f}", "%", f"95 %: {interval(intervals.ap)}"))
        hits, shown = counts.hits[:, column].sum(), counts.shown[:, column].sum()
        total = counts.num_objects.sum()
        right = f"{share(hits / shown)} of the boxes are right" if shown else "no box shown"
        tiles.append(_tile("Found", f"{100 * hits / total:.0f}", "%", f"{right}, from {figures.threshold:.2f} on"))
    tiles += _size_tile(work) + _speed_tile(work) + _int8_tile(work)
    if figures is not None and figures.worst_kind is not None:
        worst = figures.worst_kind
        value = plots.KIND_NAMES[worst.kind]
        tiles.append(_tile("Biggest gain", f"{100 * worst.gain:+.1f}", "", f"AP50 points, if fixed: {value}"))
    return tiles


def sections(work: WorkDir, figures: Figures | None) -> dict[str, Any]:
    """The tables of exported files, compression and speed; what is not there is empty."""
    exports = [_export(file, work.path) for file in reversed(work.exports)]
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
    note = f"change of AP by 8 bits; 95 %: {-drop['high']:+.1f} to {-drop['low']:+.1f}"
    return [_tile("INT8", f"{-drop['value']:+.1f}", "AP", note)]


def _export(file: ResultFile, folder: Path) -> dict[str, Any]:
    content = file.content
    where = file.folder.relative_to(folder).as_posix() if file.folder.is_relative_to(folder) else str(file.folder)
    rows = [_parity_row(row) for row in content["rows"]]
    return {"caption": f"{where}: {content['checkpoint']} on {content.get('images', 'images')}", "rows": rows}


def _parity_row(row: Mapping[str, Any]) -> dict[str, Any]:
    form, comparison = row["form"], row.get("comparison")
    size, time = form.get("size_bytes"), row.get("median_ms")
    compared = (NO_VALUE,) * 3
    if comparison is not None:
        compared = (
            f"{comparison['num_matched']:,}/{comparison['num_reference']:,}",
            f"{comparison['largest_box_px']:.4f}",
            f"{comparison['largest_score']:.0e}",
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
            drop = measured["drop"]
            ap = (measured.get("metrics") or {}).get("ap")
            figures = (percent(ap, 2), f"{drop['value']:+.2f}", f"{drop['low']:+.2f} to {drop['high']:+.2f}")
        cells = [f"{rung['num_images']:,}", percent(content.get("ap_float"), 2), *figures, f"{rung['minutes']:.1f}"]
        rows.append({"name": rung["rung"], "cells": cells, "is_chosen": rung is chosen})
    return {"verdict": content.get("verdict", ""), "rows": rows, "notes": content.get("notes", [])}


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
    width, height = settings["pictures_px"]
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
