"""Shapes in metres, of which everything is built: x to the right, y away from the camera, z up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from airport.arrays import Array
from airport.colours import Colour


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


def box(x: tuple[float, float], y: tuple[float, float], z: tuple[float, float], colour: Colour) -> list[Face]:
    """The six faces of an upright box."""
    floor = [(x[0], y[0], z[0]), (x[1], y[0], z[0]), (x[1], y[1], z[0]), (x[0], y[1], z[0])]
    return slab(floor, (0, 0, z[1] - z[0]), colour)


def slab(
    points: Sequence[Any] | Array, offset: Sequence[float], colour: Colour, edge: Colour | None = None
) -> list[Face]:
    """The faces of a polygon swept along offset."""
    bottom = np.asarray(points, float)
    top = bottom + np.asarray(offset, float)
    centre = (bottom.mean(axis=0) + top.mean(axis=0)) / 2
    faces = [face_away(bottom, centre, colour), face_away(top, centre, colour)]
    for i in range(len(bottom)):
        j = (i + 1) % len(bottom)
        faces.append(face_away([bottom[i], bottom[j], top[j], top[i]], centre, edge or colour))
    return faces


def face_away(
    points: Sequence[Any] | Array, centre: Sequence[float] | Array, colour: Colour, glow: float = 0.0
) -> Face:
    """A face whose normal points away from centre."""
    corners = np.asarray(points, float)
    following = np.roll(corners, -1, axis=0)
    normal = np.cross(corners, following).sum(axis=0)
    normal /= max(float(np.linalg.norm(normal)), 1e-9)
    outward = float(normal @ (corners.mean(axis=0) - np.asarray(centre, float)))
    return Face(corners, normal if outward >= 0 else -normal, colour, glow)


def bar(start: Sequence[float], end: Sequence[float], radius: float, colour: Colour) -> Stroke:
    """A straight round bar."""
    return Stroke(np.array([start, end], float), radius, colour)


def limb(points: Sequence[Sequence[float] | Array], radii: Sequence[float], colour: Colour) -> Blob:
    """The hull of spheres with the given centres and radii."""
    return Blob(np.asarray(points, float), tuple(radii), colour)


def ring(centre: Sequence[float], radius: float, thickness: float, colour: Colour) -> Stroke:
    """A wheel-like ring in the plane of x and z."""
    angles = np.linspace(0, 2 * np.pi, 25)
    rim = np.stack([np.cos(angles) * radius, np.zeros(25), np.sin(angles) * radius], axis=1)
    return Stroke(rim + np.asarray(centre, float), thickness, colour)


def moved(shape: Shape, turn: Array, offset: Array) -> Shape:
    """The shape turned about the z axis and shifted."""
    points = points_of(shape) @ turn.T + offset
    if isinstance(shape, Face):
        return replace(shape, points=points, normal=turn @ shape.normal)
    return replace(shape, centres=points) if isinstance(shape, Blob) else replace(shape, points=points)


def rotation(angle: float) -> Array:
    """The matrix that turns by an angle about the z axis."""
    cosine, sine = np.cos(angle), np.sin(angle)
    return np.array([[cosine, -sine, 0.0], [sine, cosine, 0.0], [0.0, 0.0, 1.0]])


def points_of(shape: Shape) -> Array:
    """The corner points or sphere centres of a shape."""
    return shape.centres if isinstance(shape, Blob) else shape.points
