"""The program `multibox`: its commands, errors as one line and an exit code. Heavy imports wait for their command."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from cyclopts import App, CycloptsError

from multibox import __version__
from multibox.commands.bench import bench
from multibox.commands.card import card
from multibox.commands.compress import compress
from multibox.commands.console import complain
from multibox.commands.convert import convert
from multibox.commands.doctor import doctor
from multibox.commands.evaluate import evaluate
from multibox.commands.export import export
from multibox.commands.new import new
from multibox.commands.options import command_line
from multibox.commands.predict import predict
from multibox.commands.report import report
from multibox.commands.train import train
from multibox.errors import MultiboxError

app = App(
    name="multibox",
    help="Train a lightweight detector on your own objects and deploy it to OpenVINO.",
    version=__version__,
    help_flags=["--help", "-h"],
    suppress_keyboard_interrupt=False,  # `main` says a word, and gives the shell the exit code that it expects
)
app.command(new)
app.command(train)
app.command(evaluate, name="eval")
app.command(export)
app.command(compress)
app.command(predict)
app.command(bench)
app.command(doctor)
app.command(convert)
app.command(report)
app.command(card)

EXTRA_OF = {
    "torch": "train",
    "lightning_fabric": "train",
    "tensorboard": "train",
    "onnx": "onnx",
    "matplotlib": "report",
    "jinja2": "report",
    "mlflow": "mlflow",
}
"""The extra of this package that brings a library."""


def main(arguments: Sequence[str] | None = None, *, template: Path | None = None) -> int:
    """Run a command and return its exit code: 0, or 2 for bad input, 130 when interrupted.

    Further: 1 for a training that failed, a prediction that could read a part of its input only, or data with errors, 3
    for an export that differs from its checkpoint.

    `template`: the template of the work directory that the command belongs to; it stands in for `--config`.
    """
    tokens = list(sys.argv[1:] if arguments is None else arguments)
    if template is not None and not any(token.split("=")[0] == "--config" for token in tokens):
        tokens += ["--config", str(template)]
    command_line[:] = tokens
    try:
        code = app(tokens, exit_on_error=False, print_error=False, result_action="return_value")
    except CycloptsError as error:
        complain(f"multibox: {' '.join(str(error).split())}")
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
