"""Where the images of an annotation file are, though the file itself is not in order."""

from __future__ import annotations

import json

import pytest

from multibox.data.layouts import find_layout


@pytest.mark.parametrize(
    "content",
    [
        '{"images": [{"id": 1, "file_name": "a.png"}], "categories": [], "annotations": [{"image_id": 1, '
        '"category_id": 1, "area": NaN}]}',
        "\ufeff" + json.dumps({"images": [{"id": 1, "file_name": "a.png"}], "annotations": [], "categories": []}),
        json.dumps({"images": [{"id": 1, "file_name": "sub\\a.png"}], "annotations": [], "categories": []}),
    ],
    ids=["numbers that are no JSON", "a byte order mark", "a name from Windows"],
)
def test_the_folder_of_images_is_found(tmp_path, content):
    (tmp_path / "annotations_train.json").write_text(content, encoding="utf-8")
    for name in ("a.png", "sub/a.png"):
        (tmp_path / "train" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "train" / name).write_bytes(b"")
    assert find_layout(tmp_path).splits["train"].root == tmp_path / "train"
