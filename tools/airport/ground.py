"""The ground: concrete with its marks, lit, in shadow and wet."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from airport.air import Air
from airport.arrays import Layer, Picture
from airport.camera import HEIGHT, SCALE, clipped
from airport.canvas import SUBPIXEL, Canvas
from airport.chance import Random
from airport.colours import paint
from airport.noise import cloud_noise, spread
from airport.scene import LAMP_TINT, Scene, lamp_light
from airport.things import Thing


@dataclass(frozen=True)
class Ground:
    """The ground of a scene as its camera sees it: places, distances, reflecting share of light and puddles."""

    x: Layer
    y: Layer
    albedo: Layer
    puddles: Layer


def ground_of(scene: Scene) -> Ground:
    """The concrete of a scene with its marks."""
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


def slab_tone(scene: Scene, x: Layer, y: Layer, random: Random) -> Layer:
    """The brightness pattern of concrete slabs with their joints."""
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


def lit_ground(scene: Scene, ground: Ground, air: Air, shade: tuple[Layer, Layer]) -> Layer:
    """The ground under the light and the shadows of a moment, without haze."""
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
    """The wet floor with what it mirrors."""
    horizon = round(scene.camera.horizon)
    rows = np.clip(2 * horizon - np.arange(HEIGHT * SCALE), 0, horizon - 40)
    canvas = Canvas(scene, air, above[rows].copy(), mirrored=True)
    for thing in things:
        canvas.draw(thing)
    mirrored = cv2.GaussianBlur(canvas.picture, (0, 0), sigmaX=2.5, sigmaY=11).astype(np.float32)
    grazing = np.clip(0.26 + 0.3 * (ground.y / 60.0), 0, 0.55)
    share = (grazing * (0.55 + 0.75 * ground.puddles) * air.wet)[:, :, None]
    return np.asarray(floor * (1 - share) + mirrored * share, np.float32)
