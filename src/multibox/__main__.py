"""The program `multibox`, which `python -m multibox` is as well: a clean end at any moment, from its first line on."""

from __future__ import annotations

import os
import sys
from typing import Any, cast

CONVERTERS = "openvino.tools.ovc"
"""OpenVINO's converters of other formats. Without them, `import openvino` takes about half as long. No command needs
them: `model/openvino_layers.py` writes the graphs."""


def run() -> int:
    """Run the command of the command line; its exit code, see `multibox.cli.main`."""
    sys.modules.setdefault(CONVERTERS, cast("Any", None))  # which import takes for a module that is missing
    try:
        from multibox.cli import main

        code = main()
        threads = sys.modules.get("multibox.threads")
        if threads is not None and threads.do_threads_hang():
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return 130
    return code


if __name__ == "__main__":
    sys.exit(run())
