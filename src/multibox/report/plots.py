"""Plots as SVG for a page: text is text, and colours are those of the page, so that its dark mode applies.

All are narrow, because a phone is: two stand side by side on a desk, one fills a phone.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from html import escape
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from multibox.evaluate.error_kinds import KindOfError
from multibox.evaluate.hits import RECALLS
from multibox.evaluate.intervals import Interval
from multibox.evaluate.object_size import SizeRange
from multibox.evaluate.thresholds import THRESHOLDS
from multibox.wording import counted, percent

# Stand-ins in matplotlib's output, and what the page puts there. The first three accents are Okabe and Ito's blue,
# vermilion and green; the style sheet has their values for light and dark.
INK, MUTED, LINE = "#010101", "#020202", "#030303"
BLUE, ORANGE, GREEN = "#040404", "#050505", "#060606"
COLOURS = {
    INK: "currentColor",
    MUTED: "var(--muted)",
    LINE: "var(--line)",
    BLUE: "var(--blue)",
    ORANGE: "var(--orange)",
    GREEN: "var(--green)",
}

LINES = ((BLUE, "-"), (ORANGE, "--"), (GREEN, ":"), (MUTED, "-."))
"""Colours and styles of the lines of a plot, in their order: each is told from the others without colour too."""

WIDTH, HEIGHT = 4.3, 2.7
"""Size of a plot in inches of 72 points; a letter of 10 points is about as large on a phone and half as large again on
a desk."""

TRIPLE = (3.6, 2.5)
"""Width and height in inches of a plot of which three stand side by side on a desk."""

LEGEND_LETTERS = 22
"""Number of letters of all names of a legend together that fit into one line above the narrowest plot."""

HINTED_RECALLS = 5
"""Of the 101 recalls of a curve, every fifth has a hint: a page may have 80 curves."""

PANEL = (0.23, 0.27, 0.73, 0.69)
"""Place of the axes in a small plot, of which there may be 80: fitting each to its texts would double the time."""

SETTINGS: Mapping[str, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "multibox",
    "text.parse_math": False,
    "font.size": 10,
    "text.color": INK,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": LINE,
    "grid.linewidth": 0.8,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "lines.linewidth": 1.8,
    "legend.frameon": False,
    "legend.labelcolor": INK,
}

KIND_NAMES: Mapping[str, str] = {
    "class": "wrong class",
    "localisation": "wrong place",
    "both": "both wrong",
    "duplicate": "duplicate",
    "background": "background",
    "missed": "missed",
}


@dataclass(frozen=True, slots=True)
class PlotFrame:
    """Where the axes of a plot from 0 to 1 lie in its SVG: the ends in units of the drawing, y downwards."""

    left: float
    right: float
    bottom: float
    top: float


@dataclass(slots=True)
class _Drawing:
    """`hints`: places in the plot (x, y in its own units) with what the page shows when a pointer is near: nearest `by`
    x or y alone, or by both."""

    axes: Any
    svg: str = ""
    frame: PlotFrame | None = None
    by: Literal["x", "y", "xy"] = "x"
    hints: list[tuple[float, float, str]] = field(default_factory=list)


def losses(epochs: Sequence[Mapping[str, Any]]) -> str:
    """Training loss, and its parts, against epochs."""
    parts = [name for name, value in epochs[0].items() if name.startswith("loss_") and _is_plottable(value)]
    names = {"loss": "total", **{name: name.removeprefix("loss_") for name in parts}}
    with _figure("Training loss per epoch", width=TRIPLE[0], height=TRIPLE[1]) as drawing:
        axes = drawing.axes
        x = [epoch["epoch"] for epoch in epochs]
        for (name, label), (colour, style) in zip(names.items(), LINES, strict=False):
            axes.plot(x, _values(epochs, name), style, color=colour, label=label, **_marker(x))
        axes.set(xlabel="epoch", ylabel="loss", ylim=(0, None))
        _whole_epochs(axes, x)
        _legend(axes)
        drawing.hints = [
            (epoch["epoch"], epoch.get("loss") or 0.0, _hint(f"epoch {epoch['epoch']}", epoch, names))
            for epoch in epochs
        ]
    return drawing.svg


def learning_rates(epochs: Sequence[Mapping[str, Any]]) -> str:
    """The learning rate at the end of each epoch."""
    with _figure("Learning rate per epoch", width=TRIPLE[0], height=TRIPLE[1]) as drawing:
        axes = drawing.axes
        x, rates = [epoch["epoch"] for epoch in epochs], _values(epochs, "learning_rate")
        axes.plot(x, rates, color=BLUE, label="learning rate", **_marker(x))
        axes.set(xlabel="epoch", ylabel="learning rate", ylim=(0, None))
        _whole_epochs(axes, x)
        _legend(axes)
        drawing.hints = [
            (epoch, rate, f"epoch {epoch}\nlearning rate {rate:.2g}")
            for epoch, rate in zip(x, rates.tolist(), strict=True)
            if np.isfinite(rate)
        ]
    return drawing.svg


def average_precision(epochs: Sequence[Mapping[str, Any]]) -> str:
    """AP and AP50 of each validation against epochs, the best AP marked."""
    with _figure("AP on the validation images per epoch", width=TRIPLE[0], height=TRIPLE[1]) as drawing:
        axes = drawing.axes
        validated = [epoch for epoch in epochs if epoch.get("ap") is not None]
        x = [epoch["epoch"] for epoch in validated]
        ap, ap50 = 100 * _values(validated, "ap"), 100 * _values(validated, "ap50")
        axes.plot(x, ap50, "--", color=ORANGE, label="AP50", **_marker(x))
        axes.plot(x, ap, color=BLUE, label="AP", **_marker(x))
        best = int(np.argmax(ap))
        axes.plot(x[best], ap[best], "o", color=BLUE, markersize=7)
        below_or_above = -13 if ap[best] > 15 else 7  # the axis is where a low curve would have its name
        axes.annotate(
            f"best {ap[best]:.1f}",
            (x[best], ap[best]),
            xytext=(0, below_or_above),
            textcoords="offset points",
            ha="center",
        )
        axes.set(xlabel="epoch", ylabel="percent", ylim=(0, 100))
        _whole_epochs(axes, x)
        _legend(axes)
        drawing.hints = [
            (epoch, one, f"epoch {epoch}\nAP {one:.1f}\nAP50 {other:.1f}")
            for epoch, one, other in zip(x, ap.tolist(), ap50.tolist(), strict=True)
        ]
    return drawing.svg


def precision_recall(precision: NDArray[np.float64], name: str) -> str:
    """The interpolated precision (101,) of one class against recall, at IoU 0.5; the area below is its AP50."""
    with _figure(f"Precision against recall of {name}", width=2.3, height=1.75, place=PANEL) as drawing:
        axes = drawing.axes
        axes.fill_between(RECALLS, precision, color=BLUE, alpha=0.15, linewidth=0)
        axes.plot(RECALLS, precision, color=BLUE)
        axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.02))
        axes.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
        axes.set_yticks([0, 0.5, 1], ["0", "0.5", "1"])
        points = list(zip(RECALLS.tolist(), precision.tolist(), strict=True))[::HINTED_RECALLS]
        drawing.hints = [(x, y, f"recall {x:.2f}\nprecision {y:.2f}") for x, y in points]
    return drawing.svg


def error_kinds(kinds: Sequence[KindOfError]) -> str:
    """What fixing each kind of error would add to AP50, in points, the largest on top."""
    ordered = sorted(kinds, key=lambda kind: kind.gain)
    with _figure("Points of AP50 that fixing each kind of error would give") as drawing:
        axes = drawing.axes
        values = [100 * kind.gain for kind in ordered]
        axes.barh([KIND_NAMES[kind.kind] for kind in ordered], values, color=[BLUE] * 5 + [ORANGE], height=0.62)
        for place, value in enumerate(values):
            axes.annotate(
                f"{value:+.1f}", (max(value, 0), place), xytext=(4, 0), textcoords="offset points", va="center"
            )
        axes.set(xlabel="AP50 points if all of this kind were fixed", xlim=(0, max(1.0, 1.18 * max(values))))
        axes.grid(axis="y", visible=False)
        axes.tick_params(axis="y", length=0)
        drawing.by = "y"
        drawing.hints = [
            (0, place, f"{KIND_NAMES[kind.kind]}: {kind.count:,}\nif fixed, AP50 {100 * kind.gain:+.1f}")
            for place, kind in enumerate(ordered)
        ]
    return drawing.svg


def by_size(sizes: Sequence[SizeRange]) -> str:
    """AP50 and AP of the objects of each range of size, with their number."""
    with _figure("AP against the size of objects") as drawing:
        axes = drawing.axes
        places = np.arange(len(sizes))
        for shift, name, colour, values in (
            (-0.2, "AP50", ORANGE, [sides.ap50 for sides in sizes]),
            (0.2, "AP", BLUE, [sides.ap for sides in sizes]),
        ):
            heights = [100 * (value or 0.0) for value in values]
            axes.bar(places + shift, heights, 0.38, color=colour, label=name)
        axes.set_xticks(places, [f"{range_name(sides)}\nn = {sides.num_objects}" for sides in sizes])
        axes.set(ylabel="percent", ylim=(0, 100), xlabel="side of the object in pixels of the network input")
        axes.grid(axis="x", visible=False)
        _legend(axes)
        drawing.hints = [
            (
                place,
                50,
                f"{range_name(sides)} px: {counted(sides.num_objects, 'object')}\n"
                f"AP50 {percent(sides.ap50)}\nAP {percent(sides.ap)}",
            )
            for place, sides in enumerate(sizes)
        ]
    return drawing.svg


def object_sides(sides_px: NDArray[np.float64]) -> str:
    """How many objects there are of each size."""
    with _figure("Number of objects by size", height=2.2) as drawing:
        axes = drawing.axes
        low = max(1.0, float(sides_px.min(initial=np.inf)))
        edges = np.geomspace(low, max(float(sides_px.max(initial=0)), low * 1.5) * 1.0001, 25)
        numbers, _, _ = axes.hist(sides_px, bins=edges, color=BLUE)
        axes.set_xscale("log", base=2)
        _power_ticks(axes, float(edges[0]), float(edges[-1]))
        axes.set(xlabel="side of the object in pixels of the network input", ylabel="objects")
        _whole_numbers(axes.yaxis)
        axes.grid(axis="x", visible=False)
        drawing.hints = [
            (float(np.sqrt(low * high)), 0, f"{low:.0f} to {high:.0f} px\n{counted(int(number), 'object')}")
            for low, high, number in zip(edges[:-1], edges[1:], numbers, strict=True)
        ]
    return drawing.svg


def class_sides(sides_px: Mapping[str, NDArray[np.float64]]) -> str:
    """The sizes of the objects of each class: the middle one, and the range without the smallest and largest tenth."""
    rows = [(name, np.percentile(sides, (10, 50, 90)).tolist(), len(sides)) for name, sides in sides_px.items()]
    with _figure("Sizes of the objects per class", height=1.0 + 0.26 * len(rows)) as drawing:
        axes = drawing.axes
        for place, (_, (low, middle, high), _) in enumerate(reversed(rows)):
            axes.plot([low, high], [place, place], color=BLUE, linewidth=2.4, solid_capstyle="round")
            axes.plot(middle, place, "o", color=BLUE, markersize=6)
        axes.set_xscale("log", base=2)
        _power_ticks(axes, min(low for _, (low, _, _), _ in rows), max(high for _, (_, _, high), _ in rows))
        axes.set_yticks(range(len(rows)), [_short(name) for name, _, _ in reversed(rows)])
        axes.set(xlabel="side of the object in pixels of the network input", ylim=(-0.6, len(rows) - 0.4))
        axes.grid(axis="y", visible=False)
        drawing.by = "y"
        drawing.hints = [
            (
                middle,
                place,
                f"{name}: {counted(count, 'object')}\nmiddle one {middle:.0f} px, 8 of 10 from {low:.0f} to {high:.0f}",
            )
            for place, (name, (low, middle, high), count) in enumerate(reversed(rows))
        ]
    return drawing.svg


def object_centres(numbers: NDArray[np.int64]) -> str:
    """How many objects have their centre in each part (rows, columns) of the image; the more, the deeper the colour."""
    with _figure("Where the centres of the objects are", height=HEIGHT) as drawing:
        axes = drawing.axes
        rows, columns = numbers.shape
        most = max(1, int(numbers.max(initial=0)))
        for row, column in np.argwhere(numbers).tolist():
            share = float(numbers[row, column]) / most
            axes.bar(column + 0.5, 1, 1, bottom=row, color=BLUE, alpha=0.08 + 0.92 * share, linewidth=0)
        axes.set(xlim=(0, columns), ylim=(rows, 0), xlabel="from left to right", ylabel="from top to bottom")
        axes.set_xticks([0, columns / 2, columns], ["0 %", "50 %", "100 %"])
        axes.set_yticks([0, rows / 2, rows], ["0 %", "50 %", "100 %"])
        axes.grid(visible=False)
        for spine in ("top", "right"):
            axes.spines[spine].set_visible(True)
        drawing.by = "xy"
        drawing.hints = [
            (column + 0.5, row + 0.5, counted(int(numbers[row, column]), "object"))
            for row, column in np.argwhere(numbers).tolist()
        ]
    return drawing.svg


def thresholds(curves: Mapping[str, NDArray[np.float64]], threshold: float) -> tuple[str, PlotFrame]:
    """Precision, recall and F1 against the threshold, with a line at one of them, and where the axes lie.

    The page moves the line, whose class is `chosen`, and redraws the curves, `precision`, `recall`, `f1`.
    """
    with _figure("Precision, recall and F1 against the threshold", width=4.7, height=3.0) as drawing:
        axes = drawing.axes
        for (name, values), (colour, style) in zip(curves.items(), LINES, strict=False):
            axes.plot(THRESHOLDS, values, style, color=colour, label=name, gid=f"live-{name.lower()}", clip_on=False)
        axes.axvline(threshold, color=INK, linewidth=1.2, gid="live-chosen", clip_on=False)
        axes.set(xlabel="threshold: score from which a detection counts", xlim=(0, 1), ylim=(0, 1))
        _legend(axes)
        names = list(curves)
        drawing.hints = [
            (at, 0, "\n".join([f"threshold {at:.2f}", *(f"{name} {curves[name][place]:.2f}" for name in names)]))
            for place, at in enumerate(THRESHOLDS.tolist())
        ]
    assert drawing.frame is not None
    return drawing.svg, drawing.frame


def differences(rows: Sequence[tuple[str, Interval]], what: str) -> str:
    """Differences in AP points with their intervals, one below the other; 0 means no difference."""
    height = 0.9 + 0.3 * len(rows)
    with _figure(f"Differences in {what} with 95 % intervals", height=height) as drawing:
        axes = drawing.axes
        for place, (_, interval) in enumerate(reversed(rows)):
            colour = GREEN if interval.low > 0 else ORANGE if interval.high < 0 else MUTED
            axes.plot(
                [interval.low, interval.high], [place, place], color=colour, linewidth=2.4, solid_capstyle="round"
            )
            axes.plot(interval.value, place, "o", color=colour, markersize=6)
        axes.axvline(0, color=INK, linewidth=1)
        axes.set_yticks(range(len(rows)), [_short(name) for name, _ in reversed(rows)])
        axes.set(xlabel=f"{what} points; right of the line is better", ylim=(-0.6, len(rows) - 0.4))
        axes.grid(axis="y", visible=False)
        drawing.by = "y"
        drawing.hints = [
            (one.value, place, f"{name}\n{what} {one.value:+.1f}, probably {one.low:+.1f} to {one.high:+.1f}")
            for place, (name, one) in enumerate(reversed(rows))
        ]
    return drawing.svg


def range_name(sides: SizeRange) -> str:
    """Name a range: "16-32", "256+"."""
    return f"{sides.low_px:.0f}+" if sides.high_px > 1000 else f"{sides.low_px:.0f}-{sides.high_px:.0f}"


@contextmanager
def _figure(
    title: str,
    *,
    width: float = WIDTH,
    height: float = HEIGHT,
    place: tuple[float, float, float, float] | None = None,
) -> Iterator[_Drawing]:
    """Axes to draw on; afterwards there are the SVG and the frame too.

    `place` (left, bottom, width, height) is where the axes are, as fractions; by default they are fitted to the texts.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with warnings.catch_warnings(), rc_context(dict(SETTINGS)):
        # A name in a script that matplotlib's own font lacks is drawn by the browser, which has others.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure = Figure(figsize=(width, height), layout="constrained" if place is None else None)
        axes = figure.add_subplot() if place is None else figure.add_axes(place)
        drawing = _Drawing(axes)
        yield drawing
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
        box = axes.get_position()
        size_px = figure.get_size_inches() * 72
        drawing.frame = PlotFrame(
            left=float(box.x0 * size_px[0]),
            right=float(box.x1 * size_px[0]),
            bottom=float((1 - box.y0) * size_px[1]),
            top=float((1 - box.y1) * size_px[1]),
        )
        hints = _hints(drawing, float(size_px[1]), 72 / figure.dpi)
    drawing.svg = _for_page(buffer.getvalue(), title).replace("<svg", f"<svg{hints}", 1)


