"""The command `xrdct`: what a user runs before and beside the workflow.

A command is an entry of `COMMANDS`: a line of help, a function that declares its arguments, and one that runs
it and returns the exit code. Heavy imports stand inside the functions, so that ``--help`` is quick.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from . import __version__
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
    parser = argparse.ArgumentParser(prog="xrdct", description="From synchrotron XRD-CT frames to maps of chemistry.")
    parser.add_argument("--version", action="version", version=f"xrdct {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, command in COMMANDS.items():
        command.declare(commands.add_parser(name, help=command.help, description=command.help))
    return parser


def _declare_check(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", nargs="?", default="config/config.yaml", metavar="CONFIG", help="(%(default)s)")
    parser.add_argument(
        "-d", "--directory", default=".", metavar="FOLDER", help="working folder, as for snakemake (the current one)"
    )


def _run_check(arguments: argparse.Namespace) -> int:
    from .check import check_beamtime

    found = check_beamtime(arguments.config, working_folder=arguments.directory)
    for note in found.notes:
        print(f"note: {note}")
    for problem in found.problems:
        print(problem)
    if found.problems:
        print(f"{_count(len(found.problems), 'problem')} in {arguments.config}", file=sys.stderr)
        return 1
    print(f"ok: {found.summary()}")
    return 0


def _declare_init(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("raw_folder", metavar="RAW_FOLDER", help="becomes raw.root")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="table to write (without: printed)")


def _run_init(arguments: argparse.Namespace) -> int:
    from .errors import TableError
    from .init import propose_scans

    output = arguments.output
    if output and output.exists():
        raise TableError(f"{output} exists; give another name with -o, or remove it first")
    if output and not output.parent.is_dir():
        raise TableError(f"{output}: the folder {output.parent} does not exist")
    proposal = propose_scans(arguments.raw_folder)
    if output is None:
        print(proposal.table(), end="")
        return 0
    output.write_text(proposal.table(), encoding="utf-8")
    for note in proposal.notes:
        print(note)
    print(f"{output}: {proposal.summary()}")
    return 0


def _declare_calibrate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("frame", help="image of the calibrant (CBF, EDF, TIFF, HDF5, NPY …)")
    parser.add_argument("--calibrant", default="CeO2", help="name in pyFAI's list (%(default)s)")
    parser.add_argument("--energy", type=float, required=True, metavar="KEV", help="photon energy in keV")
    parser.add_argument("--detector", metavar="NAME", help="name in pyFAI's list, for example 'Pilatus CdTe 2M'")
    parser.add_argument(
        "--shape", type=int, nargs=2, metavar=("ROWS", "COLUMNS"), help="of a detector that is not in the list"
    )
    parser.add_argument("--pixel-size", type=float, metavar="UM", help="edge of a pixel in µm, with --shape")
    parser.add_argument("--mask", help="image, non-zero where pixels are bad")
    parser.add_argument("--poni", help="geometry to be checked instead of found")
    parser.add_argument("--dataset", help="path of the frame in an HDF5 file")
    parser.add_argument("--max-rms", type=float, default=0.01, metavar="DEG", help="largest scatter (%(default)s°)")
    parser.add_argument("-o", "--output", required=True, metavar="FOLDER", help="folder for the results")


def _run_calibrate(arguments: argparse.Namespace) -> int:
    from .calibration.command import run

    return run(arguments)


def _declare_simulate(parser: argparse.ArgumentParser) -> None:
    known = sorted(path.stem for path in (Path(__file__).parent / "twin" / "presets").glob("*.yaml"))
    names = f"preset ({', '.join(known)}) or parameter file (YAML)"
    parser.add_argument("parameters", metavar="PRESET_OR_FILE", help=names)
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="folder to write to")
    parser.add_argument("--lines", type=int, metavar="N", help="write only the first N lines of every subset")
    parser.add_argument("--scan", action="append", metavar="NAME", help="write only this scan (may be repeated)")
    parser.add_argument("--workers", type=int, metavar="N", help="threads (default: one per core)")


def _run_simulate(arguments: argparse.Namespace) -> int:
    from .twin.command import run

    return run(arguments)


def _declare_view(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("store", nargs="?", default="results/beamtime.zarr", metavar="STORE", help="(%(default)s)")
    parser.add_argument("--port", type=int, default=5006, help="on localhost (%(default)s; 0: any free one)")


def _run_view(arguments: argparse.Namespace) -> int:
    from .viewer.serve import open_server

    server = open_server(arguments.store, port=arguments.port)
    print(f"http://localhost:{server.port}/ (this machine only; Ctrl-C ends it)", flush=True)
    try:
        server.io_loop.start()
    except KeyboardInterrupt:
        server.stop()
    return 0


def _declare_export(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("store", nargs="?", default="results/beamtime.zarr", metavar="STORE", help="(%(default)s)")
    parser.add_argument("--to", choices=["csv", "tiff", "ome-zarr", "nexus"], required=True, help="form")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FOLDER", help="folder to write to")


def _run_export(arguments: argparse.Namespace) -> int:
    from .io.exchange import export
    from .io.tree import read_tree

    for path in export(read_tree(arguments.store), arguments.to, arguments.output):
        print(path)
    return 0


def _declare_cycler(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("log", metavar="FILE", help="BioLogic .mpt, or CSV")
    parser.add_argument("--maker", default="plain", help="arbin, neware, or plain (%(default)s)")
    parser.add_argument(
        "--column", action="append", default=[], metavar="QUANTITY=NAME", help="time, voltage, current, cycle"
    )


def _run_cycler(arguments: argparse.Namespace) -> int:
    from .cycler import capacities
    from .errors import CyclerError
    from .io.cycler import read_cycler

    pairs = [one.partition("=") for one in arguments.column]
    if not all(sign for _, sign, _ in pairs):
        raise CyclerError("--column wants QUANTITY=NAME, for example voltage=Ewe/V")
    log = read_cycler(arguments.log, maker=arguments.maker, columns={key: name for key, _, name in pairs})
    print("cycle\tcharge_Ah\tdischarge_Ah\tefficiency")
    for one in capacities(log):
        print(f"{one.cycle}\t{one.charge_Ah:.4f}\t{one.discharge_Ah:.4f}\t{one.efficiency:.4f}")
    return 0


def _declare_schema(parser: argparse.ArgumentParser) -> None:
    path = Path(__file__).resolve().parents[2] / "schemas" / "config.schema.json"
    parser.add_argument("-o", "--output", type=Path, default=path, metavar="FILE", help="(%(default)s)")


def _run_schema(arguments: argparse.Namespace) -> int:
    from .config import json_schema

    arguments.output.write_text(json_schema(), encoding="utf-8")
    print(f"written: {arguments.output}")
    return 0


def _count(n: int, noun: str) -> str:
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


COMMANDS = {
    "check": Command("Check configuration, table and raw files; run nothing.", _declare_check, _run_check),
    "calibrate": Command(
        "Find distance, beam centre and tilt from one calibrant frame.", _declare_calibrate, _run_calibrate
    ),
    "cycler": Command("Capacity per cycle from the log of a cycler.", _declare_cycler, _run_cycler),
    "export": Command("Write a beamtime's maps for other programs.", _declare_export, _run_export),
    "init": Command("Propose a scan table from a folder of raw data.", _declare_init, _run_init),
    "schema": Command("Export the JSON schema of the configuration.", _declare_schema, _run_schema),
    "simulate": Command(
        "Write the raw files of a simulated beamtime, with the truth.", _declare_simulate, _run_simulate
    ),
    "view": Command("Look at a beamtime in the browser, on this machine only.", _declare_view, _run_view),
}
"""Every subcommand by its name."""
