"""``xrdct init``: a first scan table from a folder of raw data."""

import argparse
import sys
from pathlib import Path


def add_parser(subparsers) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "init",
        help="propose a scan table from a folder of raw data",
        description="Propose a scan table from a folder of raw data. What had to be guessed stands in comment lines.",
    )
    parser.add_argument("raw_folder", metavar="RAW_FOLDER", help="becomes raw.root")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="table to write (default: print it)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the table, or write it unless there is one already."""
    from ..errors import TableError
    from ..init import propose_scans

    if args.output and args.output.exists():
        raise TableError(f"{args.output} exists; give another name with -o, or remove it first")
    if args.output and not args.output.parent.is_dir():
        raise TableError(f"{args.output}: the folder {args.output.parent} does not exist")
    proposal = propose_scans(args.raw_folder)
    if args.output is None:
        print(proposal.table(), end="")
        return 0
    args.output.write_text(proposal.table(), encoding="utf-8")
    for note in proposal.notes:
        print(f"note: {note}", file=sys.stderr)
    print(f"{args.output}: {proposal.summary()}")
    return 0
