"""The commands of `xrdct`, one module each.

A module has `add_parser`, which registers the command with argparse, and `run`, which does it and returns the exit
code. Heavy imports stand inside `run`: ``xrdct --help`` imports every module here and must stay quick.
"""

from . import calibrate, check, init, schema, simulate

COMMANDS = (check, init, calibrate, simulate, schema)
"""In the order in which ``xrdct --help`` lists them."""
