"""Colours, in the order blue, green, red of OpenCV, and those that many things share."""

from __future__ import annotations

Colour = tuple[float, float, float]


def paint(code: str) -> Colour:
    """The blue-green-red colour of a "#rrggbb" code."""
    return float(int(code[5:7], 16)), float(int(code[3:5], 16)), float(int(code[1:3], 16))


def tinted(colour: Colour, factor: float) -> Colour:
    """The colour made darker (factor below 1) or lighter, kept within 0 to 255."""
    blue, green, red = (min(255.0, channel * factor) for channel in colour)
    return blue, green, red


def mixed(first: Colour, second: Colour, share: float) -> Colour:
    """The colour that lies at share (0 to 1) of the way from first to second."""
    blue, green, red = (a + (b - a) * share for a, b in zip(first, second, strict=True))
    return blue, green, red


GLASS, GLASS_LIGHT = paint("#1b2830"), paint("#5a7384")
RUBBER, RIM, DARK, STEEL = paint("#1a1b1d"), paint("#a9adb1"), paint("#2b2e32"), paint("#8c9196")
LAMP_WHITE, LAMP_RED, LAMP_AMBER = paint("#fff6dc"), paint("#e0281e"), paint("#ffab2e")
