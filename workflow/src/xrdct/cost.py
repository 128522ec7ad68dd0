"""What a beamtime will cost: hours, terabytes and files, from the rates of a run that was measured.

A rule's CPU seconds are a start (its imports) for every job, and a rate times the size that its work grows with
(`SIZES`). Stores are counted array by array by the chunk and shard rules of `io.store`; their bytes are the measured
bytes per value times the values.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, prod

from .calibration.detector import detector_from
from .config import Config
from .io.store import files_of_array
from .scans import Subset, scan_names, subsets_of

STARTS_S = {
    "integrate": 1.44,
    "assemble": 0.67,
    "reconstruct": 1.44,
    "correct_absorption": 1.92,
    "diagnose_parallax": 1.89,
    "map_windows": 0.44,
    "fit": 1.68,
    "denoise": 2.14,
    "pqnet_infer": 2.69,
    "gather_beamtime": 1.19,
}
"""CPU seconds until a job's script is imported, measured once each on a shared core of an AMD EPYC. A rule whose cost
does not grow needs none."""

SIZES = {
    "integrate": "pixels",
    "assemble": "values",
    "reconstruct": "rays",
    "correct_absorption": "rays",
    "diagnose_parallax": "values",
    "map_windows": "voxel_bins",
    "fit": "voxel_bins",
    "denoise": "voxel_bins",
    "pqnet_infer": "voxel_bins",
    "gather_beamtime": "voxels",
}
"""What a rule's seconds grow with; a rule that is not named costs the same for every scan, however large."""

ONCE = ("calibrate", "pqnet_train", "pqnet_join", "pqnet_library", "draw_beamtime", "draw_overview", "draw_unrolled")
"""Rules that run for the beamtime and not for every scan: their cost is taken as it was measured."""


@dataclass(frozen=True)
class Size:
    """How large a beamtime is, in what the rules' work grows with."""

    scans: int
    subsets: int
    pixels: int
    """Of all frames."""
    values: int
    """Of all sinograms: frames times q bins."""
    rays: int
    """Angles times voxels times q bins: the steps of a back projection."""
    voxels: int
    voxel_bins: int


@dataclass(frozen=True)
class Step:
    """What one rule, or the stores of one step, cost in total."""

    name: str
    jobs: int = 0
    cpu_s: float = 0.0
    written_bytes: float = 0.0
    files: int = 0


@dataclass(frozen=True)
class Plan:
    """What a beamtime will cost."""

    rules: tuple[Step, ...]
    stores: tuple[Step, ...]
    raw_bytes: float
    """To be read."""
    files_per_scan: int
    """Of the largest scan."""

    @property
    def cpu_s(self) -> float:
        """CPU seconds of all jobs."""
        return sum(step.cpu_s for step in self.rules)

    @property
    def files(self) -> int:
        """Files below the results, the logs and the benchmarks."""
        return sum(step.files for step in self.stores)

    @property
    def written_bytes(self) -> float:
        """Bytes of the results."""
        return sum(step.written_bytes for step in self.stores)

    def hours(self, cores: int) -> float:
        """Hours on some cores when all of them are busy to the end: the least it can take."""
        return self.cpu_s / cores / 3600


def size_of(config: Config, rows: Sequence[Subset]) -> Size:
    """How large a beamtime is, from configuration and table.

    Raises
    ------
    ConfigError
        When the detector is not known.
    """
    frame_pixels = prod(map(int, detector_from(config.detector).max_shape))
    bins = config.integrate.n_bins
    frames = sum(row.n_projections * row.n_positions for row in rows)
    scans = [subsets_of(rows, scan) for scan in scan_names(rows)]
    voxels = sum(scan[0].n_positions ** 2 for scan in scans)
    rays = sum(row.n_projections * row.n_positions**2 for row in rows) * bins
    return Size(len(scans), len(rows), frames * frame_pixels, frames * bins, rays, voxels, voxels * bins)


def rule_rates(times: dict[str, dict[str, float]], size: Size) -> dict[str, dict[str, float]]:
    """Rates of a measured run: CPU seconds per unit of what the rule's work grows with, and jobs.

    Parameters
    ----------
    times
        Jobs and CPU seconds by rule, as `record.times_by_rule` gives them.
    size
        Of the beamtime that was measured.
    """
    rates: dict[str, dict[str, float]] = {}
    for rule, time in times.items():
        if rule.endswith("_series"):  # grows with the series, not with the scans
            continue
        start = min(STARTS_S.get(rule, 0.0), time["cpu_s"] / time["jobs"])
        computing = time["cpu_s"] - start * time["jobs"]
        units = getattr(size, SIZES[rule]) if rule in SIZES else 1 if rule in ONCE else size.scans
        repeats = (
            1 if rule in ONCE or rule == "gather_beamtime" else size.subsets if rule == "integrate" else size.scans
        )
        own = rates.setdefault(rule, {"jobs": 0.0, "start_s": start, "cpu_s_per_unit": 0.0})
        own["jobs"] += time["jobs"] / repeats
        own["cpu_s_per_unit"] += computing / units
    return rates


