"""kill -9 of a job in the later stages, at a moment when something half done lies there: then the job once more.

The early stages are killed through Snakemake (test_interruptions); here the scripts are, on a scan of 16 × 16 voxels.
"""

import numpy as np
import pytest
import torch
import xarray as xr
from pyFAI.detectors import Detector
from pyFAI.integrator.azimuthal import AzimuthalIntegrator

from stage_runner import run_stages
from support_fit import PIXEL, PROFILE
from xrdct.config import Absorption, Beamtime, Denoise, Dlsr, Fit, PhaseSetSettings, PqNet, Reconstruct, Series
from xrdct.io.poni import write_poni
from xrdct.io.profile import profile_text
from xrdct.io.store import write_store

N, N_ANGLES, STEP = 16, 24, 0.2
Q = np.arange(1.15, 1.48, PIXEL)
PHASE_SET = PhaseSetSettings.model_validate(
    {
        "name": "003",
        "q_min": 1.17,
        "q_max": 1.45,
        "background_degree": 1,
        "phases": [{"name": "NCA", "cell": {"a": 2.83}, "free": {"c": [14.0, 14.7]}, "per_voxel": ["c"]}],
    }
).model_dump(mode="json")
GRID = {"q_min": Q[0] - PIXEL / 2, "q_max": Q[-1] + PIXEL / 2, "n_bins": Q.size}
FIT = Fit(level="quick", parallax=False).model_dump(mode="json", exclude={"preset", "phase_set"})
PQNET = PqNet.model_validate({"members": 1, "epochs": 3, "held_out": 2000, "library": {"patterns": 1000}})


def write_sinogram(folder):
    """Two discs with one line, whose place differs a little between them."""
    angles, position = np.arange(N_ANGLES) * 180 / N_ANGLES, (np.arange(N) - (N - 1) / 2) * STEP
    counts = np.full((N_ANGLES, N, Q.size), 20.0)
    for x, y, c in ((0.5, 0.2, 14.25), (-0.6, -0.3, 14.35)):
        t = position - x * np.cos(np.radians(angles))[:, None] - y * np.sin(np.radians(angles))[:, None]
        chord = 2 * np.sqrt(np.clip(0.25 - t**2, 0, None))
        counts += 800 * chord[..., None] * np.exp(-((Q - 6 * np.pi / c) ** 2) / (2 * 0.008**2))
    counts = np.random.default_rng(0).poisson(counts).astype(np.float32)
    frames, lines, one = ("angle", "position"), ("angle",), {"units": "1"}
    dataset = xr.Dataset(
        {
            "intensity": ((*frames, "q"), counts - 20, {"units": "counts"}),
            "variance": ((*frames, "q"), np.maximum(counts, 1), {"units": "counts^2"}),
            "air": (("angle", "q"), np.full((N_ANGLES, Q.size), 20, np.float32), {"units": "counts"}),
            **{name: (frames, np.zeros((N_ANGLES, N), bool), one) for name in ("repaired", "bad_frame", "zingers")},
            "subset": (lines, np.arange(N_ANGLES) % 2 + 1, one),
            **{name: (lines, np.zeros(N_ANGLES), one) for name in ("direction", "offset")},
        },
        coords={
            "angle": ("angle", angles, {"units": "degree"}),
            "position": ("position", position, {"units": "mm"}),
            "q": ("q", Q, {"units": "1/angstrom"}),
        },
        attrs={"cor": (N - 1) / 2, "cor_units": "pixel", "step_mm": STEP},
    )
    write_store(dataset, folder / "s.zarr", folder / "s.json", kind="sinogram", settings={}, inputs={})


def write_line(folder):
    """A line against time: one peak that moves."""
    frames, shape = ("line", "point"), (4, 3)
    centre = 6 * np.pi / np.linspace(14.2, 14.4, shape[0])[:, None, None]
    counts = 20 + 800 * np.exp(-((Q - centre) ** 2) / (2 * 0.008**2)) * np.ones((*shape, 1))
    counts = np.random.default_rng(1).poisson(counts).astype(np.float32)
    spectra = {"intensity": counts, "sem": np.sqrt(counts), "spottiness": 0 * counts, "kept": 0 * counts}
    counters = {name: np.ones(shape) for name in ("monitor", "omega", "translation")}
    counters |= {"valid": np.ones(shape, bool), "epoch": 1e9 + np.arange(12.0).reshape(shape)}
    dataset = xr.Dataset(
        {name: ((*frames, "q"), values, {"units": "counts"}) for name, values in spectra.items()}
        | {name: (frames, values, {"units": "1"}) for name, values in counters.items()},
        coords={"q": ("q", Q, {"units": "1/angstrom"})},
    )
    write_store(dataset, folder / "p.zarr", folder / "p.json", kind="patterns", settings={}, inputs={})


