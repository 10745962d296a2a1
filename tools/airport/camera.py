"""The cameras, and the size of the pictures they take."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from airport.arrays import Array, Layer
from airport.shapes import Face

WIDTH, HEIGHT = 960, 540
SCALE = 2  # drawn twice as large and averaged down, which smooths every edge
NEAR = 0.5  # metres from the camera; what is nearer is cut away


@dataclass(frozen=True)
class Camera:
    """A camera above the origin that looks along y, tilted down; mirrored, it sees what a wet floor reflects."""

    height: float
    tilt: float
    focal: float
    mirrored: bool = False

    @property
    def horizon(self) -> float:
        """The row of the horizon in the drawn picture."""
        return HEIGHT * SCALE / 2 - self.focal * SCALE * float(np.tan(self.tilt))

    def seen(self, points: Array) -> Array:
        """Camera coordinates: to the right, up and into the picture."""
        x, y, z = points[:, 0], points[:, 1], points[:, 2] * (-1.0 if self.mirrored else 1.0) - self.height
        cosine, sine = np.cos(self.tilt), np.sin(self.tilt)
        return np.stack([x, y * sine + z * cosine, y * cosine - z * sine], axis=1)

    def pixels(self, seen: Array) -> Array:
        """The pixels of camera coordinates in the drawn picture, which is SCALE times the final one."""
        factor = self.focal * SCALE / seen[:, 2]
        middle_x, middle_y = WIDTH * SCALE / 2, HEIGHT * SCALE / 2
        return np.stack([middle_x + seen[:, 0] * factor, middle_y - seen[:, 1] * factor], axis=1)

    def faces(self, face: Face) -> bool:
        """Whether the front of a face is turned to the camera."""
        flip = np.array([1.0, 1.0, -1.0 if self.mirrored else 1.0])
        towards = np.array([0.0, 0.0, self.height]) - face.points.mean(axis=0) * flip
        return float(towards @ (face.normal * flip)) > 0

    def ground(self) -> tuple[Layer, Layer]:
        """Where on the ground each drawn pixel looks; far away above the horizon."""
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
    """The part of a polygon in camera coordinates that lies before the camera."""
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
