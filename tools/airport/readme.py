"""The read-me text of the data set."""

from __future__ import annotations

from typing import Any

from airport.camera import HEIGHT, WIDTH
from airport.things import NON_VEHICLE, PERSON, VEHICLE

LICENCE = "Apache-2.0"


def readme(documents: dict[str, dict[str, Any]], seed: int) -> str:
    """The read-me text of the data set."""
    sizes = " ".join(f"--{part} {len(document['images'])}" for part, document in documents.items())
    rows = "\n".join(table_row(part, document) for part, document in documents.items())
    return f"""# Airport toy data set

Pictures of an airport apron as three fixed cameras would see it, by day, at low sun, at dusk and at night, in clear
air, rain, fog and snow. Nothing in them is real: `tools/draw_airport.py` draws every picture and writes its labels.
The same seed gives the same scenes and boxes.

```
python tools/draw_airport.py data/airport --seed {seed} {sizes}
```

| part | images | vehicle | person | non-vehicle | boxes |
|---|---:|---:|---:|---:|---:|
{rows}

- Pictures: {WIDTH} x {HEIGHT} JPEG in `train/` and `val/`; all three cameras are in both, at different moments.
- Labels: COCO, in `annotation_example_train.json` and `annotation_example_val.json`.
- `vehicle`: vans, cars, buses, trucks, and tugs together with the baggage carts they pull.
- `person`: people on foot, also those who push something.
- `non-vehicle`: bicycles and scooters together with their riders; luggage trolleys and roll carts without the person
  who pushes them.
- A box holds the whole object, hidden parts too, up to the edge of the picture, without its shadow. An object of which
  more than 70 % is hidden has no box. Parked aircraft, buildings, containers and cones are scenery and have none.
- A few training pictures are empty on purpose.

Licence: {LICENCE}, as the project.
"""


def table_row(part: str, document: dict[str, Any]) -> str:
    """The line of the read-me table for a part."""
    boxes = [item["category_id"] for item in document["annotations"]]
    counts = " | ".join(str(boxes.count(category)) for category in (VEHICLE, PERSON, NON_VEHICLE))
    return f"| {part} | {len(document['images'])} | {counts} | {len(boxes)} |"
