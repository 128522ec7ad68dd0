"""What the simulator leaves on disk: layout, reproducibility, what a second or an interrupted run does, the presets."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import fabio
import h5py
import numpy as np
import pytest
import xarray as xr
import yaml
from small_beamtime import IDEAL, small

from xrdct import config
from xrdct.cli import main
from xrdct.errors import ConfigError
from xrdct.integration import SAFE_MEAN_COUNT
from xrdct.io.frames import open_frames
from xrdct.phases import structure_path
from xrdct.scans import read_scans, write_scans
from xrdct.twin import bliss, files
from xrdct.twin.blocks import in_order
from xrdct.twin.frames import air_pattern
from xrdct.twin.parameters import load_parameters
from xrdct.twin.simulate import simulate
from xrdct.twin.small_files import scan_rows

REPOSITORY = Path(__file__).resolve().parents[2]
CONFIGURED = {"demo": REPOSITORY / "config" / "demo", "tiny": REPOSITORY / "tests" / "data" / "tiny"}


def contents(folder: Path) -> dict[str, bytes]:
    """Bytes of every file below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def beamtime(tmp_path_factory):
    """A small beamtime, written once; not to be changed."""
    folder = tmp_path_factory.mktemp("beamtime")
    assert simulate(small(), folder, workers=2, quiet=True)
    return folder


def test_the_folder_holds_raw_files_table_and_truth_and_nothing_else(beamtime):
    scans = ["charged_4p2V", "discharged_2p65V"]
    assert sorted(path.name for path in beamtime.iterdir()) == ["raw", "scans.tsv", "truth"]
    masters = [f"{scan}_s{k}{suffix}" for scan in scans for k in (1, 2) for suffix in ("", ".h5")]
    assert sorted(path.name for path in (beamtime / "raw").iterdir()) == ["CeO2.cbf", *masters, "mask.edf"]
    truths = ["beamtime.json", *(f"{scan}.zarr" for scan in scans)]
    assert sorted(path.name for path in (beamtime / "truth").iterdir()) == truths


def test_a_master_file_shows_the_detectors_frames_through_a_virtual_dataset(beamtime):
    with h5py.File(beamtime / "raw" / "charged_4p2V_s2.h5") as master:
        frames = master[bliss.DATASET]
        assert frames.is_virtual
        assert [source.file_name for source in frames.virtual_sources()] == ["charged_4p2V_s2/pilatus_0000.h5"]
        assert frames.shape == (36, 10, 110)
        assert frames.dtype == np.int32
        shown = frames[()]
        entry = master["1.1"]
        assert entry.attrs["NX_class"] == "NXentry"
        assert entry["title"][()].decode() == "fscan2d rot 30 60 3 ty -1.7 0.3 12 0.01"
        assert entry["sample/name"][()].decode() == "tiny-cell"
        for name, unit in (("rot", "deg"), ("ty", "mm")):
            np.testing.assert_array_equal(entry[f"measurement/{name}"], entry[f"instrument/positioners/{name}"])
            assert entry[f"measurement/{name}"].attrs["units"] == unit
        np.testing.assert_array_equal(entry["measurement/rot"], np.repeat([30, 90, 150], 12))
        ty = entry["measurement/ty"][()].reshape(3, 12)
        np.testing.assert_array_equal(ty[1], ty[0, ::-1])
        np.testing.assert_allclose(ty[0], -1.7 + 0.3 * np.arange(12))
    with h5py.File(beamtime / "raw" / "charged_4p2V_s2" / "pilatus_0000.h5") as detector:
        stored = detector[bliss.FRAMES]
        assert stored.chunks == (1, 10, 110)
        assert set(stored._filters) == {"32008"}  # bitshuffle with LZ4
        np.testing.assert_array_equal(stored[()], shown)


