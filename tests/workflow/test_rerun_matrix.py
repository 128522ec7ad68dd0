"""The rerun matrix: for every key of the configuration and column of the table, exactly the rules that must rerun.

Nothing is computed: the outputs of a beamtime with everything switched on are empty files that Snakemake was told to
take for made (`--touch`), and what it would run after a change is its own plan (`xrdct.rerun`), asked in one process.
A new rule needs no change of old rows; a new key or column without a row fails the first test.
"""

import copy
import shutil
from pathlib import Path

import pytest
import yaml

from support import REPOSITORY, Beamtime
from xrdct.cli import main
from xrdct.config import Config
from xrdct.config.base import keys_of
from xrdct.rerun import LARGEST_CHECKSUM, TRIGGERS, explained, planned
from xrdct.scans import Subset, read_scans, write_scans
from xrdct.series import SeriesRow

TINY = REPOSITORY / "tests" / "data" / "tiny"
SCAN = "charged_4p2V"

POLYMER = {"name": "polymer", "q": 1.7, "q_limits": [1.65, 1.75], "fwhm": 0.03, "fwhm_limits": [0.01, 0.1]}
SETTINGS = {
    "reconstruct": {"each_subset": True},
    "integrate": {"groups": 4},
    "fit": {
        "phase_set": {
            "name": "mine",
            "q_min": 1.6,
            "q_max": 3.3,
            "phases": [
                {
                    "name": "graphite",
                    "structure": "graphite",
                    "free": {"a": [2.4, 2.5], "c": [6.6, 6.8]},
                    "per_voxel": ["a", "c"],
                },
                {"name": "Cu", "free": {"a": [3.5, 3.7]}},
            ],
            "peaks": [
                {"name": "polymer", "q": 1.7, "q_limits": [1.65, 1.75], "fwhm": 0.03, "fwhm_limits": [0.01, 0.1]}
            ],
            "second_wavelength": {"ratio": 1.0025, "share": 0.5},
        }
    },
    "absorption": {
        "correct": True,
        "factor": "given",
        "given_factor": 1.0,
        "casing": {"phase": "Cu", "thickness_mm": 0.1},
        "fill": {"formula": "C3H4O3", "density": 1.3},
        "extra": [{"formula": "H2O", "density": 1.0, "radius_mm": [0, 0.2], "mask": "part.npy"}],
    },
    "denoise": {"apply": True},
    "pqnet": {"apply": True, "model": "nets", "library": {"stored": True}, "members": 2},
    "maps": {"source": "all"},
    "beamtime": {
        "apply": True,
        "regions": [
            {
                "name": "part",
                "strong": [{"phase": "Cu", "above": 0.3, "below": 0.9}],
                "cell": [{"phase": "graphite", "edge": "a", "angstrom": [2.4, 2.5]}],
                "radius_mm": [0, 1],
                "azimuth_deg": [0, 90],
                "distance": {"phase": "Cu", "mm": [0, 1]},
                "mask": "part.npy",
                "scan": SCAN,
            }
        ],
        "clusters": {"phase": "graphite"},
        "unroll": {"casing": "Cu", "layer": "Cu", "pitch_mm": [0.1, 0.5], "radius_mm": [0.2, 1.2]},
    },
}
"""Upon the tiny beamtime's: every stage that there is, but DLSR."""
WITH_DLSR = {
    **{section: SETTINGS[section] for section in ("fit", "absorption")},
    "reconstruct": {"method": "sirt", "parallax": "dlsr"},
    "dlsr": {"phases": ["graphite"]},
}
"""The stages of a beamtime with DLSR, which goes without denoising."""

MAPS = {"map_windows", "draw_subsets", "draw_denoised", "diagnose_parallax"}
NETWORKS = {"pqnet_library", "pqnet_train", "pqnet_join"}
MODEL = {"fit", "draw_fit", "correct_absorption", "diagnose_parallax", "pqnet_infer"} | NETWORKS
FIGURES = {"draw_scan", "draw_fit", "draw_absorption", "draw_subsets", "draw_overview", "draw_pqnet"} | {
    "draw_denoised",
    "draw_beamtime",
    "draw_unrolled",
}
ALL_SCANS = {"gather_beamtime"}
AFTER_DENOISING = {"reconstruct", "fit", "draw_fit", "map_windows", "draw_scan", "gather_beamtime"} | {
    "pqnet_infer",
    "draw_pqnet",
}

