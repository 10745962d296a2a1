"""A scene: what a fixed camera sees when nobody is there, and the light of its lamps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from airport.arrays import Layer
from airport.camera import Camera
from airport.colours import Colour
from airport.markings import Mark
from airport.things import Thing

LAMP_HEIGHT = 13.0
LAMP_TINT: Colour = (0.82, 0.95, 1.0)


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


def lamp_light(scene: Scene, x: Any, y: Any) -> Any:
    """How much light the lamps throw on points of the ground, about 1 below one."""
    total: Any = 0.0
    for lamp_x, lamp_y in scene.lamps:
        total = total + (1.0 + ((x - lamp_x) ** 2 + (y - lamp_y) ** 2) / 220.0) ** -1.3
    return total
