"""Where starting weights come from and under which licence, as far as the file itself proves it. No torch needed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct

from multibox import config
from multibox.config import bundled_templates
from multibox.files import check_regular, kind_of, sha256

# SHA-384 of the .bin files of Open Model Zoo's detectors of this family, whose classes are vehicle, person, bike.
# Source: the model.yml files of Open Model Zoo 2022.1.
VEHICLE_PERSON_BIKE = frozenset(
    {
        "0b386e482e98f3bc00c2726e3c8dc713f433b2dfc9066ef6bb5d39ac8669ab1df5cf791c545b7a91a84dd17c2b1106bd",
        "aaedcef1be99a9fb5bf30b57870fefc0b61c184a88297953f1a9ab26910aa5ed958190f3e991fc018a8ffda745c9f3e2",
        "691e4caf8161058dec0ee482cd2ac81b0beda330b733a9894adbbb1d63d3c11afb93c12e95d193722454dbb8b34d0519",
    }
)

UNKNOWN_LICENCE = "unknown: ask where the file is from"


class WeightsOrigin(Struct, frozen=True, kw_only=True):
    """`name` of the file, SHA-256 of the bytes of its weights, what it is and its licence, in words."""

    name: str
    sha256: str | None
    source: str
    licence: str


PACKAGED_LICENCE = "Apache-2.0; what they were trained on is in the NOTICE of multibox"

RANDOM = WeightsOrigin(name="random weights", sha256=None, source="drawn at random", licence="none needed")


def origin_of(path: str | os.PathLike[str], *, recorded: Mapping[str, Any] | None = None) -> WeightsOrigin:
    """What is known of a file of weights (.pth, .xml or .bin) by its hash; its name proves nothing.

    `recorded` is what a checkpoint of ours says of its own start: whatever binds that, binds it too.

    Raises:
        OSError: the file cannot be read.
    """
    file = Path(path)
    weights = file.with_suffix(".bin") if kind_of(file) == "openvino" else file
    digest = sha256(weights)
    source, licence = "unknown", UNKNOWN_LICENCE
    if weights.suffix == ".bin" and known_classes(file) is not None:
        # The licence that Open Model Zoo's model.yml names.
        source, licence = "Open Model Zoo, person-vehicle-bike-detection (recognised by its weights)", "Apache-2.0"
    elif recorded is not None:
        source = f"a checkpoint of multibox that began from {recorded.get('name', 'unknown weights')}"
        licence = str(recorded.get("licence", UNKNOWN_LICENCE))
    else:
        published = _published(digest)
        source = f"published at {published} (recognised by its hash)" if published else source
    return WeightsOrigin(name=file.name, sha256=digest, source=source, licence=licence)


def origin_of_packaged(path: str | os.PathLike[str], *, source: str, is_ours: bool) -> WeightsOrigin:
    """What is known of a file of weights that says itself where they come from, in the words of `source`.

    `is_ours` if the file came with this package.

    Raises:
        OSError: the file cannot be read.
    """
    licence = PACKAGED_LICENCE if is_ours else UNKNOWN_LICENCE
    return WeightsOrigin(name=Path(path).name, sha256=sha256(path), source=source, licence=licence)


def known_classes(path: str | os.PathLike[str]) -> tuple[str, ...] | None:
    """The classes of a public exported model, recognised by its weights; None for any other."""
    file = Path(path).with_suffix(".bin")
    check_regular(file)
    digest = hashlib.sha384(file.read_bytes()).hexdigest()
    return ("vehicle", "person", "bike") if digest in VEHICLE_PERSON_BIKE else None


def _published(digest: str) -> str | None:
    """The address that a template of ours names for a file of this hash."""
    files = (file for path in bundled_templates().values() for file in config.load_template(path).dependencies)
    return next((file.source for file in files if file.sha256 == digest), None)
