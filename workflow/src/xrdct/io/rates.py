"""The rates of a measured run: read off a finished working folder, kept as JSON."""

import json
from collections.abc import Sequence
from pathlib import Path

import zarr

from ..config import Config
from ..cost import rule_rates, size_of
from ..errors import StoreError
from ..record import times_by_rule
from ..scans import Subset, scan_names
from .frames import raw_path
from .store import chunks_of_array

SHIPPED = Path(__file__).resolve().parents[4] / "resources" / "rates" / "demo.json"
"""Rates of the demo beamtime; the file names machine and revision."""


def read_rates(path: str | Path = SHIPPED) -> dict:
    """Rates that were kept in a file."""
    return json.loads(Path(path).read_text(encoding="utf-8"))


def measured_rates(folder: str | Path) -> dict:
    """Rates of the run that was finished in a working folder.

    Parameters
    ----------
    folder
        Working folder, with `results/run.json`, `benchmarks` and the raw files where the configuration says.

    Raises
    ------
    StoreError
        When there is no record of a finished run.
    """
    folder = Path(folder)
    record_path = folder / "results" / "run.json"
    if not record_path.is_file():
        raise StoreError(f"{record_path}: no such file; it is written when a run has finished")
    record = json.loads(record_path.read_text(encoding="utf-8"))
    config = Config.model_validate(record["configuration"])
    rows = [Subset.model_validate(row) for row in record["table"]]
    size = size_of(config, rows)
    raw = {raw_path(folder / config.raw.root, row.file) for row in rows}
    own = {path: path.stat().st_size for path in raw if path.is_file()}
    first = scan_names(rows)[0]
    others = _others(folder, first)
    return {
        "origin": f"{folder.resolve().name}, {record['machine']}, xrdct {record['xrdct']} ({record['git_revision']})",
        "n_bins": config.integrate.n_bins,
        "parallax": config.reconstruct.parallax,
        "raw_bytes_per_pixel": sum(own.values()) / size.pixels,
        "rules": rule_rates(times_by_rule(folder / "benchmarks"), size),
        "stores": _stores(folder / "results" / first),
        "other_files": len(others),
        "other_bytes": sum(path.stat().st_size for path in others),
    }


def _others(folder: Path, scan: str) -> Sequence[Path]:
    """A scan's files that are in no store."""
    found = [path for top in ("results", "logs", "benchmarks") for path in (folder / top / scan).rglob("*")]
    return [path for path in found if path.is_file() and not any(p.suffix == ".zarr" for p in path.parents)]


def _stores(folder: Path) -> dict:
    """Kind and arrays of a scan's stores; of its subsets, which are alike, the first one's patterns."""
    paths = sorted(path for path in folder.rglob("*.zarr") if "integrate" not in path.parts or path.parent.name == "1")
    return {str(path.relative_to(folder).with_suffix("")): _store(path) for path in paths}


def _store(path: Path) -> dict:
    kind = json.loads((path / "zarr.json").read_text(encoding="utf-8"))["attributes"]["kind"]
    arrays = {}
    for below in sorted(path.iterdir()):
        if not (below / "zarr.json").is_file():
            continue
        array = zarr.open_array(below, mode="r")
        dims = list(array.metadata.dimension_names)
        arrays[below.name] = {
            "dims": dims,
            "shape": list(array.shape),
            "whole": array.chunks != chunks_of_array(dims, array.shape, kind),
            "bytes": sum(file.stat().st_size for file in below.rglob("*") if file.is_file()),
        }
    return {"kind": kind, "arrays": arrays}
