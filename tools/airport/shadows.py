"""Shadows that things throw on the ground."""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np

from airport.air import Air
from airport.arrays import Array, Layer, Picture
from airport.camera import HEIGHT, SCALE, WIDTH, Camera, clipped
from airport.scene import LAMP_HEIGHT, Scene
from airport.shapes import Blob, Stroke, points_of
from airport.things import Thing


def shadows(scene: Scene, air: Air, things: Iterable[Thing]) -> tuple[Layer, Layer]:
    """How much of the light and of the sky (0 to 1) is kept from each pixel of the ground."""
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
    """The direction from a thing to its nearest lamp."""
    gaps = [np.array([x - thing.x, y - thing.y, LAMP_HEIGHT]) for x, y in scene.lamps]
    gap = min(gaps, key=lambda vector: float(np.linalg.norm(vector)))
    return np.asarray(gap / np.linalg.norm(gap), float)
