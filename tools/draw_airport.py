"""Draws the airport toy data set: photo-like apron pictures of three fixed cameras with their COCO annotations.

Everything is computed from a seed with numpy and OpenCV; no picture, texture or font of anyone else is used.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Layer = NDArray[np.float32]
Picture = NDArray[np.uint8]
Colour = tuple[float, float, float]
Random = np.random.Generator

WIDTH, HEIGHT = 960, 540
SCALE = 2  # drawn twice as large and averaged down, which smooths every edge
NEAR = 0.5
SUBPIXEL = 4
CATEGORIES = ("vehicle", "person", "non-vehicle")
VEHICLE, PERSON, NON_VEHICLE = 1, 2, 3
LEAST_VISIBLE = 0.3
FAR = 260.0  # no haze gathers beyond: the trees stand there
LICENCE = "Apache-2.0"


def paint(code: str) -> Colour:
    """Return the blue-green-red colour of a "#rrggbb" code."""
    return float(int(code[5:7], 16)), float(int(code[3:5], 16)), float(int(code[1:3], 16))


def tinted(colour: Colour, factor: float) -> Colour:
    """Return the colour made darker (factor below 1) or lighter, kept within 0 to 255."""
    blue, green, red = (min(255.0, channel * factor) for channel in colour)
    return blue, green, red


def mixed(first: Colour, second: Colour, share: float) -> Colour:
    """Return the colour that lies at share (0 to 1) of the way from first to second."""
    blue, green, red = (a + (b - a) * share for a, b in zip(first, second, strict=True))
    return blue, green, red


def choice(random: Random, options: Sequence[Any]) -> Any:
    """Return one of the options, all equally likely."""
    return options[int(random.integers(len(options)))]


GLASS, GLASS_LIGHT = paint("#1b2830"), paint("#5a7384")
RUBBER, RIM, DARK, STEEL = paint("#1a1b1d"), paint("#a9adb1"), paint("#2b2e32"), paint("#8c9196")
LAMP_WHITE, LAMP_RED, LAMP_AMBER = paint("#fff6dc"), paint("#e0281e"), paint("#ffab2e")


# ---------------------------------------------------------------------------------------------------------------------
# Shapes in metres: x to the right, y away from the camera, z up.


@dataclass(frozen=True)
class Face:
    """A flat polygon that is seen only from the side its normal points to."""

    points: Array
    normal: Array
    colour: Colour
    glow: float = 0.0


@dataclass(frozen=True)
class Blob:
    """The hull of some spheres, drawn softly shaded: limbs, cases, heads."""

    centres: Array
    radii: tuple[float, ...]
    colour: Colour


@dataclass(frozen=True)
class Stroke:
    """A round bar along a polyline."""

    points: Array
    radius: float
    colour: Colour


Shape = Face | Blob | Stroke


@dataclass(frozen=True)
class Group:
    """Shapes that are drawn together; level orders the groups of one thing before distance does."""

    shapes: tuple[Shape, ...]
    level: int = 0
    in_order: bool = True


@dataclass(frozen=True)
class Thing:
    """Something that stands in a scene: category 0 is scenery, which gets no label.

    Its parts are drawn from far to near, the groups of a part by level and then from far to near.
    """

    category: int
    parts: tuple[tuple[Group, ...], ...]
    length: float
    width: float
    x: float = 0.0
    y: float = 0.0
    heading: float = 0.0
    casts_shadow: bool = True


def points_of(shape: Shape) -> Array:
    """Return the corner points or sphere centres of a shape."""
    return shape.centres if isinstance(shape, Blob) else shape.points


def moved(shape: Shape, turn: Array, offset: Array) -> Shape:
    """Return the shape turned about the z axis and shifted."""
    points = points_of(shape) @ turn.T + offset
    if isinstance(shape, Face):
        return replace(shape, points=points, normal=turn @ shape.normal)
    return replace(shape, centres=points) if isinstance(shape, Blob) else replace(shape, points=points)


def rotation(angle: float) -> Array:
    """Return the matrix that turns by an angle about the z axis."""
    cosine, sine = np.cos(angle), np.sin(angle)
    return np.array([[cosine, -sine, 0.0], [sine, cosine, 0.0], [0.0, 0.0, 1.0]])


def shifted(groups: Iterable[Group], offset: Sequence[float], angle: float = 0.0) -> tuple[Group, ...]:
    """Return the groups turned about the z axis, then shifted."""
    turn, shift = rotation(angle), np.asarray(offset, float)
    return tuple(replace(g, shapes=tuple(moved(s, turn, shift) for s in g.shapes)) for g in groups)


def placed(thing: Thing, x: float, y: float, heading: float) -> Thing:
    """Return the thing put at a spot of the ground, facing along heading."""
    parts = tuple(shifted(part, (x, y, 0.0), heading) for part in thing.parts)
    return replace(thing, parts=parts, x=x, y=y, heading=heading)


def face_away(
    points: Sequence[Any] | Array, centre: Sequence[float] | Array, colour: Colour, glow: float = 0.0
) -> Face:
    """Return a face whose normal points away from centre."""
    corners = np.asarray(points, float)
    following = np.roll(corners, -1, axis=0)
    normal = np.cross(corners, following).sum(axis=0)
    normal /= max(float(np.linalg.norm(normal)), 1e-9)
    outward = float(normal @ (corners.mean(axis=0) - np.asarray(centre, float)))
    return Face(corners, normal if outward >= 0 else -normal, colour, glow)


def slab(
    points: Sequence[Any] | Array, offset: Sequence[float], colour: Colour, edge: Colour | None = None
) -> list[Face]:
    """Return the faces of a polygon swept along offset."""
    bottom = np.asarray(points, float)
    top = bottom + np.asarray(offset, float)
    centre = (bottom.mean(axis=0) + top.mean(axis=0)) / 2
    faces = [face_away(bottom, centre, colour), face_away(top, centre, colour)]
    for i in range(len(bottom)):
        j = (i + 1) % len(bottom)
        faces.append(face_away([bottom[i], bottom[j], top[j], top[i]], centre, edge or colour))
    return faces


def box(x: tuple[float, float], y: tuple[float, float], z: tuple[float, float], colour: Colour) -> list[Face]:
    """Return the six faces of an upright box."""
    floor = [(x[0], y[0], z[0]), (x[1], y[0], z[0]), (x[1], y[1], z[0]), (x[0], y[1], z[0])]
    return slab(floor, (0, 0, z[1] - z[0]), colour)


def bar(start: Sequence[float], end: Sequence[float], radius: float, colour: Colour) -> Stroke:
    """Return a straight round bar."""
    return Stroke(np.array([start, end], float), radius, colour)


def limb(points: Sequence[Sequence[float] | Array], radii: Sequence[float], colour: Colour) -> Blob:
    """Return the hull of spheres with the given centres and radii."""
    return Blob(np.asarray(points, float), tuple(radii), colour)


def ring(centre: Sequence[float], radius: float, thickness: float, colour: Colour) -> Stroke:
    """Return a wheel-like ring in the plane of x and z."""
    angles = np.linspace(0, 2 * np.pi, 25)
    rim = np.stack([np.cos(angles) * radius, np.zeros(25), np.sin(angles) * radius], axis=1)
    return Stroke(rim + np.asarray(centre, float), thickness, colour)


# ---------------------------------------------------------------------------------------------------------------------
# Vehicles. Local frame: x forward, y left, z up, the middle of the vehicle above the origin.


def rounded(outline: Sequence[tuple[float, float]], radius: float) -> list[tuple[float, float]]:
    """Return a closed outline with its corners rounded off."""
    corners, result = np.asarray(outline, float), []
    for i, corner in enumerate(corners):
        before, after = corners[i - 1], corners[(i + 1) % len(corners)]
        start = corner + (before - corner) * min(0.4, radius / max(float(np.linalg.norm(before - corner)), 1e-6))
        end = corner + (after - corner) * min(0.4, radius / max(float(np.linalg.norm(after - corner)), 1e-6))
        for share in (0.0, 0.33, 0.67, 1.0):
            point = (1 - share) ** 2 * start + 2 * share * (1 - share) * corner + share**2 * end
            result.append((float(point[0]), float(point[1])))
    return result


@dataclass
class Bodywork:
    """Collects the faces of a vehicle part: a side outline swept across its width, then panels upon it."""

    half_width: float
    belt: float = 9.0
    taper: float = 0.0
    faces: list[Shape] = field(default_factory=list)
    tyres: list[Shape] = field(default_factory=list)

    def half_width_at(self, z: float) -> float:
        """Return half the width at a height; above the belt line the sides lean inwards."""
        return self.half_width - self.taper * max(0.0, z - self.belt)

    def hull(self, outline: Sequence[tuple[float, float]], colour: Colour, radius: float = 0.12) -> None:
        """Add the swept outline, which runs anticlockwise as seen with x to the right and z up."""
        corners = rounded(outline, radius)
        for (x0, z0), (x1, z1) in zip(corners, corners[1:] + corners[:1], strict=True):
            w0, w1 = self.half_width_at(z0), self.half_width_at(z1)
            normal = np.array([z1 - z0, 0.0, x0 - x1])
            normal /= max(float(np.linalg.norm(normal)), 1e-9)
            points = np.array([(x0, -w0, z0), (x1, -w1, z1), (x1, w1, z1), (x0, w0, z0)])
            self.faces.append(Face(points, normal, colour))
        self.side(corners, colour)

    def side(self, outline: Sequence[tuple[float, float]], colour: Colour, glow: float = 0.0) -> None:
        """Add a panel to both sides."""
        for sign in (-1.0, 1.0):
            points = np.array([(x, sign * self.half_width_at(z), z) for x, z in outline])
            normal = np.array([0.0, sign, self.taper if outline[0][1] >= self.belt else 0.0])
            self.faces.append(Face(points, normal / np.linalg.norm(normal), colour, glow))

    def side_glass(self, outline: Sequence[tuple[float, float]]) -> None:
        """Add a window to both sides: lower left, lower right, upper right, upper left; its top mirrors the sky."""
        self.side(outline, GLASS)
        (a, b, c, d) = (np.asarray(corner) for corner in outline)
        light = [a + (d - a) * 0.5, b + (c - b) * 0.62, c, d]
        self.side([(float(p[0]), float(p[1])) for p in light], mixed(GLASS, GLASS_LIGHT, 0.6))

    def across(
        self,
        low: tuple[float, float],
        high: tuple[float, float],
        colour: Colour,
        share: float = 0.9,
        *,
        middle: float = 0.0,
        glow: float = 0.0,
        front: bool = True,
    ) -> None:
        """Add a panel to the front or the back, from the point low to the point high of the outline."""
        y0, y1 = self.half_width_at(low[1]), self.half_width_at(high[1])
        points = [
            (low[0], y0 * (middle - share), low[1]),
            (low[0], y0 * (middle + share), low[1]),
            (high[0], y1 * (middle + share), high[1]),
            (high[0], y1 * (middle - share), high[1]),
        ]
        inside = ((low[0] + high[0]) / 2 - (1.0 if front else -1.0), 0.0, min(low[1], high[1]) - 0.2)
        self.faces.append(face_away(points, inside, colour, glow))

    def glass_across(self, low: tuple[float, float], high: tuple[float, float], front: bool = True) -> None:
        """Add a windscreen or a rear window."""
        self.across(low, high, GLASS, 0.88, front=front)
        middle = (low[0] + (high[0] - low[0]) * 0.5, low[1] + (high[1] - low[1]) * 0.5)
        self.across(middle, high, mixed(GLASS, GLASS_LIGHT, 0.7), 0.88, front=front)

    def headlights(self, x: float, z: float, size: float = 0.2) -> None:
        """Add two headlights to the front."""
        for side in (-0.74, 0.74):
            self.across((x, z - size / 2), (x, z + size / 2), LAMP_WHITE, 0.16, middle=side, glow=1.0)

    def tail_lights(self, x: float, z: float, size: float = 0.28) -> None:
        """Add two tail lights to the back."""
        for side in (-0.78, 0.78):
            self.across((x, z - size / 2), (x, z + size / 2), LAMP_RED, 0.1, middle=side, glow=0.55, front=False)

    def wheel(self, x: float, radius: float, rim: Colour = RIM) -> None:
        """Add a wheel to both sides, with its dark arch."""
        angles = np.linspace(0, 2 * np.pi, 20, endpoint=False)
        circle = np.stack([np.cos(angles), np.zeros(20), np.sin(angles)], axis=1)
        for sign in (-1.0, 1.0):
            middle, normal = np.array([x, sign * (self.half_width + 0.01), radius]), np.array([0.0, sign, 0.0])
            inner = circle * radius + middle - normal * 0.25
            self.tyres.extend(slab(inner, (0.0, sign * 0.24, 0.0), RUBBER))
            arch = circle * (radius * 1.16) * [1, 1, 0.98] + middle
            self.faces.append(Face(arch[arch[:, 2] > radius * 0.5], normal, tinted(DARK, 0.6)))
            for part, colour in ((1.0, RUBBER), (0.62, rim), (0.5, tinted(rim, 0.7)), (0.2, rim)):
                self.faces.append(Face(circle * (radius * part) + middle, normal, colour))

    def groups(self, level: int = 0) -> tuple[Group, ...]:
        """Return the tyres, which the body hides in part, and the body."""
        return Group(tuple(self.tyres), level - 1, False), Group(tuple(self.faces), level)


def van(random: Random) -> Thing:
    """Return a panel van or a minibus."""
    colour = paint(choice(random, ["#f1f1ee", "#e9edf0", "#e2b325", "#3f6fb0", "#b9bec3", "#c8432f"]))
    part = Bodywork(0.98, 1.15, 0.11)
    nose = [(2.58, 0.32), (2.66, 0.9), (1.9, 1.2), (1.15, 2.15), (0.7, 2.28)]
    outline = [(-2.6, 0.32), *nose, (-2.5, 2.3), (-2.62, 1.9)]
    part.hull(outline, colour)
    part.side([(-2.55, 0.34), (2.5, 0.34), (2.5, 0.55), (-2.55, 0.55)], DARK)
    part.side_glass([(0.55, 1.25), (1.66, 1.25), (1.08, 2.02), (0.55, 2.02)])
    if random.random() < 0.5:
        part.side_glass([(-2.3, 1.3), (0.4, 1.3), (0.4, 2.02), (-2.3, 2.02)])
    else:
        stripe = paint(choice(random, ["#2760a8", "#d9822b", "#1f8a5b", "#b3262b"]))
        part.side([(-2.5, 0.98), (0.4, 0.98), (0.4, 1.2), (-2.5, 1.2)], stripe)
    for x in (-1.0, 0.45):
        part.side([(x, 0.6), (x + 0.03, 0.6), (x + 0.03, 2.1), (x, 2.1)], tinted(colour, 0.6))
    part.glass_across((1.86, 1.25), (1.19, 2.1))
    part.glass_across((-2.63, 1.35), (-2.58, 2.05), front=False)
    part.across((2.67, 0.42), (2.67, 0.62), DARK)
    part.headlights(2.68, 0.8)
    part.tail_lights(-2.64, 0.98, 0.34)
    part.wheel(1.65, 0.36)
    part.wheel(-1.6, 0.36)
    beacon = Group(tuple(box((0.2, 0.5), (-0.5, 0.5), (2.28, 2.42), LAMP_AMBER)), 2)
    groups = (*part.groups(), beacon) if random.random() < 0.7 else part.groups()
    return Thing(VEHICLE, (groups,), 5.3, 2.0)


def car(random: Random) -> Thing:
    """Return a car; the yellow one is the chequered follow-me car."""
    follow_me = random.random() < 0.4
    colour = paint("#f0c419" if follow_me else choice(random, ["#a8252a", "#27496d", "#d8dadc", "#3b3f45", "#4d7a58"]))
    low, cabin = Bodywork(0.9), Bodywork(0.86, 0.85, 0.28)
    low.hull([(-2.15, 0.28), (2.15, 0.28), (2.22, 0.68), (1.1, 0.92), (-2.1, 0.95), (-2.2, 0.6)], colour, 0.16)
    low.side([(-2.1, 0.3), (2.1, 0.3), (2.1, 0.42), (-2.1, 0.42)], DARK)
    if follow_me:
        for i in range(12):
            x, z = -1.9 + i * 0.32, 0.6 + 0.14 * (i % 2)
            low.side([(x, z), (x + 0.32, z), (x + 0.32, z + 0.14), (x, z + 0.14)], DARK)
    low.headlights(2.22, 0.66, 0.16)
    low.tail_lights(-2.2, 0.74, 0.2)
    low.across((2.2, 0.34), (2.22, 0.5), DARK, 0.6)
    low.wheel(1.35, 0.33)
    low.wheel(-1.3, 0.33)
    cabin.hull([(-1.75, 0.88), (1.15, 0.88), (0.35, 1.42), (-1.3, 1.45)], colour, 0.14)
    cabin.side_glass([(-0.42, 0.95), (0.85, 0.95), (0.3, 1.36), (-0.42, 1.38)])
    cabin.side_glass([(-1.5, 0.95), (-0.5, 0.95), (-0.5, 1.38), (-1.22, 1.38)])
    cabin.glass_across((1.1, 0.93), (0.45, 1.37))
    cabin.glass_across((-1.72, 0.95), (-1.36, 1.4), front=False)
    groups = [*low.groups(), *cabin.groups(1)]
    if follow_me:
        groups.append(Group(tuple(box((-0.35, -0.2), (-0.55, 0.55), (1.45, 1.72), LAMP_AMBER)), 3))
    return Thing(VEHICLE, (tuple(groups),), 4.4, 1.8)


def bus(random: Random) -> Thing:
    """Return a low apron bus."""
    colour = paint(choice(random, ["#f4f4f1", "#e8ecee", "#f2c94c"]))
    stripe = paint(choice(random, ["#1d5fa6", "#c23b2c", "#17806d", "#e08a1e"]))
    part = Bodywork(1.35)
    part.hull([(-5.2, 0.3), (5.2, 0.3), (5.3, 1.1), (5.12, 2.9), (4.9, 3.0), (-5.1, 3.0), (-5.25, 2.6)], colour, 0.18)
    part.side([(-5.15, 0.32), (5.15, 0.32), (5.2, 0.62), (-5.15, 0.62)], stripe)
    part.side([(-5.1, 0.72), (5.2, 0.72), (5.2, 0.84), (-5.1, 0.84)], stripe)
    for x in (-4.9, -3.0, -0.1, 1.4, 4.0):
        width = 1.0 if x == 4.0 else 1.3
        part.side_glass([(x, 1.35), (x + width, 1.35), (x + width, 2.65), (x, 2.65)])
    for x in (-1.55, 2.8):
        part.side([(x, 0.4), (x + 1.15, 0.4), (x + 1.15, 2.75), (x, 2.75)], tinted(colour, 0.55))
        for left in (x + 0.06, x + 0.61):
            part.side_glass([(left, 0.6), (left + 0.48, 0.6), (left + 0.48, 2.65), (left, 2.65)])
    part.glass_across((5.32, 1.15), (5.16, 2.55))
    part.across((5.17, 2.62), (5.12, 2.86), LAMP_AMBER, 0.5, glow=0.5)
    part.glass_across((-5.27, 1.5), (-5.24, 2.6), front=False)
    part.headlights(5.31, 0.95, 0.22)
    part.tail_lights(-5.27, 1.05, 0.34)
    part.wheel(3.55 - 1.0, 0.42)
    part.wheel(-3.3, 0.42)
    return Thing(VEHICLE, (part.groups(),), 10.6, 2.75)


def truck_cab(colour: Colour, front: float) -> Bodywork:
    """Return the cab of a truck that ends at x = front, without wheels."""
    part = Bodywork(1.15, 1.4, 0.05)
    back = front - 1.9
    part.hull([(back, 0.5), (front, 0.5), (front + 0.04, 1.35), (front - 0.22, 2.45), (back, 2.5)], colour)
    part.side_glass([(front - 1.2, 1.5), (front - 0.15, 1.5), (front - 0.36, 2.25), (front - 1.2, 2.25)])
    part.side([(front - 1.26, 0.7), (front - 1.23, 0.7), (front - 1.23, 2.3), (front - 1.26, 2.3)], tinted(colour, 0.6))
    part.glass_across((front + 0.03, 1.45), (front - 0.17, 2.3))
    part.across((front + 0.03, 0.52), (front + 0.03, 0.75), DARK)
    part.across((front + 0.06, 1.05), (front + 0.06, 1.25), DARK, 0.5)
    part.headlights(front + 0.05, 0.9)
    return part


def tank(length: float, colour: Colour, stripe: Colour) -> tuple[Face, ...]:
    """Return an oval tank along x with a stripe, resting on a height of one metre."""
    angles = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    oval = np.stack([np.cos(angles) * 1.15, np.sin(angles) * 0.85 + 1.75], axis=1)
    ends = [np.column_stack([np.full(24, x), oval]) for x in (-length / 2, length / 2)]
    faces = [face_away(end, (0, 0, 1.75), colour) for end in ends]
    for i in range(24):
        j = (i + 1) % 24
        shade = stripe if abs(oval[i, 1] + oval[j, 1] - 3.5) < 0.32 else colour
        faces.append(face_away([ends[0][i], ends[0][j], ends[1][j], ends[1][i]], (0, 0, 1.75), shade))
    return tuple(faces)


def fuel_truck(random: Random) -> Thing:
    """Return a fuel truck: cab, chassis and an oval tank."""
    colour = paint(choice(random, ["#eef0f0", "#e7b92b", "#c9d3d8"]))
    stripe = paint(choice(random, ["#c4302b", "#1f65ad", "#2a8a57"]))
    cab = truck_cab(choice(random, [colour, stripe]), 3.7)
    cab.wheel(2.75, 0.48)
    chassis = Bodywork(1.1)
    chassis.hull([(-3.6, 0.5), (1.9, 0.5), (1.9, 0.95), (-3.6, 0.95)], DARK, 0.05)
    chassis.side([(-0.9, 0.45), (0.9, 0.45), (0.9, 1.0), (-0.9, 1.0)], STEEL)
    chassis.tail_lights(-3.62, 0.75, 0.22)
    chassis.wheel(-1.5, 0.48)
    chassis.wheel(-2.65, 0.48)
    barrel = shifted([Group(tank(5.2, colour, stripe), 0, False)], (-0.95, 0, 0.05))
    rail = [bar((-3.3, y, 2.85), (1.4, y, 2.85), 0.03, STEEL) for y in (-0.5, 0.5)]
    rear = (*chassis.groups(-1), *barrel, Group(tuple(rail), 1))
    return Thing(VEHICLE, (rear, cab.groups()), 7.5, 2.4)


def catering_truck(random: Random) -> Thing:
    """Return a truck with a closed box, as caterers and cleaners use."""
    colour = paint(choice(random, ["#f3f3f0", "#dfe6ea", "#2f7d8c", "#d7652e"]))
    mark = paint(choice(random, ["#d7652e", "#2a6fb0", "#4aa36b", "#f4f4f4"]))
    cab = truck_cab(paint(choice(random, ["#f3f3f0", "#33588a", "#b13a32"])), 3.5)
    cab.wheel(2.55, 0.46)
    rear = Bodywork(1.22)
    rear.hull([(-3.6, 0.62), (1.45, 0.62), (1.45, 0.95), (-3.6, 0.95)], DARK, 0.05)
    rear.hull([(-3.7, 0.95), (1.5, 0.95), (1.5, 3.1), (-3.7, 3.1)], colour, 0.08)
    rear.side([(-3.3, 1.5), (-0.6, 1.5), (0.6, 2.6), (-2.1, 2.6)], mark)
    rear.side([(-3.65, 0.98), (1.45, 0.98), (1.45, 1.1), (-3.65, 1.1)], STEEL)
    rear.across((-3.72, 1.1), (-3.72, 2.95), tinted(colour, 0.8), 0.85, front=False)
    rear.across((-3.73, 1.1), (-3.73, 2.95), DARK, 0.015, front=False)
    rear.tail_lights(-3.73, 0.8, 0.2)
    rear.wheel(-2.3, 0.46)
    return Thing(VEHICLE, (rear.groups(), cab.groups()), 7.2, 2.45)


def luggage(random: Random, length: float, width: float, floor: float, rows: int) -> list[Shape]:
    """Return cases piled up on a platform."""
    shades = ["#7a2f3a", "#2c3e57", "#3a5a4a", "#8a6a45", "#444a52", "#b0762c", "#5b3f6e", "#a8b0b5", "#b8473a"]
    cases: list[Shape] = []
    for row in range(rows):
        count = max(2, round(length / float(random.uniform(0.38, 0.5))))
        cuts = np.linspace(-length / 2, length / 2, count + 1)
        cuts[1:-1] += random.uniform(-0.06, 0.06, count - 1)
        low, depth = floor + row * 0.36, width / 2 * (1 - 0.08 * row)
        for start, end in pairwise(cuts.tolist()):
            height = 0.35 if row + 1 < rows else float(random.uniform(0.24, 0.42))
            half = depth * float(random.uniform(0.9, 1.0))
            colour = paint(choice(random, shades))
            cases.extend(box((start + 0.01, end - 0.01), (-half, half), (low, low + height), colour))
    return cases


def baggage_cart(random: Random) -> tuple[Group, ...]:
    """Return one cart of a baggage train, with or without a roof."""
    bed = Bodywork(0.75)
    bed.hull([(-1.25, 0.35), (1.25, 0.35), (1.25, 0.52), (-1.25, 0.52)], paint("#6b7379"), 0.03)
    bed.wheel(0.85, 0.22)
    bed.wheel(-0.85, 0.22)
    load = Group(tuple(luggage(random, 2.2, 1.3, 0.52, int(random.integers(1, 4)))), 1, False)
    groups = [*bed.groups(), load]
    if random.random() < 0.6:
        posts = [bar((x, y, 0.5), (x, y, 1.75), 0.03, STEEL) for x in (-1.2, 1.2) for y in (-0.7, 0.7)]
        cover = paint(choice(random, ["#2f6aa3", "#dfe3e4", "#c9632b"]))
        groups.append(Group(tuple(posts), 1, False))
        groups.append(Group(tuple(box((-1.28, 1.28), (-0.78, 0.78), (1.75, 1.86), cover)), 2))
    return tuple(groups)


def baggage_train(random: Random) -> Thing:
    """Return a tug, alone or with one or two baggage carts behind it."""
    colour = paint(choice(random, ["#e8b923", "#e07b28", "#f0f0ec", "#3c78b4", "#5aa05f"]))
    low, cab = Bodywork(0.72), Bodywork(0.68, 0.95, 0.08)
    low.hull([(-1.4, 0.28), (1.45, 0.28), (1.48, 0.8), (0.5, 0.95), (-1.4, 0.95)], colour, 0.08)
    low.side([(-1.35, 0.3), (1.4, 0.3), (1.4, 0.45), (-1.35, 0.45)], DARK)
    low.headlights(1.49, 0.68, 0.16)
    low.tail_lights(-1.41, 0.8, 0.18)
    low.across((1.5, 0.34), (1.5, 0.52), DARK)
    low.wheel(0.9, 0.32)
    low.wheel(-0.85, 0.36)
    cab.hull([(-1.0, 0.9), (0.5, 0.9), (0.25, 1.72), (-0.95, 1.75)], colour, 0.08)
    cab.side_glass([(-0.85, 1.0), (0.35, 1.0), (0.16, 1.62), (-0.85, 1.62)])
    cab.glass_across((0.48, 1.0), (0.3, 1.65))
    cab.glass_across((-1.01, 1.05), (-0.97, 1.65), front=False)
    beacon = Group(tuple(box((-0.5, -0.35), (-0.08, 0.08), (1.75, 1.9), LAMP_AMBER)), 3)
    tractor = (*low.groups(), *cab.groups(1), beacon)
    carts = int(random.integers(0, 3))
    length = 2.9 + carts * 3.0
    parts = [shifted(tractor, (length / 2 - 1.45, 0, 0))]
    for i in range(carts):
        x = length / 2 - 2.9 - 1.7 - 3.0 * i
        hitch = Group((bar((x + 1.2, 0, 0.4), (x + 1.8, 0, 0.4), 0.05, DARK),), -1)
        parts.append((*shifted(baggage_cart(random), (x, 0, 0)), hitch))
    return Thing(VEHICLE, tuple(parts), length, 1.6)


# ---------------------------------------------------------------------------------------------------------------------
# Persons, and what they ride or push.


SKINS = ("#f3cfae", "#e6b591", "#c48a62", "#96623f", "#6b4630")
HAIRS = ("#2a1f1a", "#4b3323", "#8a6a3f", "#1c1c20", "#9a9a98")


@dataclass(frozen=True)
class Look:
    """What a person wears."""

    skin: Colour
    hair: Colour
    top: Colour
    sleeves: Colour
    trousers: Colour
    shoes: Colour
    stripes: bool
    helmet: Colour | None
    backpack: Colour | None


def random_look(random: Random) -> Look:
    """Return the clothes of ground crew or, less often, of a passenger."""
    skin, hair = paint(choice(random, SKINS)), paint(choice(random, HAIRS))
    if random.random() < 0.65:
        top = paint(choice(random, ["#d8f02a", "#d8f02a", "#ff7a1a"]))
        sleeves = choice(random, [top, paint("#26344a"), paint("#3c4148")])
        trousers = paint(choice(random, ["#26344a", "#2d3034", "#4a4f55"]))
        helmet = paint(choice(random, ["#f4f4f0", "#f2b61c", "#2f66a8"])) if random.random() < 0.6 else None
        return Look(skin, hair, top, sleeves, trousers, RUBBER, True, helmet, None)
    top = paint(choice(random, ["#b23a48", "#3a6ea5", "#e6e2d8", "#5b7f5b", "#74508c", "#d08a3e", "#384452"]))
    trousers = paint(choice(random, ["#2f3e57", "#5a5148", "#20242a", "#8d8371"]))
    pack = paint(choice(random, ["#20242a", "#7d2f2f", "#33553f"])) if random.random() < 0.45 else None
    return Look(skin, hair, top, top, trousers, choice(random, [RUBBER, paint("#d8d8d4")]), False, None, pack)


def leg(hip: Sequence[float], knee: Sequence[float], ankle: Sequence[float], look: Look) -> Group:
    """Return a leg with its shoe."""
    shin = limb([knee, ankle], (0.075, 0.055), look.trousers)
    shoe = limb(
        [(ankle[0] - 0.03, ankle[1], ankle[2] - 0.03), (ankle[0] + 0.16, ankle[1], ankle[2] - 0.035)],
        (0.055, 0.045),
        look.shoes,
    )
    return Group((shoe, shin, limb([hip, knee], (0.1, 0.078), look.trousers)))


def arm(shoulder: Sequence[float], elbow: Sequence[float], wrist: Sequence[float], look: Look) -> Group:
    """Return an arm with its hand."""
    return Group(
        (
            limb([wrist], (0.055,), look.skin),
            limb([elbow, wrist], (0.058, 0.045), look.sleeves),
            limb([shoulder, elbow], (0.072, 0.06), look.sleeves),
        )
    )


def torso(hip: Sequence[float], chest: Sequence[float], look: Look) -> Group:
    """Return the trunk between the middle of the hips and the middle of the shoulders."""
    low, high = np.asarray(hip, float), np.asarray(chest, float)
    left, up = np.array([0.0, 1.0, 0.0]), high - low

    def slice_at(share: float, half: float) -> list[Array]:
        return [low + up * share - left * half, low + up * share + left * half]

    shapes: list[Shape] = [
        limb([*slice_at(0.0, 0.09), *slice_at(0.3, 0.09)], (0.09, 0.09, 0.09, 0.09), look.trousers),
        limb(
            [*slice_at(0.18, 0.1), *slice_at(0.6, 0.12), *slice_at(1.0, 0.14)],
            (0.085, 0.085, 0.1, 0.1, 0.08, 0.08),
            look.top,
        ),
    ]
    if look.stripes:
        silver = paint("#e3e8ea")
        shapes.extend(limb(slice_at(share, 0.17), (0.025, 0.025), silver) for share in (0.34, 0.58))
        shapes.extend(limb([slice_at(0.6, y)[1], slice_at(1.08, y)[1]], (0.024, 0.024), silver) for y in (-0.1, 0.1))
    return Group(tuple(shapes))


def head(chest: Sequence[float], look: Look) -> list[Group]:
    """Return the neck and the head with hair and perhaps a helmet, on levels above the body."""
    x, y, z = chest
    hair = limb([(x - 0.01, y, z + 0.25), (x - 0.05, y, z + 0.18)], (0.1, 0.092), look.hair)
    face = limb([(x + 0.03, y, z + 0.215), (x + 0.035, y, z + 0.15)], (0.096, 0.078), look.skin)
    neck = limb([(x, y, z), (x, y, z + 0.12)], (0.055, 0.055), look.skin)
    groups = [Group((neck,), 1), Group((hair, face), 2, False)]
    if look.helmet is not None:
        shell = [(x, y - 0.03, z + 0.275), (x, y + 0.03, z + 0.275), (x + 0.1, y, z + 0.255)]
        groups.append(Group((limb(shell, (0.105, 0.105, 0.045), look.helmet),), 3))
    return groups


def walking(random: Random, look: Look, reach: float = 0.0) -> tuple[Group, ...]:
    """Return a person who walks or stands; with a reach above 0 both hands hold a handle that far ahead."""
    swing = float(random.choice([0.08, 0.32, 0.44])) * float(random.choice([-1, 1]))
    groups = [torso((0.0, 0.0, 0.93), (0.03, 0.0, 1.43), look), *head((0.03, 0.0, 1.43), look)]
    for side, angle in ((1.0, swing), (-1.0, -swing)):
        knee = (0.43 * np.sin(angle), side * 0.1, 0.92 - 0.43 * np.cos(angle))
        shin = angle - 0.14 - max(0.0, -angle) * 0.45
        ankle = (knee[0] + 0.42 * np.sin(shin), side * 0.1, max(0.08, knee[2] - 0.42 * np.cos(shin)))
        groups.append(leg((0.0, side * 0.1, 0.92), knee, ankle, look))
        shoulder = (0.03, side * 0.2, 1.41)
        if reach > 0:
            elbow, wrist = (reach * 0.35, side * 0.25, 1.16), (reach, side * 0.2, 1.08)
        else:
            elbow = (0.03 - 0.28 * np.sin(angle), side * 0.25, 1.41 - 0.28 * np.cos(angle))
            wrist = (elbow[0] + 0.25 * np.sin(0.45 - angle), side * 0.24, elbow[2] - 0.25 * np.cos(0.45 - angle))
        groups.append(arm(shoulder, elbow, wrist, look))
    if look.backpack is not None:
        pack = limb(
            [(-0.16, -0.08, 1.35), (-0.16, 0.08, 1.35), (-0.18, -0.08, 1.08), (-0.18, 0.08, 1.08)],
            (0.1,) * 4,
            look.backpack,
        )
        groups.append(Group((pack,)))
    return tuple(groups)


def person(random: Random) -> Thing:
    """Return a person on foot."""
    return Thing(PERSON, (walking(random, random_look(random)),), 0.8, 0.6)


def riding(
    look: Look,
    hip: tuple[float, float],
    hands: tuple[float, float],
    feet: tuple[tuple[float, float], ...],
    upright: float,
) -> tuple[Group, ...]:
    """Return a rider from the x and z of hip, hands and both feet; upright is the forward lean of the chest."""
    chest = (hip[0] + upright, 0.0, hip[1] + 0.5)
    groups = [torso((hip[0], 0.0, hip[1]), chest, look), *head(chest, look)]
    for side, (foot_x, foot_z) in zip((1.0, -1.0), feet, strict=True):
        middle = np.array([(hip[0] + foot_x) / 2, (hip[1] + foot_z) / 2])
        gap = np.array([foot_x - hip[0], foot_z - hip[1]])
        bend = np.sqrt(max(0.0, 0.43**2 - float(gap @ gap) / 4))
        ahead = np.array([-gap[1], gap[0]]) / max(float(np.linalg.norm(gap)), 1e-6)
        knee = middle + ahead * bend
        groups.append(
            leg(
                (hip[0], side * 0.09, hip[1]),
                (knee[0], side * 0.11, knee[1]),
                (foot_x, side * 0.11, foot_z + 0.08),
                look,
            )
        )
        elbow = ((chest[0] + hands[0]) / 2 - 0.05, side * 0.27, (chest[2] + hands[1]) / 2 - 0.08)
        groups.append(arm((chest[0], side * 0.2, chest[2]), elbow, (hands[0], side * 0.24, hands[1]), look))
    return tuple(groups)


def bicycle(random: Random) -> Thing:
    """Return a bicycle with its rider."""
    colour = paint(choice(random, ["#c8372d", "#2b62a8", "#20242a", "#3d8b57", "#e7e7e2", "#e0a022"]))
    wheels = [ring((x, 0, 0.36), 0.34, 0.026, RUBBER) for x in (-0.52, 0.55)]
    hubs = [ring((x, 0, 0.36), 0.31, 0.008, STEEL) for x in (-0.52, 0.55)]
    crank, seat, neck = (-0.05, 0, 0.32), (-0.2, 0, 0.86), (0.4, 0, 0.86)
    frame = [
        bar(a, b, 0.026, colour)
        for a, b in (
            (crank, seat),
            (crank, neck),
            ((-0.17, 0, 0.78), neck),
            (crank, (-0.52, 0, 0.36)),
            ((-0.17, 0, 0.78), (-0.52, 0, 0.36)),
            (neck, (0.55, 0, 0.36)),
        )
    ]
    fittings: list[Shape] = [
        bar((0.4, -0.26, 1.02), (0.4, 0.26, 1.02), 0.02, DARK),
        bar(neck, (0.38, 0, 1.02), 0.02, DARK),
        limb([(-0.34, 0, 0.9), (-0.1, 0, 0.9)], (0.06, 0.035), DARK),
    ]
    angle = float(random.uniform(0, 2 * np.pi))
    feet = tuple((-0.05 + 0.16 * np.cos(a), 0.32 + 0.16 * np.sin(a)) for a in (angle, angle + np.pi))
    shapes: list[Shape] = [*wheels, *hubs, *frame, *fittings]
    if random.random() < 0.4:
        shapes.extend(box((0.5, 0.82), (-0.17, 0.17), (0.76, 1.0), paint("#8a6a45")))
    rider = riding(random_look(random), (-0.2, 0.98), (0.38, 1.05), feet, float(random.uniform(0.14, 0.3)))
    return Thing(NON_VEHICLE, ((Group(tuple(shapes), -1), *rider),), 1.9, 0.7)


def kick_scooter(random: Random) -> Thing:
    """Return a kick scooter with its rider standing on it."""
    colour = paint(choice(random, ["#e7e7e2", "#2f9d8f", "#d8432f", "#30343a", "#e0c022"]))
    shapes: list[Shape] = [
        *(ring((x, 0, 0.13), 0.11, 0.035, RUBBER) for x in (-0.5, 0.5)),
        limb([(-0.42, 0, 0.16), (0.34, 0, 0.16)], (0.05, 0.05), colour),
        bar((0.48, 0, 0.14), (0.36, 0, 1.08), 0.032, colour),
        bar((0.36, -0.27, 1.1), (0.36, 0.27, 1.1), 0.022, DARK),
        bar((0.34, 0, 0.17), (0.46, 0, 0.3), 0.035, colour),
    ]
    feet = ((0.14, 0.2), (-0.2, 0.2))
    rider = riding(random_look(random), (-0.06, 1.03), (0.33, 1.14), feet, 0.08)
    return Thing(NON_VEHICLE, ((Group(tuple(shapes), -1), *rider),), 1.3, 0.7)


def moped(random: Random) -> Thing:
    """Return a motor scooter with its rider."""
    colour = paint(choice(random, ["#c8372d", "#f0efe8", "#2f6f9f", "#79b3a4", "#e5a52c"]))
    wheels = [ring((x, 0, 0.24), 0.17, 0.075, RUBBER) for x in (-0.55, 0.6)]
    body = Bodywork(0.17)
    outline = [(-0.85, 0.38), (-0.25, 0.26), (0.3, 0.24), (0.3, 0.32), (-0.1, 0.34), (-0.2, 0.72), (-0.85, 0.72)]
    body.hull(outline, colour)
    seat = limb([(-0.75, 0, 0.75), (-0.2, 0, 0.75)], (0.1, 0.09), DARK)
    shield = slab([(0.3, -0.2, 0.26), (0.3, 0.2, 0.26), (0.44, 0.16, 0.9), (0.44, -0.16, 0.9)], (0.07, 0, 0), colour)
    front: list[Shape] = [
        limb([(0.48, 0, 0.4), (0.66, 0, 0.4)], (0.1, 0.08), colour),
        bar((0.58, 0, 0.3), (0.4, 0, 1.0), 0.03, STEEL),
        bar((0.38, -0.3, 1.0), (0.38, 0.3, 1.0), 0.024, DARK),
        limb([(0.48, 0, 0.92)], (0.09,), mixed(colour, LAMP_WHITE, 0.7)),
    ]
    rider = riding(random_look(random), (-0.4, 0.86), (0.36, 1.03), ((0.12, 0.32), (0.12, 0.32)), 0.1)
    groups = (
        Group(tuple(wheels), -2),
        Group(tuple(body.faces), -1),
        Group((seat,), -1),
        Group((*shield, *front), 0, False),
        *rider,
    )
    return Thing(NON_VEHICLE, (groups,), 1.8, 0.7)


def trolley(random: Random) -> Thing:
    """Return a luggage trolley."""
    shapes: list[Shape] = []
    for x in (-0.5, 0.5):
        shapes.extend(ring((x, y, 0.09), 0.07, 0.025, RUBBER) for y in (-0.26, 0.26))
    shapes.extend(box((-0.62, 0.62), (-0.36, 0.36), (0.17, 0.25), STEEL))
    load = luggage(random, 1.1, 0.68, 0.25, int(random.integers(2, 4)))
    handle = [bar((-0.6, y, 0.2), (-0.68, y, 1.08), 0.025, RIM) for y in (-0.32, 0.32)]
    handle.append(bar((-0.68, -0.32, 1.08), (-0.68, 0.32, 1.08), 0.032, paint("#2a5fa0")))
    groups = (Group(tuple(shapes), 0), Group(tuple(load), 1, False), Group(tuple(handle), 1))
    return Thing(NON_VEHICLE, (groups,), 1.4, 0.75)


def hand_cart(random: Random) -> Thing:
    """Return a tall roll cage or a parcel cart."""
    frame = paint(choice(random, ["#2e6db0", "#c94f2a", "#8c9196", "#e0ab20"]))
    load: list[Shape] = []
    for row in range(int(random.integers(2, 4))):
        for x in (-0.55, 0.01):
            if row < 2 or random.random() < 0.5:
                brown = tinted(paint("#b08552"), float(random.uniform(0.75, 1.2)))
                load.extend(box((x, x + 0.53), (-0.36, 0.36), (0.3 + row * 0.4, 0.69 + row * 0.4), brown))
    base: list[Shape] = [*box((-0.6, 0.6), (-0.4, 0.4), (0.2, 0.3), frame)]
    base.extend(ring((x, y, 0.1), 0.09, 0.035, RUBBER) for x in (-0.48, 0.48) for y in (-0.3, 0.3))
    posts = [bar((x, y, 0.25), (x, y, 1.55), 0.026, frame) for x in (-0.58, 0.58) for y in (-0.38, 0.38)]
    rails = [bar((x, -0.38, z), (x, 0.38, z), 0.02, frame) for x in (-0.58, 0.58) for z in (0.7, 1.1, 1.54)]
    groups = (Group(tuple(base), 0), Group(tuple(load), 1, False), Group((*posts, *rails), 1, False))
    return Thing(NON_VEHICLE, (groups,), 1.3, 0.85)


VEHICLES = (van, van, car, bus, fuel_truck, catering_truck, baggage_train, baggage_train)
RIDDEN = (bicycle, bicycle, kick_scooter, moped)
PUSHED = (trolley, trolley, hand_cart)


# ---------------------------------------------------------------------------------------------------------------------
# Scenery: aircraft, buildings, lamps.


def lofted(stations: Sequence[tuple[float, float, float]], colour: Colour, belly: Colour) -> list[Face]:
    """Return the skin through circles around the x axis, each given by x, radius and height of its middle."""
    angles = np.linspace(0, 2 * np.pi, 28, endpoint=False)
    rings = [np.stack([np.full(28, x), np.cos(angles) * r, np.sin(angles) * r + z], axis=1) for x, r, z in stations]
    faces = []
    for (first, second), (x, _, z) in zip(pairwise(rings), stations[:-1], strict=True):
        for i in range(28):
            j = (i + 1) % 28
            shade = belly if np.sin(angles[i] + np.pi / 28) < -0.35 else colour
            faces.append(face_away([first[i], first[j], second[j], second[i]], (x, 0, z), shade))
    return faces


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


def skin_panel(side: float, x: tuple[float, float], z: tuple[float, float], colour: Colour, glow: float = 0.0) -> Face:
    """Return a panel on the middle part of the fuselage: a window, a door, a stripe."""
    corners = [(x[0], z[0]), (x[1], z[0]), (x[1], z[1]), (x[0], z[1])]
    points = [(along, side * (np.sqrt(1.98**2 - (up - 3.8) ** 2) + 0.01), up) for along, up in corners]
    return Face(np.array(points), np.array([0.0, side, 0.12]) / np.hypot(1, 0.12), colour, glow)


def fuselage(livery: Colour) -> Group:
    """Return the body of an airliner with windows, doors and a line in the livery colour."""
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


def wing_groups(livery: Colour) -> list[Group]:
    """Return wings, tail planes, engines and wheels of an airliner."""
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


def aircraft(livery: str) -> Thing:
    """Return a parked airliner."""
    colour = paint(livery)
    return Thing(0, ((fuselage(colour), *wing_groups(colour)),), 36, 32)


def terminal(random: Random, length: float) -> Thing:
    """Return a terminal along x whose glass front looks towards minus y."""
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
    """Return a passenger bridge along x from the terminal at the origin to its cab at x = length."""
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
    """Return a hangar with an arched roof and a wide door towards minus y."""
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
    """Return a control tower."""
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


def lamp_mast(height: float) -> Thing:
    """Return a mast with a row of floodlights."""
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
    """Return a traffic cone."""
    orange, white = paint("#f26a1b"), paint("#f4f4f0")
    body = limb([(0, 0, 0.1), (0, 0, 0.68)], (0.15, 0.03), orange)
    band = limb([(0, 0, 0.3), (0, 0, 0.42)], (0.115, 0.09), white)
    foot = box((-0.2, 0.2), (-0.2, 0.2), (0, 0.04), RUBBER)
    return Thing(0, ((Group((*foot, body, band)),),), 0.4, 0.4)


def containers(random: Random, count: int) -> Thing:
    """Return a row of air freight containers along x."""
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


# ---------------------------------------------------------------------------------------------------------------------
# Cameras, light and weather.


@dataclass(frozen=True)
class Camera:
    """A camera above the origin that looks along y, tilted down; mirrored, it sees what a wet floor reflects."""

    height: float
    tilt: float
    focal: float
    mirrored: bool = False

    @property
    def horizon(self) -> float:
        """Return the row of the horizon in the drawn picture."""
        return HEIGHT * SCALE / 2 - self.focal * SCALE * float(np.tan(self.tilt))

    def seen(self, points: Array) -> Array:
        """Return camera coordinates: to the right, up and into the picture."""
        x, y, z = points[:, 0], points[:, 1], points[:, 2] * (-1.0 if self.mirrored else 1.0) - self.height
        cosine, sine = np.cos(self.tilt), np.sin(self.tilt)
        return np.stack([x, y * sine + z * cosine, y * cosine - z * sine], axis=1)

    def pixels(self, seen: Array) -> Array:
        """Return the pixels of camera coordinates in the drawn picture, which is SCALE times the final one."""
        factor = self.focal * SCALE / seen[:, 2]
        middle_x, middle_y = WIDTH * SCALE / 2, HEIGHT * SCALE / 2
        return np.stack([middle_x + seen[:, 0] * factor, middle_y - seen[:, 1] * factor], axis=1)

    def faces(self, face: Face) -> bool:
        """Return whether the front of a face is turned to the camera."""
        flip = np.array([1.0, 1.0, -1.0 if self.mirrored else 1.0])
        towards = np.array([0.0, 0.0, self.height]) - face.points.mean(axis=0) * flip
        return float(towards @ (face.normal * flip)) > 0

    def ground(self) -> tuple[Layer, Layer]:
        """Return where on the ground each drawn pixel looks; far away above the horizon."""
        columns = (np.arange(WIDTH * SCALE) + 0.5 - WIDTH * SCALE / 2) / (self.focal * SCALE)
        rows = (HEIGHT * SCALE / 2 - np.arange(HEIGHT * SCALE) - 0.5) / (self.focal * SCALE)
        cosine, sine = np.cos(self.tilt), np.sin(self.tilt)
        falling = np.minimum(rows * cosine - sine, -1e-3)
        reach = -self.height / falling
        ahead = reach * (cosine + rows * sine)
        x = reach[:, None] * columns[None, :]
        y = np.repeat(ahead[:, None], len(columns), axis=1)
        return x.astype(np.float32), y.astype(np.float32)


def clipped(seen: Array) -> Array:
    """Return the part of a polygon in camera coordinates that lies before the camera."""
    if bool((seen[:, 2] > NEAR).all()):
        return seen
    kept: list[Array] = []
    for i, point in enumerate(seen):
        before = seen[i - 1]
        if (point[2] > NEAR) != (before[2] > NEAR):
            kept.append(before + (point - before) * ((NEAR - before[2]) / (point[2] - before[2])))
        if point[2] > NEAR:
            kept.append(point)
    return np.array(kept).reshape(-1, 3)


@dataclass(frozen=True)
class Air:
    """The light and the weather of one moment."""

    light: str
    weather: str
    ambient: Colour
    sun: Colour
    direction: Array
    sky_top: Colour
    sky_low: Colour
    cloud: float
    cloud_colour: Colour
    haze: float
    lamps: float
    wet: float = 0.0
    snow: float = 0.0

    @property
    def night(self) -> bool:
        """Return whether lamps and windows glow."""
        return self.lamps > 0


def towards(azimuth: float, elevation: float) -> Array:
    """Return the unit vector towards a light, the azimuth in degrees from x."""
    a, e = np.deg2rad(azimuth), np.deg2rad(elevation)
    return np.array([np.cos(a) * np.cos(e), np.sin(a) * np.cos(e), np.sin(e)])


@dataclass(frozen=True)
class Daylight:
    """The light of a time of day in clear air; elevation is the range of the height of the sun in degrees."""

    ambient: Colour
    sun: Colour
    elevation: tuple[float, float]
    sky_top: str
    sky_low: str
    cloud_colour: str
    haze: float
    lamps: float = 0.0
    cloud_share: float = 1.0


DAYLIGHTS = {
    "day": Daylight((0.50, 0.47, 0.44), (0.62, 0.71, 0.76), (36, 54), "#4f8fcb", "#c9deea", "#f6f7f8", 1200.0),
    "low": Daylight((0.62, 0.53, 0.47), (0.55, 0.92, 1.22), (17, 25), "#6f93bd", "#f3d3a4", "#fbe3c4", 500.0),
    "dusk": Daylight((0.54, 0.45, 0.42), (0.12, 0.24, 0.42), (11, 13), "#3a4a7d", "#f0a878", "#b98a93", 700.0, 0.5),
    "night": Daylight(
        (0.27, 0.205, 0.17), (0.0, 0.0, 0.0), (30, 50), "#0b1226", "#2a3250", "#27304a", 500.0, 0.85, 0.5
    ),
}


def clear_air(light: str, random: Random) -> Air:
    """Return the air of a time of day without any weather."""
    kind = DAYLIGHTS[light]
    # The sun stands behind the camera, to one side, so that most of what is seen is lit.
    azimuth = float(random.choice([195.0, 210.0, 230.0, 310.0, 330.0, 345.0])) + float(random.uniform(-12, 12))
    return Air(
        light=light,
        weather="clear",
        ambient=kind.ambient,
        sun=kind.sun,
        direction=towards(azimuth, float(random.uniform(*kind.elevation))),
        sky_top=paint(kind.sky_top),
        sky_low=paint(kind.sky_low),
        cloud=float(random.uniform(0.15, 0.8)) * kind.cloud_share,
        cloud_colour=paint(kind.cloud_colour),
        haze=kind.haze,
        lamps=kind.lamps,
    )


def random_air(light: str, weather: str, random: Random) -> Air:
    """Return the air of a time of day under a weather."""
    air = clear_air(light, random)
    if weather == "clear":
        return air
    luma = sum(air.sky_low) / 3
    grey = mixed(air.sky_low, (luma * 1.02, luma * 0.99, luma * 0.96), 0.85)
    grey = tinted(grey, 0.92)
    dim: Colour = (air.sun[0] * 0.14, air.sun[1] * 0.14, air.sun[2] * 0.14)
    scattered = [ambient + sun for ambient, sun in zip(air.ambient, air.sun, strict=True)]
    lift = mixed(air.ambient, (scattered[0], scattered[1], scattered[2]), 0.37)
    covered = replace(
        air,
        weather=weather,
        sun=dim,
        ambient=lift,
        sky_low=grey,
        sky_top=tinted(grey, 0.78),
        cloud=0.9,
        cloud_colour=tinted(grey, 1.05),
    )
    if weather == "rain":
        return replace(covered, haze=180.0, wet=1.0, ambient=tinted_light(lift, 0.9))
    if weather == "snow":
        return replace(covered, haze=120.0, snow=float(random.uniform(0.5, 0.9)), sky_top=tinted(grey, 0.9))
    thick = float(random.uniform(48, 75))
    return replace(covered, haze=thick, sky_top=tinted(grey, 0.96), cloud=0.2)


def tinted_light(light: Colour, factor: float) -> Colour:
    """Return a light made weaker or stronger."""
    return light[0] * factor, light[1] * factor, light[2] * factor


@dataclass(frozen=True)
class Mark:
    """Paint, asphalt or grass on the ground: corner points and how much of it covers the concrete."""

    points: Array
    colour: Colour
    cover: float = 0.9


@dataclass(frozen=True)
class Scene:
    """What a fixed camera sees when nobody is there."""

    name: str
    camera: Camera
    background: tuple[Thing, ...]
    props: tuple[Thing, ...]
    lamps: tuple[tuple[float, float], ...]
    marks: tuple[Mark, ...]
    headings: tuple[float, ...]
    area: Layer
    slab_angle: float
    seed: int


LAMP_HEIGHT = 13.0
LAMP_TINT: Colour = (0.82, 0.95, 1.0)


def lamp_light(scene: Scene, x: Any, y: Any) -> Any:
    """Return how much light the lamps throw on points of the ground, about 1 below one."""
    total: Any = 0.0
    for lamp_x, lamp_y in scene.lamps:
        total = total + (1.0 + ((x - lamp_x) ** 2 + (y - lamp_y) ** 2) / 220.0) ** -1.3
    return total


# ---------------------------------------------------------------------------------------------------------------------
# Drawing.


class Canvas:
    """A picture that shapes are drawn into, with the light they give off and the mask of the thing being drawn."""

    def __init__(self, scene: Scene, air: Air, picture: Picture, mirrored: bool = False) -> None:
        self.scene, self.air, self.picture = scene, air, picture
        self.camera = replace(scene.camera, mirrored=mirrored)
        self.glow: Picture | None = np.zeros_like(picture) if air.night and not mirrored else None
        self.mask: Picture = np.zeros(picture.shape[:2], np.uint8)

    def fill(self, pixels: Array, colour: Colour, glow: Colour = (0.0, 0.0, 0.0)) -> None:
        """Fill a polygon."""
        if len(pixels) < 3:
            return
        corners = [np.round(np.clip(pixels, -9000, 9000) * 2**SUBPIXEL).astype(np.int32)]
        cv2.fillPoly(self.picture, corners, colour, cv2.LINE_AA, SUBPIXEL)
        cv2.fillPoly(self.mask, corners, 255, cv2.LINE_8, SUBPIXEL)
        if self.glow is not None:
            cv2.fillPoly(self.glow, corners, glow, cv2.LINE_AA, SUBPIXEL)

    def lit(self, colour: Colour, light: float, sky: float, at: Array) -> Colour:
        """Return a colour under the sun at a strength, the sky and the lamps, behind the haze."""
        air = self.air
        lamps = air.lamps * float(lamp_light(self.scene, at[0], at[1])) * (0.45 + 0.55 * sky) if air.lamps else 0.0
        if air.snow and sky > 0.97 and at[2] > 0.15:
            colour = mixed(colour, paint("#f4f6f8"), 0.75 * air.snow)
        veil = 1.0 - float(np.exp(-float(np.hypot(at[0], at[1])) / air.haze))
        tones = []
        channels = zip(colour, air.ambient, air.sun, LAMP_TINT, air.sky_low, strict=True)
        for channel, ambient, sun, warm, haze in channels:
            tone = channel * (ambient * (0.72 + 0.28 * sky) + sun * light + lamps * warm)
            tones.append(min(255.0, tone) * (1 - veil) + haze * veil)
        return tones[0], tones[1], tones[2]

    def draw_face(self, face: Face) -> None:
        """Draw a face if its front is seen."""
        if not self.camera.faces(face):
            return
        seen = clipped(self.camera.seen(face.points))
        if len(seen) < 3:
            return
        light, sky = max(0.0, float(face.normal @ self.air.direction)), 0.5 + 0.5 * float(face.normal[2])
        colour = self.lit(face.colour, light, sky, face.points.mean(axis=0))
        strength = face.glow if self.air.light == "night" else face.glow * 0.6
        if not self.air.night or strength == 0:
            self.fill(self.camera.pixels(seen), colour)
            return
        source = face.colour if max(face.colour) > 200 else paint("#ffdf9e")
        # Lamps dazzle; a lit window only shines.
        halo = tinted(source, strength if face.glow == 1.0 else strength * 0.25)
        self.fill(self.camera.pixels(seen), mixed(colour, source, min(1.0, strength * 0.85)), halo)

    def draw_blob(self, blob: Blob) -> None:
        """Draw the hull of spheres, lighter where the light falls on it."""
        seen = self.camera.seen(blob.centres)
        if float(seen[:, 2].min()) < NEAR:
            return
        pixels = self.camera.pixels(seen)
        radii = np.asarray(blob.radii) * self.camera.focal * SCALE / seen[:, 2]
        turn = np.linspace(0, 2 * np.pi, 18, endpoint=False)
        circle = np.stack([np.cos(turn), np.sin(turn)], axis=1)
        at = blob.centres.mean(axis=0)
        sun = self.air.direction
        shift = np.array([sun[0], -sun[2]]) * (1.0 if max(self.air.sun) > 0.2 else 0.6)
        for size, move, light, sky in ((1.0, 0.0, 0.24, 0.4), (0.8, 0.18, 0.5, 0.62), (0.52, 0.36, 0.78, 0.85)):
            middles = pixels + shift * (radii * move)[:, None]
            outline = middles[:, None, :] + circle[None] * (radii * size)[:, None, None]
            hull = cv2.convexHull(outline.reshape(-1, 2).astype(np.float32))
            self.fill(np.asarray(hull, float).reshape(-1, 2), self.lit(blob.colour, light, sky, at))

    def draw_stroke(self, stroke: Stroke) -> None:
        """Draw a bar as wide as it looks from its distance, but never less than a hair."""
        seen = self.camera.seen(stroke.points)
        if float(seen[:, 2].min()) < NEAR:
            return
        pixels = self.camera.pixels(seen)
        width = max(1, round(2 * stroke.radius * self.camera.focal * SCALE / float(seen[:, 2].mean())))
        colour = self.lit(stroke.colour, 0.4, 0.7, stroke.points.mean(axis=0))
        corners = [np.round(np.clip(pixels, -9000, 9000) * 2**SUBPIXEL).astype(np.int32)]
        cv2.polylines(self.picture, corners, False, colour, width, cv2.LINE_AA, SUBPIXEL)
        cv2.polylines(self.mask, corners, False, 255, width, cv2.LINE_8, SUBPIXEL)
        if self.glow is not None:
            cv2.polylines(self.glow, corners, False, (0, 0, 0), width, cv2.LINE_AA, SUBPIXEL)

    def distance(self, shapes: Iterable[Shape]) -> float:
        """Return how far the middle of some shapes is from the camera."""
        middle = np.mean([points_of(shape).mean(axis=0) for shape in shapes], axis=0)
        return float(np.linalg.norm(middle - [0.0, 0.0, self.camera.height]))

    def draw(self, thing: Thing) -> None:
        """Draw a thing from far to near; its mask is left in self.mask."""
        self.mask[:] = 0
        parts = sorted(thing.parts, key=lambda part: -self.distance(s for group in part for s in group.shapes))
        for part in parts:
            filled = [group for group in part if group.shapes]
            for group in sorted(filled, key=lambda group: (group.level, -self.distance(group.shapes))):
                shapes = group.shapes
                if not group.in_order:
                    shapes = tuple(sorted(shapes, key=lambda shape: -self.distance([shape])))
                for shape in shapes:
                    self.draw_shape(shape)
        if thing.category:
            self.shade_downwards()

    def draw_shape(self, shape: Shape) -> None:
        """Draw a face, a blob or a stroke."""
        if isinstance(shape, Face):
            self.draw_face(shape)
        elif isinstance(shape, Blob):
            self.draw_blob(shape)
        else:
            self.draw_stroke(shape)

    def shade_downwards(self) -> None:
        """Darken what was drawn last towards its foot, as the ground takes light away there."""
        x, y, width, height = cv2.boundingRect(self.mask)
        if width == 0:
            return
        part = self.picture[y : y + height, x : x + width]
        factor = np.linspace(1.05, 0.83, height, dtype=np.float32)[:, None, None]
        shaded = np.clip(part.astype(np.float32) * factor, 0, 255).astype(np.uint8)
        np.copyto(part, shaded, where=self.mask[y : y + height, x : x + width, None] > 0)


def shadow_of(camera: Camera, thing: Thing, light: Array, mask: Picture) -> None:
    """Draw the shadow that a thing throws on the ground into a mask."""
    turn = np.linspace(0, 2 * np.pi, 10, endpoint=False)
    for shape in (shape for part in thing.parts for group in part for shape in group.shapes):
        points = points_of(shape)
        fallen = points - light[None] * (points[:, 2:] / light[2])
        if isinstance(shape, Blob):
            around = np.stack([np.cos(turn), np.sin(turn), np.zeros(10)], axis=1)
            fallen = (fallen[:, None] + around[None] * np.asarray(shape.radii)[:, None, None]).reshape(-1, 3)
        seen = clipped(camera.seen(fallen))
        if len(seen) < 2:
            continue
        pixels = np.clip(camera.pixels(seen), -9000, 9000)
        if isinstance(shape, Stroke):
            width = max(1, round(2 * shape.radius * camera.focal * SCALE / float(seen[:, 2].mean())))
            cv2.polylines(mask, [np.round(pixels).astype(np.int32)], False, 255, width)
            continue
        if isinstance(shape, Blob):
            pixels = np.asarray(cv2.convexHull(pixels.astype(np.float32)), float).reshape(-1, 2)
        cv2.fillPoly(mask, [np.round(pixels).astype(np.int32)], 255)


def lamp_direction(scene: Scene, thing: Thing) -> Array:
    """Return the direction from a thing to its nearest lamp."""
    gaps = [np.array([x - thing.x, y - thing.y, LAMP_HEIGHT]) for x, y in scene.lamps]
    gap = min(gaps, key=lambda vector: float(np.linalg.norm(vector)))
    return np.asarray(gap / np.linalg.norm(gap), float)


def shadows(scene: Scene, air: Air, things: Iterable[Thing]) -> tuple[Layer, Layer]:
    """Return how much of the light and of the sky (0 to 1) is kept from each pixel of the ground."""
    shape = (HEIGHT * SCALE, WIDTH * SCALE)
    cast, below = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
    for thing in things:
        light = lamp_direction(scene, thing) if air.light == "night" else air.direction
        if thing.casts_shadow and air.light != "dusk":
            shadow_of(scene.camera, thing, light, cast)
        shadow_of(scene.camera, thing, np.array([0.0, 0.0, 1.0]), below)
    soft = 2.2 if max(air.sun) > 0.3 else 6.0
    cast_share = cv2.GaussianBlur(cast, (0, 0), soft).astype(np.float32) / 255
    below_share = cv2.GaussianBlur(below, (0, 0), 7.0).astype(np.float32) / 255
    return cast_share, below_share


# ---------------------------------------------------------------------------------------------------------------------
# The ground and the sky.


def cloud_noise(random: Random, size: int, slope: float) -> Layer:
    """Return a square of cloud-like noise from 0 to 1 that repeats without a seam; a high slope makes it smooth."""
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.fftfreq(size)[None, :])
    frequency[0, 0] = 1.0
    spectrum = np.fft.fft2(random.standard_normal((size, size))) / frequency**slope
    spectrum[0, 0] = 0.0
    noise = np.real(np.fft.ifft2(spectrum))
    return np.asarray(np.clip(0.5 + noise / (5 * noise.std()), 0, 1), np.float32)


def spread(noise: Layer, x: Layer, y: Layer, metres: float) -> Layer:
    """Return noise laid over the ground, one square of it being so many metres wide."""
    size = noise.shape[0]
    columns, rows = (x / metres * size) % (size - 1), (y / metres * size) % (size - 1)
    return np.asarray(cv2.remap(noise, columns, rows, cv2.INTER_LINEAR), np.float32)


@dataclass(frozen=True)
class Ground:
    """The ground of a scene as its camera sees it: places, distances, reflecting share of light and puddles."""

    x: Layer
    y: Layer
    albedo: Layer
    puddles: Layer


def slab_tone(scene: Scene, x: Layer, y: Layer, random: Random) -> Layer:
    """Return the brightness pattern of concrete slabs with their joints."""
    cosine, sine, size = np.cos(scene.slab_angle), np.sin(scene.slab_angle), 6.0
    along, aside = (x * cosine + y * sine) / size, (y * cosine - x * sine) / size
    tint = random.uniform(0.955, 1.045, (64, 64)).astype(np.float32)
    tone = tint[np.floor(along).astype(int) % 64, np.floor(aside).astype(int) % 64]
    for position in (along, aside):
        step = np.abs(np.gradient(position, axis=0)) + np.abs(np.gradient(position, axis=1)) + 1e-6
        gap = np.abs(position - np.round(position))
        cover = np.clip((0.004 + step / 2 - gap) / step, 0, 1) * np.clip(0.008 / step, 0, 1)
        tone = tone * (1 - 0.3 * cover)
    return np.asarray(tone, np.float32)


def ground_of(scene: Scene) -> Ground:
    """Return the concrete of a scene with its marks."""
    random = np.random.default_rng(scene.seed)
    x, y = scene.camera.ground()
    smooth, grain = cloud_noise(random, 512, 1.5), cloud_noise(random, 512, 0.6)
    near = np.clip(22.0 / np.maximum(y, 1), 0, 1)
    tone = slab_tone(scene, x, y, random) * (0.86 + 0.28 * spread(smooth, x, y, 90.0))
    tone *= 0.95 + 0.1 * spread(smooth, x, y, 14.0)
    tone *= 1.0 + (spread(grain, x, y, 9.0) - 0.5) * 0.26 * near
    albedo = tone[:, :, None] * np.array(paint("#a7a49c"), np.float32)
    wear = 0.72 + 0.5 * spread(grain, x, y, 25.0)
    for mark in scene.marks:
        cover = np.zeros(x.shape, np.uint8)
        seen = clipped(scene.camera.seen(np.column_stack([mark.points, np.zeros(len(mark.points))])))
        if len(seen) < 3:
            continue
        corners = np.round(np.clip(scene.camera.pixels(seen), -9000, 9000) * 2**SUBPIXEL).astype(np.int32)
        cv2.fillPoly(cover, [corners], 255, cv2.LINE_AA, SUBPIXEL)
        worn = mark.cover * wear if mark.cover < 1 else 1.0
        share = np.clip(cover.astype(np.float32) / 255 * worn, 0, 1)[:, :, None]
        texture = (0.45 + 0.55 * tone / tone.mean())[:, :, None]
        albedo = albedo * (1 - share) + np.array(mark.colour, np.float32) * texture * share
    puddles = np.clip((spread(smooth, x, y, 35.0) - 0.42) * 5, 0, 1)
    return Ground(x, y, albedo.astype(np.float32), puddles.astype(np.float32))


def sky(scene: Scene, air: Air, random: Random) -> Picture:
    """Return the sky with its clouds and a line of trees at the horizon; below it the colour of the haze."""
    horizon = round(scene.camera.horizon)
    share = np.clip(np.arange(HEIGHT * SCALE) / max(horizon, 1), 0, 1)[:, None, None] ** 0.8
    picture = np.array(air.sky_top) * (1 - share) + np.array(air.sky_low) * share
    picture = np.repeat(picture, WIDTH * SCALE, axis=1).astype(np.float32)
    noise = cloud_noise(random, 512, 1.7)
    rows = 40.0 + 9000.0 / (horizon + 60 - np.arange(horizon))
    columns = (np.arange(WIDTH * SCALE)[None, :] - WIDTH * SCALE / 2) * (rows[:, None] / 620.0) + 256
    lines = np.repeat(rows[:, None] * 3.0, WIDTH * SCALE, axis=1) % 511
    cover = cv2.remap(noise, (columns % 511).astype(np.float32), lines.astype(np.float32), cv2.INTER_LINEAR)
    cover = np.clip((cover - 0.62 + 0.3 * air.cloud) * 3.2, 0, 0.9)[:, :, None] * np.clip(air.cloud * 2, 0, 1)
    picture[:horizon] = picture[:horizon] * (1 - cover) + np.array(air.cloud_colour, np.float32) * cover
    result = np.clip(picture, 0, 255).astype(np.uint8)
    draw_trees(scene, air, result, horizon)
    return result


def draw_trees(scene: Scene, air: Air, picture: Picture, horizon: int) -> None:
    """Draw far hills and trees on the horizon."""
    random = np.random.default_rng(scene.seed + 1)
    veil = 1 - float(np.exp(-FAR / air.haze))
    light = (sum(air.ambient) + sum(air.sun) * 0.4) / 3
    for height, detail, code in ((34.0, 9, "#7f93a3"), (16.0, 150, "#4a5f43")):
        line = cv2.resize(random.random((1, detail)), (WIDTH * SCALE, 1), interpolation=cv2.INTER_CUBIC)[0]
        top = horizon - height * (0.35 + 0.65 * line)
        outline = np.column_stack([np.arange(WIDTH * SCALE), top])
        outline = np.vstack([outline, [(WIDTH * SCALE, horizon + 2), (0, horizon + 2)]]).astype(np.int32)
        tone = mixed(tinted(paint(code), light * 1.05), air.sky_low, min(0.97, veil + (0.35 if detail < 20 else 0.0)))
        cv2.fillPoly(picture, [outline], tone, cv2.LINE_AA)


def lit_ground(scene: Scene, ground: Ground, air: Air, shade: tuple[Layer, Layer]) -> Layer:
    """Return the ground under the light and the shadows of a moment, without haze."""
    cast, below = shade
    open_sky = 1 - 0.55 * below
    sun = (1 - 0.92 * cast) * max(0.0, float(air.direction[2]))
    albedo = ground.albedo * (1 - 0.34 * air.wet * (0.7 + 0.3 * ground.puddles))[:, :, None]
    if air.snow:
        white = np.clip(air.snow * (1.25 - 1.5 * ground.puddles), 0.12, 0.85)[:, :, None]
        albedo = albedo * (1 - white) + np.array(paint("#e3e8ee"), np.float32) * white
    lamps: Any = 0.0
    if air.lamps:
        lamps = air.lamps * lamp_light(scene, ground.x, ground.y) * (1 - (0.55 * cast if air.light == "night" else 0.0))
    result = np.empty_like(albedo)
    for channel, warm in enumerate(LAMP_TINT):
        strength = (air.ambient[channel] + lamps * warm) * open_sky + air.sun[channel] * sun
        result[:, :, channel] = albedo[:, :, channel] * strength
    return result


def with_reflections(
    scene: Scene, air: Air, ground: Ground, *, floor: Layer, above: Picture, things: Iterable[Thing]
) -> Layer:
    """Return the wet floor with what it mirrors."""
    horizon = round(scene.camera.horizon)
    rows = np.clip(2 * horizon - np.arange(HEIGHT * SCALE), 0, horizon - 40)
    canvas = Canvas(scene, air, above[rows].copy(), mirrored=True)
    for thing in things:
        canvas.draw(thing)
    mirrored = cv2.GaussianBlur(canvas.picture, (0, 0), sigmaX=2.5, sigmaY=11).astype(np.float32)
    grazing = np.clip(0.26 + 0.3 * (ground.y / 60.0), 0, 0.55)
    share = (grazing * (0.55 + 0.75 * ground.puddles) * air.wet)[:, :, None]
    return np.asarray(floor * (1 - share) + mirrored * share, np.float32)


# ---------------------------------------------------------------------------------------------------------------------
# One picture.


@dataclass(frozen=True)
class Label:
    """The box of an object in pixels of the final picture: left, top, width and height."""

    category: int
    box: tuple[float, float, float, float]


@dataclass(frozen=True)
class Drawn:
    """What the mask of an object said: its number, its box and how many pixels it covers."""

    category: int
    number: int
    box: tuple[float, float, float, float]
    pixels: int


def render(
    scene: Scene, ground: Ground, air: Air, objects: Sequence[Thing], random: Random
) -> tuple[Picture, list[Label]]:
    """Return the picture of a moment and the labels of its objects."""
    above = sky(scene, air, random)
    standing = sorted([*scene.props, *objects], key=lambda thing: -float(np.hypot(thing.x, thing.y)))
    things = [*scene.background, *standing]
    floor = lit_ground(scene, ground, air, shadows(scene, air, things))
    if air.wet:
        floor = with_reflections(scene, air, ground, floor=floor, above=above, things=things)
    veil = (1 - np.exp(-np.minimum(np.hypot(ground.x, ground.y), FAR) / air.haze))[:, :, None]
    floor = floor * (1 - veil) + np.array(air.sky_low, np.float32) * veil
    horizon = round(scene.camera.horizon)
    picture = above.copy()
    picture[horizon:] = np.clip(floor[horizon:], 0, 255).astype(np.uint8)
    canvas = Canvas(scene, air, picture)
    owner = np.zeros(picture.shape[:2], np.uint8)
    drawn: list[Drawn] = []
    for number, thing in enumerate(things, start=1):
        canvas.draw(thing)
        owner[canvas.mask > 0] = number
        if thing.category:
            left, top, width, height = (value / SCALE for value in cv2.boundingRect(canvas.mask))
            drawn.append(Drawn(thing.category, number, (left, top, width, height), int(np.count_nonzero(canvas.mask))))
    return finished(canvas, random), visible_labels(drawn, owner)


def visible_labels(drawn: Iterable[Drawn], owner: Picture) -> list[Label]:
    """Return the labels of the objects of which enough can be seen; owner names the nearest thing of each pixel."""
    labels = []
    for item in drawn:
        seen = int(np.count_nonzero(owner == item.number))
        if item.pixels and seen / item.pixels >= LEAST_VISIBLE and min(item.box[2:]) >= 6:
            labels.append(Label(item.category, item.box))
    return labels


def finished(canvas: Canvas, random: Random) -> Picture:
    """Return the final picture: halos of lamps, weather before the lens, and what lens and sensor do."""
    picture = canvas.picture.astype(np.float32)
    if canvas.glow is not None:
        small = cv2.resize(canvas.glow, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA).astype(np.float32)
        halo = cv2.GaussianBlur(small, (0, 0), 3.0) * 0.7 + cv2.GaussianBlur(small, (0, 0), 14.0) * 1.5
        picture += cv2.resize(halo, (WIDTH * SCALE, HEIGHT * SCALE), interpolation=cv2.INTER_LINEAR)
    if canvas.air.weather == "rain":
        picture += rain(random)[:, :, None] * (0.4 if canvas.air.light == "night" else 0.6)
    if canvas.air.weather == "snow":
        flakes = snowfall(random)[:, :, None] * (0.65 if canvas.air.light == "night" else 0.9)
        picture = picture * (1 - flakes) + 246 * flakes
    final = cv2.resize(picture, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
    final = cv2.GaussianBlur(final, (0, 0), float(random.uniform(0.35, 0.7)))
    x, y = np.linspace(-1, 1, WIDTH)[None, :], np.linspace(-1, 1, HEIGHT)[:, None]
    final *= (1 - 0.13 * (x**2 + y**2) ** 1.3 / 2)[:, :, None] * float(random.uniform(0.96, 1.06))
    noise = 1.7 if canvas.air.night else float(random.uniform(0.7, 1.3))
    final += random.standard_normal((HEIGHT, WIDTH, 1)) * noise
    final += random.standard_normal((HEIGHT, WIDTH, 3)) * noise * 0.4
    return np.asarray(np.clip(final, 0, 255), np.uint8)


def rain(random: Random) -> Layer:
    """Return the brightness that streaks of rain add."""
    layer = np.zeros((HEIGHT * SCALE, WIDTH * SCALE), np.uint8)
    slant = float(random.uniform(-0.25, 0.25))
    for _ in range(520):
        x, y = float(random.uniform(0, WIDTH * SCALE)), float(random.uniform(-60, HEIGHT * SCALE))
        length = float(random.uniform(22, 70))
        end = (round(x + slant * length), round(y + length))
        cv2.line(layer, (round(x), round(y)), end, int(random.integers(25, 75)), 2 if length > 60 else 1, cv2.LINE_AA)
    return np.asarray(cv2.GaussianBlur(layer, (0, 0), 1.0), np.float32)


def snowfall(random: Random) -> Layer:
    """Return how much of each pixel falling flakes cover."""
    layer = np.zeros((HEIGHT * SCALE, WIDTH * SCALE), np.uint8)
    for _ in range(700):
        centre = (int(random.integers(WIDTH * SCALE)), int(random.integers(HEIGHT * SCALE)))
        size = int(random.choice([1, 1, 2, 2, 3, 4]))
        axes = (size, round(size * float(random.uniform(1.0, 1.9))))
        lean, white = float(random.uniform(-25, 25)), int(random.integers(90, 235))
        cv2.ellipse(layer, centre, axes, lean, 0, 360, white, -1, cv2.LINE_AA)
    return np.asarray(cv2.GaussianBlur(layer, (0, 0), 1.1), np.float32) / np.float32(255)


# ---------------------------------------------------------------------------------------------------------------------
# The three scenes.


YELLOW, WHITE, RED, ASPHALT = paint("#e3b52a"), paint("#e9e8e2"), paint("#b23a2e"), paint("#5c5d5e")
GRASS = paint("#6d8050")


def ribbon(
    points: Sequence[tuple[float, float]] | Array, width: float, colour: Colour, cover: float = 0.85
) -> list[Mark]:
    """Return a painted line along points."""
    path = np.asarray(points, float)
    step = np.gradient(path, axis=0)
    aside = np.stack([-step[:, 1], step[:, 0]], axis=1) / np.linalg.norm(step, axis=1)[:, None] * width / 2
    left, right = path + aside, path - aside
    return [Mark(np.array([left[i], left[i + 1], right[i + 1], right[i]]), colour, cover) for i in range(len(path) - 1)]


def curve(start: tuple[float, float], bend: tuple[float, float], end: tuple[float, float]) -> Array:
    """Return points of a smooth curve that bends towards a point."""
    share = np.linspace(0, 1, 15)[:, None]
    path = (1 - share) ** 2 * np.array(start) + 2 * share * (1 - share) * np.array(bend) + share**2 * np.array(end)
    return np.asarray(path, float)


def dashes(start: tuple[float, float], end: tuple[float, float], width: float, colour: Colour) -> list[Mark]:
    """Return a broken line."""
    first, last = np.array(start), np.array(end)
    count = int(np.linalg.norm(last - first) / 4)
    marks = []
    for i in range(count):
        marks += ribbon([tuple(first + (last - first) * (i + part) / count) for part in (0.0, 0.5)], width, colour)
    return marks


def road(start: tuple[float, float], end: tuple[float, float], width: float) -> list[Mark]:
    """Return a service road with white edges and a broken middle line."""
    along = np.array(end) - np.array(start)
    aside = np.array([-along[1], along[0]]) / np.linalg.norm(along) * width / 2
    marks = ribbon([start, end], width, ASPHALT, 0.55)
    for sign in (-1, 1):
        edge = [tuple(np.array(point) + aside * sign) for point in (start, end)]
        marks += ribbon(edge, 0.18, WHITE)
    return marks + dashes(start, end, 0.14, WHITE)


def tyre_marks(path: Array) -> list[Mark]:
    """Return the dark traces of many tyres beside a line."""
    sides = [path + np.array([offset, 0.2]) for offset in (-1.5, -1.1, 1.2, 1.6)]
    return [mark for side in sides for mark in ribbon(side, 0.35, DARK, 0.16)]


def gate_scene() -> Scene:
    """Return the gate: an airliner at a jet bridge before the terminal."""
    random = np.random.default_rng(101)
    background = (
        placed(control_tower(), -46, 118, 0),
        placed(terminal(random, 130), 2, 74, 0.05),
        placed(jet_bridge(15.5), 33, 74, np.deg2rad(-124)),
        placed(aircraft("#1f5f99"), 6, 56, np.deg2rad(-11)),
        placed(containers(random, 4), -21, 50, 0.1),
    )
    lead_in = curve((-30, 12), (-14, 50), (24, 53))
    marks = [
        *road((-60, 31), (60, 37), 7.0),
        *tyre_marks(lead_in),
        *ribbon(lead_in, 0.3, YELLOW),
        *ribbon([(-16, 43), (26, 43), (33, 60)], 0.25, RED),
        *ribbon([(-40, 21), (60, 26)], 0.22, WHITE),
        *dashes((6, 8), (18, 31), 0.25, YELLOW),
    ]
    props = tuple(placed(cone(), x, y, 0) for x, y in ((1.5, 39.8), (9.5, 46.5), (-8, 44), (21, 45)))
    masts = (placed(lamp_mast(LAMP_HEIGHT), -25, 58, 0), placed(lamp_mast(LAMP_HEIGHT), 31, 66, 0))
    area = np.array([(-30, 9), (30, 9), (26, 39), (16, 41), (-24, 45)], np.float32)
    return Scene(
        name="gate",
        camera=Camera(5.2, np.deg2rad(8), 930),
        background=(*background, *masts),
        props=props,
        lamps=((-12, 30), (14, 26), (4, 52), (31, 60)),
        marks=tuple(marks),
        headings=(0.1, 0.1 + np.pi, 1.2),
        area=area,
        slab_angle=0.12,
        seed=11,
    )


def hangar_scene() -> Scene:
    """Return the hangars: a wide apron with a taxiway and the control tower."""
    random = np.random.default_rng(202)
    background = (
        placed(control_tower(), 50, 112, 0),
        placed(hangar("#8fa3b0", 32), 14, 92, -0.12),
        placed(hangar("#b4a58f", 36), -27, 78, 0.14),
        placed(aircraft("#b2402f"), 25, 66, np.deg2rad(165)),
        placed(containers(random, 5), -14, 62, 0.15),
    )
    taxi = curve((-9, 6), (-2, 40), (60, 52))
    grass = [
        Mark(np.array([(-300, 100), (300, 100), (600, 900), (-600, 900)], float), GRASS, 1.0),
        Mark(np.array([(16, 56), (70, 46), (90, 54), (30, 62)], float), GRASS, 1.0),
    ]
    marks = [
        *grass,
        *road((-60, 52), (18, 44), 7.5),
        *road((-34, 10), (-12, 50), 6.0),
        *tyre_marks(taxi),
        *ribbon(taxi, 0.32, YELLOW),
        *ribbon(taxi + np.array([0.8, -0.2]), 0.12, DARK, 0.5),
        *dashes((8, 12), (40, 26), 0.3, WHITE),
        *ribbon([(2, 44), (8, 52), (24, 56)], 0.22, RED),
    ]
    masts = (placed(lamp_mast(LAMP_HEIGHT), -40, 70, 0), placed(lamp_mast(LAMP_HEIGHT), 2, 74, 0))
    props = tuple(placed(cone(), x, y, 0) for x, y in ((12, 47), (15, 49), (-18, 54), (-4, 55)))
    area = np.array([(-30, 10), (30, 10), (26, 42), (10, 48), (-28, 50)], np.float32)
    return Scene(
        name="hangars",
        camera=Camera(6.6, np.deg2rad(10), 930),
        background=(*background, *masts),
        props=props,
        lamps=((-20, 40), (10, 22), (2, 62), (30, 45)),
        marks=tuple(marks),
        headings=(-0.1, np.pi - 0.1, 1.07, 4.2),
        area=area,
        slab_angle=-0.1,
        seed=22,
    )


def stand_scene() -> Scene:
    """Return the remote stand: an airliner seen from behind, the terminal far off, grass to the right."""
    random = np.random.default_rng(303)
    background = (
        placed(terminal(random, 120), -62, 150, -0.12),
        placed(control_tower(), 62, 165, 0),
        placed(aircraft("#d08a1c"), 44, 118, np.deg2rad(184)),
        placed(aircraft("#17806d"), -9, 54, np.deg2rad(58)),
    )
    lead_in = curve((-34, 15), (-26, 24), (8, 80))
    grass = [
        Mark(np.array([(24, 60), (90, 48), (160, 78), (20, 84)], float), GRASS, 1.0),
        Mark(np.array([(-500, 190), (500, 190), (900, 990), (-900, 990)], float), GRASS, 1.0),
    ]
    marks = [
        *grass,
        *road((-50, 27), (60, 33), 6.5),
        *tyre_marks(lead_in),
        *ribbon(lead_in, 0.3, YELLOW),
        *ribbon(curve((60, 40), (14, 44), (10, 90)), 0.3, YELLOW),
        *ribbon([(-30, 36), (6, 38), (12, 58)], 0.24, RED),
        *dashes((-14, 8), (2, 27), 0.25, WHITE),
        *ribbon([(10, 8), (22, 29)], 0.2, YELLOW),
    ]
    masts = (placed(lamp_mast(LAMP_HEIGHT), 19, 62, 0), placed(lamp_mast(LAMP_HEIGHT), -33, 74, 0))
    props = (
        *(placed(cone(), x, y, 0) for x, y in ((5.5, 41), (1, 38.5), (-20, 42))),
        placed(containers(random, 3), 21, 47, -0.2),
    )
    area = np.array([(-28, 9), (30, 9), (26, 43), (9, 40), (-2, 36), (-22, 38)], np.float32)
    return Scene(
        name="stand",
        camera=Camera(4.6, np.deg2rad(7.5), 980),
        background=(*background, *masts),
        props=props,
        lamps=((-14, 28), (14, 24), (19, 58), (-8, 60)),
        marks=tuple(marks),
        headings=(0.05, 0.05 + np.pi, 1.0),
        area=area,
        slab_angle=0.3,
        seed=33,
    )


# ---------------------------------------------------------------------------------------------------------------------
# The objects of a moment.


def rough_box(camera: Camera, thing: Thing) -> Array:
    """Return about where a thing will be in the final picture: left, top, right and bottom."""
    points = np.vstack([points_of(shape) for part in thing.parts for group in part for shape in group.shapes])
    seen = camera.seen(points)
    seen[:, 2] = np.maximum(seen[:, 2], NEAR)
    pixels = camera.pixels(seen) / SCALE
    return np.concatenate([pixels.min(axis=0), pixels.max(axis=0)])


def footprint(thing: Thing, margin: float) -> Array:
    """Return the corners of the ground a thing stands on."""
    half_length, half_width = thing.length / 2 + margin, thing.width / 2 + margin
    corners = np.array([(1, 1), (1, -1), (-1, -1), (-1, 1)]) * [half_length, half_width]
    return np.asarray(corners @ rotation(thing.heading)[:2, :2].T + [thing.x, thing.y], float)


def collide(first: Thing, second: Thing) -> bool:
    """Return whether two things stand on the same ground."""
    corners = footprint(first, 0.15), footprint(second, 0.15)
    for angle in (first.heading, second.heading, first.heading + np.pi / 2, second.heading + np.pi / 2):
        a, b = (part @ [np.cos(angle), np.sin(angle)] for part in corners)
        if float(a.max()) < float(b.min()) or float(b.max()) < float(a.min()):
            return False
    return True


def fits(scene: Scene, thing: Thing, others: Iterable[Thing]) -> bool:
    """Return whether a thing stands free within the area of a scene and is seen large enough, mostly in the picture."""
    if cv2.pointPolygonTest(scene.area, (thing.x, thing.y), False) < 0:
        return False
    left, top, right, bottom = rough_box(scene.camera, thing)
    width, height = right - left, bottom - top
    inside = max(0.0, min(right, WIDTH) - max(left, 0)) * max(0.0, min(bottom, HEIGHT) - max(top, 0))
    if inside < 0.7 * width * height or max(width, height) > 260:
        return False
    if height < (44 if thing.category == PERSON else 32) or (thing.category == VEHICLE and width < 60):
        return False
    return not any(collide(thing, other) for other in others)


def random_place(scene: Scene, random: Random, near: Thing | None, reach: float) -> tuple[float, float]:
    """Return a spot in view, at times close beside another thing."""
    if near is not None and random.random() < 0.45:
        return near.x + float(random.uniform(-3.5, 3.5)), near.y + float(random.uniform(-3.5, 3.5))
    ahead = float(np.exp(random.uniform(np.log(10.0), np.log(reach))))
    half = ahead * WIDTH / 2 / scene.camera.focal
    return float(random.uniform(-half, half)), ahead


def built(kind: int, random: Random) -> tuple[Callable[[float, float, float], tuple[Thing, ...]], bool]:
    """Return a function that places a new object of a kind (with who pushes it), and whether it keeps to the roads."""
    if kind == VEHICLE:
        vehicle = choice(random, VEHICLES)(random)
        return lambda x, y, heading: (placed(vehicle, x, y, heading),), True
    if kind == PERSON:
        walker = person(random)
        return lambda x, y, heading: (placed(walker, x, y, heading),), False
    if random.random() < 0.6:
        ridden = choice(random, RIDDEN)(random)
        return lambda x, y, heading: (placed(ridden, x, y, heading),), False
    load = choice(random, PUSHED)(random)
    pusher = Thing(PERSON, (walking(random, random_look(random), 0.42),), 0.5, 0.6)
    gap = 1.12

    def pair(x: float, y: float, heading: float) -> tuple[Thing, ...]:
        back = placed(pusher, x - gap * float(np.cos(heading)), y - gap * float(np.sin(heading)), heading)
        return placed(load, x, y, heading), back

    return pair, False


def objects_of(scene: Scene, random: Random, count: int) -> list[Thing]:
    """Return about so many objects, of every kind at least one."""
    kinds = [NON_VEHICLE, VEHICLE, PERSON]
    kinds += [int(kind) for kind in random.choice([VEHICLE, PERSON, NON_VEHICLE], 9, p=[0.42, 0.35, 0.23])]
    objects: list[Thing] = []
    for kind in kinds:
        if len(objects) >= count:
            break
        place, on_road = built(kind, random)
        for _ in range(80):
            near = choice(random, objects) if objects else None
            x, y = random_place(scene, random, near, 44.0 if kind == VEHICLE else 33.0)
            heading = float(choice(random, scene.headings) + random.normal(0, 0.12))
            if not on_road or random.random() < 0.2:
                heading = float(random.uniform(0, 2 * np.pi))
            group = place(x, y, heading)
            if len(objects) + len(group) <= 9 and all(fits(scene, thing, objects) for thing in group):
                objects.extend(group)
                break
    return objects


# ---------------------------------------------------------------------------------------------------------------------
# The data set.


# Sixteen entries: with three cameras in turn, 48 pictures show every one of them at every camera.
AIRS = (
    ("day", "clear"),
    ("low", "clear"),
    ("night", "clear"),
    ("day", "rain"),
    ("dusk", "clear"),
    ("day", "clear"),
    ("day", "snow"),
    ("low", "clear"),
    ("night", "rain"),
    ("day", "clear"),
    ("low", "fog"),
    ("night", "clear"),
    ("low", "clear"),
    ("dusk", "rain"),
    ("day", "clear"),
    ("day", "fog"),
)
EMPTY_EVERY, EMPTY_AT = 24, 17
QUALITY = 83


def annotation(number: int, image: int, label: Label) -> dict[str, Any]:
    """Return a label as a COCO annotation."""
    x, y, width, height = (round(value, 1) for value in label.box)
    return {
        "id": number,
        "image_id": image,
        "category_id": label.category,
        "bbox": [x, y, width, height],
        "area": round(width * height, 1),
        "iscrowd": 0,
        "segmentation": [],
    }


def draw_part(folder: Path, part: str, count: int, seed: int, scenes: Sequence[tuple[Scene, Ground]]) -> dict[str, Any]:
    """Write the pictures of a part ("train" or "val") and return its COCO document."""
    (folder / part).mkdir(parents=True, exist_ok=True)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for index in range(count):
        random = np.random.default_rng([seed, 0 if part == "train" else 1, index])
        scene, ground = scenes[index % len(scenes)]
        air = random_air(*AIRS[index % len(AIRS)], random)
        wanted = 0 if part == "train" and index % EMPTY_EVERY == EMPTY_AT else int(random.integers(4, 10))
        picture, labels = render(scene, ground, air, objects_of(scene, random, wanted), random)
        name = f"image_{index:06d}.jpg"
        written, code = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, QUALITY, cv2.IMWRITE_JPEG_OPTIMIZE, 1])
        if not written:
            raise OSError(f"OpenCV cannot encode {name}")
        (folder / part / name).write_bytes(code.tobytes())
        images.append({"id": index, "file_name": name, "width": WIDTH, "height": HEIGHT})
        for label in labels:
            annotations.append(annotation(len(annotations), index, label))
    return {
        "info": {"description": f"multibox airport toy data set, {part}", "licence": LICENCE, "version": "1.0"},
        "licenses": [{"id": 1, "name": LICENCE, "url": "https://www.apache.org/licenses/LICENSE-2.0"}],
        "categories": [{"id": i, "name": name, "supercategory": ""} for i, name in enumerate(CATEGORIES, start=1)],
        "images": images,
        "annotations": annotations,
    }


def table_row(part: str, document: dict[str, Any]) -> str:
    """Return the line of the read-me table for a part."""
    boxes = [item["category_id"] for item in document["annotations"]]
    counts = " | ".join(str(boxes.count(category)) for category in (VEHICLE, PERSON, NON_VEHICLE))
    return f"| {part} | {len(document['images'])} | {counts} | {len(boxes)} |"


def readme(documents: dict[str, dict[str, Any]], seed: int) -> str:
    """Return the read-me text of the data set."""
    sizes = " ".join(f"--{part} {len(document['images'])}" for part, document in documents.items())
    rows = "\n".join(table_row(part, document) for part, document in documents.items())
    return f"""# Airport toy data set

