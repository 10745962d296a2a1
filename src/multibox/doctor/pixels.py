"""What is odd about how images look: nearly black, few bits of sixteen, grey among colours, of another size."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from multibox.data.coco import CocoData
from multibox.doctor.checks import Finding
from multibox.doctor.looks import Look
from multibox.wording import counted, quoted

NEARLY_BLACK = 12
"""Mean value, of 255, below which an image is nearly black. Photographs taken at night have 20 and more."""

NEARLY_GREY = 1.0
"""Mean difference of the channels, of 255, below which an image has no colour."""

MOST = 0.8
"""Share of images that are alike, from which on the others are odd."""


def check_pixels(split: str, looks: Sequence[Look]) -> Iterator[Finding]:
    """Images that are nearly black, that use few of their 16 bits, or are grey where most have colour."""
    total = counted(len(looks), "image")
    black = [quoted(look.name) for look in looks if look.brightness < NEARLY_BLACK]
    if black:
        text = f"{len(black)} of {total} nearly black: is that what you see in your viewer?"
        yield Finding("warning", "nearly-black-images", split, len(black), text, tuple(black))
    few_bits = [
        f"{quoted(look.name)}: {look.used_bits} bits"
        for look in looks
        if look.used_bits is not None and look.used_bits < 16
    ]
    if few_bits:
        text = (
            f"{len(few_bits)} of {total} of 16 bits with a small range: multibox reads the bits in use, also "
            "when it predicts; a program that takes the upper 8 sees them nearly black"
        )
        yield Finding("warning", "few-bits-of-sixteen", split, len(few_bits), text, tuple(few_bits))
    grey = [quoted(look.name) for look in looks if look.colour < NEARLY_GREY]
    if grey and len(grey) <= (1 - MOST) * len(looks):
        text = f"{len(grey)} of {total} without colour, where most have some"
        yield Finding("note", "grey-images", split, len(grey), text, tuple(grey))


def check_odd_sizes(split: str, data: CocoData) -> Iterator[Finding]:
    """A few images of other sizes where nearly all have one."""
    sizes = Counter((record.width, record.height) for record in data.records)
    (usual, count), total = sizes.most_common(1)[0], len(data.records)
    if count == total or count < MOST * total:
        return
    others = [record for record in data.records if (record.width, record.height) != usual]
    lines = tuple(f"{quoted(record.file_name)}: {record.width} x {record.height}" for record in others)
    text = f"{len(others)} of {counted(total, 'image')} not {usual[0]} x {usual[1]} px as all the others"
    yield Finding("note", "images-of-other-sizes", split, len(others), text, lines)
