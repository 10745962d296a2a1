"""Vehicles: vans, cars, buses, trucks and baggage trains."""

from __future__ import annotations

import numpy as np

from airport.bodywork import Bodywork
from airport.chance import Random, choice
from airport.colours import DARK, LAMP_AMBER, STEEL, Colour, paint, tinted
from airport.luggage import luggage
from airport.shapes import Face, bar, box, face_away
from airport.things import VEHICLE, Group, Thing, shifted


def van(random: Random) -> Thing:
    """A panel van or a minibus."""
    colour = paint(choice(random, ["#f1f1ee", "#e9edf0", "#e2b325", "#3f6fb0", "#b9bec3", "#c8432f"]))
    part = Bodywork(0.98, 1.15, 0.11)
    nose = [(2.58, 0.32), (2.66, 0.9), (1.9, 1.2), (1.15, 2.15), (0.7, 2.28)]
    outline = [(-2.6, 0.32), *nose, (-2.5, 2.3), (-2.62, 1.9)]
    part.hull(outline, colour)
    part.side([(-2.55, 0.34), (2.5, 0.34), (2.5, 0.55), (-2.55, 0.55)], DARK)
    part.side_glass([(0.55, 1.25), (1.66, 1.25), (1.08, 2.02), (0.55, 2.02)])
    if random.random() < 0.5:
        part.side_glass([(-2.3, 1.3), (0.4, 1.3), (0.4, 2.02), (-2.3, 2.02)])
    else:
        stripe = paint(choice(random, ["#2760a8", "#d9822b", "#1f8a5b", "#b3262b"]))
        part.side([(-2.5, 0.98), (0.4, 0.98), (0.4, 1.2), (-2.5, 1.2)], stripe)
    for x in (-1.0, 0.45):
        part.side([(x, 0.6), (x + 0.03, 0.6), (x + 0.03, 2.1), (x, 2.1)], tinted(colour, 0.6))
    part.glass_across((1.86, 1.25), (1.19, 2.1))
    part.glass_across((-2.63, 1.35), (-2.58, 2.05), front=False)
    part.across((2.67, 0.42), (2.67, 0.62), DARK)
    part.headlights(2.68, 0.8)
    part.tail_lights(-2.64, 0.98, 0.34)
    part.wheel(1.65, 0.36)
    part.wheel(-1.6, 0.36)
    beacon = Group(tuple(box((0.2, 0.5), (-0.5, 0.5), (2.28, 2.42), LAMP_AMBER)), 2)
    groups = (*part.groups(), beacon) if random.random() < 0.7 else part.groups()
    return Thing(VEHICLE, (groups,), 5.3, 2.0)


def car(random: Random) -> Thing:
    """A car; the yellow one is the chequered follow-me car."""
    follow_me = random.random() < 0.4
    colour = paint("#f0c419" if follow_me else choice(random, ["#a8252a", "#27496d", "#d8dadc", "#3b3f45", "#4d7a58"]))
    low, cabin = Bodywork(0.9), Bodywork(0.86, 0.85, 0.28)
    low.hull([(-2.15, 0.28), (2.15, 0.28), (2.22, 0.68), (1.1, 0.92), (-2.1, 0.95), (-2.2, 0.6)], colour, 0.16)
    low.side([(-2.1, 0.3), (2.1, 0.3), (2.1, 0.42), (-2.1, 0.42)], DARK)
    if follow_me:
        for i in range(12):
            x, z = -1.9 + i * 0.32, 0.6 + 0.14 * (i % 2)
            low.side([(x, z), (x + 0.32, z), (x + 0.32, z + 0.14), (x, z + 0.14)], DARK)
    low.headlights(2.22, 0.66, 0.16)
    low.tail_lights(-2.2, 0.74, 0.2)
    low.across((2.2, 0.34), (2.22, 0.5), DARK, 0.6)
    low.wheel(1.35, 0.33)
    low.wheel(-1.3, 0.33)
    cabin.hull([(-1.75, 0.88), (1.15, 0.88), (0.35, 1.42), (-1.3, 1.45)], colour, 0.14)
    cabin.side_glass([(-0.42, 0.95), (0.85, 0.95), (0.3, 1.36), (-0.42, 1.38)])
    cabin.side_glass([(-1.5, 0.95), (-0.5, 0.95), (-0.5, 1.38), (-1.22, 1.38)])
    cabin.glass_across((1.1, 0.93), (0.45, 1.37))
    cabin.glass_across((-1.72, 0.95), (-1.36, 1.4), front=False)
    groups = [*low.groups(), *cabin.groups(1)]
    if follow_me:
        groups.append(Group(tuple(box((-0.35, -0.2), (-0.55, 0.55), (1.45, 1.72), LAMP_AMBER)), 3))
    return Thing(VEHICLE, (tuple(groups),), 4.4, 1.8)


