"""What persons ride or push: bicycles, scooters, trolleys and carts."""

from __future__ import annotations

import numpy as np

from airport.bodywork import Bodywork
from airport.chance import Random, choice
from airport.colours import DARK, LAMP_WHITE, RIM, RUBBER, STEEL, mixed, paint, tinted
from airport.luggage import luggage
from airport.persons import random_look, riding
from airport.shapes import Shape, bar, box, limb, ring, slab
from airport.things import NON_VEHICLE, Group, Thing


def bicycle(random: Random) -> Thing:
    """A bicycle with its rider."""
    colour = paint(choice(random, ["#c8372d", "#2b62a8", "#20242a", "#3d8b57", "#e7e7e2", "#e0a022"]))
    wheels = [ring((x, 0, 0.36), 0.34, 0.026, RUBBER) for x in (-0.52, 0.55)]
    hubs = [ring((x, 0, 0.36), 0.31, 0.008, STEEL) for x in (-0.52, 0.55)]
    crank, seat, neck = (-0.05, 0, 0.32), (-0.2, 0, 0.86), (0.4, 0, 0.86)
    frame = [
        bar(a, b, 0.026, colour)
        for a, b in (
            (crank, seat),
            (crank, neck),
            ((-0.17, 0, 0.78), neck),
            (crank, (-0.52, 0, 0.36)),
            ((-0.17, 0, 0.78), (-0.52, 0, 0.36)),
            (neck, (0.55, 0, 0.36)),
        )
    ]
    fittings: list[Shape] = [
        bar((0.4, -0.26, 1.02), (0.4, 0.26, 1.02), 0.02, DARK),
        bar(neck, (0.38, 0, 1.02), 0.02, DARK),
        limb([(-0.34, 0, 0.9), (-0.1, 0, 0.9)], (0.06, 0.035), DARK),
    ]
    angle = float(random.uniform(0, 2 * np.pi))
    feet = tuple((-0.05 + 0.16 * np.cos(a), 0.32 + 0.16 * np.sin(a)) for a in (angle, angle + np.pi))
    shapes: list[Shape] = [*wheels, *hubs, *frame, *fittings]
    if random.random() < 0.4:
        shapes.extend(box((0.5, 0.82), (-0.17, 0.17), (0.76, 1.0), paint("#8a6a45")))
    rider = riding(random_look(random), (-0.2, 0.98), (0.38, 1.05), feet, float(random.uniform(0.14, 0.3)))
    return Thing(NON_VEHICLE, ((Group(tuple(shapes), -1), *rider),), 1.9, 0.7)


def kick_scooter(random: Random) -> Thing:
    """A kick scooter with its rider standing on it."""
    colour = paint(choice(random, ["#e7e7e2", "#2f9d8f", "#d8432f", "#30343a", "#e0c022"]))
    shapes: list[Shape] = [
        *(ring((x, 0, 0.13), 0.11, 0.035, RUBBER) for x in (-0.5, 0.5)),
        limb([(-0.42, 0, 0.16), (0.34, 0, 0.16)], (0.05, 0.05), colour),
        bar((0.48, 0, 0.14), (0.36, 0, 1.08), 0.032, colour),
        bar((0.36, -0.27, 1.1), (0.36, 0.27, 1.1), 0.022, DARK),
        bar((0.34, 0, 0.17), (0.46, 0, 0.3), 0.035, colour),
    ]
    feet = ((0.14, 0.2), (-0.2, 0.2))
    rider = riding(random_look(random), (-0.06, 1.03), (0.33, 1.14), feet, 0.08)
    return Thing(NON_VEHICLE, ((Group(tuple(shapes), -1), *rider),), 1.3, 0.7)