KEYS = {
    # key: (another value, rules that read it[, further changes that it needs])
    "scans": ("same.tsv", set()),
    "raw.root": ("raw2", {"calibrate", "integrate", "correct_absorption"}),
    "raw.monitor": (None, {"integrate"}),
    "raw.omega": (None, {"integrate"}),
    "raw.translation": (None, {"integrate"}),
    "raw.transmitted": ("mon", {"integrate"}),
    "raw.subsets_per_scan": (None, set()),
    "detector.name": ("Pilatus CdTe 2M", {"calibrate"}, {"detector.shape": None, "detector.pixel_size_um": None}),
    "detector.shape": ([48, 421], {"calibrate"}),
    "detector.pixel_size_um": (172, {"calibrate"}),
    "detector.mask": ("other.edf", {"calibrate", "integrate", "correct_absorption"}),
    "beam.energy_kev": (94, {"calibrate", "correct_absorption"}),
    "beam.polarization": (0.96, {"calibrate", "integrate"}),
    "calibrate.frame": ("other.cbf", {"calibrate"}),
    "calibrate.dataset": ("/d", {"calibrate"}),
    "calibrate.calibrant": ("LaB6", {"calibrate"}),
    "calibrate.poni": ("geometry.poni", {"calibrate"}),
    "calibrate.max_rms_deg": (0.02, {"calibrate"}),
    "integrate.q_min": (0.81, {"integrate"} | NETWORKS),
    "integrate.q_max": (3.39, {"integrate"} | NETWORKS),
    "integrate.n_bins": (158, {"integrate"} | NETWORKS),
    "integrate.estimator": ("mean", {"integrate"}),
    "integrate.trim": (0.1, {"calibrate", "integrate"}),  # the instrument profile has the same filter
    "integrate.groups": (2, {"integrate"}),
    "integrate.centred": (False, {"integrate"}),
    "integrate.saturation": (1e6, {"integrate"}),
    "integrate.max_bad_frames": (0.03, {"integrate"}),
    "assemble.air_positions": (1, {"assemble"}),
    "assemble.cor": (13.0, {"assemble"}),
    "assemble.align": (False, {"assemble"}),
    "assemble.mirrored": (True, {"assemble"}),
    "assemble.cor_q": ([1.0, 2.0], {"assemble"}),
    "assemble.max_bad_share": (0.06, {"assemble"}),
    "assemble.zingers": (False, {"assemble"}),
    "assemble.stripe_width": (9, {"assemble"}),
    "reconstruct.method": ("sirt", {"reconstruct"}),
    "reconstruct.filter": ("hann", {"reconstruct"}),
    "reconstruct.support": ("none", {"reconstruct"}),
    "reconstruct.iterations": (7, {"reconstruct"}),
    "reconstruct.nonnegative": (True, {"reconstruct", "correct_absorption"}, {"reconstruct.method": "sirt"}),
    "reconstruct.each_subset": (False, set()),  # less to do
    "reconstruct.tv_weight": (0.1, {"reconstruct"}),
    "windows.preset": ("lithiated-graphite", MAPS, {"windows.windows": []}),
    "windows.windows": ([{"name": "one", "q_min": 2, "q_max": 3}], MAPS),
    "windows.windows.name": ("other", MAPS),
    "windows.windows.q_min": (1.67, MAPS),
    "windows.windows.q_max": (1.76, MAPS),
    "windows.background": ("none", {"map_windows", "draw_subsets"}),
    "fit.preset": ("lixc-4", MODEL, {"fit.phase_set": None, "absorption.casing": None, "beamtime.apply": False}),
    "fit.phase_set": (SETTINGS["fit"]["phase_set"] | {"q_max": 3.2}, MODEL),
    "fit.phase_set.name": ("yours", MODEL),
    "fit.phase_set.q_min": (1.61, MODEL),
    "fit.phase_set.q_max": (3.2, MODEL),
    "fit.phase_set.phases": (
        [{"name": "Cu", "free": {"a": [3.5, 3.7]}}, {"name": "graphite", "free": {"a": [2.4, 2.5]}}],
        MODEL,
    ),
    "fit.phase_set.phases.name": (
        "carbon",
        MODEL | ALL_SCANS,
        {f"beamtime.{key}.phase": "carbon" for key in ("clusters", "regions.cell")},
    ),
    "fit.phase_set.phases.structure": ("LiC12", MODEL),
    "fit.phase_set.phases.cell": ({"c": 6.7}, MODEL),
    "fit.phase_set.phases.free": ({"a": [2.4, 2.5], "c": [6.6, 6.9]}, MODEL),
    "fit.phase_set.phases.per_voxel": (["c"], MODEL),
    "fit.phase_set.phases.size_nm": (150, MODEL),
    "fit.phase_set.phases.size_limits_nm": ([50, 900], MODEL),
    "fit.phase_set.peaks": ([], MODEL),
    "fit.phase_set.peaks.name": ("separator", MODEL),
    "fit.phase_set.peaks.q": (1.71, MODEL),
    "fit.phase_set.peaks.q_limits": ([1.66, 1.75], MODEL),
    "fit.phase_set.peaks.fwhm": (0.04, MODEL),
    "fit.phase_set.peaks.fwhm_limits": ([0.02, 0.1], MODEL),
    "fit.phase_set.peaks.eta": (0.5, MODEL),
    "fit.phase_set.background_degree": (3, MODEL),
    "fit.phase_set.second_wavelength": (None, MODEL),
    "fit.phase_set.second_wavelength.ratio": (1.006, MODEL),
    "fit.phase_set.second_wavelength.share": (0.4, MODEL),
    "fit.level": ("full", {"fit"}),
    "fit.weights": ("poisson", {"fit"}),
    "fit.mask_threshold": (0.03, {"fit", "pqnet_infer"}),
    "fit.parallax": (False, {"fit", "correct_absorption", "pqnet_infer"}),
    "fit.max_iterations": (60, {"fit"}),
    "absorption.correct": (
        False,
        {"denoise", "draw_denoised", "fit", "pqnet_infer"},
    ),  # they read the sinogram as it was measured
    "absorption.factor": ("casing", {"correct_absorption"}),
    "absorption.given_factor": (2.0, {"correct_absorption"}),
    "absorption.casing": (None, {"correct_absorption"}),
    "absorption.casing.phase": ("graphite", {"correct_absorption"}),
    "absorption.casing.thickness_mm": (0.2, {"correct_absorption"}),
    "absorption.fill": (None, {"correct_absorption"}),
    "absorption.fill.formula": ("CH2", {"correct_absorption"}),
    "absorption.fill.density": (1.2, {"correct_absorption"}),
    "absorption.fill.least_volume": (0.1, {"correct_absorption"}),
    "absorption.extra": ([], {"correct_absorption"}),
    "absorption.extra.formula": ("CH2", {"correct_absorption"}),
    "absorption.extra.density": (1.1, {"correct_absorption"}),
    "absorption.extra.volume": (0.5, {"correct_absorption"}),
    "absorption.extra.radius_mm": ([0, 0.3], {"correct_absorption"}),
    "absorption.extra.mask": ("whole.npy", {"correct_absorption"}),
    "absorption.extra.x_mm": (0.1, {"correct_absorption"}),
    "absorption.extra.y_mm": (0.1, {"correct_absorption"}),
    "absorption.max_passes": (7, {"correct_absorption"}),
    "absorption.tolerance": (0.02, {"correct_absorption"}),
    "absorption.least_transmission": (0.03, {"correct_absorption"}),
    "absorption.first_order": (True, {"correct_absorption"}),
    "denoise.apply": (False, AFTER_DENOISING),  # the corrected volume is made, fitted and drawn in its place
    "denoise.split": ("thinning", {"denoise"}),
    "denoise.schedule": ("paper", {"denoise"}),
    "denoise.steps": (10_000, {"denoise"}),
    "denoise.patience": (40, {"denoise"}),
    "denoise.loss": ("mae", {"denoise"}),
    "denoise.width": (8, {"denoise"}),
    "denoise.depth": (2, {"denoise"}),
    "denoise.model": ("network.pt", {"denoise"}),
    "denoise.joint": (False, {"denoise"}),
    "denoise.seed": (1, {"denoise"}),
    # less to do: of the last stage, which the networks' maps stood for, there is a fit already
    "pqnet.apply": (False, {"draw_fit", "gather_beamtime"}, {"maps.source": "best"}),
    "pqnet.model": ("others", NETWORKS | {"pqnet_infer"}),
    "pqnet.targets": (["Cu"], NETWORKS),
    "pqnet.library.absent": (0.2, NETWORKS),
    "pqnet.library.background": ([0.0, 0.2], NETWORKS),
    "pqnet.library.background_shape": (0.5, NETWORKS),
    "pqnet.library.broadening": (0.01, NETWORKS),
    "pqnet.library.noise": ("poisson", NETWORKS),
    "pqnet.library.doses": ([20, 10_000], NETWORKS),
    "pqnet.library.stored": (False, {"pqnet_train", "pqnet_join"}),
    "pqnet.library.patterns": (30_000, NETWORKS),
    "pqnet.network": ("convolution", NETWORKS),
    "pqnet.schedule": ("paper", NETWORKS),
    "pqnet.members": (3, {"pqnet_train", "pqnet_join"}),
    "pqnet.epochs": (50, NETWORKS),
    "pqnet.batch": (256, NETWORKS),
    "pqnet.learning_rate": (1e-3, NETWORKS),
    "pqnet.held_out": (20_000, {"pqnet_join"}),
    "pqnet.alarms": (0.1, {"pqnet_join"}),
    "pqnet.gpu": (1, set()),
    "pqnet.cache": ("cache", set()),
    "pqnet.seed": (1, NETWORKS),
    "maps.source": ("fit", {"draw_fit", "gather_beamtime"}),
    "beamtime.apply": (False, set()),
    "beamtime.reference": ("discharged_2p65V", ALL_SCANS),
    "beamtime.register_by": (["Cu"], ALL_SCANS),
    "beamtime.max_rotation_deg": (30, ALL_SCANS),
    "beamtime.groups": ({"anode": ["graphite"]}, ALL_SCANS | {"draw_beamtime"}),
    "beamtime.least_scale": (0.2, ALL_SCANS),
    "beamtime.regions": ([], ALL_SCANS),
    "beamtime.regions.name": ("other", ALL_SCANS),
    "beamtime.regions.strong": ([], ALL_SCANS),
    "beamtime.regions.strong.phase": ("graphite", ALL_SCANS),
    "beamtime.regions.strong.above": (0.4, ALL_SCANS),
    "beamtime.regions.strong.below": (0.8, ALL_SCANS),
    "beamtime.regions.cell": ([], ALL_SCANS),
    "beamtime.regions.cell.phase": ("Cu", ALL_SCANS),
    "beamtime.regions.cell.edge": ("c", ALL_SCANS),
    "beamtime.regions.cell.angstrom": ([2.4, 2.6], ALL_SCANS),
    "beamtime.regions.radius_mm": ([0, 2], ALL_SCANS),
    "beamtime.regions.azimuth_deg": ([0, 80], ALL_SCANS),
    "beamtime.regions.distance": (None, ALL_SCANS),
    "beamtime.regions.distance.phase": ("graphite", ALL_SCANS),
    "beamtime.regions.distance.above": (0.6, ALL_SCANS),
    "beamtime.regions.distance.mm": ([0, 2], ALL_SCANS),
    "beamtime.regions.mask": ("whole.npy", ALL_SCANS),
    "beamtime.regions.scan": (None, ALL_SCANS),
    "beamtime.clusters": (None, ALL_SCANS),
    "beamtime.clusters.phase": ("Cu", ALL_SCANS),
    "beamtime.clusters.count": (4, ALL_SCANS),
    "beamtime.clusters.scan": (SCAN, ALL_SCANS),
    "beamtime.unroll": (None, set()),
    "beamtime.unroll.casing": ("graphite", {"draw_unrolled"}),
    "beamtime.unroll.layer": ("graphite", {"draw_unrolled"}),
    "beamtime.unroll.pitch_mm": ([0.1, 0.6], {"draw_unrolled"}),
    "beamtime.unroll.radius_mm": ([0.2, 1.1], {"draw_unrolled"}),
    "beamtime.unroll.phases": (["Cu"], {"draw_unrolled"}),
    "report.phases": (["Cu"], {"draw_scan"}),
    "report.colormap": ("magma", FIGURES),
}

