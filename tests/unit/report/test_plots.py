from __future__ import annotations

import html
import json
import re

from multibox.report import plots


def texts(svg: str) -> list[str]:
    return [html.unescape(text) for text in re.findall(r"<text[^>]*>([^<]*)</text>", svg)]


def test_an_axis_of_small_numbers_has_a_different_one_at_each_tick():
    epochs = [{"epoch": epoch, "learning_rate": rate} for epoch, rate in enumerate((0.00012, 0.00098, 0.00042, 0.0), 1)]
    numbers = [float(text) for text in texts(plots.learning_rates(epochs)) if text.startswith("0.")]
    assert len(numbers) == len(set(numbers)) > 3
    assert 0.0005 < max(numbers) < 0.002


def test_a_long_legend_leaves_the_plot_its_width():
    names = ("loss", "loss_classes", "loss_objectness", "loss_boxes")
    epochs = [{"epoch": epoch, **dict.fromkeys(names, 1.0)} for epoch in range(1, 6)]
    drawing = plots.losses(epochs)
    assert {"total", "classes", "objectness", "boxes"} < set(texts(drawing))
    width = float(re.search(r'viewBox="0 0 ([\d.]+)', drawing)[1])
    places = json.loads(html.unescape(re.search(r'data-hints="([^"]*)"', drawing)[1]))["points"]
    assert places[-1][0] - places[0][0] > 0.6 * width
