"""Which runtime a file gets."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from multibox.errors import CheckpointError
from multibox.runtime.opening import open_runtime


@pytest.mark.parametrize("name", ["model.xml", "model.bin", "model.onnx", "model.XML", "latest.pth"])
def test_a_file_that_is_missing_is_named(name: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"(model|latest)\.\w+: .*no such file"):
        open_runtime(tmp_path / name)


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"model\.pt: expected a checkpoint \(\.pth\) or an exported model"):
        open_runtime(tmp_path / "model.pt")


@pytest.mark.parametrize("module", ["opening", "protocol"])
def test_knowing_runtimes_loads_no_engine(module: str) -> None:
    heavy = {"torch", "openvino", "onnx", "onnxruntime"}
    code = f"import sys, multibox.runtime.{module}; print(*{heavy}.intersection(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "\n"
