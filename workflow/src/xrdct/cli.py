"""The command `xrdct`: what a user runs before and beside the workflow.

A command is an entry of `COMMANDS`: a line of help, a function that declares its arguments, and one that runs
it and returns the exit code. Heavy imports stand inside the functions, so that ``--help`` is quick.
"""

import argparse
import os
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
    except OSError as error:  # a folder that is not there or not ours, a full disk: the system's words say it
        print(": ".join(filter(None, [error.filename and str(error.filename), error.strerror])), file=sys.stderr)
    return 2


def _number(kind: type, low: float, high: float = float("inf")) -> Callable[[str], float]:
    """For argparse: a number from `low` to `high`."""

    def parse(text: str) -> float:
        value = kind(text)
        if not low <= value <= high:
            limits = f"at least {low:g}" if high == float("inf") else f"from {low:g} to {high:g}"
            raise argparse.ArgumentTypeError(f"expected a number {limits}, found {text}")
        return value

    parse.__name__ = "number"  # argparse names it where there is none
    return parse


_COUNT, _LENGTH, _ENERGY = _number(int, 1), _number(float, 1e-3), _number(float, 5, 500)


def _folder(text: str) -> Path:
    """For argparse: a folder that is there, or whose place is free; found out before any work is done."""
    path = Path(text)
    above = next(part for part in (path, *path.resolve().parents) if part.exists())
    if not text or not above.is_dir():
        raise argparse.ArgumentTypeError(f"{str(above) if text else repr(text)} is no folder")
    if not os.access(above, os.W_OK):
        raise argparse.ArgumentTypeError(f"{above} cannot be written to")
    return path


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
    parser.add_argument("--energy", type=_ENERGY, required=True, metavar="KEV", help="photon energy in keV")
    parser.add_argument("--detector", metavar="NAME", help="name in pyFAI's list, for example 'Pilatus CdTe 2M'")
    parser.add_argument(
        "--shape",
        type=_COUNT,
        nargs=2,
        metavar=("ROWS", "COLUMNS"),
        help="of a detector that is not in the list",
    )
    parser.add_argument("--pixel-size", type=_LENGTH, metavar="UM", help="edge of a pixel in µm, with --shape")
    parser.add_argument("--mask", help="image, non-zero where pixels are bad")
    parser.add_argument("--poni", help="geometry to be checked instead of found")
    parser.add_argument("--dataset", help="path of the frame in an HDF5 file")
    limit = _number(float, 1e-6, 0.1)
    parser.add_argument("--max-rms", type=limit, default=0.01, metavar="DEG", help="largest scatter (%(default)s°)")
    parser.add_argument("-o", "--output", type=_folder, required=True, metavar="FOLDER", help="folder for the results")


def _run_calibrate(arguments: argparse.Namespace) -> int:
    from .calibration.command import run

    return run(arguments)


def _declare_simulate(parser: argparse.ArgumentParser) -> None:
    known = sorted(path.stem for path in (Path(__file__).parent / "twin" / "presets").glob("*.yaml"))
    names = f"preset ({', '.join(known)}) or parameter file (YAML)"
    parser.add_argument("parameters", metavar="PRESET_OR_FILE", help=names)
    parser.add_argument("--out", type=_folder, required=True, metavar="FOLDER", help="folder to write to")
    parser.add_argument("--lines", type=_COUNT, metavar="N", help="write only the first N lines of every subset")
    parser.add_argument(
        "--scan", action="append", metavar="NAME", help="write only this scan or series (may be repeated)"
    )
    parser.add_argument("--workers", type=_COUNT, metavar="N", help="threads (default: one per core)")


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
    parser.add_argument(
        "store", nargs="?", default="results/beamtime.zarr", metavar="STORE", help="(%(default)s); for onnx a model.pt"
    )
    forms = ["csv", "tiff", "ome-zarr", "nexus", "vtk", "nxxrdct", "onnx"]
    what = "form; nxxrdct: patterns, onnx: networks, the others: maps"
    parser.add_argument("--to", choices=forms, required=True, help=what)
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FOLDER", help="folder to write to")


def _run_export(arguments: argparse.Namespace) -> int:
    from .io.exchange import export, export_patterns
    from .io.tree import read_tree

    if arguments.to == "onnx":
        from .io.onnx import write_onnx
        from .io.pqnet import read_ensemble

        written = write_onnx(*read_ensemble(arguments.store), arguments.output)
    elif arguments.to == "nxxrdct":
        store = Path(arguments.store)
        written = export_patterns(read_tree(store), store.parent, arguments.output)
    else:
        written = export(read_tree(arguments.store), arguments.to, arguments.output)
    for path in written:
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


