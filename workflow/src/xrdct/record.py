"""The record of a run, beside its results: what it was made from, by what, where, and how long that took."""

import csv
import hashlib
import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from . import __version__
from .config import Config
from .errors import StoreError
from .io.frames import raw_path
from .io.store import git_revision, manifest_digest
from .io.verify import manifests_below
from .io.whole import replaced_when_whole
from .machine import gpus, machine
from .provenance import file_sha256
from .scans import Subset
from .series import SeriesRow

LOCKS = Path(__file__).resolve().parents[3] / "requirements"
"""Lock files of the checkout that runs."""

SHARED_SCRIPT = ("integrate_series",)
"""Rules that run the script of another one."""


def record_run(
    config: Config,
    rows: Sequence[Subset],
    *,
    series: Sequence[SeriesRow] = (),
    results: str | Path,
    benchmarks: str | Path,
    cores: int | None = None,
) -> dict:
    """Collect the record of a finished run, as plain values.

    Frames are recorded by the fingerprint that the integration took of them (`provenance.files_fingerprint`): half a
    terabyte is not read again.

    Parameters
    ----------
    config, rows, series
        Configuration and tables.
    results, benchmarks
        Folders of the workflow, relative to the working folder.
    cores
        That the run could use, None on a cluster: sums over threads depend on it in their last digits.

    Returns
    -------
    dict
        `xrdct`, `git_revision`, `locks` (one hash over the lock files), `machine`, `gpus`, `cores`, `configuration`,
        `table`, `series`, `inputs` (sha256 of the small raw files), `stores` (digest of each manifest, with the
        fingerprints that its provenance names) and `rules` (jobs, wall-clock and CPU seconds and largest memory in MiB
        of each).
    """
    small = [config.calibrate.frame, config.calibrate.poni, config.detector.mask, config.denoise.model]
    small += sorted({row.log for row in series if row.log})
    files = {name: raw_path(config.raw.root, name) for name in small if name is not None}
    return versions() | {
        "machine": machine(),
        "gpus": gpus(),
        "cores": cores,
        "configuration": config.model_dump(mode="json"),
        "table": [row.model_dump(mode="json") for row in rows],
        "series": [row.model_dump(mode="json") for row in series],
        "inputs": {name: file_sha256(path) for name, path in files.items()},
        "stores": {
            str(store): _store_record(store, manifest)
            for store, manifest in manifests_below(results).items()
            if store.is_dir()
        },
        "rules": times_by_rule(benchmarks),
    }


def versions() -> dict[str, str]:
    """What computes: version, revision, and one hash over the lock files."""
    return {"xrdct": __version__, "git_revision": git_revision(), "locks": _locks_digest()}


def write_record(record: dict, path: str | Path) -> None:
    """Write a record as JSON, whole or not at all."""
    with replaced_when_whole(path) as partial:
        partial.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def times_by_rule(benchmarks: str | Path) -> dict[str, dict[str, float]]:
    """Jobs, seconds and memory of each rule, from the files that Snakemake's `benchmark:` writes.

    A rule's files are called as the rule, with the job's wildcards behind an underscore; several rows of a file are
    repetitions of which the last counts.
    """
    found: dict[str, dict[str, float]] = defaultdict(lambda: {"jobs": 0, "wall_s": 0.0, "cpu_s": 0.0, "max_mib": 0.0})
    for path in sorted(Path(benchmarks).rglob("*.tsv")):
        rule = _rule_of(path.stem)
        *_, last = csv.DictReader(path.read_text(encoding="utf-8").splitlines(), delimiter="\t")
        own = found[rule]
        own["jobs"] += 1
        own["wall_s"] = round(own["wall_s"] + _number(last["s"]), 2)
        own["cpu_s"] = round(own["cpu_s"] + _number(last["cpu_time"]), 2)
        own["max_mib"] = max(own["max_mib"], _number(last["max_rss"]))
    return dict(found)


def _rule_of(stem: str) -> str:
    """'integrate_2' is of integrate, 'reconstruct_subset1' of reconstruct, 'draw_scan' of draw_scan."""
    scripts = LOCKS.parent / "workflow" / "scripts"
    names = sorted([*(path.stem for path in scripts.glob("*.py")), *SHARED_SCRIPT], key=len, reverse=True)
    return next((name for name in names if stem == name or stem.startswith(f"{name}_")), stem)


def _number(text: str) -> float:
    """'NA' is what Snakemake writes of jobs that end before it looks."""
    return 0.0 if text == "NA" else float(text)


def _store_record(store: Path, manifest: Path) -> dict:
    try:
        digest = manifest_digest(manifest)
        attributes = json.loads((store / "zarr.json").read_text(encoding="utf-8"))["attributes"]
    except (StoreError, OSError, json.JSONDecodeError) as error:
        return {"unreadable": str(error)}  # a record of the rest is worth more than none
    made = json.loads(attributes["provenance"])
    inputs = {name: x["fingerprint"] if isinstance(x, dict) else x for name, x in made["inputs"].items()}
    return {"manifest": digest, "inputs": inputs, "git_revision": made["git_revision"]}


def _locks_digest() -> str:
    digest = hashlib.sha256()
    for path in sorted(LOCKS.glob("*.lock")):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:16]
