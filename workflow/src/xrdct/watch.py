"""A beamtime while it is measured: every scan, and every series, is processed as soon as its raw files are whole.

The tables tell what to wait for; rows can be added while it is watched. Snakemake is run with a table of the scans that
are whole, so that maps and figures of all of them stand after each; a scan that fails is left out of the table until
its files change. Nothing is remembered between two watches: what is up to date, Snakemake finds out.
"""

import logging
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import yaml

from .config import Config, load
from .errors import ConfigError, TableError
from .io.arrival import Arrival, Expected, look_at_frames, stamp_of
from .io.frames import raw_path
from .scans import Subset, missing_subsets, read_scans, scan_names, subsets_of, write_scans
from .series import SeriesRow, read_series, write_series
from .snakemake_call import snakemake_command, snakemake_environment

log = logging.getLogger("xrdct.watch")

GRACE_S = 60
"""Time that Snakemake gets to end its jobs and to give the folder free, after a Ctrl-C."""


@dataclass(frozen=True)
class Beamtime:
    """Configuration and table as they stand now."""

    config: Config
    rows: tuple[Subset, ...]
    series: tuple[SeriesRow, ...]
    shared: tuple
    """Stamp of the configuration and of the raw files that all scans need."""
    root: Path
    """Of the raw files."""

    def names(self) -> list[str]:
        """Scans, then series, in the order of their tables."""
        return scan_names(list(self.rows)) + [row.series for row in self.series]

    def look(self, name: str) -> Arrival:
        """What stands of the files of a scan or a series."""
        rows = subsets_of(list(self.rows), name)
        if missing := missing_subsets(rows, expected=self.config.raw.subsets_per_scan):
            return Arrival((), "; ".join(missing))
        wanted = [(row, row.n_projections * row.n_positions) for row in rows]
        wanted += [(row, row.n_repeats * row.n_positions) for row in self.series if row.series == name]
        found = look_at_frames(Expected(raw_path(self.root, row.file), row.dataset, n) for row, n in wanted)
        logs = [raw_path(self.root, row.log) for row in self.series if row.series == name and row.log]
        return replace(found, stamp=found.stamp + stamp_of(logs))  # the cycler's log may still grow


