"""The picture that things are drawn into."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import cv2
import numpy as np

from airport.air import Air
from airport.arrays import Array, Picture
from airport.camera import NEAR, SCALE, clipped
from airport.colours import Colour, mixed, paint, tinted
from airport.scene import LAMP_TINT, Scene, lamp_light
from airport.shapes import Blob, Face, Shape, Stroke, points_of
from airport.things import Thing

SUBPIXEL = 4  # binary digits after the point that OpenCV takes for corners


class Canvas:
    """A picture that shapes are drawn into, with the light they give off and the mask of the thing being drawn."""

    def __init__(self, scene: Scene, air: Air, picture: Picture, mirrored: bool = False) -> None:
        self.scene, self.air, self.picture = scene, air, picture
        self.camera = replace(scene.camera, mirrored=mirrored)
        self.glow: Picture | None = np.zeros_like(picture) if air.night and not mirrored else None
        self.mask: Picture = np.zeros(picture.shape[:2], np.uint8)

    def fill(self, pixels: Array, colour: Colour, glow: Colour = (0.0, 0.0, 0.0)) -> None:
        """Fill a polygon."""
        if len(pixels) < 3:
            return
        corners = [np.round(np.clip(pixels, -9000, 9000) * 2**SUBPIXEL).astype(np.int32)]
        cv2.fillPoly(self.picture, corners, colour, cv2.LINE_AA, SUBPIXEL)
        cv2.fillPoly(self.mask, corners, 255, cv2.LINE_8, SUBPIXEL)
        if self.glow is not None:
            cv2.fillPoly(self.glow, corners, glow, cv2.LINE_AA, SUBPIXEL)

    def lit(self, colour: Colour, light: float, sky: float, at: Array) -> Colour:
        """A colour under the sun at a strength, the sky and the lamps, behind the haze."""
        air = self.air
        lamps = air.lamps * float(lamp_light(self.scene, at[0], at[1])) * (0.45 + 0.55 * sky) if air.lamps else 0.0
        if air.snow and sky > 0.97 and at[2] > 0.15:
            colour = mixed(colour, paint("#f4f6f8"), 0.75 * air.snow)
        veil = 1.0 - float(np.exp(-float(np.hypot(at[0], at[1])) / air.haze))
        tones = []
        channels = zip(colour, air.ambient, air.sun, LAMP_TINT, air.sky_low, strict=True)
        for channel, ambient, sun, warm, haze in channels:
            tone = channel * (ambient * (0.72 + 0.28 * sky) + sun * light + lamps * warm)
            tones.append(min(255.0, tone) * (1 - veil) + haze * veil)
        return tones[0], tones[1], tones[2]

    def draw_face(self, face: Face) -> None:
        """Draw a face if its front is seen."""
        if not self.camera.faces(face):
            return
        seen = clipped(self.camera.seen(face.points))
        if len(seen) < 3:
            return
        light, sky = max(0.0, float(face.normal @ self.air.direction)), 0.5 + 0.5 * float(face.normal[2])
        colour = self.lit(face.colour, light, sky, face.points.mean(axis=0))
        strength = face.glow if self.air.light == "night" else face.glow * 0.6
        if not self.air.night or strength == 0:
            self.fill(self.camera.pixels(seen), colour)
            return
        source = face.colour if max(face.colour) > 200 else paint("#ffdf9e")
        # Lamps dazzle; a lit window only shines.
        halo = tinted(source, strength if face.glow == 1.0 else strength * 0.25)
        self.fill(self.camera.pixels(seen), mixed(colour, source, min(1.0, strength * 0.85)), halo)

    def draw_blob(self, blob: Blob) -> None:
        """Draw the hull of spheres, lighter where the light falls on it."""
        seen = self.camera.seen(blob.centres)
        if float(seen[:, 2].min()) < NEAR:
            return
        pixels = self.camera.pixels(seen)
        radii = np.asarray(blob.radii) * self.camera.focal * SCALE / seen[:, 2]
        turn = np.linspace(0, 2 * np.pi, 18, endpoint=False)
        circle = np.stack([np.cos(turn), np.sin(turn)], axis=1)
        at = blob.centres.mean(axis=0)
        sun = self.air.direction
        shift = np.array([sun[0], -sun[2]]) * (1.0 if max(self.air.sun) > 0.2 else 0.6)
        for size, move, light, sky in ((1.0, 0.0, 0.24, 0.4), (0.8, 0.18, 0.5, 0.62), (0.52, 0.36, 0.78, 0.85)):
            middles = pixels + shift * (radii * move)[:, None]
            outline = middles[:, None, :] + circle[None] * (radii * size)[:, None, None]
            hull = cv2.convexHull(outline.reshape(-1, 2).astype(np.float32))
            self.fill(np.asarray(hull, float).reshape(-1, 2), self.lit(blob.colour, light, sky, at))

    def draw_stroke(self, stroke: Stroke) -> None:
        """Draw a bar as wide as it looks from its distance, but never less than a hair."""
        seen = self.camera.seen(stroke.points)
        if float(seen[:, 2].min()) < NEAR:
            return
        pixels = self.camera.pixels(seen)
        width = max(1, round(2 * stroke.radius * self.camera.focal * SCALE / float(seen[:, 2].mean())))
        colour = self.lit(stroke.colour, 0.4, 0.7, stroke.points.mean(axis=0))
        corners = [np.round(np.clip(pixels, -9000, 9000) * 2**SUBPIXEL).astype(np.int32)]
        cv2.polylines(self.picture, corners, False, colour, width, cv2.LINE_AA, SUBPIXEL)
        cv2.polylines(self.mask, corners, False, 255, width, cv2.LINE_8, SUBPIXEL)
        if self.glow is not None:
            cv2.polylines(self.glow, corners, False, (0, 0, 0), width, cv2.LINE_AA, SUBPIXEL)

    def distance(self, shapes: Iterable[Shape]) -> float:
        """How far the middle of some shapes is from the camera."""
        middle = np.mean([points_of(shape).mean(axis=0) for shape in shapes], axis=0)
        return float(np.linalg.norm(middle - [0.0, 0.0, self.camera.height]))

    def draw(self, thing: Thing) -> None:
        """Draw a thing from far to near; its mask is left in self.mask."""
        self.mask[:] = 0
        parts = sorted(thing.parts, key=lambda part: -self.distance(s for group in part for s in group.shapes))
        for part in parts:
            filled = [group for group in part if group.shapes]
            for group in sorted(filled, key=lambda group: (group.level, -self.distance(group.shapes))):
                shapes = group.shapes
                if not group.in_order:
                    shapes = tuple(sorted(shapes, key=lambda shape: -self.distance([shape])))
                for shape in shapes:
                    self.draw_shape(shape)
        if thing.category:
            self.shade_downwards()

    def draw_shape(self, shape: Shape) -> None:
        """Draw a face, a blob or a stroke."""
        if isinstance(shape, Face):
            self.draw_face(shape)
        elif isinstance(shape, Blob):
            self.draw_blob(shape)
        else:
            self.draw_stroke(shape)

    def shade_downwards(self) -> None:
        """Darken what was drawn last towards its foot, as the ground takes light away there."""
        x, y, width, height = cv2.boundingRect(self.mask)
        if width == 0:
            return
        part = self.picture[y : y + height, x : x + width]
        factor = np.linspace(1.05, 0.83, height, dtype=np.float32)[:, None, None]
        shaded = np.clip(part.astype(np.float32) * factor, 0, 255).astype(np.uint8)
        np.copyto(part, shaded, where=self.mask[y : y + height, x : x + width, None] > 0)