def plan(config: Config, rows: Sequence[Subset], rates: dict) -> Plan:
    """What a beamtime will cost at the rates of a measured run (`io.rates`)."""
    size = size_of(config, rows)
    rules = tuple(_rule_step(rule, rate, size) for rule, rate in rates["rules"].items() if _runs(rule, config))
    scans = [subsets_of(rows, scan) for scan in scan_names(rows)]
    per_scan = [_scan_stores(scan, config, rates) for scan in scans]
    names = dict.fromkeys(step.name for steps in per_scan for step in steps)
    stores = tuple(_sum([step for steps in per_scan for step in steps if step.name == name], name) for name in names)
    files = max(sum(step.files for step in steps) for steps in per_scan)
    return Plan(rules, stores, size.pixels * rates["raw_bytes_per_pixel"], files)


def not_measured(config: Config, rates: dict) -> list[str]:
    """Stages that the configuration asks for and the measured run had not: their cost is not in the plan."""
    asked = {
        "fit": "fit" in config.map_sources() or config.absorption.correct,
        "correct_absorption": config.absorption.correct,
        "denoise": config.denoise.apply,
        "pqnet_infer": "pqnet" in config.map_sources(),
        "refine_dlsr": config.reconstruct.parallax == "dlsr",
        "fit_series": config.series.table is not None,
    }
    tilted = config.reconstruct.parallax != "off" and rates.get("parallax", "off") == "off"
    found = [rule for rule, wanted in asked.items() if wanted and rule not in rates["rules"]]
    return [*found, "reconstruct with parallax"] if tilted else found


def _runs(name: str, config: Config) -> bool:
    """Whether the configuration asks for a rule, or for a store's folder; those of no stage always run."""
    if name.split("/")[0] == "fit" and "fit" not in config.map_sources():
        return config.absorption.correct and not name.startswith("fit/denoised")  # it needs the first one
    if "absorption" in name:
        return config.absorption.correct
    if "denoise" in name:
        return config.denoise.apply
    if name == "draw_pqnet":  # beside the fit
        return config.maps.source == "all"
    if "pqnet" in name:
        series = config.series.table is not None and config.series.source != "fit"
        return "pqnet" in config.map_sources() or (series and name in ONCE)  # a series needs the networks
    if "dlsr" in name:
        return config.reconstruct.parallax == "dlsr"
    return config.fit.chosen() is not None if name == "draw_fit" else True


def _rule_step(rule: str, rate: dict, size: Size) -> Step:
    once = rule in ONCE or rule == "gather_beamtime"
    jobs = round(rate["jobs"] * (1 if once else size.subsets if rule == "integrate" else size.scans))
    units = getattr(size, SIZES[rule]) if rule in SIZES else 1 if rule in ONCE else size.scans
    return Step(rule, jobs, jobs * rate["start_s"] + units * rate["cpu_s_per_unit"])


def _scan_stores(rows: Sequence[Subset], config: Config, rates: dict) -> list[Step]:
    """Bytes and files of every store of a scan, and of all that is not in a store."""
    n = rows[0].n_positions
    lengths = {"point": n, "position": n, "y": n, "x": n, "angle": sum(row.n_projections for row in rows)}
    steps = []
    for name, store in rates["stores"].items():
        if not _runs(name, config):
            continue
        for row in rows if store["kind"] == "patterns" else rows[:1]:
            steps.append(
                _store_step(name, store, lengths | {"line": row.n_projections}, config.integrate.n_bins, rates)
            )
    return [*steps, Step("figures, manifests, logs", files=rates["other_files"], written_bytes=rates["other_bytes"])]


def _store_step(name: str, store: dict, lengths: dict[str, int], n_bins: int, rates: dict) -> Step:
    files, written = 2, 0.0  # the group's own zarr.json, and Snakemake's time stamp
    for array in store["arrays"].values():
        known = dict(zip(array["dims"], array["shape"], strict=True))
        shape = [
            ceil(known["q"] * n_bins / rates["n_bins"]) if dim == "q" else lengths.get(dim, known[dim])
            for dim in array["dims"]
        ]
        files += 2 if array["whole"] else 1 + files_of_array(array["dims"], shape, store["kind"])
        written += array["bytes"] * prod(shape) / prod(array["shape"])
    return Step(name, written_bytes=written, files=files)


def _sum(steps: list[Step], name: str) -> Step:
    return Step(name, written_bytes=sum(s.written_bytes for s in steps), files=sum(s.files for s in steps))
