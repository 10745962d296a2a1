"""The program `multibox`: its commands, errors as one line and an exit code. Heavy imports wait for their command."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from cyclopts import App, CycloptsError, Parameter, UnknownCommandError, UnknownOptionError

from multibox import __version__
from multibox.commands.bench import bench
from multibox.commands.card import card
from multibox.commands.compress import compress
from multibox.commands.console import complain, console
from multibox.commands.convert import convert
from multibox.commands.demo import demo
from multibox.commands.doctor import doctor
from multibox.commands.evaluate import evaluate
from multibox.commands.export import export
from multibox.commands.foreign_words import assignments, meant_assignments, meant_command, meant_option
from multibox.commands.info import info
from multibox.commands.new import new
from multibox.commands.options import command_line
from multibox.commands.predict import predict
from multibox.commands.report import report
from multibox.commands.train import train
from multibox.errors import MultiboxError


def _shown_default(value: object) -> str | None:
    """A default as help shows it; what stands for nothing says nothing."""
    return None if value is None or value is False or value == "" else str(value)


app = App(
    name="multibox",
    help="""Train a lightweight detector on your own objects and deploy it to OpenVINO.

    multibox doctor my_photos                 what is in it, what is wrong with it

    multibox train my_photos --minutes 15     all layouts that doctor reads

    multibox predict new_photos               the newest run, its best weights

    multibox eval; multibox export; multibox compress; multibox report
    """,
    version=__version__,
    version_flags=["--version", "-V"],
    help_flags=["--help", "-h"],
    help_format="plaintext",
    default_parameter=Parameter(show_default=_shown_default),
    suppress_keyboard_interrupt=False,  # `main` says a word, and gives the shell the exit code that it expects
)
IN_ORDER_OF_WORK: dict[str, Callable[..., int]] = {
    "doctor": doctor,
    "train": train,
    "predict": predict,
    "eval": evaluate,
    "export": export,
    "compress": compress,
    "report": report,
    "card": card,
    "demo": demo,
    "bench": bench,
    "info": info,
    "convert": convert,
    "new": new,
}
"""The commands by their names."""

for position, (name, command) in enumerate(IN_ORDER_OF_WORK.items()):
    app.command(command, name=name, sort_key=position)
    # To load what reads Markdown takes a third of the time of the program's own help, which has none.
    app[name].help_format = "markdown"
app.register_install_completion_command()

EXTRA_OF = {
    "torch": "train",
    "lightning_fabric": "train",
    "tensorboard": "tensorboard",
    "nncf": "int8",
    "onnx": "onnx",
    "matplotlib": "report",
    "jinja2": "report",
    "mlflow": "mlflow",
    "starlette": "demo",
    "uvicorn": "demo",
}
"""The extra of this package that brings a library."""


def main(arguments: Sequence[str] | None = None, *, template: Path | None = None) -> int:
    """Run a command and return its exit code: 0, or 2 for bad input, 130 when interrupted.

    Further: 1 for a training that failed, a prediction that could read a part of its input only, or data with errors, 3
    for an export that differs from its checkpoint.

    `template`: the template of the work directory that the command belongs to; it stands in for `--config`.
    """
    tokens = list(sys.argv[1:] if arguments is None else arguments)
    if template is not None and not any(token.split("=")[0] in {"--config", "--model"} for token in tokens):
        tokens += ["--config", str(template)]
    command_line[:] = tokens
    console.has_details = False
    if tokens and tokens[0] in IN_ORDER_OF_WORK and (found := assignments(tokens[1:])):
        options = {name for argument in app[tokens[0]].assemble_argument_collection() for name in argument.names}
        complain(f"multibox: {meant_assignments(found, options)}")
        return 2
    try:
        code = app(tokens, exit_on_error=False, print_error=False, result_action="return_value")
    except CycloptsError as error:
        complain(f"multibox: {_reason(error, tokens)}")
        return 2
    except MultiboxError as error:
        complain(str(error))
        return error.exit_code
    except ModuleNotFoundError as error:
        name = (error.name or "").split(".")[0]
        if name not in EXTRA_OF:
            raise
        complain(f'This needs {name}. Install it with: pip install "multibox[{EXTRA_OF[name]}]"')
        return 2
    except KeyboardInterrupt:
        complain("Interrupted.")
        return 130
    except OSError as error:
        # The ways of a file system are endless: full, read-only, gone. The system's own words say which.
        where = f"{error.filename}: " if error.filename else ""
        complain(f"{where}{error.strerror or error}.")
        return 2
    return code if isinstance(code, int) else 0


def _reason(error: CycloptsError, tokens: Sequence[str]) -> str:
    """What is wrong with a command line, on one line; words of other tools are told from slips."""
    meant = None
    if isinstance(error, UnknownCommandError) and tokens:
        meant = meant_command(tokens[0], IN_ORDER_OF_WORK)
    if isinstance(error, UnknownOptionError):
        meant = meant_option(tokens)
    text = meant or " ".join(str(error).split())
    return (
        text.partition("Available commands:")[0] + f"Commands: {', '.join(IN_ORDER_OF_WORK)}."
        if "Available commands:" in text
        else text
    )