def bus(random: Random) -> Thing:
    """A low apron bus."""
    colour = paint(choice(random, ["#f4f4f1", "#e8ecee", "#f2c94c"]))
    stripe = paint(choice(random, ["#1d5fa6", "#c23b2c", "#17806d", "#e08a1e"]))
    part = Bodywork(1.35)
    part.hull([(-5.2, 0.3), (5.2, 0.3), (5.3, 1.1), (5.12, 2.9), (4.9, 3.0), (-5.1, 3.0), (-5.25, 2.6)], colour, 0.18)
    part.side([(-5.15, 0.32), (5.15, 0.32), (5.2, 0.62), (-5.15, 0.62)], stripe)
    part.side([(-5.1, 0.72), (5.2, 0.72), (5.2, 0.84), (-5.1, 0.84)], stripe)
    for x in (-4.9, -3.0, -0.1, 1.4, 4.0):
        width = 1.0 if x == 4.0 else 1.3
        part.side_glass([(x, 1.35), (x + width, 1.35), (x + width, 2.65), (x, 2.65)])
    for x in (-1.55, 2.8):
        part.side([(x, 0.4), (x + 1.15, 0.4), (x + 1.15, 2.75), (x, 2.75)], tinted(colour, 0.55))
        for left in (x + 0.06, x + 0.61):
            part.side_glass([(left, 0.6), (left + 0.48, 0.6), (left + 0.48, 2.65), (left, 2.65)])
    part.glass_across((5.32, 1.15), (5.16, 2.55))
    part.across((5.17, 2.62), (5.12, 2.86), LAMP_AMBER, 0.5, glow=0.5)
    part.glass_across((-5.27, 1.5), (-5.24, 2.6), front=False)
    part.headlights(5.31, 0.95, 0.22)
    part.tail_lights(-5.27, 1.05, 0.34)
    part.wheel(3.55 - 1.0, 0.42)
    part.wheel(-3.3, 0.42)
    return Thing(VEHICLE, (part.groups(),), 10.6, 2.75)


def fuel_truck(random: Random) -> Thing:
    """A fuel truck: cab, chassis and an oval tank."""
    colour = paint(choice(random, ["#eef0f0", "#e7b92b", "#c9d3d8"]))
    stripe = paint(choice(random, ["#c4302b", "#1f65ad", "#2a8a57"]))
    cab = truck_cab(choice(random, [colour, stripe]), 3.7)
    cab.wheel(2.75, 0.48)
    chassis = Bodywork(1.1)
    chassis.hull([(-3.6, 0.5), (1.9, 0.5), (1.9, 0.95), (-3.6, 0.95)], DARK, 0.05)
    chassis.side([(-0.9, 0.45), (0.9, 0.45), (0.9, 1.0), (-0.9, 1.0)], STEEL)
    chassis.tail_lights(-3.62, 0.75, 0.22)
    chassis.wheel(-1.5, 0.48)
    chassis.wheel(-2.65, 0.48)
    barrel = shifted([Group(tank(5.2, colour, stripe), 0, False)], (-0.95, 0, 0.05))
    rail = [bar((-3.3, y, 2.85), (1.4, y, 2.85), 0.03, STEEL) for y in (-0.5, 0.5)]
    rear = (*chassis.groups(-1), *barrel, Group(tuple(rail), 1))
    return Thing(VEHICLE, (rear, cab.groups()), 7.5, 2.4)


def tank(length: float, colour: Colour, stripe: Colour) -> tuple[Face, ...]:
    """An oval tank along x with a stripe, resting on a height of one metre."""
    angles = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    oval = np.stack([np.cos(angles) * 1.15, np.sin(angles) * 0.85 + 1.75], axis=1)
    ends = [np.column_stack([np.full(24, x), oval]) for x in (-length / 2, length / 2)]
    faces = [face_away(end, (0, 0, 1.75), colour) for end in ends]
    for i in range(24):
        j = (i + 1) % 24
        shade = stripe if abs(oval[i, 1] + oval[j, 1] - 3.5) < 0.32 else colour
        faces.append(face_away([ends[0][i], ends[0][j], ends[1][j], ends[1][i]], (0, 0, 1.75), shade))
    return tuple(faces)


def catering_truck(random: Random) -> Thing:
    """A truck with a closed box, as caterers and cleaners use."""
    colour = paint(choice(random, ["#f3f3f0", "#dfe6ea", "#2f7d8c", "#d7652e"]))
    mark = paint(choice(random, ["#d7652e", "#2a6fb0", "#4aa36b", "#f4f4f4"]))
    cab = truck_cab(paint(choice(random, ["#f3f3f0", "#33588a", "#b13a32"])), 3.5)
    cab.wheel(2.55, 0.46)
    rear = Bodywork(1.22)
    rear.hull([(-3.6, 0.62), (1.45, 0.62), (1.45, 0.95), (-3.6, 0.95)], DARK, 0.05)
    rear.hull([(-3.7, 0.95), (1.5, 0.95), (1.5, 3.1), (-3.7, 3.1)], colour, 0.08)
    rear.side([(-3.3, 1.5), (-0.6, 1.5), (0.6, 2.6), (-2.1, 2.6)], mark)
    rear.side([(-3.65, 0.98), (1.45, 0.98), (1.45, 1.1), (-3.65, 1.1)], STEEL)
    rear.across((-3.72, 1.1), (-3.72, 2.95), tinted(colour, 0.8), 0.85, front=False)
    rear.across((-3.73, 1.1), (-3.73, 2.95), DARK, 0.015, front=False)
    rear.tail_lights(-3.73, 0.8, 0.2)
    rear.wheel(-2.3, 0.46)
    return Thing(VEHICLE, (rear.groups(), cab.groups()), 7.2, 2.45)


