"""The program `multibox`, which `python -m multibox` is as well: a clean end at any moment, from its first line on."""

from __future__ import annotations

import os
import sys


def run() -> int:
    """Run the command of the command line; its exit code, see `multibox.cli.main`."""
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
