from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from multibox.files import (
    atomic_path,
    check_regular,
    kind_of,
    model_files,
    read_limited,
    sha256,
    write_atomically,
)


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


def special_files(folder):
    """A pipe and a socket in this folder, and the device that never ends."""
    os.mkfifo(folder / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        # A socket's path is short: it is named from inside of its folder.
        before = Path.cwd()
        os.chdir(folder)
        try:
            server.bind("socket")
        finally:
            os.chdir(before)
    return [folder / "pipe", folder / "socket", Path("/dev/zero")]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
def test_what_is_no_file_is_refused_before_it_is_opened(tmp_path):
    (tmp_path / "link").symlink_to("/dev/zero")
    for path in [*special_files(tmp_path), tmp_path / "link"]:
        for read in (check_regular, sha256, lambda path: read_limited(path, 10)):
            with pytest.raises(OSError, match="this is a pipe, a socket or a device, no file"):
                read(path)


def test_files_and_folders_pass_and_what_is_missing_is_missing(tmp_path):
    (tmp_path / "a").write_bytes(b"12345")
    (tmp_path / "link").symlink_to(tmp_path / "a")
    for path in (tmp_path, tmp_path / "a", tmp_path / "link", str(tmp_path / "a"), object()):
        check_regular(path)
    for name in ("gone", "null\0", "half \ud800"):
        with pytest.raises(FileNotFoundError):
            check_regular(tmp_path / name)


def test_a_file_is_read_up_to_a_size(tmp_path):
    (tmp_path / "a").write_bytes(b"12345")
    assert read_limited(tmp_path / "a", 5) == b"12345"
    with pytest.raises(OSError, match="more than 4 bytes"):
        read_limited(tmp_path / "a", 4)
