"""A beamtime once more, from the record of its run: the same settings and frames, another folder, results compared."""

import json
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import xarray as xr
import yaml

from .agreement import LEARNED, TOLERANCES, Tolerance, disagreements
from .config import Config, validate
from .errors import RawDataError, StoreError
from .io.frames import open_frames, raw_path
from .io.store import manifest_digest, read_manifest, read_store
from .io.tree import KIND as TREE
from .io.tree import read_tree
from .machine import gpus, machine
from .provenance import file_sha256, files_fingerprint
from .record import versions
from .scans import Subset, write_scans
from .series import SeriesRow, write_series
from .snakemake_call import snakemake_command, snakemake_environment


@dataclass(frozen=True)
class Reproduced:
    """How one store came out."""

    store: str
    """Path as in the record."""
    how: str
    """'identical', 'within tolerance', or 'differs'."""
    tolerance: Tolerance | None = None
    """Of a store that was compared value by value."""
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class Run:
    """A recorded run: what it was made from, and where."""

    record: dict
    folder: Path
    """Its working folder."""
    config: Config
    rows: tuple[Subset, ...]
    series: tuple[SeriesRow, ...]

    @property
    def frames(self) -> dict[str, Subset | SeriesRow]:
        """Rows of either table by the store of their patterns."""
        scans = {f"results/{row.scan}/integrate/{row.subset}/patterns.zarr": row for row in self.rows}
        return scans | {f"results/series/{row.series}/patterns.zarr": row for row in self.series}

    @property
    def raw(self) -> Path:
        """Where its raw files were."""
        return self.folder / self.config.raw.root


def read_run(results: str | Path) -> Run:
    """The run that a results folder is of.

    Raises
    ------
    StoreError
        When there is no readable record.
    ConfigError
        When this version does not know the recorded settings.
    """
    path = Path(results) / "run.json"
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        rows = tuple(Subset.model_validate(row) for row in record["table"])
        series = tuple(SeriesRow.model_validate(row) for row in record.get("series", ()))
        settings = record["configuration"]
    except FileNotFoundError:
        raise StoreError(f"{path}: no such file; it is written when a run has finished") from None
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise StoreError(f"{path}: not the record of a run ({error})") from None
    return Run(record, Path(results).resolve().parent, validate(settings, origin=str(path)), rows, series)


def changed_raw_files(run: Run, raw: Path) -> list[str]:
    """Raw files that are not those of the record, one line each."""
    problems = []
    for name, recorded in run.record["inputs"].items():
        path = raw_path(raw, name)
        if not path.is_file():
            problems.append(f"{path}: no such file")
        elif file_sha256(path) != recorded:
            problems.append(f"{path}: is not the file that was used (sha256 {recorded[:16]}…)")
    for store, row in run.frames.items():
        stored = run.record["stores"].get(store, {})
        if "frames" not in stored.get("inputs", {}):
            continue
        try:
            with open_frames(raw_path(raw, row.file), row.dataset) as frames:
                found = files_fingerprint(frames.files)
        except RawDataError as error:
            problems.append(str(error))
            continue
        if found != stored["inputs"]["frames"]:
            problems.append(f"{raw_path(raw, row.file)}: its frames are not those that were used")
    return problems


def other_circumstances(record: dict, *, cores: int) -> list[str]:
    """What is not as it was in the recorded run, and may move last digits; nothing: the same bits are expected."""
    now = versions() | {"machine": machine(), "gpus": gpus(), "cores": cores}
    names = {"xrdct": "version", "git_revision": "revision", "locks": "versions of the libraries (hash of the locks)"}
    return [
        f"{names.get(key, key)}: {record.get(key) or 'not known'} then, {now[key] or 'none'} now"
        for key in ("xrdct", "git_revision", "locks", "machine", "gpus", "cores")
        if record.get(key) != now[key] or str(now[key]).endswith("+changes")
    ]


