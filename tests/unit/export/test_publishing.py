"""Which files an export leaves in a folder that holds others already."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest

from multibox.export.run import ExportedFile, Request, _publish, outputs_of_export
from multibox.runtime.contract import ExportInfo, Origin
from multibox.unfinished import unfinished_folder

ONNX_HEAD = b"\x08\x0a\x12\x08multibox\x1a\x050.1.0"
OURS = {".xml": b"<net><rt_info><multibox>x</multibox></rt_info></net>", ".bin": b"weights", ".onnx": ONNX_HEAD}


SHA256 = "5f" * 32
"""Of the checkpoint that is exported."""


def published(home, *, is_rejected):
    """Publish model.xml, model.bin and the pages into a folder; its files by name."""
    with unfinished_folder(home) as folder:
        for name in ("model.xml", "model.bin", "export.json", "export.md"):
            (folder / name).write_text("new")
        info = cast(ExportInfo, SimpleNamespace(origin=Origin(checkpoint="best.pth", sha256=SHA256)))
        files = [ExportedFile("model.xml", folder / "model.xml", info)]
        _publish(files, folder, is_rejected=is_rejected)
    return {path.relative_to(home).as_posix(): path.read_bytes() for path in home.rglob("*") if path.is_file()}


@pytest.fixture
def older(tmp_path):
    """A folder with an export of more files, and files of the user."""
    for name in ("model.xml", "model.bin", "model.onnx", "raw/model.xml", "raw/model.bin"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(OURS[(tmp_path / name).suffix])
    for name in ("notes.txt", "raw/model.onnx", "alt_ssd_export/model.xml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"mine")
    return tmp_path


MINE = {"notes.txt": b"mine", "raw/model.onnx": b"mine", "alt_ssd_export/model.xml": b"mine"}


def test_an_export_leaves_nothing_of_another_checkpoint_beside_it_and_all_of_the_users(older):
    new = dict.fromkeys(("model.xml", "model.bin", "export.json", "export.md"), b"new")
    assert published(older, is_rejected=False) == {**new, **MINE}


def test_other_forms_of_the_same_checkpoint_stay(older):
    for name in ("model.onnx", "raw/model.xml"):
        with (older / name).open("ab") as file:
            file.write(SHA256.encode())
    new = dict.fromkeys(("model.xml", "model.bin", "export.json", "export.md"), b"new")
    after = published(older, is_rejected=False)
    assert set(after) == {*new, *MINE, "model.onnx", "raw/model.xml", "raw/model.bin"}


def test_a_rejected_export_leaves_the_older_one(older):
    before = {path.relative_to(older).as_posix(): path.read_bytes() for path in older.rglob("*") if path.is_file()}
    new = dict.fromkeys(("model.rejected.xml", "model.rejected.bin", "export.json", "export.md"), b"new")
    assert published(older, is_rejected=True) == {**before, **new}


def test_what_a_compression_made_of_a_file_is_no_earlier_export(older):
    xml = next(each for each in outputs_of_export(older, Request()) if each.path == older / "model.xml")
    assert xml.is_ours(xml.path)
    (older / "compress.json").write_text("{}")
    assert not xml.is_ours(xml.path)