def test_the_pipeline_reads_the_frames_and_the_monitor_of_the_truth(beamtime):
    truth = xr.open_zarr(beamtime / "truth" / "charged_4p2V.zarr", consolidated=False, chunks=None)
    with open_frames(beamtime / "raw" / "charged_4p2V_s2.h5", bliss.DATASET) as frames:
        assert tuple(frames.shape) == (36, 10, 110)
        monitor = frames.values("mon")
        assert frames.read(3, 5).shape == (2, 10, 110)
    np.testing.assert_allclose(monitor, 1e6 * truth.monitor.sel(subset=2).values.ravel(), rtol=1e-12)
    assert monitor.min() < 0.96e6


def test_the_mask_covers_gaps_dead_and_flagged_pixels_but_no_hot_ones(beamtime):
    mask = fabio.open(beamtime / "raw" / "mask.edf").data.astype(bool)
    frame = fabio.open(beamtime / "raw" / "CeO2.cbf").data
    truth = xr.open_zarr(beamtime / "truth" / "charged_4p2V.zarr", consolidated=False, chunks=None)
    np.testing.assert_array_equal(mask, truth.mask.values)
    np.testing.assert_array_equal(mask & (frame < 0), frame < 0)
    gap = np.zeros(mask.shape, dtype=bool)
    gap[:, 30] = gap[8] = True
    bad = small().artefacts.bad_pixels
    assert mask.sum() == gap.sum() + bad.n_dead + bad.n_flagged
    assert not (mask & truth.hot.values).any()
    assert not (mask & truth.flickering.values).any()


def test_the_truth_tells_sizes_and_weight_fractions(beamtime):
    truth = xr.open_zarr(beamtime / "truth" / "charged_4p2V.zarr", consolidated=False, chunks=None)
    sizes = truth["size"].to_series()
    assert (sizes["Fe"], sizes["LiC6"]) == (80, 150)
    assert np.isnan(sizes["separator"])
    weight, volume = truth.weight_fraction, truth.volume_fraction
    crystalline = volume.drop_sel(phase=["separator", "electrolyte"]).sum("phase") > 0
    np.testing.assert_allclose(weight.sum("phase"), crystalline, atol=1e-6)
    assert (weight.sel(phase="electrolyte") == 0).all()
    copper, aluminium = (weight.sel(phase=name) / volume.sel(phase=name) for name in ("Cu", "Al"))
    both = ((volume.sel(phase="Cu") > 0) & (volume.sel(phase="Al") > 0)).values
    # Densities of copper and aluminium from tables of elements, g/cm³.
    np.testing.assert_allclose((copper / aluminium).values[both], 8.96 / 2.70, rtol=0.005)
    assert both.any()


def test_a_moved_folder_still_shows_its_frames(tmp_path):
    simulate(small(), tmp_path / "here", workers=1, quiet=True)
    with h5py.File(tmp_path / "here" / "raw" / "charged_4p2V_s1.h5") as master:
        before = master[bliss.DATASET][()]
    (tmp_path / "here").rename(tmp_path / "there")
    with h5py.File(tmp_path / "there" / "raw" / "charged_4p2V_s1.h5") as master:
        np.testing.assert_array_equal(master[bliss.DATASET], before)
        assert before.max() > 0


def test_the_same_seed_gives_the_same_bytes_with_any_number_of_workers(beamtime, tmp_path, monkeypatch):
    monkeypatch.setattr("xrdct.twin.blocks.PIXELS_AT_ONCE", 5 * 1100)  # many blocks, so that their order can matter
    simulate(small(), tmp_path, workers=5, quiet=True)
    assert contents(tmp_path) == contents(beamtime)


def test_another_seed_gives_other_frames_of_the_same_cell(beamtime, tmp_path):
    simulate(small({"seed": 8}), tmp_path, workers=2, quiet=True)
    here, there = contents(beamtime), contents(tmp_path)
    for name in here:
        if name.endswith(("pilatus_0000.h5", "CeO2.cbf", "mask.edf")):
            assert here[name] != there[name], name
    assert here["scans.tsv"] == there["scans.tsv"]
    one, other = (
        xr.open_zarr(folder / "truth" / "charged_4p2V.zarr", consolidated=False, chunks=None)
        for folder in (beamtime, tmp_path)
    )
    np.testing.assert_array_equal(one.volume_fraction, other.volume_fraction)


