"""Points and lines against time: what the cell is at every moment, frames, clocks, and the cycler's log."""

from datetime import UTC, datetime
from itertools import pairwise

import fabio
import h5py
import numpy as np
import pytest
import xarray as xr
import yaml
from pydantic import ValidationError
from small_beamtime import IDEAL, one_subset, small

from xrdct.cli import main
from xrdct.errors import ConfigError
from xrdct.io.frames import open_frames
from xrdct.twin import bliss
from xrdct.twin.cycler import anchor_times, charge_at, cycler_log, state_at, voltage_at
from xrdct.twin.parameters import chosen_scans, load_parameters
from xrdct.twin.simulate import simulate

STATES = [
    {
        "scan": name,
        "state": name,
        "voltage_V": volts,
        "cathode": "NCA",
        "anode": [{"phases": phases}],
        "lattice": {"NCA": {"a": a, "c": c}},
        "scanned": name == "empty",
    }
    for name, volts, phases, a, c in [
        ("empty", 2.65, {"graphite": 1.0}, 2.86, 14.23),
        ("half", 3.8, {"graphite": 0.4, "LiC12": 0.6}, 2.84, 14.35),
        ("full", 4.2, {"LiC6": 1.0}, 2.82, 14.48),
    ]
]
COURSE = [(0.0, "empty"), (0.5, "half"), (1.0, "full"), (0.5, "half"), (0.0, "empty"), (0.5, "half")]
CYCLER = {
    "capacity_mah": 800.0,
    "rate": 0.5,  # an hour from anchor to anchor
    "course": [{"charge": charge, "state": state} for charge, state in COURSE],
    "rest_s": 600,
    "log_every_s": 250,
}
LINE = {
    "name": "line",
    "angle_deg": 0.0,
    "ty_mm": -1.7,
    "n_positions": 12,
    "n_repeats": 9,
    "every_s": 900.0,
    "frame_s": 2.0,
    "start_s": 0.0,
}
POINT = {"name": "point", "ty_mm": -1.7 + 7 * 0.3, "n_repeats": 5, "every_s": 900.0, "start_s": 11.0, "frame_s": 2.0}
OPERANDO = {"states": STATES, "cycler": CYCLER, "series": [LINE, POINT]}


def frames_of(folder, name):
    with h5py.File(folder / "raw" / f"{name}_s1.h5") as file:
        counters = {key: values[()] for key, values in file["/1.1/measurement"].items() if key != "pilatus"}
        return file[bliss.DATASET][()], counters


def truth_of(folder, name):
    return xr.open_zarr(folder / "truth" / f"{name}.zarr", consolidated=False, chunks=None)


@pytest.fixture(scope="module")
def beamtime(tmp_path_factory):
    """Without noise, so that frames can be added."""
    folder = tmp_path_factory.mktemp("operando")
    assert simulate(small(IDEAL, OPERANDO, {"beam": {"dose": 200}}), folder, workers=2, quiet=True)
    return folder


@pytest.fixture(scope="module")
def log():
    """Header lines, and columns of numbers by name."""
    lines = cycler_log(small(OPERANDO)).split("\r\n")
    assert lines.pop() == ""  # the last line ends too
    name, number = lines[1].split(":")
    assert (lines[0], name) == ("EC-Lab ASCII FILE", "Nb header lines ")
    header, rows = lines[: int(number)], [line.split("\t") for line in lines[int(number) :]]
    names = header[-1].strip().split("\t")
    assert {len(row) for row in rows} == {len(names)}
    return header, dict(zip(names, np.array(rows, dtype=float).T, strict=True))


def test_the_course_takes_the_time_that_its_charge_needs():
    parameters = small(OPERANDO)
    np.testing.assert_allclose(anchor_times(parameters.cycler), 3600 * np.arange(6))
    times = np.array([1800, 7200, 9000, 16200, 1e6])
    np.testing.assert_allclose(charge_at(parameters.cycler, times), [0.25, 1, 0.75, 0.25, 0.5])
    np.testing.assert_allclose(voltage_at(parameters, times), [3.225, 4.2, 4.0, 3.225, 3.8])


