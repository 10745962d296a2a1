"""Where starting weights come from and under which licence, as far as the file itself proves it. No torch needed."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct

from multibox import config
from multibox.config import bundled_templates
from multibox.files import sha256
from multibox.weights.public_models import known_classes

UNKNOWN_LICENCE = "unknown: ask whoever gave you the file"


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
    weights = file.with_suffix(".bin") if file.suffix.lower() in {".xml", ".bin"} else file
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
    """The same of weights that say themselves where they come from, in words; `is_ours`: they came with this package.

    Raises:
        OSError: the file cannot be read.
    """
    licence = PACKAGED_LICENCE if is_ours else UNKNOWN_LICENCE
    return WeightsOrigin(name=Path(path).name, sha256=sha256(path), source=source, licence=licence)


def _published(digest: str) -> str | None:
    """The address that a template of ours names for a file of this hash."""
    dependencies = (one for path in bundled_templates().values() for one in config.load(path).dependencies)
    return next((one.source for one in dependencies if one.sha256 == digest), None)
