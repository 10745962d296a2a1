"""Buildings of the airport, which are scenery."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from airport.chance import Random, choice
from airport.colours import RUBBER, STEEL, Colour, mixed, paint, tinted
from airport.shapes import Face, Shape, bar, box, face_away, slab
from airport.things import Group, Thing


def terminal(random: Random, length: float) -> Thing:
    """A terminal along x whose glass front looks towards minus y."""
    wall, frame = paint("#d5d3cc"), paint("#8f979c")
    base = box((-length / 2, length / 2), (0, 14), (0, 4.2), wall)
    upper = box((-length / 2, length / 2), (0, 14), (4.2, 11.0), frame)
    roof = box((-length / 2 - 2, length / 2 + 2), (-2.5, 16), (11.0, 11.9), paint("#eceae4"))
    panes: list[Face] = []
    normal = np.array([0.0, -1.0, 0.0])
    for x in np.arange(-length / 2 + 0.3, length / 2 - 2.5, 3.0):
        for z in (4.6, 7.8):
            glow = float(random.choice([0.25, 0.6, 0.9]))
            tone = mixed(paint("#3d5666"), paint("#8fb0bf"), float(random.uniform(0.0, 0.45)) + (0.3 if z > 5 else 0.0))
            pane = np.array([(x, -0.02, z), (x + 2.7, -0.02, z), (x + 2.7, -0.02, z + 2.9), (x, -0.02, z + 2.9)])
            panes.append(Face(pane, normal, tone, glow))
    for x in np.arange(-length / 2 + 4, length / 2 - 6, 12.0):
        door = np.array([(x, -0.02, 0), (x + 4.5, -0.02, 0), (x + 4.5, -0.02, 3.4), (x, -0.02, 3.4)])
        panes.append(Face(door, normal, paint(choice(random, ["#6c757c", "#50585e", "#3b5f82"]))))
    return Thing(0, ((Group((*base, *upper, *panes), 0), Group(tuple(roof), 1)),), length, 16)


def jet_bridge(length: float) -> Thing:
    """A passenger bridge along x from the terminal at the origin to its cab at x = length."""
    side, dark = paint("#c9ced1"), paint("#5b656d")
    tunnel = slab([(0, -1.3, 3.6), (0, 1.3, 3.6), (length, 1.3, 3.2), (length, -1.3, 3.2)], (0, 0, 2.6), side)
    windows: list[Shape] = []
    for sign in (-1.0, 1.0):
        for x in np.arange(1.0, length - 2.4, 2.2):
            corners = np.array(
                [(x, sign * 1.32, 4.7), (x + 1.7, sign * 1.32, 4.7), (x + 1.7, sign * 1.32, 5.5), (x, sign * 1.32, 5.5)]
            )
            windows.append(Face(corners, np.array([0.0, sign, 0.0]), paint("#4d6472"), 0.5))
    cab = box((length - 0.5, length + 3.0), (-1.9, 1.9), (3.0, 6.1), dark)
    leg_x = length - 4.0
    legs = [bar((leg_x, y, 0.3), (leg_x, y, 3.4), 0.28, STEEL) for y in (-1.0, 1.0)]
    foot = box((leg_x - 0.5, leg_x + 0.5), (-1.7, 1.7), (0, 0.8), RUBBER)
    groups = (Group((*foot, *legs), -1), Group((*tunnel, *windows), 0), Group(tuple(cab), 1))
    return Thing(0, (groups,), length + 3, 4)


def hangar(colour: str, width: float) -> Thing:
    """A hangar with an arched roof and a wide door towards minus y."""
    wall = paint(colour)
    arc = np.linspace(0, np.pi, 17)
    front = np.stack([np.cos(arc) * width / 2, np.zeros(17), 7.0 + np.sin(arc) * 5.5], axis=1)
    outline = np.vstack([[(width / 2, 0, 0)], front, [(-width / 2, 0, 0)]])
    shapes: list[Shape] = list(slab(outline, (0, 30, 0), wall, tinted(wall, 1.15)))
    normal = np.array([0.0, -1.0, 0.0])
    panels = 8
    for i in range(panels):
        x0, x1 = -width * 0.42 + i * width * 0.84 / panels, -width * 0.42 + (i + 1) * width * 0.84 / panels - 0.12
        door = np.array([(x0, -0.03, 0), (x1, -0.03, 0), (x1, -0.03, 7.6), (x0, -0.03, 7.6)])
        shapes.append(Face(door, normal, tinted(paint("#c7ccce"), 0.92 + 0.08 * (i % 2))))
        glass = door * [1, 1, 0] + [[0, -0.02, 5.4], [0, -0.02, 5.4], [0, -0.02, 6.6], [0, -0.02, 6.6]]
        shapes.append(Face(glass, normal, paint("#4a5c68"), 0.5))
    return Thing(0, ((Group(tuple(shapes)),),), width, 30)


def control_tower() -> Thing:
    """A control tower."""
    angles = np.linspace(0, 2 * np.pi, 12, endpoint=False)

    def drum(low: tuple[float, float], high: tuple[float, float], colour: Colour, glow: float = 0.0) -> list[Face]:
        rings = [np.stack([np.cos(angles) * r, np.sin(angles) * r, np.full(12, z)], axis=1) for r, z in (low, high)]
        faces = [face_away(rings[1], (0, 0, low[1]), colour)]
        for i in range(12):
            j = (i + 1) % 12
            corners = [rings[0][i], rings[0][j], rings[1][j], rings[1][i]]
            faces.append(replace(face_away(corners, (0, 0, (low[1] + high[1]) / 2), colour), glow=glow))
        return faces

    shaft, white = paint("#cfcdc6"), paint("#e9e8e3")
    groups = (
        Group(tuple(drum((3.0, 0), (2.3, 20), shaft)), 0),
        Group(tuple(drum((2.5, 20), (4.2, 22), white)), 1),
        Group(tuple(drum((3.9, 22), (4.6, 25), paint("#47606e"), 0.7)), 2),
        Group(tuple(drum((5.0, 25), (4.4, 25.9), white)), 3),
        Group((bar((0, 0, 25.9), (0, 0, 30), 0.12, STEEL),), 4),
    )
    return Thing(0, (groups,), 8, 8)
