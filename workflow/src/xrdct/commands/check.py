"""``xrdct check``: every problem of a beamtime before anything runs."""

import argparse
import sys


def add_parser(subparsers) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "check",
        help="list every problem of configuration, table and raw files; run nothing",
        description="List every problem of configuration, table and raw files, one per line; exit code 1 if there is "
        "any. Nothing is run and no frame is read: seconds.",
    )
    parser.add_argument("config", nargs="?", default="config/config.yaml", metavar="CONFIG", help="%(default)s")
    parser.add_argument(
        "-d", "--directory", default=".", metavar="FOLDER", help="working folder, as for snakemake (the current one)"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print what was found."""
    from ..check import check_beamtime

    found = check_beamtime(args.config, working_folder=args.directory)
    for note in found.notes:
        print(f"note: {note}")
    for problem in found.problems:
        print(problem)
    if found.problems:
        n = len(found.problems)
        print(f"{n} problem{'' if n == 1 else 's'}", file=sys.stderr)
        return 1
    print(f"ok: {found.summary()}")
    return 0
