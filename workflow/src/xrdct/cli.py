"""The command line: `xrdct COMMAND`."""

import argparse
import logging
import sys

from . import __version__
from .errors import XrdctError


def main(argv: list[str] | None = None) -> int:
    """Run one command; an error that the user can mend is one message and exit code 2, not a traceback."""
    parser = argparse.ArgumentParser(prog="xrdct", description="From XRD-CT frames to maps of chemistry.")
    parser.add_argument("--version", action="version", version=f"xrdct {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for add in _adders():
        add(commands)
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    try:
        return args.run(args)
    except XrdctError as error:
        print(f"xrdct {args.command}: {error}", file=sys.stderr)
        return 2


def _adders():
    """One function per command that registers its parser; imported here so that `--version` stays quick."""
    from .calibration.command import add_parser as calibrate
    from .twin.command import add_parser as simulate

    return calibrate, simulate, _add_schema


def _add_schema(commands) -> None:
    parser = commands.add_parser(
        "schema", help="export the JSON schema of the configuration", description="Export the schema for editors."
    )
    parser.set_defaults(run=_export_schema)


def _export_schema(_args) -> int:
    from pathlib import Path

    from .config import json_schema

    path = Path(__file__).resolve().parents[2] / "schemas" / "config.schema.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json_schema(), encoding="utf-8")
    print(f"written: {path}")
    return 0
