"""sinogram.zarr to a denoised volume.zarr: with groups, without, from another scan's network, and after a kill."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr

import denoise
import draw_denoised
from xrdct.config import Denoise
from xrdct.denoise.gates import Left
from xrdct.denoise.selection import METHODS
from xrdct.errors import GeometryError, StoreError
from xrdct.geometry import lateral_position
from xrdct.io.network import read_training, write_training
from xrdct.io.resumable import with_loss, write_finished
from xrdct.io.store import read_store, write_store
from xrdct.reconstruction.backend import reconstruct

pytestmark = pytest.mark.usefixtures("one_thread")

N, N_ANGLES, N_Q, K = 32, 40, 12, 4
ANGLES = np.arange(N_ANGLES) * 180 / N_ANGLES
COR = (N - 1) / 2
QUICK = {"steps": 60, "width": 4, "depth": 2}


def clean():
    """A disc of radius 8 at (3, -2) pixels with a peak along q, in closed form; (angle, position, q)."""
    t = np.arange(N) - COR - lateral_position(3, -2, ANGLES)[:, None]
    chords = 2 * np.sqrt(np.clip(64 - t**2, 0, None))
    return chords[..., None] * np.exp(-0.5 * ((np.arange(N_Q) - 5) / 1.5) ** 2)


@pytest.fixture
def sinogram(tmp_path):
    """Store and manifest of a scan with groups of pixels, Poisson counts."""
    counts = np.random.default_rng(0).poisson(np.repeat((clean() + 2)[:, :, None] * 5 / K, K, axis=2))
    groups = (counts * K / 5 - 2).astype(np.float32)
    dims, units = ("angle", "position", "q"), {"units": "counts"}
    per_angle = {name: (("angle",), np.zeros(N_ANGLES), {"units": "1"}) for name in ("direction", "offset")}
    dataset = xr.Dataset(
        {
            "intensity": (dims, groups.mean(axis=2), units),
            "variance": (dims, ((clean() + 2) / 5).astype(np.float32), units),
            "air": (("angle", "q"), np.zeros((N_ANGLES, N_Q)), units),
            **{name: (dims[:2], np.zeros((N_ANGLES, N), bool), units) for name in ("repaired", "bad_frame", "zingers")},
            "subset": (("angle",), np.arange(N_ANGLES) % 2 + 1, units),
            "group_intensity": (("angle", "position", "group", "q"), groups, units),
            **per_angle,
        },
        coords={"angle": ANGLES, "position": (np.arange(N) - COR) * 0.1, "q": 1.5 + 0.01 * np.arange(N_Q)},
        attrs={"cor": COR, "step_mm": 0.1},
    )
    for name in ("angle", "position", "q"):
        dataset[name].attrs["units"] = "1"
    paths = tmp_path / "sinogram.zarr", tmp_path / "sinogram.json"
    write_store(dataset, *paths, kind="sinogram", settings={}, inputs={})
    return paths


def run(sinogram, folder, *, model=None, **settings):
    outputs = [folder / name for name in ("volume.zarr", "volume.json", "network.pt", "learning.json")]
    settings = Denoise(**QUICK | settings).model_dump(mode="json")
    denoise.main(*sinogram, *outputs, settings=settings, model=model)
    return read_store(outputs[0], "volume")


def error(image):
    """rms deviation from the disc in the peak channel; rows from the largest y down, as in a store."""
    axis = np.arange(N) - COR
    x, y = np.meshgrid(axis, axis[::-1])
    disc, edge = np.hypot(x - 3, y + 2) < 8, np.abs(np.hypot(x - 3, y + 2) - 8) < 1
    circle = np.hypot(x, y) < N / 2 - 1
    return float(np.sqrt(np.mean((image - disc)[circle & ~edge] ** 2)))


@pytest.fixture
def short_paper(monkeypatch):
    """A few epochs of three pairs, of two angular offsets."""
    monkeypatch.setattr("xrdct.denoise.splits.OFFSETS", 2)
    for name, short in (("IMAGES", 3), ("EPOCHS", 5), ("EPOCHS_MORE", 2)):
        monkeypatch.setattr(f"xrdct.denoise.paper.{name}", short)


@pytest.mark.parametrize("split", ["pixel", "thinning", "angle"])
def test_every_split_gives_a_volume_that_is_less_noisy_and_where_it_was(sinogram, tmp_path, split):
    volume = run(sinogram, tmp_path, split=split)
    plain = run(sinogram, tmp_path / "plain", split=split, steps=0)
    assert volume.intensity.dims == ("y", "x", "q")
    assert volume.attrs["stage"] == "denoised"
    groups = read_store(sinogram[0], "sinogram").intensity.values
    noisy = error(reconstruct(groups, ANGLES, cor=COR)[..., 5])
    # measured 0.32 to 0.35; the noise-free reconstruction has 0.20
    assert error(volume.intensity.isel(q=5).values) < 0.5 * noisy
    assert error(plain.intensity.isel(q=5).values) < 0.5 * noisy
    assert (volume.spread.values[N // 2, N // 2] > 0).all()


@pytest.mark.parametrize(
    ("settings", "trainings"), [({"steps": 200}, 1), ({"steps": 0}, 0), ({"schedule": "paper"}, N_Q)]
)
def test_every_training_leaves_its_learning_curve(sinogram, tmp_path, settings, trainings, short_paper):
    run(sinogram, tmp_path, **settings)
    curves = json.loads((tmp_path / "learning.json").read_text())
    assert len(curves) == trainings
    for curve in curves:
        assert curve["best_step"] in {row["step"] for row in curve["history"]}
        assert all(np.isfinite(row["held_out"]) for row in curve["history"])


@pytest.mark.parametrize("windows", [[], [{"name": "disc", "q_min": 1.525, "q_max": 1.575}]])
def test_the_figures_are_drawn_from_what_is_stored(sinogram, tmp_path, windows):
    run(sinogram, tmp_path, steps=0)
    names = {"denoised": "denoised.png", "vector": "denoised.svg", "learning": "learning.png"}
    outputs = {output: tmp_path / name for output, name in names.items()}
    paths = sinogram[0], tmp_path / "volume.zarr", tmp_path / "learning.json"
    draw_denoised.main(*paths, outputs, windows=windows, colormap="viridis")
    assert outputs["denoised"].stat().st_size > 10_000
    assert outputs["learning"].stat().st_size > 1_000
    outputs.pop("learning").unlink()
    draw_denoised.main(*paths, outputs, windows=windows, colormap="viridis")  # where nothing was trained
    assert not (tmp_path / "learning.png").exists()


def test_what_is_drawn_as_the_reconstruction_is_what_was_denoised(sinogram):
    """The groups' own mean when it was split by them: a trimmed mean of all pixels is another number."""
    stored = read_store(sinogram[0], "sinogram").load()
    stored["intensity"] = 2 * stored.intensity
    plain = reconstruct(stored.intensity.values[..., [5]], ANGLES, cor=COR)
    np.testing.assert_allclose(draw_denoised.reconstruction(stored, [5], "angle"), plain, atol=1e-5)
    np.testing.assert_allclose(draw_denoised.reconstruction(stored, [5], "pixel"), plain / 2, atol=1e-5)


