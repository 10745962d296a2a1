"""A .zip is a folder to whoever reads a data set; it is never unpacked to the disk, and never trusted."""

from __future__ import annotations

import pickle
import shutil
import struct
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest

from multibox.data import archives, coco, images
from multibox.data.addresses import locate
from multibox.data.archives import ArchivedPath, archived
from multibox.data.dataset import Dataset
from multibox.data.layouts import find_layout
from multibox.data.loader import TrainLoader
from multibox.errors import DataError
from tests.conftest import ShapesData
from tests.unit.data.test_tools import cvat_coco


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A .zip of a small tree; its folder is beside it."""
    folder = tmp_path / "tree"
    for name in ("a.json", "images/b.jpg", "images/inner/c.jpg", "images/.hidden", "labels/b.txt", "ä/d e.txt"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name * 50, encoding="utf-8")
    (folder / "empty").mkdir()
    return Path(shutil.make_archive(str(folder), "zip", folder))


def zipped(path: Path, files: dict[str, bytes], **options: int) -> ArchivedPath:
    with zipfile.ZipFile(path, "w", **options) as archive:  # type: ignore[call-overload]
        for name, content in files.items():
            archive.writestr(name, content)
    return ArchivedPath(path)


@pytest.mark.parametrize("pattern", ["*", "*.json", "*/*.jpg", "**/*", "**/*.txt", "images/*", "nothing/*", "[ab]*"])
def test_it_lists_what_the_folder_lists(tree: Path, pattern: str) -> None:
    folder = tree.with_suffix("")

    found = sorted(path.relative_to(tree).as_posix() for path in archived(tree).glob(pattern))

    assert found == sorted(path.relative_to(folder).as_posix() for path in folder.glob(pattern))


def test_every_file_and_folder_is_what_it_is_in_the_folder(tree: Path) -> None:
    folder = tree.with_suffix("")
    for real in [folder, *folder.rglob("*"), folder / "absent", folder / "a.json/below"]:
        path = archived(tree) / real.relative_to(folder)
        assert (path.exists(), path.is_file(), path.is_dir()) == (real.exists(), real.is_file(), real.is_dir()), path
        if real.is_file():
            assert path.read_bytes() == real.read_bytes() and path.stat().st_size == real.stat().st_size
            assert path.read_text() == path.open(encoding="utf-8").read() == real.read_text(encoding="utf-8")
        elif not real.exists():
            with pytest.raises(FileNotFoundError):
                path.stat()


def test_walking_it_gives_the_files_of_the_folder(tree: Path) -> None:
    def files(folder: Path) -> dict[str, list[str]]:
        return {relative: sorted(names) for relative, names in archives.walk(folder)}

    assert files(archived(tree)) == files(tree.with_suffix(""))


def test_a_path_into_it_may_be_text_or_relative_or_pickled(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tree.parent)
    for place in ("tree.zip/a.json", Path("tree.zip") / "a.json", f"{tree}/images/../a.json"):
        assert locate(place).read_text().startswith("a.json")
    copy = pickle.loads(pickle.dumps(archived(Path("tree.zip/a.json"))))
    assert copy.read_text() == copy.resolve().read_text() == (copy.parent / "a.json").read_text()
    assert not archived(Path("tree.zip/../nothing")).exists() and not archived(Path("tree.zipper/a.json")).exists()


def test_a_folder_that_is_called_so_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / "set.zip").mkdir()

    assert not isinstance(archived(tmp_path / "set.zip/a.txt"), ArchivedPath)


def test_it_is_read_anew_when_it_was_replaced(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", {"a": b"old"}) / "a"
    assert path.read_bytes() == b"old"
    zipped(tmp_path / "a.zip", {"a": b"newer"})

    assert path.read_bytes() == b"newer"


def test_names_as_windows_and_old_programs_write_them(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", {"images\\b.jpg": b"b", "caf\xe9".encode().decode("cp437"): b"c"})
    data = (tmp_path / "a.zip").read_bytes()
    # Clear the flag of UTF-8, and put the bytes of UTF-8 where the name is.
    name = "caf\xe9".encode().decode("cp437").encode()
    assert data.count(name) == 2
    raw = "caf\xe9".encode().ljust(len(name), b"e")
    (tmp_path / "a.zip").write_bytes(data.replace(name, raw).replace(struct.pack("<H", 0x800), b"\0\0"))

    assert sorted(entry.name for entry in path.iterdir()) == [raw.decode(), "images"]
    assert (path / "images/b.jpg").read_bytes() == b"b"


def test_nothing_in_it_leads_outside(tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("outside")
    path = zipped(tmp_path / "a.zip", {"../secret.txt": b"inside", "/etc/passwd": b"inside"})
    with zipfile.ZipFile(tmp_path / "a.zip", "a") as archive:
        link = zipfile.ZipInfo("link.txt")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "../secret.txt")

    assert {file.relative_to(path).as_posix() for file in path.glob("**/*") if file.is_file()} == {
        "secret.txt",
        "etc/passwd",
    }
    assert (path / "secret.txt").read_bytes() == (path / "etc/passwd").read_bytes() == b"inside"


def test_nothing_is_written_into_it(tree: Path) -> None:
    with pytest.raises(OSError, match="nothing is written"):
        (archived(tree) / "new.txt").open("w")


def test_a_bomb_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = zipped(tmp_path / "a.zip", {"a": bytes(1 << 20), "b": b"x" * 100}, compression=zipfile.ZIP_DEFLATED)
    monkeypatch.setattr(archives, "RATIO_MATTERS_FROM_BYTES", 1 << 19)

    with pytest.raises(OSError, match="unpacked it would have 1,048,576 bytes, packed 1,0") as raised:
        (path / "a").read_bytes()

    assert images.find_fault(path / "a") == f"cannot be read ({raised.value.strerror})"
    assert (path / "b").read_bytes() == b"x" * 100


def test_a_file_that_unpacks_to_more_than_it_says_is_damaged(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", {"a": bytes(1 << 20)}, compression=zipfile.ZIP_DEFLATED) / "a"
    data = (tmp_path / "a.zip").read_bytes()
    (tmp_path / "a.zip").write_bytes(data.replace(struct.pack("<I", 1 << 20), struct.pack("<I", 1000)))

    with pytest.raises(OSError, match="damaged"):
        path.read_bytes()


@pytest.mark.parametrize("compression", archives.READ_METHODS)
def test_it_may_be_packed_in_any_usual_way(tmp_path: Path, compression: int) -> None:
    path = zipped(tmp_path / "a.zip", {"a": bytes(range(256)) * 9}, compression=compression) / "a"

    assert path.read_bytes() == bytes(range(256)) * 9
    with path.open("rb") as file:
        assert file.read(3) + file.read() == path.read_bytes()


@pytest.mark.parametrize("compression", archives.READ_METHODS)
def test_damaged_bytes_are_told(tmp_path: Path, compression: int) -> None:
    path = zipped(tmp_path / "a.zip", {"a": bytes(range(256)) * 9}, compression=compression) / "a"
    data = bytearray((tmp_path / "a.zip").read_bytes())
    data[60] ^= 0xFF
    (tmp_path / "a.zip").write_bytes(data)

    with pytest.raises(OSError, match="damaged"):
        path.read_bytes()


def test_what_cannot_be_read_is_said_at_once(tmp_path: Path) -> None:
    (tmp_path / "no.zip").write_bytes(b"no zip at all")
    with pytest.raises(DataError, match=r"no\.zip: cannot be read as a \.zip"):
        find_layout(tmp_path / "no.zip")
    zipped(tmp_path / "good.zip", {"a": b"1"})
    data = (tmp_path / "good.zip").read_bytes()
    entry = data.index(b"PK\x01\x02")
    (tmp_path / "secret.zip").write_bytes(data[: entry + 8] + b"\x01\x00" + data[entry + 10 :])
    with pytest.raises(DataError, match=r"secret\.zip: it needs a password.*Unpack"):
        find_layout(tmp_path / "secret.zip")
    (tmp_path / "old.zip").write_bytes(data[: entry + 10] + b"\x01\x00" + data[entry + 12 :])
    with pytest.raises(DataError, match=r"old\.zip: it is packed by the method 1,.*Unpack"):
        find_layout(tmp_path / "old.zip")


def test_several_threads_read_it_at_once(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    files = {
        f"{number}.png": cv2.imencode(".png", rng.integers(0, 255, (40, 60, 3), np.uint8))[1].tobytes()
        for number in range(40)
    }
    path = zipped(tmp_path / "a.zip", files, compression=zipfile.ZIP_DEFLATED)
    expected = {name: cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) for name, data in files.items()}

    with ThreadPoolExecutor(8) as pool:
        names = list(files) * 5
        for name, image in zip(names, pool.map(lambda name: images.read_image(path / name), names), strict=True):
            assert np.array_equal(image, expected[name])


def test_what_is_missing_is_named_by_the_zip_and_the_path_in_it(tmp_path: Path) -> None:
    cvat_coco(tmp_path / "set")
    (tmp_path / "set/images/a.jpg").unlink()
    file = Path(shutil.make_archive(str(tmp_path / "set"), "zip", tmp_path / "set"))

    split = find_layout(file).splits["train"]
    data = coco.read([split.annotation_file], [split.root], skip_bad=True)

    title, root = f"{file}/annotations/instances_default.json", f"{file}/images"
    assert data.skipped == (f'{title}: image "a.jpg" is missing from {root}',)
    assert data.sources == ((Path(title), Path(root)),)
    # As a run's record has them:
    again = coco.read([title], [root], skip_bad=True)
    assert again.fingerprint == data.fingerprint


def test_several_workers_make_the_batches_that_they_make_of_the_folder(tmp_path: Path, shapes_data: ShapesData) -> None:
    file = shutil.make_archive(str(tmp_path / "set"), "zip", shapes_data.train_root.parent)
    batches, fingerprints = [], set()
    for source in (shapes_data.train_root.parent, Path(file)):
        data = coco.read([source / "train.json"], [source / "train"])
        fingerprints.add(data.fingerprint)
        dataset = Dataset(data.records, input_size=64, augment=None, cache=None)
        loader = TrainLoader(dataset, batch_size=4, repeat=2, seed=1, num_workers=4)
        batches.append(np.concatenate([batch.images for batch in loader.epoch(0)]))

    assert batches[0].shape == (32, 64, 64, 3) and np.array_equal(*batches)
    assert len(fingerprints) == 1