def test_the_log_begins_as_ec_lab_begins_it(log):
    header, columns = log
    assert "Galvanostatic Cycling with Potential Limitation" in header
    (started,) = (line for line in header if line.startswith("Acquisition started on : "))
    moment = datetime.strptime(started.split(" : ")[1], "%m/%d/%Y %H:%M:%S.%f")
    assert moment == datetime(2000, 1, 2)
    assert {"mode", "time/s", "Ewe/V", "I/mA", "(Q-Qo)/mA.h", "half cycle", "cycle number"} <= set(columns)


def test_the_log_holds_the_voltages_of_the_states_and_the_charge_that_its_current_carries(log):
    _, columns = log
    time, current, charge = columns["time/s"], columns["I/mA"], columns["(Q-Qo)/mA.h"]
    assert (np.diff(time) > 0).all()
    assert time[-1] == 5 * 3600 + 600
    at = np.searchsorted(time, 3600 * np.arange(6))
    np.testing.assert_allclose(columns["Ewe/V"][at], [2.65, 3.8, 4.2, 3.8, 2.65, 3.8])
    # The current of a record has flowed since the one before.
    np.testing.assert_allclose(np.diff(charge), current[1:] * np.diff(time) / 3600, atol=1e-6 * 800)
    np.testing.assert_allclose(np.cumsum(columns["dQ/mA.h"]), charge, atol=1e-3)
    np.testing.assert_allclose(charge[at], [0, 400, 800, 400, 0, 400], atol=1e-9)
    assert set(current) == {400.0, -400.0, 0.0}


def test_charging_is_oxidation_discharging_reduction_and_a_cycle_ends_when_charging_begins_anew(log):
    _, columns = log
    time = columns["time/s"]
    charging, discharging, again = time <= 7200, (time > 7200) & (time <= 14400), (time > 14400) & (time <= 18000)
    assert (columns["I/mA"][charging] > 0).all()
    assert (columns["I/mA"][discharging] < 0).all()
    assert (columns["I/mA"][time > 18000] == 0).all()
    assert (columns["mode"][time > 18000] == 3).all()
    assert (columns["ox/red"][charging] == 1).all()
    assert (columns["ox/red"][discharging] == 0).all()
    for column, values in {"half cycle": (0, 1, 2), "cycle number": (0, 0, 1)}.items():
        for part, value in zip((charging, discharging, again), values, strict=True):
            assert (columns[column][part] == value).all(), column


def test_the_cell_is_between_two_states_while_it_goes_from_one_to_the_other(beamtime):
    truth = truth_of(beamtime, "line")
    # A repetition shows its middle: 12 frames of 2 s, so 12 s after its start.
    np.testing.assert_allclose(truth.time, 900 * np.arange(9) + 12)
    # An hour to every half of the charge; the last repetition begins as the cell turns to discharging.
    np.testing.assert_allclose(truth.charge, [*((900 * np.arange(8) + 12) / 7200), 1 - 12 / 7200])
    share = truth.charge.values / 0.5  # on the way to `half`, of which 0.4 of the anode is still graphite
    expected = np.where(share <= 1, 1 - 0.6 * share, 0.4 * (2 - share))
    graphite = truth.path_length.sel(phase="graphite").sum("position")
    first = graphite.values[0] / expected[0]
    np.testing.assert_allclose(graphite / first, expected, atol=1e-5)
    c = truth.c.sel(phase="NCA").values
    np.testing.assert_allclose(c, np.interp(truth.charge, [0, 0.5, 1], [14.23, 14.35, 14.48]))
    assert (np.diff(c[:8]) > 0).all()
    np.testing.assert_allclose(truth.volume_fraction.sum("phase").values[:, 4:8], 1, atol=1e-6)
    np.testing.assert_allclose(truth.weight_fraction.sum("phase").values[:, 4:8], 1, atol=1e-6)


def test_a_line_at_the_start_is_the_scans_first_line(tmp_path):
    parameters = small(IDEAL, {"states": STATES, "cycler": CYCLER, "series": [LINE | {"frame_s": 1e-3}]})
    scan, _ = one_subset(parameters, tmp_path)
    line, _ = frames_of(tmp_path, "line")
    # 12 frames of 1 ms: the cell has moved by 1e-6 of the way to the next state; both are rounded.
    np.testing.assert_allclose(line.reshape(9, 12, 10, 110)[0], scan[0], atol=1)
    assert np.abs(line.reshape(9, 12, 10, 110)[4] - scan[0]).max() > 10


