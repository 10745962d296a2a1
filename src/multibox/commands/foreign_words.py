"""Words that users of other tools type, and what multibox calls these things."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Container, Iterable, Sequence

COMMANDS = {
    **dict.fromkeys(("val", "validate", "validation", "test", "evaluate"), "multibox eval"),
    **dict.fromkeys(("detect", "infer", "inference", "track"), "multibox predict IMAGES"),
    **dict.fromkeys(("fit", "finetune"), "multibox train DATA"),
    **dict.fromkeys(("quantize", "quantise", "optimize"), "multibox compress"),
    **dict.fromkeys(("benchmark", "speed"), "multibox bench"),
    **dict.fromkeys(("check", "checks", "analyze"), "multibox doctor DATA"),
    "help": "multibox --help, or multibox COMMAND --help",
    "version": "multibox --version",
    "init": "multibox train DATA, or multibox new for a work directory",
}
"""Commands of other tools."""

OPTIONS = {
    **dict.fromkeys(("--imgsz", "--img", "--img-size", "--input-size", "--resolution"), "--size"),
    **dict.fromkeys(("--conf", "--conf-thres", "--confidence", "--score-thr"), "--threshold"),
    **dict.fromkeys(("--lr", "--lr0", "--learning-rate"), "--base-learning-rate"),
    **dict.fromkeys(("--source", "--input"), "no option: name the images after the command, multibox predict IMAGES"),
    **dict.fromkeys(("--project", "--save-dir", "--output", "--work-dir"), "--out"),
    **dict.fromkeys(("--resume", "--ckpt-path"), "--resume-from RUN"),
    **dict.fromkeys(("--time", "--max-time"), "--minutes; --time of others counts hours"),
    "--weights": "--model; what a training starts from is --load-weights",
    "--batch": "--batch-size",
    "--cfg": "--model",
    "--pretrained": "--load-weights",
    "--save-txt": "--save-labels FOLDER --format yolo",
    "--half": "--precision FP16",
    "--int8": "a command: multibox compress",
    "--agnostic": "--agnostic-nms",
    "--augment": "nothing: augmentation is set in the template, see docs/templates.md",
    "--workers": "nothing: the number of threads follows from the processor",
}
"""Options of other tools."""

WITHOUT_NAME = {"data", "source"}
"""Options of other tools whose value is here a word of its own after the command."""


def meant_command(word: str, commands: Iterable[str]) -> str | None:
    """What a word that is no command stands for, and all commands there are; None of a word that nobody knows."""
    if word not in COMMANDS:
        return None
    return f'There is no command "{word}". What is meant: {COMMANDS[word]}. Commands: {", ".join(commands)}.'


def meant_option(words: Sequence[str]) -> str | None:
    """What the first option of another tool among the words of a command line is called here; None without any."""
    for word in words:
        name = word.partition("=")[0]
        if name in OPTIONS:
            return f"There is no option {name}. What is meant: {OPTIONS[name]}."
    return None


def assignments(words: Sequence[str]) -> list[tuple[str, str]]:
    """Names and values of the words of a command line that are NAME=VALUE, as other tools take options.

    Neither the value of an option is meant, nor a file or folder of such a name, nor a pattern for files.
    """
    found = [
        re.fullmatch(r"([A-Za-z]\w*)=([^\s*?\[]+)", word)
        for before, word in itertools.pairwise(["", *words])
        if not before.startswith("-") and not os.path.lexists(word.partition("/")[0])
    ]
    return [(match[1], match[2]) for match in found if match]


def meant_assignments(found: Iterable[tuple[str, str]], options: Container[str]) -> str:
    """How NAME=VALUE is written for a command with these options, word by word."""
    meant = []
    for name, value in found:
        option = f"--{name.replace('_', '-')}"
        ours = option if option in options else OPTIONS.get(option, "nothing: there is no such option")
        if name in WITHOUT_NAME:
            ours = value
        elif re.fullmatch(r"--[a-z-]+", ours):
            ours = f"{ours} {value}"
        meant.append(f"for {name}={value}, {ours}")
    return f"Options are not written NAME=VALUE here. Write {'; '.join(meant)}."
