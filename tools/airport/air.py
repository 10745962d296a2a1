"""The light of a time of day, and what the weather makes of it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from airport.arrays import Array
from airport.chance import Random
from airport.colours import Colour, mixed, paint, tinted

FAR = 260.0  # no haze gathers beyond: the trees stand there


@dataclass(frozen=True)
class Air:
    """The light and the weather of one moment."""

    light: str
    weather: str
    ambient: Colour
    sun: Colour
    direction: Array
    sky_top: Colour
    sky_low: Colour
    cloud: float
    cloud_colour: Colour
    haze: float
    lamps: float
    wet: float = 0.0
    snow: float = 0.0

    @property
    def night(self) -> bool:
        """Whether lamps and windows glow."""
        return self.lamps > 0


@dataclass(frozen=True)
class Daylight:
    """The light of a time of day in clear air; elevation is the range of the height of the sun in degrees."""

    ambient: Colour
    sun: Colour
    elevation: tuple[float, float]
    sky_top: str
    sky_low: str
    cloud_colour: str
    haze: float
    lamps: float = 0.0
    cloud_share: float = 1.0


DAYLIGHTS = {
    "day": Daylight((0.50, 0.47, 0.44), (0.62, 0.71, 0.76), (36, 54), "#4f8fcb", "#c9deea", "#f6f7f8", 1200.0),
    "low": Daylight((0.62, 0.53, 0.47), (0.55, 0.92, 1.22), (17, 25), "#6f93bd", "#f3d3a4", "#fbe3c4", 500.0),
    "dusk": Daylight((0.54, 0.45, 0.42), (0.12, 0.24, 0.42), (11, 13), "#3a4a7d", "#f0a878", "#b98a93", 700.0, 0.5),
    "night": Daylight(
        (0.27, 0.205, 0.17), (0.0, 0.0, 0.0), (30, 50), "#0b1226", "#2a3250", "#27304a", 500.0, 0.85, 0.5
    ),
}


def random_air(light: str, weather: str, random: Random) -> Air:
    """The air of a time of day under a weather."""
    air = clear_air(light, random)
    if weather == "clear":
        return air
    luma = sum(air.sky_low) / 3
    grey = mixed(air.sky_low, (luma * 1.02, luma * 0.99, luma * 0.96), 0.85)
    grey = tinted(grey, 0.92)
    dim: Colour = (air.sun[0] * 0.14, air.sun[1] * 0.14, air.sun[2] * 0.14)
    scattered = [ambient + sun for ambient, sun in zip(air.ambient, air.sun, strict=True)]
    lift = mixed(air.ambient, (scattered[0], scattered[1], scattered[2]), 0.37)
    covered = replace(
        air,
        weather=weather,
        sun=dim,
        ambient=lift,
        sky_low=grey,
        sky_top=tinted(grey, 0.78),
        cloud=0.9,
        cloud_colour=tinted(grey, 1.05),
    )
    if weather == "rain":
        return replace(covered, haze=180.0, wet=1.0, ambient=tinted_light(lift, 0.9))
    if weather == "snow":
        return replace(covered, haze=120.0, snow=float(random.uniform(0.5, 0.9)), sky_top=tinted(grey, 0.9))
    thick = float(random.uniform(48, 75))
    return replace(covered, haze=thick, sky_top=tinted(grey, 0.96), cloud=0.2)


def clear_air(light: str, random: Random) -> Air:
    """The air of a time of day without any weather."""
    kind = DAYLIGHTS[light]
    # The sun stands behind the camera, to one side, so that most of what is seen is lit.
    azimuth = float(random.choice([195.0, 210.0, 230.0, 310.0, 330.0, 345.0])) + float(random.uniform(-12, 12))
    return Air(
        light=light,
        weather="clear",
        ambient=kind.ambient,
        sun=kind.sun,
        direction=towards(azimuth, float(random.uniform(*kind.elevation))),
        sky_top=paint(kind.sky_top),
        sky_low=paint(kind.sky_low),
        cloud=float(random.uniform(0.15, 0.8)) * kind.cloud_share,
        cloud_colour=paint(kind.cloud_colour),
        haze=kind.haze,
        lamps=kind.lamps,
    )


def towards(azimuth: float, elevation: float) -> Array:
    """The unit vector towards a light, the azimuth in degrees from x."""
    a, e = np.deg2rad(azimuth), np.deg2rad(elevation)
    return np.array([np.cos(a) * np.cos(e), np.sin(a) * np.cos(e), np.sin(e)])


def tinted_light(light: Colour, factor: float) -> Colour:
    """A light made weaker or stronger."""
    return light[0] * factor, light[1] * factor, light[2] * factor
