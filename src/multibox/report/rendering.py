"""Rendering a template of this folder into one file that needs nothing else."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from multibox import __version__
from multibox.drawing import colour
from multibox.report.sentences import interval
from multibox.wording import percent, visible

FOLDER = Path(__file__).parent / "assets"


def render(template: str, context: Mapping[str, Any]) -> str:
    """The page. Everything in `context` is escaped, but what `svg` and `as_json` made."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: value if isinstance(value, Markup) else _shown(value),
    )
    environment.globals |= {"percent": percent, "interval": interval, "colour": css_colour}
    script = (FOLDER / "script.js").read_text(encoding="utf-8")
    # The browser runs this script and no other, whatever a name in the data may hold.
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return environment.get_template(template).render(
        **context,
        style=Markup((FOLDER / "style.css").read_text(encoding="utf-8")),
        script=Markup(script),
        script_hash=f"sha256-{digest}",
        version=__version__,
        date=datetime.now().astimezone().strftime("%Y-%m-%d %H:%M"),
    )


def svg(drawing: str) -> Any:
    """A drawing of `plots`, which escapes the texts in it, for a template."""
    from markupsafe import Markup

    return Markup(_shown(drawing))


def as_json(value: Any) -> Any:
    """Plain values for a script element: no text in them can end it."""
    from markupsafe import Markup

    return Markup(json.dumps(_shown(value), separators=(",", ":")).replace("<", "\\u003c"))


def _shown(value: Any) -> Any:
    """A value in whose texts letters are shown that change the order of others, or are none; lines stay lines."""
    if isinstance(value, str):
        return "\n".join(map(visible, value.split("\n")))
    if isinstance(value, Mapping):
        return {_shown(key): _shown(item) for key, item in value.items()}
    return [_shown(item) for item in value] if isinstance(value, list | tuple) else value


def css_colour(label: int) -> str:
    """The colour of a class, as on drawings."""
    blue, green, red = colour(label)
    return f"#{red:02x}{green:02x}{blue:02x}"
