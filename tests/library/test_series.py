"""Points and lines against time: their table, one intensity for all frames, fits of frames and lines, and the check."""

import json

import h5py
import numpy as np
import pytest
import yaml
from raw_files import N_POSITIONS, N_PROJECTIONS, write_beamtime
from test_cycler import STARTED, cycled, write_mpt

from support_fit import PIXEL, PROFILE
from xrdct import config
from xrdct.check import check_beamtime
from xrdct.composition import weight_errors, weight_fractions
from xrdct.config import PhaseSetSettings
from xrdct.cycler import unknown
from xrdct.errors import ConfigError, RawDataError, TableError
from xrdct.figures_series import draw_series, weight_percent
from xrdct.fit.model import PatternModel
from xrdct.fit.phase_set import load_phase_set
from xrdct.fit.series import at_one_intensity, fit_series, mean_of_lines, series_dataset, usable_frames
from xrdct.io.store import check_form
from xrdct.record import record_run
from xrdct.reproduce import changed_raw_files, prepare, read_run
from xrdct.series import SeriesRow, read_series, write_series

PHASE_SET = {
    "name": "two",
    "q_min": 1.2,
    "q_max": 2.9,
    "phases": [
        {"name": "NCA", "free": {"a": [2.80, 2.88], "c": [14.1, 14.6]}, "per_voxel": ["a", "c"]},
        {"name": "graphite"},
        {"name": "LiC6"},
    ],
}
Q = np.arange(1.0, 3.0, PIXEL)
N_LINES, N_POINTS = 6, 5
ROW = {"series": "line", "file": "a.h5", "n_repeats": 3, "n_positions": 4, "step_mm": 0.1}


def write_table(path, *rows):
    columns = list(dict.fromkeys(name for row in rows for name in row))
    lines = [columns, *([str(row.get(name, "")) for name in columns] for row in rows)]
    path.write_text("".join("\t".join(line) + "\n" for line in lines), encoding="utf-8")
    return path


def test_a_table_is_read_with_its_defaults(tmp_path):
    (row,) = read_series(write_table(tmp_path / "t.tsv", {"series": "point", "file": "p.h5", "n_repeats": 7}))
    assert (row.n_repeats, row.n_positions, row.log, row.step_mm) == (7, 1, None, None)


def test_a_table_that_is_written_is_read_back(tmp_path):
    point = SeriesRow(series="point", file="p.h5", n_repeats=7, log="a.mpt", ty_mm=-0.1)
    rows = [point, SeriesRow(**ROW, sample="cell 1", angle_deg=30.0)]
    write_series(tmp_path / "t.tsv", rows)
    assert read_series(tmp_path / "t.tsv") == rows


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([ROW, ROW], "line 3: series line stands already in line 2"),
        ([ROW | {"step_mm": ""}], "line 2: column step_mm: empty, but a line has 4 positions"),
        ([ROW | {"n_repeats": 0}], "line 2: column n_repeats: .*greater than or equal to 1"),
        ([ROW | {"series": "../x"}], "'../x' is not a plain name"),
        ([ROW | {"angle": 3}], "unknown column 'angle'"),
    ],
)
def test_a_row_that_cannot_be_meant_is_named(tmp_path, rows, message):
    with pytest.raises(TableError, match=message):
        read_series(write_table(tmp_path / "t.tsv", *rows))


