"""The public detectors of this family, recognised by their weights."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

# SHA-384 of the .bin files of Open Model Zoo's detectors of this family, whose classes are vehicle, person, bike.
# Source: the model.yml files of Open Model Zoo 2022.1.
VEHICLE_PERSON_BIKE = frozenset(
    {
        "0b386e482e98f3bc00c2726e3c8dc713f433b2dfc9066ef6bb5d39ac8669ab1df5cf791c545b7a91a84dd17c2b1106bd",
        "aaedcef1be99a9fb5bf30b57870fefc0b61c184a88297953f1a9ab26910aa5ed958190f3e991fc018a8ffda745c9f3e2",
        "691e4caf8161058dec0ee482cd2ac81b0beda330b733a9894adbbb1d63d3c11afb93c12e95d193722454dbb8b34d0519",
    }
)


def known_classes(path: str | os.PathLike[str]) -> tuple[str, ...] | None:
    """The classes of a public exported model, recognised by its weights; None for any other."""
    digest = hashlib.sha384(Path(path).with_suffix(".bin").read_bytes()).hexdigest()
    return ("vehicle", "person", "bike") if digest in VEHICLE_PERSON_BIKE else None
