"""The sky above the horizon, with clouds and trees."""

from __future__ import annotations

import cv2
import numpy as np

from airport.air import FAR, Air
from airport.arrays import Picture
from airport.camera import HEIGHT, SCALE, WIDTH
from airport.chance import Random
from airport.colours import mixed, paint, tinted
from airport.noise import cloud_noise
from airport.scene import Scene


def sky(scene: Scene, air: Air, random: Random) -> Picture:
    """The sky with its clouds and a line of trees at the horizon; below it the colour of the haze."""
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