@pytest.mark.parametrize(
    ("fit", "series", "message"),
    [
        ({}, {"table": "s.tsv"}, r"series\.table needs a phase set"),
        ({"preset": "lixc-4"}, {"table": "s.tsv", "groups": {"anode": ["LiC7"]}}, "LiC7 is no phase of the fit"),
        ({}, {"maker": "maccor"}, r"series\.maker"),
        ({"preset": "lixc-4"}, {"table": "s.tsv", "source": "pqnet"}, "set pqnet.library.noise to poisson"),
        ({}, {"zone": "Grenoble"}, "no time zone is called 'Grenoble'"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(tmp_path, fit, series, message):
    settings = yaml.safe_load(write_beamtime(tmp_path).read_text())
    with pytest.raises(ConfigError, match=message):
        config.validate(settings | {"fit": fit, "series": series})


def test_frames_are_put_at_the_mean_beam_and_those_without_beam_are_left_out():
    intensity = np.full((2, 2, 3), 6.0)
    beam = np.array([[1.0, 2.0], [3.0, 0.0]])
    usable = np.ones((2, 2), bool)
    found = at_one_intensity(intensity, beam, usable)
    np.testing.assert_allclose(found[..., 0], [[12, 6], [4, np.nan]])  # the mean beam is 2
    np.testing.assert_array_equal(at_one_intensity(intensity, np.full((2, 2), np.nan), usable), intensity)
    with pytest.raises(RawDataError, match="none of the 4 frames of the series has beam"):
        at_one_intensity(intensity, np.zeros((2, 2)), usable)


def test_unread_frames_those_without_monitor_and_dark_ones_are_not_used():
    intensity = np.ones((5, 3, 4)) * np.array([1.0, 100.0, 50.0])[:, None]  # air alone at the first position
    monitor, valid = np.ones((5, 3)), np.ones((5, 3), bool)
    valid[0, 1], monitor[1, 1], intensity[2, 1] = False, 0.0, 0.5  # the last was lost, though the monitor went on
    expected = np.ones((5, 3), bool)
    expected[:3, 1] = False
    np.testing.assert_array_equal(usable_frames(intensity, monitor, valid), expected)
    monitor[:] = np.nan  # not recorded
    expected[1, 1] = True
    np.testing.assert_array_equal(usable_frames(intensity, monitor, valid), expected)


def test_a_line_is_the_mean_of_its_usable_frames():
    patterns = np.arange(12.0).reshape(2, 3, 2)
    patterns[0, 1, 0] = np.nan
    patterns[1] = np.nan
    np.testing.assert_allclose(mean_of_lines(patterns), [[[2.0, 3.0]], [[np.nan, np.nan]]])


def test_errors_of_weights_are_those_of_many_draws():
    scales, errors, densities = np.array([5.0, 2.0, 1.0]), np.array([0.1, 0.05, 0.02]), np.array([4.0, 2.0, 9.0])
    drawn = scales[:, None] + errors[:, None] * np.random.default_rng(1).normal(size=(3, 40_000))
    # 40 000 draws know a spread to 0.4 %; the formula is of first order in errors of 2.5 %.
    spread = weight_fractions(drawn, densities).std(axis=1)
    np.testing.assert_allclose(weight_errors(scales, errors, densities), spread, rtol=0.02)
    assert weight_errors(scales, np.full(3, np.nan), densities).tolist() == [0, 0, 0]


@pytest.fixture(scope="module")
def fitted():
    """Graphite becomes LiC6 in the first four lines; the last point of every line is beside the cell."""
    model = PatternModel(load_phase_set(PhaseSetSettings.model_validate(PHASE_SET)), Q, PROFILE)
    unit = dict(zip(model.phases.names, model.units(model.start).max(axis=1), strict=True))
    parameters = np.tile(model.start, (N_LINES, N_POINTS, 1))
    lithiated = np.clip(np.arange(N_LINES) / 3, 0, 1)[:, None]
    inside = np.array([1.0, 2.0, 1.5, 1.0, 0.0])
    parameters[..., model.place("NCA", "scale")] = 300 * inside / unit["NCA"]
    parameters[..., model.place("graphite", "scale")] = 400 * inside * (1 - lithiated) / unit["graphite"]
    parameters[..., model.place("LiC6", "scale")] = 400 * inside * lithiated / unit["graphite"]
    parameters[..., model.place("NCA", "c")] = 14.2 + 0.05 * np.arange(N_LINES)[:, None]
    parameters[..., model.place("background", "0")] = 100.0
    patterns = np.zeros((N_LINES, N_POINTS, Q.size))
    clean = model.patterns(parameters.reshape(-1, parameters.shape[-1])).reshape(N_LINES, N_POINTS, -1)
    patterns[..., model.inside] = np.random.default_rng(3).poisson(clean)
    patterns[2, 0] = np.nan  # a lost frame
    found = fit_series(model, patterns, level="quick")
    epoch = 1e9 + 60.0 * np.arange(N_LINES * N_POINTS).reshape(N_LINES, N_POINTS)
    dataset = series_dataset(found, epoch, unknown(N_LINES), 0.1 * np.arange(N_POINTS), least_mass=0.1)
    check_form(dataset, "series", origin="test")
    amount = parameters[..., model.scale_places[:3]]
    return dataset, weight_fractions(np.moveaxis(amount, -1, 0) + 1e-12, model.phases.densities)


def test_weights_of_frames_and_lines_are_the_planted_ones_within_their_errors(fitted):
    dataset, weights = fitted
    found, error = (dataset[f"weight_fraction{kind}"].values for kind in ("", "_err"))
    inside = np.isfinite(found[0])
    expected = np.ones((N_LINES, N_POINTS), bool)
    expected[:, 4] = expected[2, 0] = False  # beside the cell, lost
    np.testing.assert_array_equal(inside, expected)
    off = np.abs(found - weights)[:, inside]
    # 69 values: one in 370 lies beyond three errors by chance; an absent phase is held at 0 and has none.
    assert (off < 4 * error[:, inside] + 0.01).all()
    assert np.median(error[:, inside]) < 0.03
    line = dataset.line_weight_fraction.values
    np.testing.assert_allclose(line, weights[:, :, 1], atol=0.02)  # all points of a line have the same shares
    np.testing.assert_allclose(line.sum(axis=0), 1, atol=1e-5)


def test_the_cell_follows_and_phases_go_and_come(fitted):
    dataset, _ = fitted
    nca = dataset.sel(phase="NCA")
    assert (np.abs(nca.line_c - (14.2 + 0.05 * np.arange(N_LINES))) < 4 * nca.line_c_err).all()
    assert float(nca.line_c_err.max()) < 0.01
    percent, _ = weight_percent(dataset, ["graphite", "LiC6"])
    np.testing.assert_allclose(percent.sum(axis=0), 100)
    assert percent[0, 0] > 98
    assert percent[1, 3:].min() > 98
    assert np.isnan(dataset.line_a.sel(phase="LiC6")).all()  # not free


def test_figures_show_each_group_each_cell_and_each_phase_along_the_line(fitted):
    dataset, _ = fitted
    figure = draw_series(dataset, {"anode": ["graphite", "LiC6"]}, colormap="viridis")
    labels = [axis.get_ylabel() for axis in figure.axes]
    assert {"anode\nweight %", "NCA\na (Å)", "NCA\nc (Å)", "graphite\nmm", "LiC6\nmm"} <= set(labels)
    assert labels.count("NCA\nmm") == 2  # its two cell edges along the line
    alone = draw_series(dataset.isel(point=[1]), {}, colormap="viridis")
    assert [a.get_ylabel() for a in alone.axes] == ["", "all phases\nweight %", "NCA\na (Å)", "NCA\nc (Å)"]


def series_beamtime(tmp_path, row=None, **series):
    """The first subset taken for a line, with clock and log."""
    path = write_beamtime(tmp_path, fit={"preset": "lixc-4"}, series={"table": "s.tsv"} | series)
    with h5py.File(tmp_path / "raw" / "cell1_4p2V_s1.h5", "a") as file:
        file["1.1/measurement/epoch"] = STARTED.timestamp() + np.arange(N_PROJECTIONS * N_POSITIONS)
    write_mpt(tmp_path / "raw" / "log.mpt", *cycled())
    own = {"series": "line", "file": "cell1_4p2V_s1.h5", "dataset": "/1.1/measurement/pilatus", "log": "log.mpt"}
    size = {"n_repeats": N_PROJECTIONS, "n_positions": N_POSITIONS, "step_mm": 0.03}
    write_table(tmp_path / "s.tsv", own | size | (row or {}))
    return path


def test_a_record_has_what_makes_a_series_again_and_names_another_log(tmp_path):
    settings = config.load(series_beamtime(tmp_path))
    settings = settings.model_copy(update={"raw": settings.raw.model_copy(update={"root": str(tmp_path / "raw")})})
    rows = read_series(tmp_path / "s.tsv")
    record = record_run(settings, [], series=rows, results=tmp_path / "results", benchmarks=tmp_path / "benchmarks")
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "run.json").write_text(json.dumps(record))
    run = read_run(tmp_path / "results")
    again = prepare(run, tmp_path / "again", tmp_path / "raw")
    assert read_series(again.parent / config.load(again).series.table) == rows
    assert changed_raw_files(run, tmp_path / "raw") == []
    (tmp_path / "raw" / "log.mpt").write_text("another")
    (problem,) = changed_raw_files(run, tmp_path / "raw")
    assert "log.mpt: is not the file that was used" in problem


def about_series(path):
    """Problems that the series have; the range of the preset is another matter."""
    return [problem for problem in check_beamtime(path).problems if "s.tsv" in problem]


def test_a_good_series_has_no_problems_and_is_counted(tmp_path):
    path = series_beamtime(tmp_path)
    assert about_series(path) == []
    assert check_beamtime(path).summary().endswith(", 1 series")


@pytest.mark.parametrize(
    ("row", "series", "part"),
    [
        ({"n_repeats": 5}, {}, "holds 24 frames, but n_repeats × n_positions = 5 × 8"),
        ({"file": "gone.h5"}, {}, "gone.h5: no such file"),
        ({"log": "gone.mpt"}, {}, "gone.mpt: cannot be read"),
        ({}, {"epoch": "clock"}, "clock"),
        ({}, {"offset_s": 36_000}, "all 24 measurements lie outside the cycler's log"),
        ({}, {"zone": "Asia/Tokyo"}, "+2.00 h away: set the offset between the clocks"),
    ],
)
def test_check_names_what_is_wrong_with_a_series(tmp_path, row, series, part):
    (problem,) = about_series(series_beamtime(tmp_path, row, **series))
    assert "s.tsv: line 2 (series line): " in problem
    assert part in problem
