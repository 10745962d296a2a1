from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml

from multibox import config, unfinished
from multibox.commands.work_directory import instantiate
from multibox.config import bundled_templates, ssd_templates
from multibox.errors import TemplateError
from multibox.weights.resolve import initial_weights

ROOT = Path(__file__).parents[3]
WEIGHTS = b"weights " * 1000
INSTEAD = "Training starts from the weights that come with multibox, unless --load-weights names others."
SCRIPTS = ["compress.py", "eval.py", "export.py", "train.py"]


class Handler(BaseHTTPRequestHandler):
    """Answers /good.pth, /good.bin and /good.xml with the weights and everything else with 404."""

    def do_GET(self):
        is_good = self.path.startswith("/good.")
        self.send_response(200 if is_good else 404)
        self.end_headers()
        if is_good:
            self.wfile.write(WEIGHTS)

    def log_message(self, *_):
        pass


@pytest.fixture
def address(monkeypatch) -> Iterator[str]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def entry(source: str, *, destination: str = "snapshot.pth", content: bytes = WEIGHTS) -> dict[str, object]:
    digest = hashlib.sha256(content).hexdigest()
    return {"source": source, "destination": destination, "size": len(content), "sha256": digest}


def template_with(folder: Path, *dependencies: dict[str, object]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    content = yaml.safe_load(bundled_templates()["mobilenet_v2-2s_ssd-256x256"].read_text(encoding="utf-8"))
    path = folder / "template.yaml"
    path.write_text(yaml.safe_dump(content | {"dependencies": list(dependencies)}), encoding="utf-8")
    return path


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def lines() -> list[str]:
    return []


def test_bundled_templates_are_named_as_their_files():
    found = bundled_templates()
    assert [config.load_template(path).name for path in found.values()] == list(found)


def test_mosaics_of_every_input_stop_shrinking_at_the_same_share_of_it():
    # Anchors grow with the input, and so must the objects that they are to meet (docs/decisions/0011).
    templates = [config.load_template(path) for path in ssd_templates().values()]
    mosaics = [template.train.augment.mosaic for template in templates]
    assert [mosaic.min_object_px for mosaic in mosaics if mosaic] == [16, 24, 32]
    assert [template.input.size / 16 for template in templates] == [16, 24, 32]


@pytest.mark.parametrize("name", ["mobilenet_v2-2s_ssd-384x384", "384"])
def test_work_directory_holds_the_template_and_the_scripts(tmp_path, lines, name):
    folder = instantiate(name, tmp_path / "a" / "b", load_snapshot=False, report=lines.append)
    assert folder == tmp_path / "a" / "b"
    assert names(folder) == sorted([*SCRIPTS, "template.yaml"])
    bundled = bundled_templates()["mobilenet_v2-2s_ssd-384x384"]
    assert (folder / "template.yaml").read_bytes() == bundled.read_bytes()
    assert lines == []


def test_a_work_directory_of_yolox_nano_needs_no_network(tmp_path, lines):
    folder = instantiate("yolox_nano-640x640", tmp_path / "work", offline=True, report=lines.append)
    assert names(folder) == sorted([*SCRIPTS, "template.yaml"])
    assert config.load_template(folder / "template.yaml").name == "yolox_nano-640x640"
    assert lines == []


def test_a_second_time_changes_nothing_and_says_nothing(tmp_path, lines):
    instantiate("256", tmp_path, load_snapshot=False, report=lines.append)
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    before = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    instantiate("256", tmp_path, load_snapshot=False, report=lines.append)
    assert {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before
    assert lines == []


def test_what_a_killed_one_left_goes_though_nothing_is_to_be_written(tmp_path, lines):
    instantiate("256", tmp_path / "work", load_snapshot=False, report=lines.append)
    placed = sorted(path.name for path in (tmp_path / "work").iterdir())
    for name in (".0123456789ab.lock", ".0123456789ab.tmp.py"):
        (tmp_path / "work" / name).touch()
    unfinished._tidied.clear()  # as in a new process
    instantiate("256", tmp_path / "work", load_snapshot=False, report=lines.append)
    assert sorted(path.name for path in (tmp_path / "work").iterdir()) == placed


@pytest.mark.parametrize("name", ["template.yaml", "train.py"])
def test_an_edited_file_is_kept_and_named(tmp_path, lines, name):
    (tmp_path / name).write_text("edited", encoding="utf-8")
    instantiate("256", tmp_path, load_snapshot=False, report=lines.append)
    assert (tmp_path / name).read_text(encoding="utf-8") == "edited"
    assert lines == [f"{tmp_path / name} is there and differs; it is kept. Remove it to get a fresh copy."]


@pytest.mark.parametrize("command", ["train", "eval", "compress"])
def test_each_script_hands_over_the_command_that_it_is_named_after(tmp_path, command):
    folder = instantiate("256", tmp_path, load_snapshot=False, report=print)
    text = (folder / f"{command}.py").read_text(encoding="utf-8")
    compile(text, f"{command}.py", "exec")
    assert f'main(["{command}", *sys.argv[1:]], template=' in text


def test_script_reads_the_template_beside_it_wherever_it_is_run(tmp_path):
    folder = instantiate("256", tmp_path / "mein Ordner", load_snapshot=False, report=print)
    (folder / "template.yaml").write_text("epocs: 3", encoding="utf-8")
    command = [sys.executable, str(folder / "train.py"), "--train-ann-files", "a.json", "--train-data-roots", "a"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, encoding="utf-8", check=False)
    assert run.returncode == 2
    assert run.stderr.startswith(str(folder / "template.yaml"))


def test_unknown_template_names_the_known_ones(tmp_path, lines):
    with pytest.raises(TemplateError, match=r"yolo: there is no such template file; .*mobilenet_v2-2s_ssd-256x256"):
        instantiate("yolo", tmp_path, report=lines.append)


def test_work_directory_that_is_a_file_is_an_error(tmp_path, lines):
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(TemplateError, match="cannot make the work directory: File exists"):
        instantiate("256", tmp_path / "file", load_snapshot=False, report=lines.append)


def test_snapshot_is_fetched_from_an_address(tmp_path, address, lines):
    template = template_with(tmp_path / "model", entry(f"{address}/good.pth"))
    folder = instantiate(template, tmp_path / "work dir ü", report=lines.append)
    assert (folder / "snapshot.pth").read_bytes() == WEIGHTS
    assert lines == [f"{folder / 'snapshot.pth'} is fetched."]


@pytest.mark.parametrize("form", ["weights ü.pth", "file"])
def test_snapshot_is_fetched_from_a_path_beside_the_template(tmp_path, lines, form):
    source = tmp_path / "my model" / "weights ü.pth"
    template = template_with(source.parent, entry(source.as_uri() if form == "file" else form))
    source.write_bytes(WEIGHTS)
    folder = instantiate(template, tmp_path / "work", report=lines.append)
    assert (folder / "snapshot.pth").read_bytes() == WEIGHTS


def test_right_snapshot_is_not_fetched_again(tmp_path, lines):
    template = template_with(tmp_path / "model", entry("http://127.0.0.1:1/unreachable.pth"))
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "snapshot.pth").write_bytes(WEIGHTS)
    folder = instantiate(template, tmp_path / "work", report=lines.append)
    assert lines == [f"{folder / 'snapshot.pth'} is already there."]


def test_other_snapshot_is_kept(tmp_path, address, lines):
    template = template_with(tmp_path / "model", entry(f"{address}/good.pth"))
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "snapshot.pth").write_bytes(b"mine")
    folder = instantiate(template, tmp_path / "work", report=lines.append)
    assert (folder / "snapshot.pth").read_bytes() == b"mine"
    expected = f"{folder / 'snapshot.pth'} is kept; it is not the published file (4 bytes instead of 8000)."
    assert lines == [expected]