def truck_cab(colour: Colour, front: float) -> Bodywork:
    """The cab of a truck that ends at x = front, without wheels."""
    part = Bodywork(1.15, 1.4, 0.05)
    back = front - 1.9
    part.hull([(back, 0.5), (front, 0.5), (front + 0.04, 1.35), (front - 0.22, 2.45), (back, 2.5)], colour)
    part.side_glass([(front - 1.2, 1.5), (front - 0.15, 1.5), (front - 0.36, 2.25), (front - 1.2, 2.25)])
    part.side([(front - 1.26, 0.7), (front - 1.23, 0.7), (front - 1.23, 2.3), (front - 1.26, 2.3)], tinted(colour, 0.6))
    part.glass_across((front + 0.03, 1.45), (front - 0.17, 2.3))
    part.across((front + 0.03, 0.52), (front + 0.03, 0.75), DARK)
    part.across((front + 0.06, 1.05), (front + 0.06, 1.25), DARK, 0.5)
    part.headlights(front + 0.05, 0.9)
    return part


def baggage_train(random: Random) -> Thing:
    """A tug, alone or with one or two baggage carts behind it."""
    colour = paint(choice(random, ["#e8b923", "#e07b28", "#f0f0ec", "#3c78b4", "#5aa05f"]))
    low, cab = Bodywork(0.72), Bodywork(0.68, 0.95, 0.08)
    low.hull([(-1.4, 0.28), (1.45, 0.28), (1.48, 0.8), (0.5, 0.95), (-1.4, 0.95)], colour, 0.08)
    low.side([(-1.35, 0.3), (1.4, 0.3), (1.4, 0.45), (-1.35, 0.45)], DARK)
    low.headlights(1.49, 0.68, 0.16)
    low.tail_lights(-1.41, 0.8, 0.18)
    low.across((1.5, 0.34), (1.5, 0.52), DARK)
    low.wheel(0.9, 0.32)
    low.wheel(-0.85, 0.36)
    cab.hull([(-1.0, 0.9), (0.5, 0.9), (0.25, 1.72), (-0.95, 1.75)], colour, 0.08)
    cab.side_glass([(-0.85, 1.0), (0.35, 1.0), (0.16, 1.62), (-0.85, 1.62)])
    cab.glass_across((0.48, 1.0), (0.3, 1.65))
    cab.glass_across((-1.01, 1.05), (-0.97, 1.65), front=False)
    beacon = Group(tuple(box((-0.5, -0.35), (-0.08, 0.08), (1.75, 1.9), LAMP_AMBER)), 3)
    tractor = (*low.groups(), *cab.groups(1), beacon)
    carts = int(random.integers(0, 3))
    length = 2.9 + carts * 3.0
    parts = [shifted(tractor, (length / 2 - 1.45, 0, 0))]
    for i in range(carts):
        x = length / 2 - 2.9 - 1.7 - 3.0 * i
        hitch = Group((bar((x + 1.2, 0, 0.4), (x + 1.8, 0, 0.4), 0.05, DARK),), -1)
        parts.append((*shifted(baggage_cart(random), (x, 0, 0)), hitch))
    return Thing(VEHICLE, tuple(parts), length, 1.6)


def baggage_cart(random: Random) -> tuple[Group, ...]:
    """One cart of a baggage train, with or without a roof."""
    bed = Bodywork(0.75)
    bed.hull([(-1.25, 0.35), (1.25, 0.35), (1.25, 0.52), (-1.25, 0.52)], paint("#6b7379"), 0.03)
    bed.wheel(0.85, 0.22)
    bed.wheel(-0.85, 0.22)
    load = Group(tuple(luggage(random, 2.2, 1.3, 0.52, int(random.integers(1, 4)))), 1, False)
    groups = [*bed.groups(), load]
    if random.random() < 0.6:
        posts = [bar((x, y, 0.5), (x, y, 1.75), 0.03, STEEL) for x in (-1.2, 1.2) for y in (-0.7, 0.7)]
        cover = paint(choice(random, ["#2f6aa3", "#dfe3e4", "#c9632b"]))
        groups.append(Group(tuple(posts), 1, False))
        groups.append(Group(tuple(box((-1.28, 1.28), (-0.78, 0.78), (1.75, 1.86), cover)), 2))
    return tuple(groups)


VEHICLES = (van, van, car, bus, fuel_truck, catering_truck, baggage_train, baggage_train)
