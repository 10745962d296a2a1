"""The folder with a page to publish: what may be replaced there."""

from __future__ import annotations

import pytest

from multibox.demo.web_page import outputs_of_page, write_web_page
from multibox.errors import OptionError
from multibox.overwriting import check_outputs


@pytest.fixture
def page(tmp_path):
    model = tmp_path / "model.onnx"
    model.write_bytes(b"\x08\x07\x12\x08multibox\x1a")
    write_web_page(tmp_path / "page", model, name="cells")
    return tmp_path / "page"


def test_an_earlier_page_is_replaced(page):
    written = {path.name for path in page.iterdir()}
    assert written == {output.path.name for output in outputs_of_page(page)}
    said = []
    check_outputs(outputs_of_page(page), [], say=said.append)
    assert said == [f"--web: {len(written)} files of an earlier run will be replaced in {page}."]


@pytest.mark.parametrize("name", ["README.md", "package.json", "page.css", "engine.js", "index.html", "model.onnx"])
def test_a_file_of_somebody_else_is_kept_even_if_it_names_multibox(page, name):
    (page / name).write_text("# My notes on multibox\n")
    with pytest.raises(OptionError, match="not from this command"):
        check_outputs(outputs_of_page(page), [], say=lambda _: None)