def test_frames_between_two_states_are_mixed_as_the_charge_is(tmp_path):
    fixed = [state | {"lattice": {}} for state in STATES]
    line = LINE | {"frame_s": 1e-3, "n_repeats": 5}
    parameters = small(IDEAL, {"states": fixed, "cycler": CYCLER, "series": [line]}, {"beam": {"dose": 200}})
    simulate(parameters, tmp_path, quiet=True)
    frames = frames_of(tmp_path, "line")[0].reshape(5, 12, 10, 110)
    for k in range(1, 4):
        # Every 900 s is a quarter of the way; three frames are rounded, and a line takes 12 ms.
        np.testing.assert_allclose(frames[k], (1 - k / 4) * frames[0] + k / 4 * frames[4], atol=2)
    assert np.abs(frames[4] - frames[0]).max() > 100


def test_a_point_is_the_column_of_a_line_that_its_motor_names(tmp_path):
    point = POINT | {"start_s": 0.0, "frame_s": 1e-3}
    line = LINE | {"frame_s": 1e-3, "n_repeats": 5}
    simulate(small(IDEAL, OPERANDO | {"series": [line, point]}), tmp_path, quiet=True)
    frames = frames_of(tmp_path, "line")[0].reshape(5, 12, 10, 110)
    found, counters = frames_of(tmp_path, "point")
    np.testing.assert_allclose(found, frames[:, 7], atol=1)
    np.testing.assert_allclose(counters["ty"], -1.7 + 7 * 0.3)


def test_every_frame_has_its_time_on_the_cyclers_clock(beamtime):
    (start,) = (
        line.split(" : ")[1]
        for line in (beamtime / "raw" / "cycler.mpt").read_text(encoding="utf-8").splitlines()
        if line.startswith("Acquisition started on")
    )
    epoch = datetime.strptime(start, "%m/%d/%Y %H:%M:%S.%f").replace(tzinfo=UTC).timestamp()
    _, line = frames_of(beamtime, "line")
    expected = (900 * np.arange(9)[:, None] + 2 * np.arange(12)).ravel()
    np.testing.assert_allclose(line["epoch"] - epoch, expected, atol=1e-6)
    np.testing.assert_allclose(line["elapsed_time"], expected)
    np.testing.assert_allclose(line["ty"].reshape(9, 12), np.tile(-1.7 + 0.3 * np.arange(12), (9, 1)))
    np.testing.assert_array_equal(line["rot"], 0)
    _, point = frames_of(beamtime, "point")
    np.testing.assert_allclose(point["epoch"] - epoch, 11 + 900 * np.arange(5), atol=1e-6)
    np.testing.assert_allclose(point["elapsed_time"], 900 * np.arange(5))


def test_the_tables_name_scans_and_series(beamtime):
    assert [line.split("\t")[0] for line in (beamtime / "scans.tsv").read_text().splitlines()][1:] == ["empty"] * 2
    head, *rows = ([*line.split("\t")] for line in (beamtime / "series.tsv").read_text().splitlines())
    line, point = (dict(zip(head, row, strict=True)) for row in rows)
    assert (line["series"], line["n_repeats"], line["n_positions"], line["log"]) == ("line", "9", "12", "cycler.mpt")
    with open_frames(beamtime / "raw" / point["file"], point["dataset"]) as frames:
        assert frames.shape[0] == 5
        assert len(frames.values("epoch")) == 5


def test_upsets_and_attenuation_reach_a_series_too(tmp_path):
    artefacts = {
        "attenuation": {},
        "lost": {"share": 0.2, "reading": "no_beam"},
        "truncated": [{"scan": "line", "subset": 1, "frames": 100}],
    }
    simulate(small(IDEAL, OPERANDO, {"artefacts": artefacts}), tmp_path, quiet=True)
    frames, counters = frames_of(tmp_path, "line")
    truth = truth_of(tmp_path, "line")
    assert len(frames) == len(counters["epoch"]) == 100
    lost = truth.lost.values.ravel()[:100].astype(bool)
    assert 5 <= lost.sum() <= 40
    assert (frames[lost] == 0).all()
    assert (counters["mon"][lost] == 0).all()
    np.testing.assert_allclose(counters["diode"] / 1e6, truth.transmission.values.ravel()[:100], rtol=1e-6)
    assert truth.transmission.values.min() < 0.9


