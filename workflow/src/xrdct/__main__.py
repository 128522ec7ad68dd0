"""`python -m xrdct`: the same as the command `xrdct`."""

import sys

from .cli import main

sys.exit(main())