def test_a_second_run_with_the_same_parameters_writes_nothing(beamtime):
    before = {path: path.stat().st_mtime_ns for path in beamtime.rglob("*")}
    assert not simulate(small(), beamtime, quiet=True)
    assert {path: path.stat().st_mtime_ns for path in beamtime.rglob("*")} == before


@pytest.mark.parametrize(
    "lost", ["raw/CeO2.cbf", "scans.tsv", "raw/charged_4p2V_s1.h5", "truth/charged_4p2V.zarr/zarr.json"]
)
def test_what_was_lost_is_made_again_and_the_rest_is_kept(tmp_path, beamtime, lost):
    simulate(small(), tmp_path, workers=2, quiet=True)
    kept = tmp_path / "raw" / "discharged_2p65V_s1" / "pilatus_0000.h5"
    before = kept.stat().st_mtime_ns
    (tmp_path / lost).unlink()
    simulate(small(), tmp_path, workers=2, quiet=True)
    assert contents(tmp_path) == contents(beamtime)
    assert kept.stat().st_mtime_ns == before


@pytest.mark.parametrize(
    "change",
    [
        {"beam": {"dose": 3}},
        {"artefacts": {"air": None}},
        {"cell": {"axis_x_mm": 0.1}},
        {"scan": {"cor_offset_px": 0}},
        {"calibrant": {"exposures": 5}},
    ],
)
def test_changed_parameters_replace_all_that_stood_there(tmp_path, change):
    simulate(ONE_SCAN, tmp_path, workers=2, quiet=True)
    before = contents(tmp_path)
    changed = small(SHORT, change)
    assert simulate(changed, tmp_path, workers=2, quiet=True)
    fresh = tmp_path.with_name(f"{tmp_path.name}-fresh")
    simulate(changed, fresh, workers=2, quiet=True)
    assert contents(tmp_path) == contents(fresh)
    assert contents(tmp_path) != before


def test_an_edited_structure_of_ones_own_replaces_what_stood_there(tmp_path):
    own = tmp_path / "grain.cif"
    own.write_text(structure_path("alpha-FeSi2").read_text(encoding="utf-8"), encoding="utf-8")
    grain = {"phase": str(own), "x_mm": 0.5, "y_mm": 0.5, "radius_mm": 0.2}
    parameters = small(SHORT, {"cell": {"grains": [grain]}})
    assert simulate(parameters, tmp_path / "out", quiet=True)
    assert not simulate(parameters, tmp_path / "out", quiet=True)
    own.write_text(own.read_text(encoding="utf-8").replace("5.134", "5.2"), encoding="utf-8")
    assert simulate(parameters, tmp_path / "out", quiet=True)


class Interrupted(BaseException):
    """Stands for a kill: nothing catches it."""


SHORT = {"states": [small().states[0].model_dump()], "scan": {"n_projections": 2, "n_positions": 10, "step_mm": 0.4}}
ONE_SCAN = small(SHORT)
FILES = 3 + 2 * 2 + 1 + 1
"""Calibrant, mask, table; two files per subset; truth; record."""