def stages(made, out):
    """Call of every stage by its name, with inputs in one folder and outputs in another."""
    sinogram, volume, maps = ([made / f"{name}.zarr", made / f"{name}.json"] for name in "svf")
    profile, poni, model = made / "profile.json", made / "geometry.poni", made / "model.pt"
    both = {"sinogram": sinogram[0], "sinogram_manifest": sinogram[1], "profile": profile, "poni": poni}
    task = {"phase_set": PHASE_SET, "grid": GRID}

    def of(*names):
        return [out / name for name in names]

    def call(script, *args, **options):
        return {"script": script, "args": args, "options": options}

    return {
        "reconstruct": call(
            "reconstruct", *sinogram, *of("v.zarr", "v.json"), geometry=poni,
            settings=Reconstruct(method="sirt", iterations=4, parallax="linear").model_dump(mode="json"),
        ),
        "fit": call(
            "fit", volume[0], sinogram[0], {"profile": profile, "poni": poni}, [volume[1], sinogram[1]],
            *of("f.zarr", "f.json"), phase_set=PHASE_SET, settings=FIT,
        ),
        "fit_series": call(
            "fit_series",
            {"patterns": made / "p.zarr", "manifest": made / "p.json", "profile": profile, "log": "", "model": ""},
            dict(zip(("store", "manifest", "table", "capacity"),
                     of("e.zarr", "e.json", "e.csv", "capacity.csv"), strict=True)),
            phase_set=PHASE_SET, settings={"level": "quick", "max_iterations": 50},
            series=Series().model_dump(mode="json"), ty_mm=0.0, step_mm=STEP,
        ),
        "correct_absorption": call(
            "correct_absorption", both | {"maps": maps[0], "maps_manifest": maps[1]},
            dict(zip(("attenuation", "attenuation_manifest", "sinogram", "sinogram_manifest"),
                     of("a.zarr", "a.json", "t.zarr", "t.json"), strict=True)),
            phase_set=PHASE_SET, energy_kev=95.0, parallax="ignore", nonnegative=False,
            settings=Absorption(factor="given", given_factor=1e-6).model_dump(mode="json", exclude={"correct"}),
        ),
        "denoise": call(
            "denoise", *sinogram, *of("d.zarr", "d.json", "network.pt", "learning.json"),
            settings=Denoise(split="thinning", steps=20, width=2, depth=1).model_dump(mode="json", exclude={"apply"}),
        ),
        "pqnet_library": call(
            "pqnet_library", profile, *of("l.zarr", "l.json"), **task, settings=PQNET.of_member()
        ),
        "pqnet_train": call(
            "pqnet_train", profile, out / "member0.pt", **task, settings=PQNET.of_member(), member=0, code="x"
        ),
        "pqnet_join": call(
            "pqnet_join", profile, [made / "member0.pt"],
            dict(zip(("model", "numbers", "card"), of("model.pt", "card.json", "card.md"), strict=True)),
            **task, settings=PQNET.of_ensemble(),
        ),
        "pqnet_infer": call(
            "pqnet_infer", both | {"model": model, "volume": volume[0], "volume_manifest": volume[1]},
            dict(zip(("maps", "manifest", "refined", "refined_manifest"),
                     of("m.zarr", "m.json", "r.zarr", "r.json"), strict=True)),
            phase_set=PHASE_SET, mask_threshold=0.02, parallax=False,
        ),
        "refine_dlsr": call(
            "refine_dlsr", {"sinogram": sinogram[0], "volume": volume[0], "profile": profile, "geometry": poni},
            [sinogram[1], volume[1]], *of("x.zarr", "x.json", "checkpoint.npz"), phase_set=PHASE_SET,
            fit_settings=FIT, settings=Dlsr(smooth=1.0, samples=1, max_iterations=4).model_dump(mode="json"),
        ),
        "gather_beamtime": call(
            "gather_beamtime", [maps[0]] * 2, [maps[1]] * 2, *of("b.zarr", "b.json", "b.csv"),
            scans=[{"scan": name, "voltage_V": 3.0, "sample": "cell", "cycle": "", "state": ""} for name in "pq"],
            settings=Beamtime().model_dump(mode="json", exclude={"apply", "unroll"}),
        ),
    }  # fmt: skip


