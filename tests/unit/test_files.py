from __future__ import annotations

from pathlib import Path

import pytest

from multibox.files import atomic_path, kind_of, model_files, write_atomically


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_text_is_written_as_utf8_with_its_line_ends(tmp_path):
    write_atomically(tmp_path / "grün.txt", "größe\r\n1\n")
    assert (tmp_path / "grün.txt").read_bytes() == "größe\r\n1\n".encode()


def test_bytes_take_the_place_of_what_was_there(tmp_path):
    (tmp_path / "a.bin").write_bytes(b"old and longer")
    write_atomically(tmp_path / "a.bin", b"new")
    assert (tmp_path / "a.bin").read_bytes() == b"new"
    assert names(tmp_path) == ["a.bin"]


def test_temporary_file_lies_beside_its_target_and_has_its_ending(tmp_path):
    with atomic_path(tmp_path / "model.onnx") as temporary:
        assert temporary.parent == tmp_path
        assert temporary.suffix == ".onnx"
        temporary.write_bytes(b"content")
        assert not (tmp_path / "model.onnx").exists()
    assert names(tmp_path) == ["model.onnx"]


def test_failure_keeps_what_was_there_and_leaves_nothing_behind(tmp_path):
    (tmp_path / "a.txt").write_text("old", encoding="utf-8")
    with pytest.raises(KeyboardInterrupt), atomic_path(tmp_path / "a.txt") as temporary:
        temporary.write_text("half", encoding="utf-8")
        raise KeyboardInterrupt
    assert (tmp_path / "a.txt").read_text(encoding="utf-8") == "old"
    assert names(tmp_path) == ["a.txt"]


def test_block_that_writes_nothing_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError), atomic_path(tmp_path / "a.txt"):
        pass
    assert names(tmp_path) == []


def test_missing_folder_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        write_atomically(tmp_path / "absent" / "a.txt", "text")


@pytest.mark.parametrize(
    ("name", "kind", "files"),
    [
        ("runs/latest.pth", "checkpoint", ["runs/latest.pth"]),
        ("export/model.xml", "openvino", ["export/model.bin", "export/model.xml"]),
        ("export/model.bin", "openvino", ["export/model.bin", "export/model.xml"]),
        ("MODEL.ONNX", "onnx", ["MODEL.ONNX"]),
        ("weights.safetensors", None, ["weights.safetensors"]),
        ("pth", None, ["pth"]),
    ],
)
def test_the_ending_of_a_name_says_what_kind_of_model_it_is(name, kind, files):
    assert kind_of(name) == kind
    assert model_files(name) == tuple(map(Path, files))
