"""What vehicles have in common: a body with windows, lights and wheels.

Local frame: x forward, y left, z up, the middle of the vehicle above the origin.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from airport.colours import DARK, GLASS, GLASS_LIGHT, LAMP_RED, LAMP_WHITE, RIM, RUBBER, Colour, mixed, tinted
from airport.shapes import Face, Shape, face_away, slab
from airport.things import Group


@dataclass
class Bodywork:
    """Collects the faces of a vehicle part: a side outline swept across its width, then panels upon it."""

    half_width: float
    belt: float = 9.0
    taper: float = 0.0
    faces: list[Shape] = field(default_factory=list)
    tyres: list[Shape] = field(default_factory=list)

    def half_width_at(self, z: float) -> float:
        """Half the width at a height; above the belt line the sides lean inwards."""
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
        """The tyres, which the body hides in part, and the body."""
        return Group(tuple(self.tyres), level - 1, False), Group(tuple(self.faces), level)


def rounded(outline: Sequence[tuple[float, float]], radius: float) -> list[tuple[float, float]]:
    """A closed outline with its corners rounded off."""
    corners, result = np.asarray(outline, float), []
    for i, corner in enumerate(corners):
        before, after = corners[i - 1], corners[(i + 1) % len(corners)]
        start = corner + (before - corner) * min(0.4, radius / max(float(np.linalg.norm(before - corner)), 1e-6))
        end = corner + (after - corner) * min(0.4, radius / max(float(np.linalg.norm(after - corner)), 1e-6))
        for share in (0.0, 0.33, 0.67, 1.0):
            point = (1 - share) ** 2 * start + 2 * share * (1 - share) * corner + share**2 * end
            result.append((float(point[0]), float(point[1])))
    return result
