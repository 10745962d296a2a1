"""How long each runtime takes for one image, all of them taking turns."""

from __future__ import annotations

import time
from collections.abc import Mapping

import numpy as np

from multibox.runtime.protocol import Runtime
from multibox.structures import Image

WARM_UP_ROUNDS = 1
"""Number of first rounds that are not timed. The comparison has run every file on all images by then."""

MIN_ROUNDS = 5
"""Number of rounds that are timed even if they take longer than asked for."""


def median_ms(runtimes: Mapping[str, Runtime], image: Image, *, seconds: float = 0.25) -> dict[str, float]:
    """Median time in ms of a call of each runtime, from one BGR image to its detections, measured for `seconds` in all.

    The runtimes take turns, so that whatever else the machine does slows all of them alike. The order of turns is
    reversed each time, so that no runtime always follows the same other one, whose threads may still be winding down.
    """
    names = list(runtimes)
    for _ in range(WARM_UP_ROUNDS):
        for name in names:
            runtimes[name]([image])
    times: dict[str, list[float]] = {name: [] for name in names}
    end = time.perf_counter() + seconds
    num_rounds = 0
    while num_rounds < MIN_ROUNDS or time.perf_counter() < end:
        for name in names:
            start = time.perf_counter()
            runtimes[name]([image])
            times[name].append(1000 * (time.perf_counter() - start))
        names.reverse()
        num_rounds += 1
    return {name: float(np.median(of_runtime)) for name, of_runtime in times.items()}
