"""Starting the server behind the page."""

from __future__ import annotations

import sys

import pytest

pytest.importorskip("uvicorn")

from multibox.cli import main
from multibox.demo.run import listening
from multibox.errors import OptionError


def test_a_port_that_is_in_use_is_refused_by_its_number_but_not_by_default():
    with listening(None) as first, listening(None) as second:
        port = first.getsockname()[1]
        assert second.getsockname()[1] != port
        assert {place.getsockname()[0] for place in (first, second)} == {"127.0.0.1"}
        with pytest.raises(OptionError, match=f"--port {port}"):
            listening(port)


@pytest.mark.parametrize("library", ["starlette", "uvicorn"])
def test_without_its_library_it_says_what_to_install(library, monkeypatch, capsys):
    for name in [name for name in sys.modules if name.startswith(("multibox.demo", "starlette", "uvicorn"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, library, None)
    assert main(["demo", "model.xml"]) == 2
    assert capsys.readouterr().err == f'This needs {library}. Install it with: pip install "multibox[demo]"\n'
