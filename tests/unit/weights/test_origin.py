from __future__ import annotations

import hashlib

import pytest

from multibox.weights.origin import UNKNOWN_LICENCE, origin_of, origin_of_packaged


def test_of_an_unknown_file_nothing_is_claimed(tmp_path):
    path = tmp_path / "person-vehicle-bike-detection-2000.pth"  # a name proves nothing
    path.write_bytes(b"weights")
    origin = origin_of(path)
    assert (origin.source, origin.licence) == ("unknown", UNKNOWN_LICENCE)
    assert origin.sha256 == hashlib.sha256(b"weights").hexdigest()


def test_a_checkpoint_is_bound_by_what_its_own_start_was_bound_by(tmp_path):
    path = tmp_path / "best.pth"
    path.write_bytes(b"weights")
    origin = origin_of(path, recorded={"name": "snapshot.pth", "licence": "Apache-2.0"})
    assert origin.licence == "Apache-2.0"
    assert origin.source == "a checkpoint of multibox that began from snapshot.pth"
    assert origin_of(path, recorded={}).licence == UNKNOWN_LICENCE


def test_public_weights_are_recognised_by_their_bytes_under_any_name(shared, tmp_path):
    folder = shared / "pretrained/person-vehicle-bike-detection-2000/FP16"
    for suffix in (".xml", ".bin"):
        source = folder / f"person-vehicle-bike-detection-2000{suffix}"
        (tmp_path / f"renamed{suffix}").write_bytes(source.read_bytes())
    for name in ("renamed.xml", "renamed.bin"):
        origin = origin_of(tmp_path / name)
        assert origin.licence == "Apache-2.0"
        assert "Open Model Zoo" in origin.source


def test_weights_that_speak_for_themselves_are_ours_only_if_they_came_with_the_package(tmp_path):
    path = tmp_path / "start.safetensors"
    path.write_bytes(b"weights")
    ours, theirs = (origin_of_packaged(path, source="a tale", is_ours=is_ours) for is_ours in (True, False))
    assert ours.source == theirs.source == "a tale"
    assert ours.licence.startswith("Apache-2.0")
    assert theirs.licence == UNKNOWN_LICENCE


def test_a_missing_file_is_an_error_of_the_system(tmp_path):
    with pytest.raises(FileNotFoundError):
        origin_of(tmp_path / "gone.pth")