@pytest.mark.parametrize("n_written", range(FILES))
def test_an_interrupted_run_leaves_nothing_that_looks_finished(tmp_path, monkeypatch, n_written):
    other = small(SHORT, {"beam": {"dose": 5}, "seed": 9})
    simulate(other, tmp_path / "other", quiet=True)
    simulate(ONE_SCAN, tmp_path / "reference", quiet=True)
    simulate(ONE_SCAN, tmp_path / "out", quiet=True)
    replace, count = os.replace, iter(range(FILES))

    def replace_some(source, target):
        if next(count) == n_written:
            raise Interrupted
        replace(source, target)

    with monkeypatch.context() as patched:
        patched.setattr(files.os, "replace", replace_some)
        with pytest.raises(Interrupted):
            simulate(other, tmp_path / "out", quiet=True)
    # What bears a final name is whole: of this beamtime or of the one before.
    whole = [contents(tmp_path / name) for name in ("reference", "other")]
    for name, found in contents(tmp_path / "out").items():
        if not any(part.startswith(".") for part in Path(name).parts):
            assert found in [one[name] for one in whole], name
    half = tmp_path / "half"
    subprocess.run(["cp", "-r", tmp_path / "out", half], check=True)
    assert simulate(other, tmp_path / "out", quiet=True)
    assert contents(tmp_path / "out") == whole[1]
    assert simulate(ONE_SCAN, half, quiet=True)
    assert contents(half) == whole[0]


KILLED = """
import os, signal, sys
from pathlib import Path
import xrdct.twin.blocks as twin
from xrdct.twin.simulate import simulate
from xrdct.twin.parameters import load_parameters
made = twin.record
def record(*arguments, **settings):
    if settings["subset"] == 2 and settings["first_frame"] > 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return made(*arguments, **settings)
twin.record, twin.PIXELS_AT_ONCE = record, 5 * 1100
simulate(load_parameters(sys.argv[1]), Path(sys.argv[2]), workers=2, quiet=True)
"""


def test_a_run_killed_between_two_frames_is_completed_by_the_next(tmp_path, beamtime):
    settings = tmp_path / "small.yaml"
    settings.write_text(yaml.safe_dump(small().model_dump(mode="json"), sort_keys=False), encoding="utf-8")
    out = tmp_path / "out"
    done = subprocess.run([sys.executable, "-c", KILLED, settings, out], timeout=120)
    assert done.returncode == -signal.SIGKILL
    assert (out / "raw" / "discharged_2p65V_s1.h5").is_file()
    assert not (out / "raw" / "discharged_2p65V_s2.h5").exists()
    assert not (out / "raw" / "discharged_2p65V_s2" / "pilatus_0000.h5").exists()
    assert not (out / "truth").exists()
    first = out / "raw" / "discharged_2p65V_s1" / "pilatus_0000.h5"
    before = first.stat().st_mtime_ns
    assert simulate(load_parameters(str(settings)), out, quiet=True)
    assert first.stat().st_mtime_ns == before
    assert contents(out) == contents(beamtime)


def test_results_come_in_order_and_only_a_few_ahead():
    from concurrent.futures import ThreadPoolExecutor

    started = []

    def square(number):
        started.append(number)
        return number**2

    with ThreadPoolExecutor(3) as pool:
        results = in_order(pool, square, range(50), ahead=4)
        assert next(results) == 0
        assert len(started) <= 5
        assert list(results) == [number**2 for number in range(1, 50)]


@pytest.mark.parametrize("preset", CONFIGURED)
def test_the_table_in_the_repository_is_the_one_that_the_simulator_writes(preset, tmp_path):
    write_scans(tmp_path / "scans.tsv", scan_rows(load_parameters(preset)))
    assert (tmp_path / "scans.tsv").read_bytes() == (CONFIGURED[preset] / "scans.tsv").read_bytes()


@pytest.mark.parametrize("preset", CONFIGURED)
def test_the_configuration_in_the_repository_fits_the_preset(preset):
    parameters, cfg = load_parameters(preset), config.load(CONFIGURED[preset] / "config.yaml")
    assert tuple(cfg.detector.shape) == parameters.detector.shape
    assert cfg.detector.pixel_size_um == parameters.detector.pixel_um
    assert cfg.beam.energy_kev == parameters.beam.energy_kev
    assert cfg.beam.polarization == parameters.beam.polarization
    assert cfg.calibrate.calibrant == parameters.calibrant.phase
    assert cfg.raw.subsets_per_scan == parameters.scan.n_subsets
    rows = read_scans(CONFIGURED[preset] / "scans.tsv")
    assert {row.scan for row in rows} == {state.scan for state in parameters.states}
    present = {phase for state in parameters.states for region in state.anode for phase in region.phases}
    present |= {state.cathode for state in parameters.states} | {"Cu", "Al", "Fe"}
    assert set(cfg.report.phases) <= present
    assert {state.cathode for state in parameters.states} <= set(cfg.report.phases)


