"""What doctor says of how images look."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from multibox.data import coco
from multibox.doctor.looks import see
from multibox.doctor.pixels import check_odd_sizes, check_pixels


def read(folder: Path, *pictures: np.ndarray) -> coco.CocoData:
    images = []
    for number, picture in enumerate(pictures):
        cv2.imwrite(str(folder / f"{number}.png"), picture)
        images.append({"id": number, "file_name": f"{number}.png"})
    content = {"images": images, "annotations": [], "categories": [{"id": 1, "name": "a"}]}
    (folder / "a.json").write_text(json.dumps(content))
    return coco.read([folder / "a.json"], [folder])


def colours(top: int = 255, size: tuple[int, int] = (30, 40)) -> np.ndarray:
    return np.random.default_rng(0).integers(0, top, (*size, 3), dtype=np.uint8)


GREY = np.full((30, 40), 120, np.uint8)
TEN_BITS = np.linspace(0, 1023, 1200).astype(np.uint16).reshape(30, 40)


@pytest.mark.parametrize(
    ("pictures", "kinds"),
    [
        ([colours()] * 5, []),
        ([colours(top=20)] * 5, ["nearly-black-images"]),
        ([TEN_BITS] * 5, ["few-bits-of-sixteen"]),
        ([TEN_BITS * 64] * 5, []),
        ([colours()] * 9 + [GREY], ["grey-images"]),
        ([GREY] * 5, []),
        ([GREY] * 5 + [colours()] * 5, []),
    ],
)
def test_images_that_look_odd_are_named(tmp_path: Path, pictures: list[np.ndarray], kinds: list[str]) -> None:
    assert [
        finding.kind for finding in check_pixels("train", see({"train": read(tmp_path, *pictures)})["train"].looks)
    ] == kinds


def test_a_few_images_of_another_size_are_named(tmp_path: Path) -> None:
    (finding,) = check_odd_sizes("train", read(tmp_path, *[colours()] * 9, colours(size=(31, 40))))

    assert finding.text == "1 of 10 images not 40 x 30 px as all the others"
    assert finding.examples == ('"9.png": 40 x 31',)


def test_images_of_one_size_or_of_many_are_not(tmp_path: Path) -> None:
    assert not list(check_odd_sizes("train", read(tmp_path, *[colours()] * 3)))
    assert not list(check_odd_sizes("train", read(tmp_path, colours(), colours(size=(31, 40)))))