@pytest.mark.parametrize(
    ("path", "published", "reason"),
    [
        ("good.pth", WEIGHTS[::-1], r"not the published file: sha256 [0-9a-f]{12}\.\.\. instead of"),
        ("good.pth", WEIGHTS[:-1], r"not the published file: more than 7999 bytes"),
        ("good.pth", WEIGHTS + b"!", r"not the published file: 8000 bytes instead of 8001"),
        ("absent.pth", WEIGHTS, r"the server answers 404 Not Found"),
    ],
)
def test_wrong_answer_is_reported_and_leaves_no_file(tmp_path, address, lines, path, published, reason):
    template = template_with(tmp_path / "model", entry(f"{address}/{path}", content=published))
    folder = instantiate(template, tmp_path / "work", report=lines.append)
    assert names(folder) == sorted([*SCRIPTS, "template.yaml"])
    assert len(lines) == 2
    assert lines[0].startswith(f"Could not fetch {address}/{path} (")
    assert re.search(reason, lines[0])
    assert lines[1] == INSTEAD


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("http://127.0.0.1:1/a.pth", "Connection refused"),
        ("http://127.0.0.1:1/a b.pth", "control characters"),
        ("http://name.invalid/a.pth", ""),
        ("absent.pth", "No such file"),
        ("ftp://127.0.0.1/a.pth", "only http, https, file and paths"),
    ],
)
def test_source_out_of_reach_is_reported_and_is_no_error(tmp_path, monkeypatch, lines, source, reason):
    monkeypatch.setenv("no_proxy", "*")
    template = template_with(tmp_path / "model", entry(source))
    folder = instantiate(template, tmp_path / "work", report=lines.append)
    assert names(folder) == sorted([*SCRIPTS, "template.yaml"])
    assert len(lines) == 2
    assert lines[0].startswith(f"Could not fetch {source} (")
    assert reason in lines[0]
    assert "\n" not in lines[0]
    assert lines[1] == INSTEAD


def public_model(address: str, name: str) -> list[dict[str, object]]:
    return [entry(f"{address}/{name}.{kind}", destination=f"public.{kind}") for kind in ("bin", "xml")]