REFINED = {
    # The same, in the beamtime with DLSR.
    "reconstruct.parallax": ("linear", set()),  # the volume is the same; less to do
    "dlsr.phases": ([], {"refine_dlsr"}, {"fit.phase_set.phases.per_voxel": ["c"]}),
    "dlsr.smooth": (1.0, {"refine_dlsr"}),
    "dlsr.prior": ("tv", {"refine_dlsr"}),
    "dlsr.max_iterations": (30, {"refine_dlsr"}),
    "dlsr.samples": (4, {"refine_dlsr"}),
    "dlsr.seed": (1, {"refine_dlsr"}),
}

WITH_SERIES = {
    "fit": SETTINGS["fit"],
    "series": {"table": "series.tsv", "maker": "biologic", "groups": {"anode": ["graphite"]}},
    "pqnet": {"library": {"noise": "poisson"}},
}
"""A beamtime with a line against time beside its scans."""
SERIES_ROW = {
    **{"series": "line", "sample": "tiny-cell", "file": f"{SCAN}_s1.h5", "dataset": "/1.1/measurement/pilatus"},
    **{"log": "cycler.mpt", "n_repeats": 12, "n_positions": 28, "angle_deg": 0.0, "ty_mm": -1.7, "step_mm": 0.125},
}
OF_SERIES = {"integrate_series", "fit_series", "draw_series"}