@dataclass
class Watch:
    """What is known of every scan, and what is done when one is whole.

    Parameters
    ----------
    config
        The YAML file.
    folder
        Working folder; the tables of the scans that are whole are kept in `watch` below it.
    settle_s
        Seconds that the files of a scan must stay as they are.
    cores, profile
        As for `snakemake_call.snakemake_command`.
    """

    config: Path
    folder: Path
    settle_s: float = 30.0
    cores: int = 1
    profile: str = "default"
    done: set[str] = field(default_factory=set)
    """Scans whose results stand."""
    failed: dict[str, tuple] = field(default_factory=dict)
    """Scans that could not be processed, with the stamp of their files."""
    _seen: dict[str, tuple[tuple, float]] = field(default_factory=dict)
    _told: dict[str, str] = field(default_factory=dict)
    _last: Beamtime | None = None

    def step(self, now: float) -> None:
        """Look once, and process what has become whole.

        Parameters
        ----------
        now
            Seconds of a clock that only goes forward.
        """
        beamtime = self._read()
        if beamtime is None:
            return
        if self._last is None or beamtime.shared != self._last.shared:
            self.done, self.failed = set(), {}
        self._last = beamtime
        fresh = [scan for scan in self._whole(beamtime, now) if scan not in self.done]
        if fresh and not self._process(beamtime, fresh) and len(fresh) > 1:
            for scan in fresh:  # which of them is it?
                self._process(beamtime, [scan])

    @property
    def waiting(self) -> list[str]:
        """Scans of the table that were not processed."""
        names = self._last.names() if self._last else []
        return [scan for scan in names if scan not in self.done and scan not in self.failed]

    def _read(self) -> Beamtime | None:
        """Configuration and table, the last good ones while somebody edits them."""
        try:
            config = load(self.config)
            table = config.series.table
            rows = read_scans(self.config.parent / config.scans, may_be_empty=table is not None)
            series = read_series(self.config.parent / table) if table else []
        except (ConfigError, TableError) as error:
            self._tell("the configuration", str(error), logging.WARNING)
            return self._last
        self._told.pop("the configuration", None)
        root = self.folder / config.raw.root
        needed = [config.calibrate.frame, config.calibrate.poni, config.detector.mask, config.denoise.model]
        files = [raw_path(root, name) for name in needed if name]
        return Beamtime(config, tuple(rows), tuple(series), (config.model_dump_json(), stamp_of(files)), root)

    def _whole(self, beamtime: Beamtime, now: float) -> Iterator[str]:
        """Scans whose files are all there and have not changed for a while, but those that failed as they are."""
        for scan in beamtime.names():
            arrival = beamtime.look(scan)
            stamp, since = self._seen.get(scan, (None, now))
            if stamp != arrival.stamp:
                since = now
                self.done.discard(scan)  # its frames were written again
            self._seen[scan] = arrival.stamp, since
            if arrival.lacking:
                self._tell(scan, f"not whole yet: {arrival.lacking}")
            elif now - since >= self.settle_s and self.failed.get(scan) != arrival.stamp:
                yield scan

    def _process(self, beamtime: Beamtime, scans: list[str]) -> bool:
        """Run the workflow for the scans that are done and some more; whether it went well."""
        wanted = self.done | set(scans)
        config = self._write_table(beamtime, wanted)
        names = ", ".join(scans)
        output = self.folder / "logs" / "watch" / f"{scans[0] if len(scans) == 1 else 'together'}.log"
        output.parent.mkdir(parents=True, exist_ok=True)
        self._tell(names, "whole; processing", logging.INFO)
        started = time.monotonic()
        command = snakemake_command(config, self.folder, cores=self.cores, profile=self.profile)
        with open(output, "w", encoding="utf-8") as stream:
            code = run_to_end([*command, "--keep-going"], stream)
        if code == 0:
            self.done |= set(scans)
            self.failed = {scan: stamp for scan, stamp in self.failed.items() if scan not in scans}
            self._tell(names, f"done in {time.monotonic() - started:.0f} s")
        elif len(scans) == 1:
            self.failed[scans[0]] = self._seen[scans[0]][0]
            self._tell(names, f"FAILED, and is left out until its files change; see {output}", logging.ERROR)
        return code == 0

    def _write_table(self, beamtime: Beamtime, scans: set[str]) -> Path:
        """A configuration like the user's with a table of some scans; jobs come out the same with either."""
        own = self.folder / "watch"
        own.mkdir(parents=True, exist_ok=True)
        settings = beamtime.config.model_dump(mode="json") | {"scans": "scans.tsv"}
        write_scans(own / "scans.tsv", [row for row in beamtime.rows if row.scan in scans])
        series = [row for row in beamtime.series if row.series in scans]
        write_series(own / "series.tsv", series)
        settings["series"]["table"] = "series.tsv" if series else None
        (own / "config.yaml").write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")
        return own / "config.yaml"

    def _tell(self, subject: str, text: str, level: int = logging.INFO) -> None:
        """Log what is new about a subject, once."""
        if self._told.get(subject) != text:
            log.log(level, "%s: %s", subject, text)
        self._told[subject] = text


def watch(watched: Watch, *, interval_s: float, once: bool = False) -> None:
    """Look again and again until Ctrl-C (or SIGTERM); with `once`, until what is whole now is processed."""
    with interrupted_by_sigterm():
        try:
            begun = time.monotonic()
            watched.step(begun)
            while not once or time.monotonic() - begun < watched.settle_s:
                time.sleep(min(interval_s, watched.settle_s) if once else interval_s)
                watched.step(time.monotonic())
        except KeyboardInterrupt:
            log.info("ended")


def check_root(config: Path, folder: Path, raw_folder: Path | None) -> None:
    """Refuse a folder that is not the configuration's `raw.root`.

    Raises
    ------
    ConfigError
        With both folders.
    """
    root = folder / load(config).raw.root
    if raw_folder is not None and raw_folder.resolve() != root.resolve():
        raise ConfigError(
            f"{config}: raw.root is {root.resolve()}, not {raw_folder.resolve()}; watch that, or change it"
        )


def run_to_end(command: list[str], output) -> int:
    """Run a Snakemake of its own process group; its exit code.

    After a Ctrl-C it is asked to end its jobs, which leave nothing half done, and to give the folder free.
    """
    process = subprocess.Popen(
        command, env=snakemake_environment(), stdout=output, stderr=subprocess.STDOUT, start_new_session=True
    )
    try:
        return process.wait()
    except KeyboardInterrupt:
        log.info("ending Snakemake and its jobs (at most %d s)", GRACE_S)
        os.killpg(process.pid, signal.SIGINT)
        try:
            process.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            subprocess.run([*command, "--unlock"], env=snakemake_environment(), stdout=output, stderr=output)
        raise


@contextmanager
def interrupted_by_sigterm() -> Iterator[None]:
    """SIGTERM, as `kill` and batch systems send it, ends a block as Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
