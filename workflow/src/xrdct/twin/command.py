"""``xrdct simulate``: write a simulated beamtime."""

import time
from pathlib import Path

from .parameters import PRESETS, chosen_scans, first_lines, load_parameters
from .simulate import simulate


def add_parser(subparsers) -> None:
    """Register the command."""
    known = ", ".join(sorted(path.stem for path in PRESETS.glob("*.yaml")))
    parser = subparsers.add_parser("simulate", help="write the raw files of a simulated beamtime, with the truth")
    parser.add_argument("parameters", metavar="PRESET_OR_FILE", help=f"preset ({known}) or parameter file (YAML)")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="folder to write to")
    parser.add_argument("--lines", type=int, metavar="N", help="write only the first N lines of every subset")
    parser.add_argument("--scan", action="append", metavar="NAME", help="write only this scan (may be repeated)")
    parser.add_argument("--workers", type=int, metavar="N", help="threads (default: one per core)")
    parser.set_defaults(run=run)


def run(args) -> int:
    """Simulate, and say where the files are."""
    parameters = load_parameters(args.parameters)
    if args.scan:
        parameters = chosen_scans(parameters, args.scan)
    if args.lines is not None:
        parameters = first_lines(parameters, args.lines)
    start = time.perf_counter()
    made = simulate(parameters, args.out, workers=args.workers)
    what = f"simulated in {time.perf_counter() - start:.0f} s" if made else "stands already, nothing to do"
    scan = parameters.scan
    n_frames = len(parameters.states) * scan.n_subsets * scan.n_projections * scan.n_positions
    print(f"{len(parameters.states)} scans, {n_frames} frames: {what}")
    print(f"  raw frames, calibrant, mask  {args.out / 'raw'}")
    print(f"  scan table                   {args.out / 'scans.tsv'}")
    print(f"  truth                        {args.out / 'truth'}")
    return 0