TIMED = {
    # The same, of the jobs of the line; what other keys do to the scans is said above.
    "series.table": (None, set()),  # less to do
    "series.epoch": ("time", {"integrate_series"}),
    "series.offset_s": (3600.0, {"fit_series"}),
    "series.zone": ("Europe/Paris", {"fit_series"}),
    "series.log_start": ("2026-03-05 10:15:30", {"fit_series"}),
    "series.maker": ("arbin", {"fit_series"}),
    "series.columns": ({"current": "I/mA"}, {"fit_series"}),
    "series.source": ("pqnet", {"fit_series"}),
    "series.groups": ({}, {"draw_series"}),
    "series.least_mass": (0.1, {"fit_series"}),
    "raw.monitor": (None, {"integrate_series"}),
    "detector.mask": ("other.edf", {"integrate_series"}),
    "beam.polarization": (0.96, {"integrate_series"}),
    "integrate.trim": (0.1, {"integrate_series"}),
    "integrate.groups": (2, set()),
    "integrate.centred": (False, {"integrate_series"}),
    "fit.phase_set.q_max": (3.2, {"fit_series"}),
    "fit.level": ("full", {"fit_series"}),
    "fit.max_iterations": (60, {"fit_series"}),
    "fit.weights": ("poisson", set()),  # always so
    "fit.mask_threshold": (0.03, set()),
    "assemble.cor": (13.0, set()),
    "report.colormap": ("magma", {"draw_series"}),
}