DEATHS = {
    # Half a store lies there under a temporary name; of two stores the first is whole; a training or a search has
    # written its state twice.
    "reconstruct": [("open", ".v.zarr.partial-", 4)],
    "fit": [("open", ".f.zarr.partial-", 20)],
    "fit_series": [("os.rename", "e.csv", 1), ("open", ".e.zarr.partial-", 4)],
    "correct_absorption": [("open", ".a.zarr.partial-", 4), ("open", ".t.zarr.partial-", 4)],
    "denoise": [("os.rename", "network.pt", 1), ("open", ".d.zarr.partial-", 4)],
    "pqnet_library": [("open", ".l.zarr.partial-", 4)],
    "pqnet_train": [("os.rename", ".member0.pt.growing", 2), ("os.rename", "member0.pt", 4)],
    "pqnet_join": [("os.rename", "card.json", 1)],
    "pqnet_infer": [("open", ".m.zarr.partial-", 4), ("open", ".r.zarr.partial-", 4)],
    "refine_dlsr": [("os.rename", "checkpoint.npz", 2), ("open", ".x.zarr.partial-", 4)],
    "gather_beamtime": [("open", ".b.zarr.partial-", 4)],
}
"""Moments of death of every stage, one after another; after the last one it runs to its end."""
OUTPUTS = {
    "reconstruct": ["v.json"],
    "fit": ["f.json"],
    "fit_series": ["e.json", "e.csv", "capacity.csv"],
    "correct_absorption": ["a.json", "t.json"],
    "denoise": ["d.json", "learning.json"],
    "pqnet_library": ["l.json"],
    "pqnet_train": ["member0.pt"],
    "pqnet_join": ["model.pt", "card.json", "card.md"],
    "pqnet_infer": ["m.json", "r.json"],
    "refine_dlsr": ["x.json"],
    "gather_beamtime": ["b.json", "b.csv"],
}
"""Manifests, and what else is compared."""


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Results of an unbroken run, and of one in which every stage was killed, each as often as `DEATHS` says."""
    whole, killed = tmp_path_factory.mktemp("whole"), tmp_path_factory.mktemp("killed")
    write_sinogram(whole)
    write_line(whole)
    (whole / "profile.json").write_text(profile_text(PROFILE))
    detector = Detector(172e-6, 172e-6, max_shape=(100, 100))
    write_poni(whole / "geometry.poni", AzimuthalIntegrator(dist=1.0, detector=detector, wavelength=0.1305e-10))
    again = stages(whole, killed)
    calls = list(stages(whole, whole).values())
    for name, deaths in DEATHS.items():
        calls += [again[name] | {"dies": death} for death in deaths] + [again[name]]
    codes, printed = run_stages(calls)
    expected = [0] * len(again)
    for deaths in DEATHS.values():
        expected += [-9] * len(deaths) + [0]
    assert codes == expected, printed[-4000:]
    return whole, killed


@pytest.mark.parametrize("stage", DEATHS)
def test_a_stage_that_was_killed_gives_what_an_unbroken_one_gives(folders, stage):
    whole, killed = folders
    texts = [name for name in OUTPUTS[stage] if not name.endswith(".pt")]
    for name in texts:
        assert (killed / name).read_bytes() == (whole / name).read_bytes(), name
    for name in set(OUTPUTS[stage]) - set(texts):
        found, expected = (torch.load(folder / name, weights_only=True) for folder in (killed, whole))
        assert same(found, expected), name


def same(first, second):
    """Whether two networks are the same: pickled bytes differ where one text was one object or two."""
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(same(first[key], second[key]) for key in first)
    if isinstance(first, list):
        return len(first) == len(second) and all(map(same, first, second))
    return torch.equal(first, second) if isinstance(first, torch.Tensor) else first == second


def test_nothing_half_done_is_left(folders):
    assert sorted(path.name for path in folders[1].glob(".*")) == []
    assert not (folders[1] / "checkpoint.npz").exists()
