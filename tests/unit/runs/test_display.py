"""Lines on a terminal and in a file."""

from __future__ import annotations

import io

from rich.console import Console

from multibox.runs.display import print_line

TEXT = "Weights: runs/my_photos/a_long_folder/best.pth. All of the run: runs/my_photos/a_long_folder"


def shown(text: str, *, is_terminal: bool, width: int) -> list[str]:
    file = io.StringIO()
    console = Console(file=file, force_terminal=is_terminal, width=width, color_system=None, highlight=False)
    print_line(console, text)
    return file.getvalue().splitlines()


def test_a_terminal_wraps_between_words_and_leaves_paths_in_one_piece():
    assert shown(TEXT, is_terminal=True, width=30) == [
        "Weights:",
        "runs/my_photos/a_long_folder/best.pth.",
        "All of the run:",
        "runs/my_photos/a_long_folder",
    ]


def test_a_file_gets_whole_lines():
    assert shown(TEXT, is_terminal=False, width=30) == [TEXT]


def test_what_a_terminal_would_obey_is_shown_instead():
    assert shown("name \x1b[31m [red]", is_terminal=True, width=80) == ["name \\x1b[31m [red]"]
