"""Data behind addresses: the same set as on the disk, with the same faults named."""

from __future__ import annotations

import functools
import http.server
import threading
from pathlib import Path

import fsspec
import numpy as np
import pytest

from multibox.data import coco, images
from multibox.data.addresses import is_remote, locate
from multibox.errors import DataError, DependencyError


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        """Say nothing."""


@pytest.fixture
def server():
    """A function that serves a folder and gives its address."""
    servers = []

    def serve(folder: Path) -> str:
        handler = functools.partial(_Quiet, directory=str(folder))
        one = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=one.serve_forever, daemon=True).start()
        servers.append(one)
        return f"http://127.0.0.1:{one.server_address[1]}"

    yield serve
    for one in servers:
        one.shutdown()
        one.server_close()


@pytest.fixture
def memory(shapes_data):
    """The address of the shapes in fsspec's file system in memory."""
    store = fsspec.filesystem("memory")
    for file in shapes_data.train_root.iterdir():
        store.pipe(f"/shapes/train root/{file.name}", file.read_bytes())
    store.pipe("/shapes/train.json", shapes_data.train_file.read_bytes())
    yield "memory://shapes"
    store.rm("/shapes", recursive=True)


def test_paths_stay_paths(tmp_path):
    for place in ("a/b.json", "C:/data", "C:\\data", "s3:", "odd://"[:3], tmp_path):
        assert locate(place) == Path(place) and not is_remote(locate(place))


def test_a_set_in_a_store_is_the_one_on_the_disk(shapes_data, memory):
    here = coco.read([shapes_data.train_file], [shapes_data.train_root])
    there = coco.read([f"{memory}/train.json"], [f"{memory}/train root"])
    assert there.fingerprint == here.fingerprint
    assert is_remote(there.records[0].path) and str(there.sources[0][1]) == f"{memory}/train root"
    for one, other in zip(here.records, there.records, strict=True):
        np.testing.assert_array_equal(images.read_image(one.path), images.read_image(other.path))
    # What a run records leads back to it.
    again = coco.read([str(there.sources[0][0])], [str(there.sources[0][1])])
    assert again.fingerprint == here.fingerprint


def test_a_set_on_a_web_server(shapes_data, server):
    address = server(shapes_data.train_file.parent)
    root = shapes_data.train_root.relative_to(shapes_data.train_file.parent)
    data = coco.read([f"{address}/{shapes_data.train_file.name}"], [f"{address}/{root}"])
    here = coco.read([shapes_data.train_file], [shapes_data.train_root])
    assert data.fingerprint == here.fingerprint
    np.testing.assert_array_equal(images.read_image(data.records[3].path), images.read_image(here.records[3].path))


def test_missing_images_and_files_are_named(shapes_data, memory):
    store = fsspec.filesystem("memory")
    name = coco.read([f"{memory}/train.json"], [f"{memory}/train root"]).records[2].file_name
    store.rm(f"/shapes/train root/{name}")
    with pytest.raises(DataError, match=f"{name}.* is missing from memory://shapes/train root"):
        coco.read([f"{memory}/train.json"], [f"{memory}/train root"])
    with pytest.raises(DataError, match=r"memory://shapes/val.json: cannot read the annotations"):
        coco.read([f"{memory}/val.json"], [f"{memory}/train root"])


def test_a_server_that_does_not_answer_is_named(shapes_data):
    with pytest.raises(DataError, match=r"127.0.0.1:1/train.json: cannot read the annotations"):
        coco.read(["http://127.0.0.1:1/train.json"], ["http://127.0.0.1:1/train"])


def test_unknown_protocols_and_missing_libraries_are_one_line():
    with pytest.raises(DataError, match="nowhere://bucket/train"):
        locate("nowhere://bucket/train")
    with pytest.raises(DependencyError, match="s3fs"):
        locate("s3://bucket/train")