def test_the_methods_chosen_are_recorded(sinogram, tmp_path):
    methods = run(sinogram, tmp_path, joint=True).attrs["methods"]
    assert len(methods) == N_Q
    assert set(methods) <= set(METHODS)
    assert set(methods) & {"network+weights", "joint", "joint+network"}


def test_what_the_gates_refuse_is_not_chosen_and_is_recorded(sinogram, tmp_path, monkeypatch, caplog):
    """Everything is refused, boldest first, until the reconstruction itself is left."""

    def verdict(*arguments, without, **options):
        return Left(1.0, 1.0, 1.0) if "weights" in without else Left(0.6, 0.6, 0.9)

    monkeypatch.setattr(denoise, "try_on_scan", verdict)
    with caplog.at_level("WARNING"):
        volume = run(sinogram, tmp_path, joint=True)
    gates = json.loads(volume.attrs["gates"])
    assert gates[-1]["passed"]
    assert not any(gate["passed"] for gate in gates[:-1])
    assert not set(gates[-1]["refused"]) & set(volume.attrs["methods"])
    assert "refused: network+weights erases" in caplog.text


def test_the_gates_are_asked_on_every_scan(sinogram, tmp_path, monkeypatch):
    monkeypatch.setattr("xrdct.denoise.planting.GRAINS", 1)  # twelve channels have room for one
    (gate,) = json.loads(run(sinogram, tmp_path).attrs["gates"])
    assert gate["passed"]
    assert gate["left"]["intensity"] > 0.5