def test_the_same_seed_gives_the_same_series_and_a_missing_file_is_made_again(tmp_path):
    parameters = small(OPERANDO, {"files": {"frames_per_file": 25}})
    simulate(parameters, tmp_path / "whole", workers=1, quiet=True)
    simulate(parameters, tmp_path / "other", workers=5, quiet=True)
    (gone,) = (tmp_path / "other").glob("raw/line_s1/pilatus_0002.h5")  # begins inside a line
    gone.unlink()
    assert simulate(parameters, tmp_path / "other", workers=3, quiet=True)
    assert not simulate(parameters, tmp_path / "other", quiet=True)
    found, expected = (
        {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
        for folder in (tmp_path / "other", tmp_path / "whole")
    )
    assert found == expected


def test_images_of_a_series_carry_their_own_date(tmp_path):
    simulate(small(OPERANDO, {"files": {"format": "cbf"}, "series": [POINT]}), tmp_path, quiet=True)
    header = fabio.open(tmp_path / "raw" / "point_s1" / "point_s1_000003.cbf").header["_array_data.header_contents"]
    assert "# 2000-01-02T00:30:11.000" in header.splitlines()  # the third, at 11 + 2 · 900 s


def test_the_command_writes_the_chosen_series_and_says_where(tmp_path, capsys):
    mine = tmp_path / "mine.yaml"
    mine.write_text(yaml.safe_dump(small(OPERANDO).model_dump(mode="json")), encoding="utf-8")
    assert main(["simulate", str(mine), "--scan", "point", "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert "0 scans, 1 series, 5 frames" in said
    assert {str(p.name) for p in tmp_path.glob("out/raw/*.*")} == {"point_s1.h5", "cycler.mpt", "CeO2.cbf", "mask.edf"}
    assert all(str(tmp_path / "out" / name) in said for name in ("series.tsv", "raw/cycler.mpt", "scans.tsv"))


def test_single_series_can_be_chosen_and_the_states_of_the_course_stay():
    chosen = chosen_scans(small(OPERANDO), ["point"])
    assert [series.name for series in chosen.series] == ["point"]
    assert not chosen.scans
    assert state_at(chosen, 7200).lattice["NCA"].c == 14.48


def test_the_preset_goes_through_the_papers_voltages_and_back():
    parameters = load_parameters("operando")
    volts = [voltage_at(parameters, seconds) for seconds in anchor_times(parameters.cycler)]
    assert volts == [2.65, 3.7, 3.79, 3.85, 3.95, 4.2, 3.95, 3.85, 3.79, 3.7, 2.65]
    assert {series.n_positions for series in parameters.series} == {1, parameters.scan.n_positions}
    end = anchor_times(parameters.cycler)[-1]
    for series in parameters.series:
        assert 0.9 * end < series.start_s + series.n_repeats * series.every_s <= end + parameters.cycler.rest_s


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cycler": None, "series": [POINT]}, "without a `cycler` nothing changes"),
        (
            {"cycler": CYCLER | {"course": [{"charge": 0, "state": "empty"}, {"charge": 1, "state": "v9"}]}},
            "no state is called v9",
        ),
        (
            {"cycler": CYCLER | {"course": [{"charge": 0, "state": "empty"}, {"charge": 0, "state": "full"}]}},
            "the charge must change",
        ),
        ({"series": [LINE | {"every_s": 20.0}]}, "take longer than `every_s`"),
        ({"series": [POINT | {"name": "empty"}]}, "needs a name of its own"),
        (
            {"artefacts": {"truncated": [{"scan": "nowhere", "subset": 1, "frames": 3}]}},
            "no scan or series is called nowhere",
        ),
    ],
)
def test_a_series_that_cannot_be_is_refused(change, message):
    with pytest.raises(ValidationError, match=message):
        small(OPERANDO, change)


def test_what_is_chosen_must_exist():
    with pytest.raises(ConfigError, match="no scan or series is called v9; there are empty, line, point"):
        chosen_scans(small(OPERANDO), ["v9"])


def test_a_course_never_stands_still():
    times = anchor_times(small(OPERANDO).cycler)
    assert all(after > before for before, after in pairwise(times))