SERIES_COLUMNS = {
    # column: (another value, rules that read it, how it is named)
    "series": ("other", OF_SERIES, ""),
    "sample": ("other", set(), ""),
    "file": (f"{SCAN}_s2.h5", {"integrate_series"}, f"{SCAN}_s2.h5 is"),
    "dataset": ("/1.1/measurement/other", {"integrate_series"}, "the table's dataset"),
    "log": ("other.mpt", {"fit_series"}, "raw/other.mpt is"),
    "n_repeats": (11, {"integrate_series"}, "the table's n_repeats"),
    "n_positions": (27, {"integrate_series"}, "the table's n_positions"),
    "angle_deg": (1.0, set(), ""),
    "ty_mm": (-1.6, {"fit_series"}, "the table's ty_mm"),
    "step_mm": (0.124, {"fit_series"}, "the table's step_mm"),
}

TESTED_BELOW = {"beamtime.preset"}
"""Its regions name phases that this small fit has not: `beamtime.regions` is the same to the rules."""

COLUMNS = {
    # column: (another value for the rows of one scan, rules of which jobs of that scan, or of all, read it)
    "scan": ("renamed", None),
    "subset": (None, {"integrate", "assemble"}),
    "sample": ("other", ALL_SCANS),
    "cycle": ("2", ALL_SCANS),
    "state": ("formed", {"draw_overview"} | ALL_SCANS),
    "voltage_V": (4.15, {"draw_overview"} | ALL_SCANS),
    "file": (None, {"integrate"}),
    "dataset": (None, {"integrate"}),
    "n_projections": (11, {"integrate", "diagnose_parallax"}),
    "n_positions": (27, {"integrate"}),
    "angle_start_deg": (1.0, {"assemble"}),
    "angle_step_deg": (14.9, {"assemble", "diagnose_parallax"}),
    "step_mm": (0.124, {"assemble"}),
    "zigzag": ("no", {"assemble"}),
}


def put(settings, path, value):
    """Set a key by its path; of a list of sections, in its first."""
    *above, last = path.split(".")
    for part in above:
        settings = settings.setdefault(part, {})
        settings = settings[0] if isinstance(settings, list) else settings
    settings[last] = value


def write_series(path, row):
    path.write_text("\t".join(row) + "\n" + "\t".join(map(str, row.values())) + "\n", encoding="utf-8")


