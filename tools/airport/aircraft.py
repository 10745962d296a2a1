"""Parked airliners, which are scenery."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from airport.colours import DARK, GLASS, RUBBER, STEEL, Colour, paint, tinted
from airport.shapes import Face, bar, face_away, limb, slab
from airport.things import Group, Thing, shifted

FUSELAGE = (
    (17.0, 0.12, 3.25),
    (16.6, 0.6, 3.3),
    (15.9, 1.05, 3.42),
    (14.8, 1.5, 3.6),
    (13.2, 1.85, 3.75),
    (11.0, 1.98, 3.8),
    (6.0, 1.98, 3.8),
    (0.0, 1.98, 3.8),
    (-6.0, 1.98, 3.8),
    (-9.0, 1.85, 3.9),
    (-12.0, 1.45, 4.2),
    (-15.0, 0.85, 4.7),
    (-17.5, 0.3, 5.1),
)


def aircraft(livery: str) -> Thing:
    """A parked airliner."""
    colour = paint(livery)
    return Thing(0, ((fuselage(colour), *wing_groups(colour)),), 36, 32)


def fuselage(livery: Colour) -> Group:
    """The body of an airliner with windows, doors and a line in the livery colour."""
    faces = lofted(FUSELAGE, paint("#f3f4f4"), paint("#b9c0c6"))
    details: list[Face] = []
    for side in (-1.0, 1.0):
        for left, right in pairwise(np.linspace(-9, 8, 5)):
            details.append(skin_panel(side, (float(left), float(right)), (3.3, 3.55), livery))
        starts = np.arange(-8.0, 11.2, 0.62).tolist()
        details += [skin_panel(side, (x, x + 0.3), (4.1, 4.5), paint("#39434c"), 0.35) for x in starts]
        for x in (11.6, -9.0):
            details.append(skin_panel(side, (x, x + 0.9), (3.2, 5.0), paint("#c5cbd0")))
            details.append(skin_panel(side, (x + 0.06, x + 0.84), (3.27, 4.93), paint("#eceeee")))
        glass = [
            (15.25, side * 1.12, 4.12),
            (14.3, side * 1.45, 4.25),
            (14.2, side * 1.2, 4.8),
            (14.9, side * 0.85, 4.7),
        ]
        details.append(Face(np.array(glass), np.array([0.5, side * 0.75, 0.4]), GLASS))
    front = [(15.3, -1.0, 4.15), (15.3, 1.0, 4.15), (14.85, 0.8, 4.72), (14.85, -0.8, 4.72)]
    details.append(Face(np.array(front), np.array([0.8, 0.0, 0.6]), GLASS))
    return Group((*faces, *details), 0)


def skin_panel(side: float, x: tuple[float, float], z: tuple[float, float], colour: Colour, glow: float = 0.0) -> Face:
    """A panel on the middle part of the fuselage: a window, a door, a stripe."""
    corners = [(x[0], z[0]), (x[1], z[0]), (x[1], z[1]), (x[0], z[1])]
    points = [(along, side * (np.sqrt(1.98**2 - (up - 3.8) ** 2) + 0.01), up) for along, up in corners]
    return Face(np.array(points), np.array([0.0, side, 0.12]) / np.hypot(1, 0.12), colour, glow)


def wing_groups(livery: Colour) -> list[Group]:
    """Wings, tail planes, engines and wheels of an airliner."""
    groups = []
    grey = paint("#ccd2d6")
    for side in (-1.0, 1.0):
        wing = [(-2.2, side * 1.7, 2.9), (4.2, side * 1.7, 2.9), (-3.4, side * 15.5, 4.1), (-5.0, side * 15.5, 4.1)]
        winglet = [*wing[:1:-1], (-4.6, side * 15.8, 5.6), (-5.4, side * 15.8, 5.6)]
        tip = slab(winglet, (0, 0.08, 0), livery)
        groups.append(Group((*slab(wing, (0, 0, 0.35), grey, tinted(grey, 0.85)), *tip), 0, False))
        tail = [(-13.3, side * 0.9, 4.7), (-16.0, side * 0.6, 4.8), (-17.6, side * 5.6, 5.3), (-16.3, side * 5.6, 5.3)]
        groups.append(Group(tuple(slab(tail, (0, 0, 0.18), grey)), 0, False))
        engine = lofted([(5.4, 0.85, 1.75), (5.0, 1.02, 1.75), (3.0, 1.0, 1.75), (1.9, 0.72, 1.78)], livery, livery)
        engine += lofted([(1.95, 0.7, 1.78), (1.9, 0.5, 1.78), (0.9, 0.12, 1.8)], STEEL, DARK)
        circle = np.linspace(0, 2 * np.pi, 24, endpoint=False)
        for radius, colour in ((0.85, DARK), (0.3, STEEL)):
            disc = np.stack([np.full(24, 5.41), np.cos(circle) * radius, np.sin(circle) * radius + 1.75], axis=1)
            engine.append(Face(disc, np.array([1.0, 0.0, 0.0]), colour))
        groups.extend(shifted([Group(tuple(engine), 0)], (0, side * 5.2, 0)))
        gear = [bar((-1.2, side * 2.4, 0.5), (-1.2, side * 2.3, 3.0), 0.14, STEEL)]
        tyres = [limb([(-1.6 + dx, side * 2.4, 0.52)], (0.5,), RUBBER) for dx in (0.0, 0.9)]
        groups.append(Group((*gear, *tyres), -1))
    groups.append(Group((bar((12.2, 0, 0.4), (12.2, 0, 2.3), 0.12, STEEL), limb([(12.2, 0, 0.4)], (0.4,), RUBBER)), -1))
    fin = [(-12.0, -0.12, 5.3), (-16.6, -0.12, 5.2), (-18.3, -0.12, 10.6), (-16.2, -0.12, 10.6)]
    band = [(-14.9, -0.14, 8.2), (-17.5, -0.14, 8.2), (-17.8, -0.14, 9.2), (-15.5, -0.14, 9.2)]
    groups.append(Group((*slab(fin, (0, 0.24, 0), livery), *slab(band, (0, 0.28, 0), paint("#f3f4f4"))), 1))
    return groups


def lofted(stations: Sequence[tuple[float, float, float]], colour: Colour, belly: Colour) -> list[Face]:
    """The skin through circles around the x axis, each given by x, radius and height of its middle."""
    angles = np.linspace(0, 2 * np.pi, 28, endpoint=False)
    rings = [np.stack([np.full(28, x), np.cos(angles) * r, np.sin(angles) * r + z], axis=1) for x, r, z in stations]
    faces = []
    for (first, second), (x, _, z) in zip(pairwise(rings), stations[:-1], strict=True):
        for i in range(28):
            j = (i + 1) % 28
            shade = belly if np.sin(angles[i] + np.pi / 28) < -0.35 else colour
            faces.append(face_away([first[i], first[j], second[j], second[i]], (x, 0, z), shade))
    return faces
