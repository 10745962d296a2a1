"""The original's command: `python tools/instantiate_template.py TEMPLATE OUTPUT` is `multibox new TEMPLATE OUTPUT`."""

import sys

from multibox.cli import main

if __name__ == "__main__":
    sys.exit(main(["new", *sys.argv[1:]]))