def believed_made(folder, sections, tiny_raw):
    """A beamtime in a new folder, of which Snakemake believes that it is made."""
    for name in ("raw", "raw2"):
        (folder / name).mkdir()
        for path in (tiny_raw / "raw").iterdir():
            (folder / name / path.name).symlink_to(path)
    for name, known in (("other.edf", "mask.edf"), ("other.cbf", "CeO2.cbf")):
        (folder / "raw" / name).symlink_to(tiny_raw / "raw" / known)
    for name in ("raw/geometry.poni", "raw/network.pt", "part.npy", "whole.npy"):
        (folder / name).touch()
    settings = yaml.safe_load((TINY / "config.yaml").read_text())
    for section, values in sections.items():
        settings.setdefault(section, {}).update(values)
    (folder / "config.yaml").write_text(yaml.safe_dump(settings))
    for name in ("scans.tsv", "same.tsv"):
        shutil.copy(TINY / "scans.tsv", folder / name)
    for name in ("cycler.mpt", "other.mpt"):
        (folder / "raw" / name).touch()
    write_series(folder / "series.tsv", SERIES_ROW)
    made = Beamtime(folder, folder / "config.yaml")
    for job in planned(made.config, folder):
        for output in map(Path, job.output):
            (folder / output).parent.mkdir(parents=True, exist_ok=True)
            if output.suffix == ".zarr":
                (folder / output).mkdir()
            else:
                (folder / output).touch()
    made.snakemake("--touch", "--forceall")
    return made


@pytest.fixture(scope="module")
def beamtime(tiny_raw, tmp_path_factory):
    return believed_made(tmp_path_factory.mktemp("matrix"), SETTINGS, tiny_raw)


@pytest.fixture(scope="module")
def refined(tiny_raw, tmp_path_factory):
    return believed_made(tmp_path_factory.mktemp("refined"), WITH_DLSR, tiny_raw)


@pytest.fixture(scope="module")
def timed(tiny_raw, tmp_path_factory):
    return believed_made(tmp_path_factory.mktemp("timed"), WITH_SERIES, tiny_raw)


def jobs_from_raw_files(made, folder):
    (folder / "raw").symlink_to(made.folder / "raw")
    for name in ("part.npy", "whole.npy"):
        (folder / name).touch()
    return planned(made.config, folder)


@pytest.fixture(scope="module")
def every_job(beamtime, tmp_path_factory):
    """The jobs of the whole beamtime, as they run on raw files alone."""
    return jobs_from_raw_files(beamtime, tmp_path_factory.mktemp("fresh"))


def with_what_follows(jobs, every_job):
    """Outputs of some jobs and of all that come after them, by the files that jobs read and write."""
    made, new = set(), {file for job in jobs for file in job.output}
    while new - made:
        made |= new
        new = {file for job in every_job if made & set(job.input) for file in job.output}
    return made


def changed_config(beamtime, changes, name="changed.yaml"):
    settings = yaml.safe_load(beamtime.config.read_text())
    for path, value in changes.items():
        put(settings, path, copy.deepcopy(value))
    path = beamtime.folder / name
    path.write_text(yaml.safe_dump(settings))
    return path


def rules_of(jobs):
    return {job.rule for job in jobs}


def test_every_key_and_every_column_has_its_row():
    rows = {*KEYS, *REFINED, *TIMED, *TESTED_BELOW}
    assert {".".join(path) for path in keys_of(Config)} - rows == set()
    assert rows - {".".join(path) for path in keys_of(Config)} == set()
    assert {*COLUMNS} == {*Subset.model_fields}
    assert {*SERIES_COLUMNS} == {*SeriesRow.model_fields}


def test_snakemake_believes_that_all_is_made(beamtime):
    assert planned(beamtime.config, beamtime.folder) == []
    assert beamtime.would_run() == {}


SAID = {"calibrate.frame": "raw/other.cbf is", "calibrate.poni": "raw/geometry.poni is", "raw.root": "raw2/"} | {
    "detector.mask": "raw/other.edf is",
    "absorption.correct": "assemble/sinogram.json is read too",
    "denoise.apply": "reconstruct/corrected/volume.json is read too",
    "pqnet.model": "models/others/model.pt is read too",
    "pqnet.apply": "fit/denoised/maps.json is read too",
    "maps.source": "fit/denoised/maps.json is read too",
}
"""What the sentence names in place of a key that says which file is read."""
OTHER_FILES = ("absorption.correct", "denoise.apply", "pqnet.model", "pqnet.apply", "maps.source", "fit.preset")
"""With these, other files follow one another, or fewer."""


@pytest.mark.parametrize("key", KEYS)
def test_a_changed_key_reruns_what_reads_it_and_what_follows_and_is_named(beamtime, every_job, key):
    value, readers, *more = KEYS[key]
    jobs = planned(changed_config(beamtime, {key: value} | (more[0] if more else {})), beamtime.folder)
    affected = [job for job in jobs if job.causes or job.missing]
    assert rules_of(affected) == readers
    if key not in OTHER_FILES:
        assert {file for job in jobs for file in job.output} == with_what_follows(affected, every_job)
    if readers:
        assert SAID.get(key, ".".join(key.split(".")[:2])) in explained("all", jobs)


