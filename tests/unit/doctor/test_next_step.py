"""The command that an examination ends with: it can be pasted where the user stands, and does what is needed next."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from multibox.data.layouts import Format, Split
from multibox.doctor.checks import Finding
from multibox.doctor.contents import Contents
from multibox.doctor.model_fit import Advice
from multibox.doctor.next_step import Named, next_step, step_after_fix
from multibox.doctor.run import Examination

HELD = {name: Contents(9, 9, 0, (80, 60), 9, 1, ()) for name in ("train", "val")}
ADVICE = Advice("mobilenet_v2-2s_ssd-384x384", "it suits")
PARTS = {"train": [Split(Path("my set/a.json"), Path("my set/train"))]}


def examined(*severities: str, advice: Advice | None = ADVICE) -> Examination:
    findings = tuple(Finding(severity, "kind", "train", 1, "text") for severity in severities)  # type: ignore[arg-type]
    return Examination(HELD, findings, {}, advice, ())


def command(named: Named, *severities: str, has_template: bool = False) -> list[str]:
    step = next_step(named, examined(*severities), has_template=has_template)
    assert step is not None
    return shlex.split(step.command)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user stands in a folder with a set in it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my set" / "train").mkdir(parents=True)
    return tmp_path


@pytest.mark.parametrize(("source", "kind"), [("my set", "COCO"), ("my set", "YOLO"), ("set.zip", "COCO")])
def test_a_good_set_is_trained_on_as_it_is(source: str, kind: Format) -> None:
    named = Named(Path(source), PARTS, kind, classes='"a, b",c')

    assert command(named) == ["multibox", "train", source, "--classes", '"a, b",c']


def test_files_that_are_named_are_trained_on_with_the_advised_template() -> None:
    assert command(Named(None, PARTS, "COCO")) == [
        *["multibox", "train", "--config", ADVICE.template, "--train-ann-files", "my set/a.json"],
        *["--train-data-roots", "my set/train"],
    ]


def test_in_a_work_directory_its_own_template_is_taken() -> None:
    assert "--config" not in command(Named(None, PARTS, "COCO"), has_template=True)


def test_paths_with_commas_stay_one_item() -> None:
    parts = {"train": [Split(Path("a,b.json"), Path("c")), Split(Path("d.json"), Path("e"))]}

    assert command(Named(None, parts, "COCO"))[4:] == [
        *["--train-ann-files", '"a,b.json",d.json', "--train-data-roots", "c,e"],
    ]


def test_errors_are_fixed_in_a_copy_beside_the_set() -> None:
    named = Named(Path("my set"), PARTS, "COCO")

    assert command(named, "error") == ["multibox", "doctor", "my set", "--no-timing", "--fix", "my set-fixed"]


def test_the_copy_has_a_name_that_is_free(here: Path) -> None:
    (here / "my set-fixed").mkdir()

    assert command(Named(Path("my set"), PARTS, "COCO"), "error")[-1] == "my set-fixed-2"


@pytest.mark.parametrize(
    ("where", "source", "root", "target"),
    [
        ("my set", ".", ".", "../my set-fixed"),
        ("my set/train", "..", "..", "../../my set-fixed"),
        (".", "my set/a.json", "my set", "my set-fixed"),
        (".", "my set/a.json", "my set/train", "my set/a-fixed"),
        (".", "set.zip", "set.zip/images", "set-fixed"),
    ],
)
def test_the_copy_lies_outside_of_the_set(
    here: Path, monkeypatch: pytest.MonkeyPatch, where: str, source: str, root: str, target: str
) -> None:
    (here / "my set" / "a.json").touch()
    (here / "set.zip").touch()
    monkeypatch.chdir(here / where)
    named = Named(Path(source), {"train": [Split(Path(source), Path(root))]}, "COCO")

    assert command(named, "error")[-1] == target


def test_errors_of_several_files_are_for_a_person() -> None:
    parts = {"train": [Split(Path("a.json"), Path("a")), Split(Path("b.json"), Path("b"))]}

    assert command(Named(None, parts, "COCO"), "error") == [
        *["multibox", "doctor", "--train-ann-files", "a.json,b.json", "--train-data-roots", "a,b"],
    ]


def test_nothing_is_said_where_there_is_nothing_to_train_on() -> None:
    empty = Examination({"train": Contents(9, 0, 9, (80, 60), 9, 1, ())}, (), {}, None, ())

    assert next_step(Named(Path("my set"), PARTS, "COCO"), empty, has_template=False) is None


def test_without_torch_it_is_installed_first() -> None:
    step = next_step(Named(Path("my set"), PARTS, "COCO"), examined(advice=None), has_template=False)

    assert step is not None
    assert shlex.split(step.command) == ["pip", "install", "multibox[train]"]


@pytest.mark.parametrize("num_lost", [0, 1])
def test_a_copy_is_examined_before_it_is_trained_on(num_lost: int) -> None:
    step = step_after_fix(Path("my set-fixed"), num_lost=num_lost)

    assert shlex.split(step.command) == ["multibox", "doctor", "my set-fixed"]
    assert ("left out" in step.words) == (num_lost > 0)
