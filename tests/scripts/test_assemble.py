"""patterns.zarr of two interlaced subsets to sinogram.zarr, with and without recorded positions."""

import numpy as np
import pytest

import assemble
from support_stores import STEP, patterns_of, truth_sinogram, write_patterns
from xrdct.errors import RawDataError
from xrdct.io.store import read_store

SETTINGS = {"air_positions": 2, "cor": None, "cor_q": None, "max_bad_share": 0.05}


def rows(zigzag="yes"):
    return [
        {"angle_start_deg": 0.0, "angle_step_deg": 4.5, "step_mm": STEP, "zigzag": zigzag},
        {"angle_start_deg": 2.25, "angle_step_deg": 4.5, "step_mm": STEP, "zigzag": zigzag},
    ]


def run(tmp_path, datasets, **changed):
    stores, manifests = zip(*[write_patterns(d, tmp_path, f"p{k}") for k, d in enumerate(datasets)], strict=True)
    assemble.main(
        stores,
        manifests,
        tmp_path / "sinogram.zarr",
        tmp_path / "sinogram.json",
        **({"subsets": rows(), "settings": SETTINGS} | changed),
    )
    return read_store(tmp_path / "sinogram.zarr", "sinogram")


@pytest.mark.parametrize("recorded", [True, False])
def test_two_zigzag_subsets_give_the_sinogram_that_was_measured(tmp_path, recorded):
    found = run(tmp_path, [patterns_of(k, recorded=recorded) for k in (0, 1)])
    np.testing.assert_allclose(found.angle, np.arange(80) * 2.25)
    expected = truth_sinogram()
    # float32 rounding of counts near 1000, after the monitor's factor and the air.
    np.testing.assert_allclose(found.intensity.values, expected, atol=2e-3)
    assert found.attrs["cor"] == pytest.approx(20.6, abs=0.05)
    assert found.position.values[0] == pytest.approx(-found.attrs["cor"] * STEP)


def test_the_centre_can_be_given(tmp_path):
    found = run(tmp_path, [patterns_of(0), patterns_of(1)], settings=SETTINGS | {"cor": 19.25})
    assert found.attrs["cor"] == 19.25


def test_one_missing_position_among_recorded_ones_is_named(tmp_path):
    broken = patterns_of(1)
    broken.translation[3, 5] = np.nan
    with pytest.raises(RawDataError, match=r"p1\.zarr: 1 of \d+ values of raw\.translation .*line 3, point 5"):
        run(tmp_path, [patterns_of(0), broken])
    assert not (tmp_path / "sinogram.zarr").exists()


def test_a_bad_frame_is_filled_and_marked(tmp_path):
    broken = patterns_of(0)
    broken.intensity[4, 10] = np.nan
    broken.valid[4, 10] = False
    found = run(tmp_path, [broken, patterns_of(1)])
    line, point = 8, 10  # line 4 of subset 1 is angle 8 of the merged scan; even lines run forwards
    assert np.argwhere(found.repaired.values).tolist() == [[line, point]]
    # Linear interpolation in a smooth sinogram: within a few percent of the strongest value.
    error = np.abs(found.intensity.values[line, point] - truth_sinogram()[line, point]).max()
    assert error < 0.05 * truth_sinogram().max()