def test_where_the_snapshot_is_out_of_reach_the_public_detector_is_fetched(tmp_path, address, lines):
    template = template_with(tmp_path / "model", entry(f"{address}/absent.pth"), *public_model(address, "good"))
    folder = instantiate(template, tmp_path / "work", report=lines.append)
    assert names(folder) == sorted([*SCRIPTS, "template.yaml", "public.bin", "public.xml"])
    assert lines == [
        f"Could not fetch {address}/absent.pth (the server answers 404 Not Found).",
        f"{folder / 'public.bin'} is fetched.",
        f"{folder / 'public.xml'} is fetched.",
    ]
    assert initial_weights(folder, config.load_template(template), ["cell"]) == str(folder / "public.xml")


def test_with_the_snapshot_the_public_detector_is_left_alone(tmp_path, address, lines):
    template = template_with(tmp_path / "model", entry(f"{address}/good.pth"), *public_model(address, "good"))
    folder = instantiate(template, tmp_path / "work", report=lines.append)
    assert names(folder) == sorted([*SCRIPTS, "template.yaml", "snapshot.pth"])
    assert initial_weights(folder, config.load_template(template), ["cell"]) == str(folder / "snapshot.pth")


def test_half_of_the_public_detector_is_nothing_to_start_from(tmp_path, address, lines):
    there, absent = public_model(address, "good")[0], public_model(address, "absent")[1]
    template = template_with(tmp_path / "model", there, absent)
    folder = instantiate(template, tmp_path / "work", report=lines.append)
    assert initial_weights(folder, config.load_template(template), ["cell"]) == "bundled"
    assert lines == [f"Could not fetch {address}/absent.xml (the server answers 404 Not Found).", INSTEAD]


def test_a_public_detector_that_knows_none_of_the_classes_is_no_start(tmp_path):
    name = "person-vehicle-bike-detection-2000"
    public = ROOT.parent / "shared" / "pretrained" / name / "FP16"
    if not public.exists():
        pytest.skip("the public models are not here")
    for kind in ("xml", "bin"):
        (tmp_path / f"{name}.{kind}").write_bytes((public / f"{name}.{kind}").read_bytes())
    template = config.load_template(bundled_templates()["mobilenet_v2-2s_ssd-256x256"])
    assert initial_weights(tmp_path, template, ["dog", "person"]) == str(tmp_path / f"{name}.xml")
    assert initial_weights(tmp_path, template, ["dog", "cat"]) == "bundled"


def test_offline_asks_no_network(tmp_path, lines):
    # A port that nobody listens on: an attempt would be told.
    template = template_with(tmp_path / "model", entry("http://127.0.0.1:1/a.pth"))
    folder = instantiate(template, tmp_path / "work", offline=True, report=lines.append)
    assert lines == [f"{folder / 'snapshot.pth'} is not there, and --offline leaves the network alone.", INSTEAD]


def test_other_dependencies_are_copied_from_beside_the_template(tmp_path, lines):
    model = tmp_path / "model"
    template = template_with(
        model, {"source": "notes.txt", "destination": "docs/notes.txt"}, {"source": "extra", "destination": "extra"}
    )
    (model / "notes.txt").write_text("read me", encoding="utf-8")
    (model / "extra" / "deep").mkdir(parents=True)
    (model / "extra" / "deep" / "data.bin").write_bytes(b"data")
    folder = instantiate(template, tmp_path / "work", report=lines.append)
    assert (folder / "docs" / "notes.txt").read_text(encoding="utf-8") == "read me"
    assert (folder / "extra" / "deep" / "data.bin").read_bytes() == b"data"


def test_missing_dependency_is_an_error(tmp_path, lines):
    template = template_with(tmp_path / "model", {"source": "absent.txt", "destination": "notes.txt"})
    with pytest.raises(TemplateError, match=r"absent\.txt: the template depends on this file"):
        instantiate(template, tmp_path / "work", report=lines.append)


@pytest.mark.parametrize("destination", ["../outside.txt", "a/../../outside.txt", "/outside.txt", "."])
def test_destination_outside_of_the_work_directory_is_refused(tmp_path, lines, destination):
    template = template_with(tmp_path / "model", {"source": "template.yaml", "destination": destination})
    with pytest.raises(TemplateError, match="leads out of the work directory"):
        instantiate(template, tmp_path / "work", report=lines.append)
    assert not (tmp_path / "work").exists()


@pytest.mark.parametrize("size", [256, 384, 512])
def test_templates_at_the_originals_paths_are_the_bundled_ones(size):
    name = f"mobilenet_v2-2s_ssd-{size}x{size}"
    folder = ROOT / "models" / "object_detection" / "model_templates" / "custom-object-detection" / name
    assert (folder / "template.yaml").read_bytes() == bundled_templates()[name].read_bytes()


def test_the_originals_command_makes_a_work_directory(tmp_path):
    path = "models/object_detection/model_templates/custom-object-detection/mobilenet_v2-2s_ssd-256x256/template.yaml"
    output = tmp_path / "work dir"
    command = [sys.executable, "tools/instantiate_template.py", path, str(output), "--do-not-load-snapshot", "-v"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8", check=False)
    assert run.returncode == 0, run.stderr
    assert names(output) == sorted([*SCRIPTS, "template.yaml"])
