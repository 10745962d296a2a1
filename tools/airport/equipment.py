"""Lamp masts, traffic cones and freight containers, which are scenery."""

from __future__ import annotations

import numpy as np

from airport.chance import Random, choice
from airport.colours import LAMP_WHITE, RUBBER, STEEL, paint, tinted
from airport.shapes import Face, bar, box, limb, slab
from airport.things import Group, Thing


def lamp_mast(height: float) -> Thing:
    """A mast with a row of floodlights."""
    mast = bar((0, 0, 0), (0, 0, height), 0.16, STEEL)
    beam = bar((-1.6, 0, height), (1.6, 0, height), 0.09, STEEL)
    heads = [
        Face(
            np.array(
                [
                    (x, -0.2, height - 0.25),
                    (x + 0.7, -0.2, height - 0.25),
                    (x + 0.7, -0.1, height + 0.3),
                    (x, -0.1, height + 0.3),
                ]
            ),
            np.array([0.0, -1.0, -0.2]),
            LAMP_WHITE,
            1.0,
        )
        for x in (-1.6, -0.75, 0.1, 0.95)
    ]
    return Thing(0, ((Group((mast, beam, *heads)),),), 0.6, 0.6)


def cone() -> Thing:
    """A traffic cone."""
    orange, white = paint("#f26a1b"), paint("#f4f4f0")
    body = limb([(0, 0, 0.1), (0, 0, 0.68)], (0.15, 0.03), orange)
    band = limb([(0, 0, 0.3), (0, 0, 0.42)], (0.115, 0.09), white)
    foot = box((-0.2, 0.2), (-0.2, 0.2), (0, 0.04), RUBBER)
    return Thing(0, ((Group((*foot, body, band)),),), 0.4, 0.4)


def containers(random: Random, count: int) -> Thing:
    """A row of air freight containers along x."""
    parts = []
    for i in range(count):
        shade = paint(choice(random, ["#b9c0c4", "#a8b4bb", "#c9c7bd", "#7f97a8"]))
        x = (i - count / 2) * 2.2
        profile = [(x, -0.75, 0.25), (x, 0.75, 0.25), (x, 0.75, 1.85), (x, -0.75, 1.85)]
        shell = slab(profile, (1.95, 0, 0), shade)
        seam = [
            Face(
                np.array(
                    [
                        (x + dx, -0.77, 0.3),
                        (x + dx + 0.05, -0.77, 0.3),
                        (x + dx + 0.05, -0.77, 1.8),
                        (x + dx, -0.77, 1.8),
                    ]
                ),
                np.array([0.0, -1.0, 0.0]),
                tinted(shade, 0.7),
            )
            for dx in (0.08, 0.95, 1.82)
        ]
        parts.append((Group((*shell, *seam)),))
    return Thing(0, tuple(parts), count * 2.2, 1.6)
