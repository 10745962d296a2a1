"""Persons: on foot, behind what they push, and riding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from airport.arrays import Array
from airport.chance import Random, choice
from airport.colours import RUBBER, Colour, paint
from airport.shapes import Shape, limb
from airport.things import PERSON, Group, Thing

SKINS = ("#f3cfae", "#e6b591", "#c48a62", "#96623f", "#6b4630")
HAIRS = ("#2a1f1a", "#4b3323", "#8a6a3f", "#1c1c20", "#9a9a98")


@dataclass(frozen=True)
class Look:
    """What a person wears."""

    skin: Colour
    hair: Colour
    top: Colour
    sleeves: Colour
    trousers: Colour
    shoes: Colour
    stripes: bool
    helmet: Colour | None
    backpack: Colour | None


def person(random: Random) -> Thing:
    """A person on foot."""
    return Thing(PERSON, (walking(random, random_look(random)),), 0.8, 0.6)


def walking(random: Random, look: Look, reach: float = 0.0) -> tuple[Group, ...]:
    """A person who walks or stands; with a reach above 0 both hands hold a handle that far ahead."""
    swing = float(random.choice([0.08, 0.32, 0.44])) * float(random.choice([-1, 1]))
    groups = [torso((0.0, 0.0, 0.93), (0.03, 0.0, 1.43), look), *head((0.03, 0.0, 1.43), look)]
    for side, angle in ((1.0, swing), (-1.0, -swing)):
        knee = (0.43 * np.sin(angle), side * 0.1, 0.92 - 0.43 * np.cos(angle))
        shin = angle - 0.14 - max(0.0, -angle) * 0.45
        ankle = (knee[0] + 0.42 * np.sin(shin), side * 0.1, max(0.08, knee[2] - 0.42 * np.cos(shin)))
        groups.append(leg((0.0, side * 0.1, 0.92), knee, ankle, look))
        shoulder = (0.03, side * 0.2, 1.41)
        if reach > 0:
            elbow, wrist = (reach * 0.35, side * 0.25, 1.16), (reach, side * 0.2, 1.08)
        else:
            elbow = (0.03 - 0.28 * np.sin(angle), side * 0.25, 1.41 - 0.28 * np.cos(angle))
            wrist = (elbow[0] + 0.25 * np.sin(0.45 - angle), side * 0.24, elbow[2] - 0.25 * np.cos(0.45 - angle))
        groups.append(arm(shoulder, elbow, wrist, look))
    if look.backpack is not None:
        pack = limb(
            [(-0.16, -0.08, 1.35), (-0.16, 0.08, 1.35), (-0.18, -0.08, 1.08), (-0.18, 0.08, 1.08)],
            (0.1,) * 4,
            look.backpack,
        )
        groups.append(Group((pack,)))
    return tuple(groups)


def riding(
    look: Look,
    hip: tuple[float, float],
    hands: tuple[float, float],
    feet: tuple[tuple[float, float], ...],
    upright: float,
) -> tuple[Group, ...]:
    """A rider from the x and z of hip, hands and both feet; upright is the forward lean of the chest."""
    chest = (hip[0] + upright, 0.0, hip[1] + 0.5)
    groups = [torso((hip[0], 0.0, hip[1]), chest, look), *head(chest, look)]
    for side, (foot_x, foot_z) in zip((1.0, -1.0), feet, strict=True):
        middle = np.array([(hip[0] + foot_x) / 2, (hip[1] + foot_z) / 2])
        gap = np.array([foot_x - hip[0], foot_z - hip[1]])
        bend = np.sqrt(max(0.0, 0.43**2 - float(gap @ gap) / 4))
        ahead = np.array([-gap[1], gap[0]]) / max(float(np.linalg.norm(gap)), 1e-6)
        knee = middle + ahead * bend
        groups.append(
            leg(
                (hip[0], side * 0.09, hip[1]),
                (knee[0], side * 0.11, knee[1]),
                (foot_x, side * 0.11, foot_z + 0.08),
                look,
            )
        )
        elbow = ((chest[0] + hands[0]) / 2 - 0.05, side * 0.27, (chest[2] + hands[1]) / 2 - 0.08)
        groups.append(arm((chest[0], side * 0.2, chest[2]), elbow, (hands[0], side * 0.24, hands[1]), look))
    return tuple(groups)


def leg(hip: Sequence[float], knee: Sequence[float], ankle: Sequence[float], look: Look) -> Group:
    """A leg with its shoe."""
    shin = limb([knee, ankle], (0.075, 0.055), look.trousers)
    shoe = limb(
        [(ankle[0] - 0.03, ankle[1], ankle[2] - 0.03), (ankle[0] + 0.16, ankle[1], ankle[2] - 0.035)],
        (0.055, 0.045),
        look.shoes,
    )
    return Group((shoe, shin, limb([hip, knee], (0.1, 0.078), look.trousers)))


def arm(shoulder: Sequence[float], elbow: Sequence[float], wrist: Sequence[float], look: Look) -> Group:
    """An arm with its hand."""
    return Group(
        (
            limb([wrist], (0.055,), look.skin),
            limb([elbow, wrist], (0.058, 0.045), look.sleeves),
            limb([shoulder, elbow], (0.072, 0.06), look.sleeves),
        )
    )


def torso(hip: Sequence[float], chest: Sequence[float], look: Look) -> Group:
    """The trunk between the middle of the hips and the middle of the shoulders."""
    low, high = np.asarray(hip, float), np.asarray(chest, float)
    left, up = np.array([0.0, 1.0, 0.0]), high - low

    def slice_at(share: float, half: float) -> list[Array]:
        return [low + up * share - left * half, low + up * share + left * half]

    shapes: list[Shape] = [
        limb([*slice_at(0.0, 0.09), *slice_at(0.3, 0.09)], (0.09, 0.09, 0.09, 0.09), look.trousers),
        limb(
            [*slice_at(0.18, 0.1), *slice_at(0.6, 0.12), *slice_at(1.0, 0.14)],
            (0.085, 0.085, 0.1, 0.1, 0.08, 0.08),
            look.top,
        ),
    ]
    if look.stripes:
        silver = paint("#e3e8ea")
        shapes.extend(limb(slice_at(share, 0.17), (0.025, 0.025), silver) for share in (0.34, 0.58))
        shapes.extend(limb([slice_at(0.6, y)[1], slice_at(1.08, y)[1]], (0.024, 0.024), silver) for y in (-0.1, 0.1))
    return Group(tuple(shapes))


def head(chest: Sequence[float], look: Look) -> list[Group]:
    """The neck and the head with hair and perhaps a helmet, on levels above the body."""
    x, y, z = chest
    hair = limb([(x - 0.01, y, z + 0.25), (x - 0.05, y, z + 0.18)], (0.1, 0.092), look.hair)
    face = limb([(x + 0.03, y, z + 0.215), (x + 0.035, y, z + 0.15)], (0.096, 0.078), look.skin)
    neck = limb([(x, y, z), (x, y, z + 0.12)], (0.055, 0.055), look.skin)
    groups = [Group((neck,), 1), Group((hair, face), 2, False)]
    if look.helmet is not None:
        shell = [(x, y - 0.03, z + 0.275), (x, y + 0.03, z + 0.275), (x + 0.1, y, z + 0.255)]
        groups.append(Group((limb(shell, (0.105, 0.105, 0.045), look.helmet),), 3))
    return groups


def random_look(random: Random) -> Look:
    """The clothes of ground crew or, less often, of a passenger."""
    skin, hair = paint(choice(random, SKINS)), paint(choice(random, HAIRS))
    if random.random() < 0.65:
        top = paint(choice(random, ["#d8f02a", "#d8f02a", "#ff7a1a"]))
        sleeves = choice(random, [top, paint("#26344a"), paint("#3c4148")])
        trousers = paint(choice(random, ["#26344a", "#2d3034", "#4a4f55"]))
        helmet = paint(choice(random, ["#f4f4f0", "#f2b61c", "#2f66a8"])) if random.random() < 0.6 else None
        return Look(skin, hair, top, sleeves, trousers, RUBBER, True, helmet, None)
    top = paint(choice(random, ["#b23a48", "#3a6ea5", "#e6e2d8", "#5b7f5b", "#74508c", "#d08a3e", "#384452"]))
    trousers = paint(choice(random, ["#2f3e57", "#5a5148", "#20242a", "#8d8371"]))
    pack = paint(choice(random, ["#20242a", "#7d2f2f", "#33553f"])) if random.random() < 0.45 else None
    return Look(skin, hair, top, top, trousers, choice(random, [RUBBER, paint("#d8d8d4")]), False, None, pack)