def _hints(drawing: _Drawing, height: float, scale: float) -> str:
    """The hints as an attribute, with their places in units of the drawing, y downwards."""
    if not drawing.hints:
        return ""
    places = drawing.axes.transData.transform([(x, y) for x, y, _ in drawing.hints]) * scale
    points = [
        [round(float(x), 1), round(height - float(y), 1), text]
        for (x, y), (_, _, text) in zip(places, drawing.hints, strict=True)
    ]
    plain = json.dumps({"by": drawing.by, "points": points}, ensure_ascii=False, separators=(",", ":"))
    return f' data-hints="{escape(plain)}"'


def _for_page(svg: str, title: str) -> str:
    """The SVG without what only a file of its own needs, in the colours and letters of the page."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<style.*?</style>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<!--.*?-->", "", svg, flags=re.DOTALL)
    box = re.search(r'viewBox="([^"]+)"', svg)
    assert box is not None
    start = f'<svg class="plot" viewBox="{box[1]}" role="img" aria-label="{escape(title)}"'
    svg = start + svg[svg.index(">") :]
    for stand_in, colour in COLOURS.items():
        svg = svg.replace(stand_in, colour)
    svg = re.sub(r"font: (?:[\w.]+ )*?([\d.]+px) [^;\"]+", r"font-size: \1", svg)
    svg = re.sub(r" font-family: [^;\"]+;?", "", svg)
    # A hundredth of a point is nothing to see. Texts between tags are left as they are: 0.005 is no 0.00.
    svg = re.sub(r">[^<]*<|(\d+\.\d\d)\d+", lambda match: match[1] or match[0], svg)
    svg = re.sub(r'id="live-(\w+)"', r'class="\1"', svg)
    svg = _with_own_ids(svg, title)
    return re.sub(r"\s*\n\s*", " ", svg)


def _with_own_ids(svg: str, title: str) -> str:
    """Ids that something refers to are made different from those of other plots of the page; the rest go."""
    used = set(re.findall(r'(?:url\(#|href="#)([^")]+)', svg))
    prefix = hashlib.sha256((title + svg).encode()).hexdigest()[:8]

    def renamed(match: re.Match[str]) -> str:
        return f' id="{prefix}{match[1]}"' if match[1] in used else ""

    svg = re.sub(r'\sid="([^"]+)"', renamed, svg)
    svg = re.sub(r"(url\(#)([^)]+)\)", rf"\g<1>{prefix}\g<2>)", svg)
    return re.sub(r'(?:xlink:)?href="#([^"]+)"', rf'href="#{prefix}\1"', svg)


def _values(epochs: Sequence[Mapping[str, Any]], name: str) -> NDArray[np.float64]:
    values = [epoch.get(name) for epoch in epochs]
    return np.array([value if _is_plottable(value) else np.nan for value in values], dtype=np.float64)


def _is_plottable(value: Any) -> bool:
    """Whether a value from a file is a number that an axis can show."""
    return isinstance(value, int | float) and abs(value) < 1e9


def _marker(x: Sequence[int]) -> dict[str, Any]:
    """A line through one point is nothing to see."""
    return {"marker": "o", "markersize": 4} if len(x) < 4 else {}


def _hint(title: str, values: Mapping[str, Any], names: Mapping[str, str]) -> str:
    """A title and a line for each of the values that is known, under its name."""
    known = [(label, values.get(name)) for name, label in names.items()]
    return "\n".join([title, *(f"{label} {value:.3g}" for label, value in known if _is_plottable(value))])


def _legend(axes: Any) -> None:
    """The legend of every plot: above it, in one line, or in two where one would be wider than the plot."""
    names = axes.get_legend_handles_labels()[1]
    ncols = 2 if sum(map(len, names)) > LEGEND_LETTERS else len(names)
    axes.legend(
        loc="lower left", ncols=ncols, bbox_to_anchor=(0, 1.0), borderaxespad=0.2, handlelength=1.6, columnspacing=1.2
    )


def _whole_epochs(axes: Any, x: Sequence[int]) -> None:
    _whole_numbers(axes.xaxis)
    if len(x) == 1:
        axes.set_xlim(x[0] - 1, x[0] + 1)


def _whole_numbers(axis: Any) -> None:
    """Ticks at whole numbers only: there is no half an object."""
    from matplotlib.ticker import MaxNLocator

    axis.set_major_locator(MaxNLocator(nbins=6, integer=True, min_n_ticks=1))


def _power_ticks(axes: Any, low: float, high: float) -> None:
    """Ticks at powers of two from `low` to `high`."""
    ticks = [2**power for power in range(13) if low / 1.5 <= 2**power <= high * 1.5]
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.minorticks_off()


def _short(name: str, length: int = 22) -> str:
    return name if len(name) <= length else f"{name[: length - 1]}…"
