"""For every key of the configuration and column of the tables another value, and the rules that read it."""

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
    "dlsr.model_error": (False, {"refine_dlsr"}),
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
