"""`python -m multibox` is the command `multibox`."""

import sys

from multibox.cli import main

sys.exit(main())
