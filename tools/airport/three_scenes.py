"""The three scenes of the data set."""

from __future__ import annotations

import numpy as np

from airport.aircraft import aircraft
from airport.buildings import control_tower, hangar, jet_bridge, terminal
from airport.camera import Camera
from airport.colours import DARK
from airport.equipment import cone, containers, lamp_mast
from airport.markings import GRASS, RED, WHITE, YELLOW, Mark, curve, dashes, ribbon, road, tyre_marks
from airport.scene import LAMP_HEIGHT, Scene
from airport.things import placed


def gate_scene() -> Scene:
    """The gate: an airliner at a jet bridge before the terminal."""
    random = np.random.default_rng(101)
    background = (
        placed(control_tower(), -46, 118, 0),
        placed(terminal(random, 130), 2, 74, 0.05),
        placed(jet_bridge(15.5), 33, 74, np.deg2rad(-124)),
        placed(aircraft("#1f5f99"), 6, 56, np.deg2rad(-11)),
        placed(containers(random, 4), -21, 50, 0.1),
    )
    lead_in = curve((-30, 12), (-14, 50), (24, 53))
    marks = [
        *road((-60, 31), (60, 37), 7.0),
        *tyre_marks(lead_in),
        *ribbon(lead_in, 0.3, YELLOW),
        *ribbon([(-16, 43), (26, 43), (33, 60)], 0.25, RED),
        *ribbon([(-40, 21), (60, 26)], 0.22, WHITE),
        *dashes((6, 8), (18, 31), 0.25, YELLOW),
    ]
    props = tuple(placed(cone(), x, y, 0) for x, y in ((1.5, 39.8), (9.5, 46.5), (-8, 44), (21, 45)))
    masts = (placed(lamp_mast(LAMP_HEIGHT), -25, 58, 0), placed(lamp_mast(LAMP_HEIGHT), 31, 66, 0))
    area = np.array([(-30, 9), (30, 9), (26, 39), (16, 41), (-24, 45)], np.float32)
    return Scene(
        name="gate",
        camera=Camera(5.2, np.deg2rad(8), 930),
        background=(*background, *masts),
        props=props,
        lamps=((-12, 30), (14, 26), (4, 52), (31, 60)),
        marks=tuple(marks),
        headings=(0.1, 0.1 + np.pi, 1.2),
        area=area,
        slab_angle=0.12,
        seed=11,
    )


def hangar_scene() -> Scene:
    """The hangars: a wide apron with a taxiway and the control tower."""
    random = np.random.default_rng(202)
    background = (
        placed(control_tower(), 50, 112, 0),
        placed(hangar("#8fa3b0", 32), 14, 92, -0.12),
        placed(hangar("#b4a58f", 36), -27, 78, 0.14),
        placed(aircraft("#b2402f"), 25, 66, np.deg2rad(165)),
        placed(containers(random, 5), -14, 62, 0.15),
    )
    taxi = curve((-9, 6), (-2, 40), (60, 52))
    grass = [
        Mark(np.array([(-300, 100), (300, 100), (600, 900), (-600, 900)], float), GRASS, 1.0),
        Mark(np.array([(16, 56), (70, 46), (90, 54), (30, 62)], float), GRASS, 1.0),
    ]
    marks = [
        *grass,
        *road((-60, 52), (18, 44), 7.5),
        *road((-34, 10), (-12, 50), 6.0),
        *tyre_marks(taxi),
        *ribbon(taxi, 0.32, YELLOW),
        *ribbon(taxi + np.array([0.8, -0.2]), 0.12, DARK, 0.5),
        *dashes((8, 12), (40, 26), 0.3, WHITE),
        *ribbon([(2, 44), (8, 52), (24, 56)], 0.22, RED),
    ]
    masts = (placed(lamp_mast(LAMP_HEIGHT), -40, 70, 0), placed(lamp_mast(LAMP_HEIGHT), 2, 74, 0))
    props = tuple(placed(cone(), x, y, 0) for x, y in ((12, 47), (15, 49), (-18, 54), (-4, 55)))
    area = np.array([(-30, 10), (30, 10), (26, 42), (10, 48), (-28, 50)], np.float32)
    return Scene(
        name="hangars",
        camera=Camera(6.6, np.deg2rad(10), 930),
        background=(*background, *masts),
        props=props,
        lamps=((-20, 40), (10, 22), (2, 62), (30, 45)),
        marks=tuple(marks),
        headings=(-0.1, np.pi - 0.1, 1.07, 4.2),
        area=area,
        slab_angle=-0.1,
        seed=22,
    )


def stand_scene() -> Scene:
    """The remote stand: an airliner seen from behind, the terminal far off, grass to the right."""
    random = np.random.default_rng(303)
    background = (
        placed(terminal(random, 120), -62, 150, -0.12),
        placed(control_tower(), 62, 165, 0),
        placed(aircraft("#d08a1c"), 44, 118, np.deg2rad(184)),
        placed(aircraft("#17806d"), -9, 54, np.deg2rad(58)),
    )
    lead_in = curve((-34, 15), (-26, 24), (8, 80))
    grass = [
        Mark(np.array([(24, 60), (90, 48), (160, 78), (20, 84)], float), GRASS, 1.0),
        Mark(np.array([(-500, 190), (500, 190), (900, 990), (-900, 990)], float), GRASS, 1.0),
    ]
    marks = [
        *grass,
        *road((-50, 27), (60, 33), 6.5),
        *tyre_marks(lead_in),
        *ribbon(lead_in, 0.3, YELLOW),
        *ribbon(curve((60, 40), (14, 44), (10, 90)), 0.3, YELLOW),
        *ribbon([(-30, 36), (6, 38), (12, 58)], 0.24, RED),
        *dashes((-14, 8), (2, 27), 0.25, WHITE),
        *ribbon([(10, 8), (22, 29)], 0.2, YELLOW),
    ]
    masts = (placed(lamp_mast(LAMP_HEIGHT), 19, 62, 0), placed(lamp_mast(LAMP_HEIGHT), -33, 74, 0))
    props = (
        *(placed(cone(), x, y, 0) for x, y in ((5.5, 41), (1, 38.5), (-20, 42))),
        placed(containers(random, 3), 21, 47, -0.2),
    )
    area = np.array([(-28, 9), (30, 9), (26, 43), (9, 40), (-2, 36), (-22, 38)], np.float32)
    return Scene(
        name="stand",
        camera=Camera(4.6, np.deg2rad(7.5), 980),
        background=(*background, *masts),
        props=props,
        lamps=((-14, 28), (14, 24), (19, 58), (-8, 60)),
        marks=tuple(marks),
        headings=(0.05, 0.05 + np.pi, 1.0),
        area=area,
        slab_angle=0.3,
        seed=33,
    )
