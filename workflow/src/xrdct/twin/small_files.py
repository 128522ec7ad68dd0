"""What stands beside the frames: calibrant frame, mask, scan table, table of the series, the cycler's log."""

from pathlib import Path

import numpy as np

from ..scans import Subset, write_scans
from . import files
from .acquisition import line_angles
from .cycler import cycler_log
from .formats import table_columns
from .frames import air_image, record, weaken
from .parameters import Parameters
from .patterns import crystal_pattern, size_of
from .sample import Station
from .shine import addresses, shine
from .structures import read_crystal
from .truth import bad_pixel_mask

CALIBRANT_FRAME, MASK, LOG = "CeO2.cbf", "mask.edf", "cycler.mpt"
TABLE, SERIES_TABLE = "scans.tsv", "series.tsv"


def small_paths(parameters: Parameters, out: Path) -> list[Path]:
    """All files that `write_small_files` writes."""
    always = [out / "raw" / CALIBRANT_FRAME, out / "raw" / MASK, out / TABLE]
    return always + ([out / "raw" / LOG, out / SERIES_TABLE] if parameters.cycler else [])


def write_small_files(parameters: Parameters, station: Station, out: Path) -> None:
    """Write them, in place of those that stand."""
    files.write_frame(out / "raw" / CALIBRANT_FRAME, calibrant_frame(parameters, station))
    files.write_mask(out / "raw" / MASK, bad_pixel_mask(parameters.detector, station.defects))
    with files.whole(out / TABLE) as part:
        write_scans(part, scan_rows(parameters))
    if parameters.cycler:
        files.write_text(out / "raw" / LOG, cycler_log(parameters))
        files.write_text(out / SERIES_TABLE, series_table(parameters))


def calibrant_frame(parameters: Parameters, station: Station) -> np.ndarray:
    """Counts of the frame of the calibrant, int32, [row, column]."""
    calibrant, instrument = parameters.calibrant, parameters.instrument
    size = size_of(calibrant.phase, instrument)
    pattern = crystal_pattern(read_crystal(calibrant.phase), station.q, instrument=instrument, size_nm=size)
    table = (parameters.beam.dose * calibrant.thickness_mm * pattern).astype(np.float32)
    mean = shine(table[None, None], addresses(station.pixels, station.q, np.zeros(1)))
    weaken(mean, air_image(parameters.artefacts.air, station.pixels), np.ones(1), np.ones(1))
    mean *= np.float32(calibrant.exposures)
    counts = record(
        mean,
        station.defects,
        seed=parameters.seed,
        scan="calibrant",
        subset=0,
        first_frame=0,
        poisson=parameters.artefacts.poisson,
    )
    return counts.reshape(parameters.detector.shape)


def scan_rows(parameters: Parameters) -> list[Subset]:
    """The scan table of the beamtime."""
    scan, angles = parameters.scan, line_angles(parameters.scan)
    return [
        Subset(
            scan=state.scan,
            subset=k,
            sample=parameters.sample,
            state=state.state,
            voltage_V=state.voltage_V,
            **table_columns(parameters, state.scan, k),
            n_projections=scan.n_projections,
            n_positions=scan.n_positions,
            angle_start_deg=float(angles[k - 1, 0]),
            angle_step_deg=scan.span_deg / scan.n_projections,
            step_mm=scan.step_mm,
            zigzag="yes" if scan.zigzag else "no",
        )
        for state in parameters.scans
        for k in range(1, scan.n_subsets + 1)
    ]


def series_table(parameters: Parameters) -> str:
    """The table of points and lines against time: one row per series, columns a tab apart."""
    header = ["series", "sample", "file", "dataset", "log", "n_repeats", "n_positions", "angle_deg", "ty_mm", "step_mm"]
    rows = [
        [
            series.name,
            parameters.sample,
            *(value or "" for value in table_columns(parameters, series.name, 1).values()),
            LOG,
            *map(str, (series.n_repeats, series.n_positions, series.angle_deg, series.ty_mm, parameters.scan.step_mm)),
        ]
        for series in parameters.series
    ]
    return "".join("\t".join(row) + "\n" for row in [header, *rows])
