"""The few pictures inside the package, which an export is compared on where there is no validation set."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from airport.air import random_air
from airport.dataset import write_picture
from airport.ground import ground_of
from airport.placing import objects_of
from airport.rendering import render
from airport.three_scenes import gate_scene, hangar_scene, stand_scene

# Another seed than that of the data set: no picture is one that somebody trained on.
SEED = 107
SIZE = (640, 360)
# Name, light, weather, scene (gate, hangars, stand), about how many objects; nine is a crowd, the most that fit.
MOMENTS = (
    ("day", "day", "clear", 0, 4),
    ("crowd", "low", "clear", 1, 9),
    ("dusk", "dusk", "clear", 2, 6),
    ("night", "night", "clear", 0, 7),
    ("rain", "day", "rain", 1, 9),
    ("empty", "day", "clear", 2, 0),
)


def draw_pictures(folder: Path) -> None:
    """Write the pictures, without labels."""
    folder.mkdir(parents=True, exist_ok=True)
    scenes = [(scene, ground_of(scene)) for scene in (gate_scene(), hangar_scene(), stand_scene())]
    for index, (name, light, weather, place, wanted) in enumerate(MOMENTS):
        random = np.random.default_rng([SEED, index])
        scene, ground = scenes[place]
        air = random_air(light, weather, random)
        picture, _ = render(scene, ground, air, objects_of(scene, random, wanted), random)
        smaller = cv2.resize(picture, SIZE, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
        write_picture(folder / f"{name}.jpg", smaller)