@pytest.mark.parametrize(
    ("source", "rules", "folder"),
    [
        ("fit", NETWORKS | {"pqnet_infer", "draw_pqnet"}, "pqnet"),
        ("pqnet", {"draw_pqnet"}, "fit/denoised"),  # absorption needs the fit of the first volume
        ("pqnet+fit", {"draw_pqnet"}, "fit/denoised"),
    ],
)
def test_nothing_is_computed_that_the_maps_are_not_taken_from(beamtime, every_job, tmp_path, source, rules, folder):
    for name in ("raw", "part.npy"):
        (tmp_path / name).symlink_to(beamtime.folder / name)
    jobs = planned(changed_config(beamtime, {"maps.source": source}, f"{source}.yaml"), tmp_path)
    assert rules_of(every_job) - rules_of(jobs) == rules
    skipped = f"results/{SCAN}/{folder}/"
    assert any(file.startswith(skipped) for job in every_job for file in job.output)
    assert not any(file.startswith(skipped) for job in jobs for file in job.output)


@pytest.mark.parametrize("key", REFINED)
def test_a_changed_key_of_dlsr_reruns_what_reads_it(refined, key):
    value, readers, *more = REFINED[key]
    jobs = planned(changed_config(refined, {key: value} | (more[0] if more else {})), refined.folder)
    assert rules_of(job for job in jobs if job.causes) >= readers
    if not more:
        assert rules_of(job for job in jobs if job.causes) == readers
    if readers:
        assert key in explained("all", jobs)


@pytest.mark.parametrize("key", TIMED)
def test_a_changed_key_reruns_what_reads_it_of_a_series(timed, key):
    value, readers = TIMED[key]
    jobs = planned(changed_config(timed, {key: value}), timed.folder)
    own = [job for job in jobs if "series" in dict(job.wildcards)]
    assert rules_of(job for job in own if job.causes) == readers
    if readers:
        assert SAID.get(key, ".".join(key.split(".")[:2])) in explained("all", own)


@pytest.mark.parametrize("column", SERIES_COLUMNS)
def test_a_changed_column_of_a_series_reruns_nothing_of_the_scans(timed, column):
    value, readers, said = SERIES_COLUMNS[column]
    write_series(timed.folder / "other.tsv", SERIES_ROW | {column: value})
    jobs = planned(changed_config(timed, {"series.table": "other.tsv"}), timed.folder)
    assert all("series" in dict(job.wildcards) for job in jobs)
    assert rules_of(job for job in jobs if job.causes or job.missing) == readers
    assert said in explained("all", jobs)


def test_without_parallax_every_volume_is_another(refined):
    jobs = planned(changed_config(refined, {"reconstruct.parallax": "off"}), refined.folder)
    found = rules_of(job for job in jobs if job.causes)
    assert found >= {"reconstruct", "correct_absorption", "diagnose_parallax"}
    assert "reconstruct.parallax" in explained("all", jobs)


@pytest.mark.parametrize("column", COLUMNS)
def test_a_changed_column_reruns_its_scan_only(beamtime, every_job, column):
    value, readers = COLUMNS[column]
    rows = read_scans(TINY / "scans.tsv")
    own = [row for row in rows if row.scan == SCAN]
    others = [row for row in rows if row.scan != SCAN]
    if column == "file":
        changed = [own[0].model_copy(update={"file": own[1].file}), own[1].model_copy(update={"file": own[0].file})]
    elif column == "subset":  # the second becomes the first: its frames are read under another name
        changed = [own[0].model_copy(update={"subset": 2}), own[1].model_copy(update={"subset": 1})]
    else:
        changed = [row.model_copy(update={column: value}) for row in own]
    write_scans(beamtime.folder / "other.tsv", [*others, *changed])
    jobs = planned(changed_config(beamtime, {"scans": "other.tsv"}), beamtime.folder)
    affected = [job for job in jobs if job.causes or job.missing]
    assert {dict(job.wildcards).get("scan") for job in jobs} <= {"renamed" if column == "scan" else SCAN, None}
    if column == "scan":
        readers = {job.rule for job in every_job if "scan" in dict(job.wildcards)} | {"draw_overview"} | ALL_SCANS
    assert rules_of(affected) == readers
    if column != "scan":
        assert {file for job in jobs for file in job.output} == with_what_follows(affected, every_job)


