"""Cloud-like noise, for the sky and the ground."""

from __future__ import annotations

import cv2
import numpy as np

from airport.arrays import Layer
from airport.chance import Random


def cloud_noise(random: Random, size: int, slope: float) -> Layer:
    """A square of cloud-like noise from 0 to 1 that repeats without a seam; a high slope makes it smooth."""
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.fftfreq(size)[None, :])
    frequency[0, 0] = 1.0
    spectrum = np.fft.fft2(random.standard_normal((size, size))) / frequency**slope
    spectrum[0, 0] = 0.0
    noise = np.real(np.fft.ifft2(spectrum))
    return np.asarray(np.clip(0.5 + noise / (5 * noise.std()), 0, 1), np.float32)


def spread(noise: Layer, x: Layer, y: Layer, metres: float) -> Layer:
    """Noise laid over the ground, one square of it being so many metres wide."""
    size = noise.shape[0]
    columns, rows = (x / metres * size) % (size - 1), (y / metres * size) % (size - 1)
    return np.asarray(cv2.remap(noise, columns, rows, cv2.INTER_LINEAR), np.float32)