@pytest.mark.parametrize("preset", CONFIGURED)
def test_every_q_bin_of_a_preset_has_the_counts_that_a_trimmed_mean_needs(preset):
    parameters, cfg = load_parameters(preset), config.load(CONFIGURED[preset] / "config.yaml")
    air = air_pattern(parameters.artefacts.air, np.linspace(cfg.integrate.q_min, cfg.integrate.q_max, 50))
    weakest = (1 - parameters.beam.monitor_decay) * air.min()
    # The mean of about 100 pixels of 10.5 counts lies below 10 in one bin of 15 at worst, and only before a top-up.
    assert weakest > 1.05 * SAFE_MEAN_COUNT


def test_the_command_says_where_the_files_are_and_that_they_stand_already(tmp_path, capsys):
    settings = tmp_path / "mine.yaml"
    settings.write_text(yaml.safe_dump(ONE_SCAN.model_dump(mode="json")), encoding="utf-8")
    call = ["simulate", str(settings), "--out", str(tmp_path / "out"), "--workers", "1"]
    assert main(call) == 0
    printed = capsys.readouterr()
    assert "1 scans, 40 frames: simulated" in printed.out
    assert str(tmp_path / "out" / "truth") in printed.out
    assert printed.err == ""  # where nobody watches, the bar speaks after 15 s and not before
    assert main(call) == 0
    assert "stands already" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"beam": {"doze": 3}}, r"beam\.doze: Extra inputs"),
        ({"cell": {"turns": 9}}, "9.0 windings need a radius"),
        ({"states": []}, "every scan needs a name of its own"),
        ({"amorphous": {"separator": None}}, "amorphous"),
        ({"detector": {"shape": [0, 10]}}, r"detector\.shape"),
    ],
)
def test_wrong_parameters_are_named(tmp_path, change, message):
    settings = yaml.safe_load((Path(files.__file__).parent / "presets" / "tiny.yaml").read_text(encoding="utf-8"))
    for section, values in change.items():
        settings[section] = values if isinstance(values, list) else settings[section] | values
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(settings), encoding="utf-8")
    with pytest.raises(ConfigError, match=message):
        load_parameters(str(path))


def test_shares_of_a_region_must_sum_to_one():
    with pytest.raises(ValueError, match=r"sum to 0\.9, not 1"):
        small({"states": [small().states[0].model_dump() | {"anode": [{"phases": {"graphite": 0.9}}]}]})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"instrument": {"sizes_nm": {"Fee": 80}}}, "sizes_nm: Fee occurs nowhere"),
        (
            {"states": [small().states[0].model_dump() | {"lattice": {"NMC": {"a": 2.8}}}]},
            "lattice: NMC occurs nowhere",
        ),
        ({"calibrant": {"phase": "CeO3"}}, "CeO3.cif: no such structure"),
        (
            {"cell": {"grains": [{"phase": "nothing", "x_mm": 0, "y_mm": 0, "radius_mm": 0.1}]}},
            "nothing.cif: no such structure",
        ),
    ],
)
def test_phases_that_there_are_not_are_refused_before_anything_is_written(tmp_path, change, message):
    with pytest.raises(ConfigError, match=message):
        simulate(small(change), tmp_path / "out", quiet=True)
    assert not (tmp_path / "out").exists()


def test_an_unknown_preset_is_answered_with_the_known_ones(capsys):
    assert main(["simulate", "dmeo", "--out", "nowhere"]) == 2
    assert "(demo, nca18650, nmc532aaa, operando, paper, tiny)" in capsys.readouterr().err


def test_switching_everything_off_is_a_valid_beamtime(tmp_path):
    assert simulate(small(IDEAL, SHORT), tmp_path, quiet=True)
