"""The command `xrdct`: what a user runs before and beside the workflow.

A command is an entry of `COMMANDS`: a line of help, a function that declares its arguments, and one that runs
it and returns the exit code. Heavy imports stand inside the functions, so that ``--help`` is quick.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from .errors import XrdctError


class Command(NamedTuple):
    """One subcommand."""

    help: str
    declare: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]


def main(argv: list[str] | None = None) -> int:
    """Run a command; exit code 0: done, 1: a check found problems, 2: an error, told on stderr."""
    arguments = _parser().parse_args(argv)
    try:
        return COMMANDS[arguments.command].run(arguments)
    except XrdctError as error:
        print(error, file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="xrdct", description="From synchrotron XRD-CT frames to maps of chemistry."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, command in COMMANDS.items():
        command.declare(commands.add_parser(name, help=command.help, description=command.help))
    return parser


def _declare_check(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", nargs="?", default="config/config.yaml", metavar="CONFIG")


def _run_check(arguments: argparse.Namespace) -> int:
    from .check import examine_beamtime

    found = examine_beamtime(arguments.config)
    for note in found.notes:
        print(f"note: {note}")
    for problem in found.problems:
        print(problem)
    if found.problems:
        print(f"{_count(len(found.problems), 'problem')} in {arguments.config}", file=sys.stderr)
        return 1
    scans, subsets = _count(found.n_scans, "scan"), _count(found.n_subsets, "subset")
    print(f"ok: {scans}, {subsets}, {_count(found.n_frames, 'frame')}")
    return 0


def _declare_init(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("raw_folder", metavar="RAW_FOLDER")
    parser.add_argument(
        "-o", "--output", metavar="FILE", default="scans.tsv", help="table to write (scans.tsv)"
    )


def _run_init(arguments: argparse.Namespace) -> int:
    from .errors import RawDataError, TableError
    from .init import propose_scans
    from .scans import scan_names, write_scans

    output = Path(arguments.output)
    if output.exists():
        raise TableError(f"{output} exists; give another name with -o, or remove it first")
    if not output.parent.is_dir():
        raise TableError(f"{output}: the folder {output.parent} does not exist")
    rows, notes = propose_scans(arguments.raw_folder)
    if not rows:
        raise RawDataError("\n".join([f"{arguments.raw_folder}: no series of frames found", *notes[1:]]))
    write_scans(output, rows, notes=notes)
    for note in notes:
        print(note)
    print(f"{output}: {_count(len(scan_names(rows)), 'scan')}, {_count(len(rows), 'subset')}")
    return 0


def _count(n: int, noun: str) -> str:
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


COMMANDS = {
    "check": Command("Check configuration, table and raw files; run nothing.", _declare_check, _run_check),
    "init": Command("Propose a scan table from a folder of raw data.", _declare_init, _run_init),
}
"""Every subcommand by its name."""