def test_the_papers_schedule_runs_through_and_goes_on_when_it_is_killed(sinogram, tmp_path, short_paper, monkeypatch):
    settings = {"schedule": "paper", "split": "angle", "width": 2}
    whole = run(sinogram, tmp_path / "whole", **settings)
    assert np.isfinite(whole.intensity.values).all()

    def die(found, *others, key):
        write_finished(found, *others, key=key)
        if found.channel == 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as killing:
        killing.setattr("xrdct.io.resumable.write_finished", die)
        with pytest.raises(KeyboardInterrupt):
            run(sinogram, tmp_path / "killed", **settings)
    assert len(list((tmp_path / "killed" / ".channels").iterdir())) == 4
    resumed = run(sinogram, tmp_path / "killed", **settings)
    np.testing.assert_array_equal(whole.intensity.values, resumed.intensity.values)
    assert read_training(tmp_path / "killed" / "network.pt")["architecture"]["inputs"] == 1
    assert (tmp_path / "killed" / "learning.json").read_text() == (tmp_path / "whole" / "learning.json").read_text()
    assert not (tmp_path / "killed" / ".channels").exists()


def test_two_parts_are_denoised_channel_by_channel(sinogram, tmp_path, caplog):
    """Two subsets leave no two parts to find common patterns in."""
    with caplog.at_level("WARNING"):
        methods = run(sinogram, tmp_path, split="angle").attrs["methods"]
    assert "denoise.joint needs 3 parts, found 2" in caplog.text
    assert not set(methods) & {"joint", "joint+network"}


def test_the_bar_says_the_loss_on_held_out_pairs():
    shown = []

    class Bar(list):
        def set_postfix(self, *, held_out, refresh):
            shown.append(held_out)

    training = SimpleNamespace(history=[])
    for step in with_loss(Bar(range(3)), training):
        training.history = [{"held_out": 0.5 + step}] if step else []
    assert shown == ["1.5000", "2.5000"]


def test_a_scan_without_groups_is_told_what_to_set(sinogram, tmp_path):
    bare = read_store(sinogram[0], "sinogram").drop_vars("group_intensity").load()
    paths = tmp_path / "bare.zarr", tmp_path / "bare.json"
    write_store(bare, *paths, kind="sinogram", settings={}, inputs={})
    with pytest.raises(GeometryError, match=r"integrate\.groups to 4.*thinning"):
        run(paths, tmp_path / "out")


def test_the_network_of_one_scan_serves_another(sinogram, tmp_path):
    first = run(sinogram, tmp_path)
    network = tmp_path / "network.pt"
    second = run(sinogram, tmp_path / "second", model=network)
    # the same data and the same network: the same volume
    np.testing.assert_array_equal(first.intensity.values, second.intensity.values)
    with pytest.raises(StoreError, match=r"network\.pt.*set denoise\.joint to true"):
        run(sinogram, tmp_path / "third", model=network, joint=False)


def test_a_killed_job_goes_on_to_the_same_volume(sinogram, tmp_path, monkeypatch):
    whole = run(sinogram, tmp_path / "whole")

    def die(state, path, *, key):
        write_training(state, path, key=key)
        raise KeyboardInterrupt

    monkeypatch.setattr(
        denoise.Training.run, "__kwdefaults__", denoise.Training.run.__kwdefaults__ | {"checkpoint_every": 30}
    )
    with monkeypatch.context() as killing:
        killing.setattr("xrdct.io.resumable.write_training", die)
        with pytest.raises(KeyboardInterrupt):
            run(sinogram, tmp_path / "killed")
    assert read_training(tmp_path / "killed" / ".network.pt.growing")["step"] == 30
    assert not list((tmp_path / "killed").glob(".*parts*"))
    resumed = run(sinogram, tmp_path / "killed")
    np.testing.assert_array_equal(whole.intensity.values, resumed.intensity.values)


def test_a_network_that_was_trained_on_this_sinogram_is_not_trained_again(sinogram, tmp_path, monkeypatch):
    first = run(sinogram, tmp_path)

    def never(self, **options):
        raise AssertionError("trained again")

    monkeypatch.setattr(denoise.Training, "run", never)
    again = run(sinogram, tmp_path)
    np.testing.assert_array_equal(first.intensity.values, again.intensity.values)
    with pytest.raises(AssertionError, match="trained again"):
        run(sinogram, tmp_path, seed=1)
