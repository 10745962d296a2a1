"""What is left to chance, which a seed decides."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

Random = np.random.Generator


def choice(random: Random, options: Sequence[Any]) -> Any:
    """One of the options, all equally likely."""
    return options[int(random.integers(len(options)))]