def _declare_verify(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", nargs="?", default="results", metavar="FOLDER", help="(%(default)s)")


def _run_verify(arguments: argparse.Namespace) -> int:
    from .io.verify import verify_stores

    verdicts = list(verify_stores(arguments.folder))
    for verdict in verdicts:
        for problem in verdict.problems:
            print(f"{verdict.store}: {problem}")
    bad = sum(bool(verdict.problems) for verdict in verdicts)
    if bad:
        print(f"{bad} of {_count(len(verdicts), 'store')} in {arguments.folder} changed", file=sys.stderr)
        return 1
    print(f"ok: {_count(len(verdicts), 'store')}, every value as it was written")
    return 0


def _declare_why(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("target", nargs="*", metavar="TARGET", help="file or rule of the workflow (all of it)")
    _declare_beamtime(parser)


def _run_why(arguments: argparse.Namespace) -> int:
    from .rerun import explained, planned

    for targets in [[target] for target in arguments.target] or [[]]:
        jobs = planned(arguments.config, arguments.directory, targets)
        print(explained(targets[0] if targets else "The beamtime", jobs))
    return 0


def _declare_plan(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", nargs="?", type=Path, default="config/config.yaml", help="(%(default)s)")
    _declare_cores(parser)
    parser.add_argument("--workflow-profile", metavar="NAME", help="of a cluster, as for snakemake: its time and jobs")
    parser.add_argument(
        "--rates", type=Path, metavar="FOLDER", help="working folder of a finished run (without: the demo's rates)"
    )


def _run_plan(arguments: argparse.Namespace) -> int:
    from .config import load
    from .cost import not_measured, plan
    from .cost_profile import on_cluster
    from .cost_table import as_text
    from .io.rates import measured_rates, read_rates
    from .scans import read_scans, scan_names
    from .snakemake_call import read_profile

    config = load(arguments.config)
    rates = measured_rates(arguments.rates) if arguments.rates else read_rates()
    rows = read_scans(arguments.config.parent / config.scans)
    planned, cluster = plan(config, rows, rates), None
    if arguments.workflow_profile:
        cluster = on_cluster(planned, read_profile(arguments.workflow_profile), scans=len(scan_names(rows)))
    print(as_text(planned, cores=arguments.cores, origin=rates["origin"], cluster=cluster))
    for rule in not_measured(config, rates):
        print(f"note: {rule} was not run where the rates come from; its cost is NOT in the sums")
    return 0


def _declare_reproduce(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("results", nargs="?", type=Path, default="results", metavar="RESULTS", help="(%(default)s)")
    parser.add_argument("--out", type=_folder, required=True, metavar="FOLDER", help="working folder of the new run")
    parser.add_argument("--raw", type=Path, metavar="FOLDER", help="raw files, where they are not where they were")
    _declare_cores(parser)


def _run_reproduce(arguments: argparse.Namespace) -> int:
    from .reproduce import reproduce

    return reproduce(arguments.results, arguments.out, raw=arguments.raw, cores=arguments.cores)


def _declare_watch(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("raw_folder", nargs="?", type=Path, metavar="RAW_FOLDER", help="raw.root of the configuration")
    _declare_beamtime(parser)
    _declare_cores(parser)
    parser.add_argument("--workflow-profile", default="default", metavar="NAME", help="as for snakemake (%(default)s)")
    seconds = _number(float, 0)
    parser.add_argument("--interval", type=seconds, default=15, metavar="S", help="time between looks (%(default)s s)")
    parser.add_argument(
        "--settle", type=seconds, default=30, metavar="S", help="time that files must stay unchanged (%(default)s s)"
    )
    parser.add_argument("--once", action="store_true", help="process what is whole now, then end")


def _run_watch(arguments: argparse.Namespace) -> int:
    from .logbook import shown
    from .watch import Watch, check_root, watch

    check_root(arguments.config, arguments.directory, arguments.raw_folder)
    watched = Watch(
        arguments.config, arguments.directory, arguments.settle, arguments.cores, arguments.workflow_profile
    )
    with shown(arguments.directory / "logs" / "watch.log"):
        watch(watched, interval_s=arguments.interval, once=arguments.once)
    counts = {"done": watched.done, "failed": watched.failed, "not whole": watched.waiting}
    print("; ".join(f"{state}: {', '.join(sorted(scans)) or 'none'}" for state, scans in counts.items()))
    return 1 if watched.failed else 0


def _declare_beamtime(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", type=Path, default="config/config.yaml", metavar="CONFIG", help="(%(default)s)")
    parser.add_argument(
        "-d", "--directory", type=Path, default=Path(), metavar="FOLDER", help="working folder, as for snakemake"
    )


def _declare_cores(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--cores", type=_COUNT, default=os.cpu_count(), metavar="N", help="cores (%(default)s)")


def _count(n: int, noun: str) -> str:
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


COMMANDS = {
    "check": Command("Check configuration, table and raw files; run nothing.", _declare_check, _run_check),
    "calibrate": Command(
        "Find distance, beam centre and tilt from one calibrant frame.", _declare_calibrate, _run_calibrate
    ),
    "cycler": Command("Capacity per cycle from the log of a cycler.", _declare_cycler, _run_cycler),
    "export": Command("Write a beamtime's maps, or networks, for other programs.", _declare_export, _run_export),
    "init": Command("Propose a scan table from a folder of raw data.", _declare_init, _run_init),
    "plan": Command("Say what a beamtime will cost: hours, terabytes, files.", _declare_plan, _run_plan),
    "reproduce": Command(
        "Run a recorded beamtime again, into another folder, and compare.", _declare_reproduce, _run_reproduce
    ),
    "schema": Command("Export the JSON schema of the configuration.", _declare_schema, _run_schema),
    "simulate": Command(
        "Write the raw files of a simulated beamtime, with the truth.", _declare_simulate, _run_simulate
    ),
    "verify": Command("Compare stores with their manifests, value by value.", _declare_verify, _run_verify),
    "view": Command("Look at a beamtime in the browser, on this machine only.", _declare_view, _run_view),
    "watch": Command("Process scans as they are measured, until Ctrl-C.", _declare_watch, _run_watch),
    "why": Command("Say what would run again, and because of which setting.", _declare_why, _run_why),
}
"""Every subcommand by its name."""
