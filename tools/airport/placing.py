"""The objects of a moment: which there are, and where they have room."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import cv2
import numpy as np

from airport.arrays import Array
from airport.camera import HEIGHT, NEAR, SCALE, WIDTH, Camera
from airport.chance import Random, choice
from airport.non_vehicles import PUSHED, RIDDEN
from airport.persons import person, random_look, walking
from airport.scene import Scene
from airport.shapes import points_of, rotation
from airport.things import NON_VEHICLE, PERSON, VEHICLE, Thing, placed
from airport.vehicles import VEHICLES


def objects_of(scene: Scene, random: Random, count: int) -> list[Thing]:
    """About so many objects, of every kind at least one."""
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


def built(kind: int, random: Random) -> tuple[Callable[[float, float, float], tuple[Thing, ...]], bool]:
    """A function that places a new object of a kind (with who pushes it), and whether it keeps to the roads."""
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


def random_place(scene: Scene, random: Random, near: Thing | None, reach: float) -> tuple[float, float]:
    """A spot in view, at times close beside another thing."""
    if near is not None and random.random() < 0.45:
        return near.x + float(random.uniform(-3.5, 3.5)), near.y + float(random.uniform(-3.5, 3.5))
    ahead = float(np.exp(random.uniform(np.log(10.0), np.log(reach))))
    half = ahead * WIDTH / 2 / scene.camera.focal
    return float(random.uniform(-half, half)), ahead


def fits(scene: Scene, thing: Thing, others: Iterable[Thing]) -> bool:
    """Whether a thing stands free within the area of a scene and is seen large enough, mostly in the picture."""
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


def rough_box(camera: Camera, thing: Thing) -> Array:
    """About where a thing will be in the final picture: left, top, right and bottom."""
    points = np.vstack([points_of(shape) for part in thing.parts for group in part for shape in group.shapes])
    seen = camera.seen(points)
    seen[:, 2] = np.maximum(seen[:, 2], NEAR)
    pixels = camera.pixels(seen) / SCALE
    return np.concatenate([pixels.min(axis=0), pixels.max(axis=0)])


def collide(first: Thing, second: Thing) -> bool:
    """Whether two things stand on the same ground."""
    corners = footprint(first, 0.15), footprint(second, 0.15)
    for angle in (first.heading, second.heading, first.heading + np.pi / 2, second.heading + np.pi / 2):
        a, b = (part @ [np.cos(angle), np.sin(angle)] for part in corners)
        if float(a.max()) < float(b.min()) or float(b.max()) < float(a.min()):
            return False
    return True


def footprint(thing: Thing, margin: float) -> Array:
    """The corners of the ground a thing stands on."""
    half_length, half_width = thing.length / 2 + margin, thing.width / 2 + margin
    corners = np.array([(1, 1), (1, -1), (-1, -1), (-1, 1)]) * [half_length, half_width]
    return np.asarray(corners @ rotation(thing.heading)[:2, :2].T + [thing.x, thing.y], float)
