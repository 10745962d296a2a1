"""Where data lie: on this machine, in a .zip or not, or behind an address that fsspec can read (s3://, ...)."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import cast

from multibox.data.archives import archived
from multibox.errors import DataError, DependencyError

ADDRESS = re.compile(r"\w[\w+.-]+://")
"""The beginning of an address; a drive of Windows has one letter."""


def locate(place: str | os.PathLike[str]) -> Path:
    """A path, or for an address an object that reads like one (`UPath`): `/`, `open`, `read_bytes`, `stat`, `is_dir`.

    What is in a .zip is read in place, see `archives.ArchivedPath`.

    Raises:
        DependencyError: universal_pathlib, or what speaks this protocol, is not installed.
        DataError: there is no such protocol.
    """
    if not isinstance(place, str) or not ADDRESS.match(place):
        return cast(Path, place) if is_remote(place) else archived(place if isinstance(place, Path) else Path(place))
    try:
        from upath import UPath
    except ImportError as error:
        raise DependencyError(
            f'{place}: reading over an address needs universal-pathlib. Install it with: pip install "multibox[remote]"'
        ) from error
    try:
        path = UPath(place)
        path.fs  # noqa: B018 - what the protocol needs is imported here
    except ImportError as error:
        raise DependencyError(f"{place}: {error}.") from error
    except ValueError as error:
        raise DataError(f"{place}: {error}. Correct the address.") from error
    return cast(Path, path)


def is_remote(place: object) -> bool:
    """Whether this is no path of this machine."""
    return not isinstance(place, str | os.PathLike)
