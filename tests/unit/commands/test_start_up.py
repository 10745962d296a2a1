"""What a command imports before it does anything: a user waits for it each time."""

from __future__ import annotations

import subprocess
import sys

import pytest

FOR_WORK = {"numpy", "cv2", "openvino", "torch", "msgspec", "yaml", "matplotlib", "multibox.config"}
FOR_MARKDOWN = {"markdown_it", "rich.markdown"}


def modules_after(*words: str) -> set[str]:
    program = "import sys; from multibox.cli import main; main(sys.argv[1:]); print('imported', *sys.modules)"
    done = subprocess.run([sys.executable, "-c", program, *words], capture_output=True, text=True, check=True)
    return set(done.stdout.rpartition("imported ")[2].split())


@pytest.mark.parametrize(
    ("words", "kept_out"),
    [(("--help",), FOR_WORK | FOR_MARKDOWN), (("--version",), FOR_WORK), (("train", "--help"), FOR_WORK)],
)
def test_help_imports_nothing_that_works(words, kept_out):
    modules = modules_after(*words)
    assert "multibox.cli" in modules
    assert not modules & kept_out
