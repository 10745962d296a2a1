"""What comes last before a picture is taken: rain and snow before the lens, and what lens and sensor do."""

from __future__ import annotations

import cv2
import numpy as np

from airport.arrays import Layer, Picture
from airport.camera import HEIGHT, SCALE, WIDTH
from airport.canvas import Canvas
from airport.chance import Random


def finished(canvas: Canvas, random: Random) -> Picture:
    """The final picture: halos of lamps, weather before the lens, and what lens and sensor do."""
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
    """The brightness that streaks of rain add."""
    layer = np.zeros((HEIGHT * SCALE, WIDTH * SCALE), np.uint8)
    slant = float(random.uniform(-0.25, 0.25))
    for _ in range(520):
        x, y = float(random.uniform(0, WIDTH * SCALE)), float(random.uniform(-60, HEIGHT * SCALE))
        length = float(random.uniform(22, 70))
        end = (round(x + slant * length), round(y + length))
        cv2.line(layer, (round(x), round(y)), end, int(random.integers(25, 75)), 2 if length > 60 else 1, cv2.LINE_AA)
    return np.asarray(cv2.GaussianBlur(layer, (0, 0), 1.0), np.float32)


def snowfall(random: Random) -> Layer:
    """How much of each pixel falling flakes cover."""
    layer = np.zeros((HEIGHT * SCALE, WIDTH * SCALE), np.uint8)
    for _ in range(700):
        centre = (int(random.integers(WIDTH * SCALE)), int(random.integers(HEIGHT * SCALE)))
        size = int(random.choice([1, 1, 2, 2, 3, 4]))
        axes = (size, round(size * float(random.uniform(1.0, 1.9))))
        lean, white = float(random.uniform(-25, 25)), int(random.integers(90, 235))
        cv2.ellipse(layer, centre, axes, lean, 0, 360, white, -1, cv2.LINE_AA)
    return np.asarray(cv2.GaussianBlur(layer, (0, 0), 1.1), np.float32) / np.float32(255)