def test_a_new_scan_computes_that_scan_only(beamtime):
    rows = read_scans(TINY / "scans.tsv")
    again = [row.model_copy(update={"scan": "again"}) for row in rows if row.scan == SCAN]
    write_scans(beamtime.folder / "other.tsv", [*rows, *again])
    jobs = planned(changed_config(beamtime, {"scans": "other.tsv"}), beamtime.folder)
    others = [job for job in jobs if dict(job.wildcards).get("scan") != "again"]
    assert rules_of(others) == {"draw_overview", "gather_beamtime", "draw_beamtime", "draw_unrolled"}
    assert sum(job.rule == "integrate" for job in jobs) == len(again)


LOST = [
    f"results/{SCAN}/{name}.json"
    for name in ("integrate/1/patterns", "assemble/sinogram", "absorption/sinogram", "fit/first/maps", "windows/maps")
]


def test_what_a_failed_job_lost_is_made_again_though_all_that_follows_is_there(beamtime):
    """Snakemake removes a failed job's old outputs, and misses no file in the middle: stale maps would pass."""
    for name in LOST:
        path = beamtime.folder / name
        path.rename(path.with_suffix(".lost"))
    try:
        jobs = planned(beamtime.config, beamtime.folder)
    finally:
        for name in LOST:
            path = beamtime.folder / name
            path.with_suffix(".lost").rename(path)
    assert {file for job in jobs for file in job.missing} >= set(LOST)


def test_the_plan_has_the_triggers_of_the_profiles():
    for profile in (REPOSITORY / "profiles").iterdir():
        settings = yaml.safe_load((profile / "config.yaml").read_text())
        assert set(settings["rerun-triggers"]) == {trigger.item_to_choice() for trigger in TRIGGERS}
        assert settings["max-checksum-file-size"] == f"{LARGEST_CHECKSUM // 10**9}GB"


def why(beamtime, capsys, *arguments):
    code = main(["why", *arguments, "-d", str(beamtime.folder)])
    printed = capsys.readouterr()
    return code, printed.out or printed.err


def test_xrdct_why_says_it_in_one_sentence(beamtime, capsys):
    changed = str(changed_config(beamtime, {"integrate.trim": 0.1}))
    target = f"results/{SCAN}/assemble/sinogram.json"
    assert why(beamtime, capsys, target, "--config", str(beamtime.config)) == (0, f"{target} is up to date.\n")
    assert why(beamtime, capsys, target, "--config", changed) == (
        0,
        f"{target}: 4 jobs (assemble, calibrate, integrate) would run again, because integrate.trim has changed "
        "from 0.2 to 0.1.\n",
    )
    again = beamtime.folder / "results" / "calibrate" / "rings.tsv"
    again.rename(again.with_suffix(".away"))
    _, said = why(beamtime, capsys, "results/calibrate/rings.tsv", "--config", str(beamtime.config))
    again.with_suffix(".away").rename(again)
    assert said.endswith("1 job (calibrate) would run, because results/calibrate/rings.tsv is not there yet.\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["results/nothing"], "No rule to produce results/nothing"),
        (["--config", "nowhere.yaml"], "nowhere.yaml: no such configuration file"),
    ],
)
def test_xrdct_why_refuses_what_is_not_there(beamtime, capsys, arguments, said):
    code, printed = why(beamtime, capsys, "--config", str(beamtime.config), *arguments)
    assert code == 2
    assert said in printed


def test_display_options_rerun_figures_only(beamtime):
    changes = {"report.colormap": "magma", "report.phases": ["Cu"]}
    assert rules_of(planned(changed_config(beamtime, changes), beamtime.folder)) == FIGURES


def test_the_plan_is_that_of_a_dry_run(beamtime):
    changed = Beamtime(beamtime.folder, changed_config(beamtime, {"integrate.trim": 0.1, "report.phases": []}))
    counts = {}
    for job in planned(changed.config, beamtime.folder):
        counts[job.rule] = counts.get(job.rule, 0) + 1
    assert changed.would_run() == counts


def test_order_comments_and_one_against_one_point_zero_rerun_nothing(beamtime):
    settings = yaml.safe_load(beamtime.config.read_text())
    settings["beam"]["energy_kev"] = float(settings["beam"]["energy_kev"])
    path = beamtime.folder / "same.yaml"
    path.write_text("# A remark.\n" + yaml.safe_dump(dict(reversed(settings.items())), sort_keys=False))
    assert planned(path, beamtime.folder) == []
