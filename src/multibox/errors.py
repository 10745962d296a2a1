"""What goes wrong because of what a user gave us; every kind ends a command with one line and its exit code.

MultiboxError                 exit code 2
├── OptionError               an option or argument
├── TemplateError             a model template
├── DataError                 annotations or images
├── CheckpointError           weights, checkpoints, exported models
├── DependencyError           a package that is not installed
├── TrainingError             exit code 1: a training that cannot go on
└── ParityError               exit code 3: an exported model that is not what it was made from
"""

from multibox.wording import shortened

LONGEST_MESSAGE = 1900
"""Number of letters of a message, which may have names from files in it."""


class MultiboxError(Exception):
    """Base of all errors meant for the user: the message says what, where, and what to do, on one line.

    >>> import multibox
    >>> try:
    ...     multibox.load("no such file.onnx")
    ... except multibox.MultiboxError as error:
    ...     print(error)
    no such file.onnx: there is no such file.
    """

    exit_code = 2

    def __init__(self, message: str) -> None:
        super().__init__(shortened(message, LONGEST_MESSAGE))


class OptionError(MultiboxError):
    """An option or argument has a value that cannot be used."""


class TemplateError(MultiboxError):
    """A model template cannot be read or contradicts itself."""


class DataError(MultiboxError):
    """Annotations or images cannot be used as they are."""


class CheckpointError(MultiboxError):
    """Weights or an exported model cannot be read, or do not fit."""


class DependencyError(MultiboxError):
    """A package of an optional extra is not installed."""


class TrainingError(MultiboxError):
    """A training stopped because going on would be of no use."""

    exit_code = 1


class ParityError(MultiboxError):
    """An exported model gives other results than the checkpoint that it was made from."""

    exit_code = 3
