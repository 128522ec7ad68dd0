"""The command line: `xrdct COMMAND`."""

import argparse
import logging
import sys

from . import __version__
from .commands import COMMANDS
from .errors import XrdctError


def main(argv: list[str] | None = None) -> int:
    """Run one command; an error that the user can mend is one message and exit code 2, not a traceback."""
    parser = argparse.ArgumentParser(prog="xrdct", description="From XRD-CT frames to maps of chemistry.")
    parser.add_argument("--version", action="version", version=f"xrdct {__version__}")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add_parser(subparsers)
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    try:
        return args.run(args)
    except XrdctError as error:
        print(f"xrdct {args.command}: {error}", file=sys.stderr)
        return 2
