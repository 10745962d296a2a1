"""Words that users of other tools type, and what multibox calls these things."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

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