def moped(random: Random) -> Thing:
    """A motor scooter with its rider."""
    colour = paint(choice(random, ["#c8372d", "#f0efe8", "#2f6f9f", "#79b3a4", "#e5a52c"]))
    wheels = [ring((x, 0, 0.24), 0.17, 0.075, RUBBER) for x in (-0.55, 0.6)]
    body = Bodywork(0.17)
    outline = [(-0.85, 0.38), (-0.25, 0.26), (0.3, 0.24), (0.3, 0.32), (-0.1, 0.34), (-0.2, 0.72), (-0.85, 0.72)]
    body.hull(outline, colour)
    seat = limb([(-0.75, 0, 0.75), (-0.2, 0, 0.75)], (0.1, 0.09), DARK)
    shield = slab([(0.3, -0.2, 0.26), (0.3, 0.2, 0.26), (0.44, 0.16, 0.9), (0.44, -0.16, 0.9)], (0.07, 0, 0), colour)
    front: list[Shape] = [
        limb([(0.48, 0, 0.4), (0.66, 0, 0.4)], (0.1, 0.08), colour),
        bar((0.58, 0, 0.3), (0.4, 0, 1.0), 0.03, STEEL),
        bar((0.38, -0.3, 1.0), (0.38, 0.3, 1.0), 0.024, DARK),
        limb([(0.48, 0, 0.92)], (0.09,), mixed(colour, LAMP_WHITE, 0.7)),
    ]
    rider = riding(random_look(random), (-0.4, 0.86), (0.36, 1.03), ((0.12, 0.32), (0.12, 0.32)), 0.1)
    groups = (
        Group(tuple(wheels), -2),
        Group(tuple(body.faces), -1),
        Group((seat,), -1),
        Group((*shield, *front), 0, False),
        *rider,
    )
    return Thing(NON_VEHICLE, (groups,), 1.8, 0.7)


def trolley(random: Random) -> Thing:
    """A luggage trolley."""
    shapes: list[Shape] = []
    for x in (-0.5, 0.5):
        shapes.extend(ring((x, y, 0.09), 0.07, 0.025, RUBBER) for y in (-0.26, 0.26))
    shapes.extend(box((-0.62, 0.62), (-0.36, 0.36), (0.17, 0.25), STEEL))
    load = luggage(random, 1.1, 0.68, 0.25, int(random.integers(2, 4)))
    handle = [bar((-0.6, y, 0.2), (-0.68, y, 1.08), 0.025, RIM) for y in (-0.32, 0.32)]
    handle.append(bar((-0.68, -0.32, 1.08), (-0.68, 0.32, 1.08), 0.032, paint("#2a5fa0")))
    groups = (Group(tuple(shapes), 0), Group(tuple(load), 1, False), Group(tuple(handle), 1))
    return Thing(NON_VEHICLE, (groups,), 1.4, 0.75)


def hand_cart(random: Random) -> Thing:
    """A tall roll cage or a parcel cart."""
    frame = paint(choice(random, ["#2e6db0", "#c94f2a", "#8c9196", "#e0ab20"]))
    load: list[Shape] = []
    for row in range(int(random.integers(2, 4))):
        for x in (-0.55, 0.01):
            if row < 2 or random.random() < 0.5:
                brown = tinted(paint("#b08552"), float(random.uniform(0.75, 1.2)))
                load.extend(box((x, x + 0.53), (-0.36, 0.36), (0.3 + row * 0.4, 0.69 + row * 0.4), brown))
    base: list[Shape] = [*box((-0.6, 0.6), (-0.4, 0.4), (0.2, 0.3), frame)]
    base.extend(ring((x, y, 0.1), 0.09, 0.035, RUBBER) for x in (-0.48, 0.48) for y in (-0.3, 0.3))
    posts = [bar((x, y, 0.25), (x, y, 1.55), 0.026, frame) for x in (-0.58, 0.58) for y in (-0.38, 0.38)]
    rails = [bar((x, -0.38, z), (x, 0.38, z), 0.02, frame) for x in (-0.58, 0.58) for z in (0.7, 1.1, 1.54)]
    groups = (Group(tuple(base), 0), Group(tuple(load), 1, False), Group((*posts, *rails), 1, False))
    return Thing(NON_VEHICLE, (groups,), 1.3, 0.85)


RIDDEN = (bicycle, bicycle, kick_scooter, moped)
PUSHED = (trolley, trolley, hand_cart)