def prepare(run: Run, out: Path, raw: Path) -> Path:
    """Write configuration and tables of a run into a folder; the configuration's path.

    Small files that the settings name relative to the working folder come along. Networks are trained anew, and not
    taken from a cache.

    Raises
    ------
    StoreError
        When the folder holds anything but an earlier attempt at the same.
    """
    settings = json.loads(json.dumps(run.record["configuration"]))
    settings["scans"], settings["raw"]["root"] = "scans.tsv", str(raw.resolve())
    if run.series:
        settings["series"]["table"] = "series.tsv"
    if "pqnet" in settings:
        settings["pqnet"]["cache"] = None
    config, text = out / "config.yaml", yaml.safe_dump(settings, sort_keys=False, allow_unicode=True)
    if out.exists() and any(out.iterdir()) and not (config.is_file() and config.read_text("utf-8") == text):
        raise StoreError(f"{out}: is not empty; give a folder that is, or one where this very run was begun")
    out.mkdir(parents=True, exist_ok=True)
    for name in _named_files(run.config):
        if not Path(name).is_absolute() and (run.folder / name).is_file():
            (out / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(run.folder / name, out / name)
    write_scans(out / "scans.tsv", list(run.rows))
    if run.series:
        write_series(out / "series.tsv", list(run.series))
    config.write_text(text, encoding="utf-8")
    return config


def _named_files(config: Config) -> list[str]:
    """Masks of regions, and structures of the user's own: relative to the working folder."""
    chosen = config.fit.chosen()
    structures = [phase.structure for phase in chosen.phases if phase.structure] if chosen else []
    masks = [region.mask for region in config.beamtime.all_regions() if region.mask]
    return [*masks, *(name for name in (*structures, *config.report.phases) if name.endswith(".cif"))]


def rerun(config: Path, folder: Path, *, cores: int) -> None:
    """Run the workflow to its end.

    Raises
    ------
    StoreError
        When it failed; Snakemake has said why.
    """
    done = subprocess.run(snakemake_command(config, folder, cores=cores), env=snakemake_environment())
    if done.returncode:
        raise StoreError(f"{folder}: the run failed (see above); the same command goes on where it stopped")


def compare(run: Run, out: Path, *, exact: bool) -> Iterator[Reproduced]:
    """Every store of the record beside the one that was made again.

    Parameters
    ----------
    run, out
        The recorded run, and the working folder of the new one.
    exact
        Whether anything but the same bits is a difference.
    """
    for name, recorded in run.record["stores"].items():
        found, manifest = out / name, (out / name).with_suffix(".json")
        if not found.is_dir() or not manifest.is_file():
            yield Reproduced(name, "differs", problems=("was not made again",))
        elif manifest_digest(manifest) == recorded.get("manifest"):
            yield Reproduced(name, "identical")
        else:
            tolerance = tolerance_of(name, read_manifest(manifest)["kind"], run.config)
            problems = tuple(_differences(run, name, out, tolerance))
            if exact:
                problems = ("is not bit by bit the same, though code, machine and number of cores are", *problems)
            yield Reproduced(name, "differs" if problems else "within tolerance", tolerance, problems)


def tolerance_of(store: str, kind: str, config: Config) -> Tolerance:
    """How near a store of a kind has to come, by whether a network stands before it."""
    after_denoising = ("denoised" in store or kind in ("maps", TREE)) and config.denoise.apply
    by_networks = "/pqnet/" in store or (kind == "series" and config.series.source != "fit")
    by_networks = by_networks or (kind == TREE and config.map_source() != "fit")
    learned = (after_denoising and config.denoise.model is None) or by_networks
    return LEARNED[kind] if learned and kind in LEARNED else TOLERANCES[kind]


def _differences(run: Run, name: str, out: Path, tolerance: Tolerance) -> Iterator[str]:
    first, manifest = run.folder / name, (run.folder / name).with_suffix(".json")
    try:
        if manifest_digest(manifest) != run.record["stores"][name].get("manifest"):
            yield "was made again since the record was written: no values to compare with"
            return
        kind = read_manifest(manifest)["kind"]
        old, new = _variables(first, kind), _variables(out / name, kind)
    except StoreError as error:
        yield f"no values to compare with: {error}"
        return
    yield from disagreements(old, new, tolerance)


def _variables(store: Path, kind: str) -> dict[str, xr.Variable]:
    """Variables and coordinates of a store by name, of a tree with the node's path before it."""
    if kind != TREE:
        return {str(name): variable for name, variable in read_store(store, kind).variables.items()}
    nodes = ((node.path.rstrip("/"), node.to_dataset(inherit=False)) for node in read_tree(store).subtree)
    return {f"{path}/{name}": variable for path, data in nodes for name, variable in data.variables.items()}


def reproduce(results: str | Path, out: Path, *, raw: Path | None, cores: int) -> int:
    """Run again what a results folder records, compare, and print one report; exit code 0: it came out the same.

    Raises
    ------
    RawDataError
        When the raw files are not those of the record.
    """
    run = read_run(results)
    raw = raw or run.raw
    if changed := changed_raw_files(run, raw):
        raise RawDataError("\n".join(changed))
    others = other_circumstances(run.record, cores=cores)
    rerun(prepare(run, out, raw), out, cores=cores)
    found = list(compare(run, out, exact=not others))
    print(report_of(found, run, others))
    return 1 if any(one.problems for one in found) else 0


def report_of(found: list[Reproduced], run: Run, others: list[str]) -> str:
    """What came out, as text: the circumstances, every store with its tolerance, and the sum."""
    lines = [f"note: {other}" for other in others]
    width = max(len(one.store) for one in found)
    for one in found:
        within = f" ({one.tolerance})" if one.tolerance else ""
        lines += [f"{one.store:<{width}}  {one.how}{within}", *(f"    {problem}" for problem in one.problems)]
    counts = Counter(one.how for one in found)
    total = ", ".join(f"{counts[how]} {how}" for how in ("identical", "within tolerance", "differs") if counts[how])
    expected = "stores within their tolerances" if others else "the same bits"
    return "\n".join([*lines, f"{len(found)} stores: {total} (expected: {expected})"])
