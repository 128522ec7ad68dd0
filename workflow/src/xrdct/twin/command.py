"""What `xrdct simulate` does; its arguments are declared in `cli`."""

import time

from .parameters import chosen_scans, first_lines, load_parameters
from .simulate import measurements, simulate
from .small_files import LOG, SERIES_TABLE, TABLE


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
    n_frames = sum(n_subsets * n for _, n_subsets, n in measurements(parameters))
    series = f", {len(parameters.series)} series" if parameters.series else ""
    print(f"{len(parameters.scans)} scans{series}, {n_frames} frames: {what}")
    print(f"  raw frames, calibrant, mask  {args.out / 'raw'}")
    print(f"  scan table                   {args.out / TABLE}")
    if parameters.cycler:
        print(f"  table of series              {args.out / SERIES_TABLE}")
        print(f"  the cycler's log             {args.out / 'raw' / LOG}")
    print(f"  truth                        {args.out / 'truth'}")
    return 0