Pictures of an airport apron as three fixed cameras would see it, by day, at low sun, at dusk and at night, in clear
air, rain, fog and snow. Nothing in them is real: `tools/draw_airport.py` draws every picture and writes its labels.
The same seed gives the same scenes and boxes.

```
python tools/draw_airport.py data/airport --seed {seed} {sizes}
```

| part | images | vehicle | person | non-vehicle | boxes |
|---|---:|---:|---:|---:|---:|
{rows}

- Pictures: {WIDTH} x {HEIGHT} JPEG in `train/` and `val/`; all three cameras are in both, at different moments.
- Labels: COCO, in `annotation_example_train.json` and `annotation_example_val.json`.
- `vehicle`: vans, cars, buses, trucks, and tugs together with the baggage carts they pull.
- `person`: people on foot, also those who push something.
- `non-vehicle`: bicycles and scooters together with their riders; luggage trolleys and roll carts without the person
  who pushes them.
- A box holds the whole object, hidden parts too, up to the edge of the picture, without its shadow. An object of which
  more than 70 % is hidden has no box. Parked aircraft, buildings, containers and cones are scenery and have none.
- A few training pictures are empty on purpose.

Licence: {LICENCE}, as the project.
"""


def main() -> None:
    """Draw the data set that the command line asks for."""
    parser = argparse.ArgumentParser(description="Draw the airport toy data set.")
    parser.add_argument("output", type=Path, help="folder to write to")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--train", type=int, default=48, help="number of training pictures")
    parser.add_argument("--val", type=int, default=16, help="number of validation pictures")
    options = parser.parse_args()
    scenes = [(scene, ground_of(scene)) for scene in (gate_scene(), hangar_scene(), stand_scene())]
    documents: dict[str, dict[str, Any]] = {}
    for part, count in (("train", options.train), ("val", options.val)):
        documents[part] = draw_part(options.output, part, count, options.seed, scenes)
        text = json.dumps(documents[part], sort_keys=True, separators=(",", ":")) + "\n"
        (options.output / f"annotation_example_{part}.json").write_text(text, encoding="utf-8")
    (options.output / "README.md").write_text(readme(documents, options.seed), encoding="utf-8")


if __name__ == "__main__":
    main()
