"""patterns.zarr of two interlaced subsets to sinogram.zarr, with and without recorded positions."""

import json

import numpy as np
import pytest

import assemble
from support_stores import STEP, patterns_of, truth_sinogram, write_patterns
from xrdct.config import Assemble
from xrdct.errors import RawDataError
from xrdct.io.store import read_store

SETTINGS = Assemble().model_dump(mode="json")


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
        tmp_path / "quality.json",
        **({"subsets": rows(), "settings": SETTINGS} | changed),
    )
    return read_store(tmp_path / "sinogram.zarr", "sinogram")


@pytest.mark.parametrize("recorded", [True, False])
def test_two_zigzag_subsets_give_the_sinogram_that_was_measured(tmp_path, recorded):
    found = run(tmp_path, [patterns_of(k, recorded=recorded) for k in (0, 1)])
    np.testing.assert_allclose(found.angle, np.arange(80) * 2.25)
    expected = truth_sinogram()
    # The factor between the subsets is found to 1e-5 of 800 counts.
    np.testing.assert_allclose(found.intensity.values, expected, atol=1e-2)
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


def test_a_bad_frame_is_filled_marked_and_told(tmp_path, caplog):
    broken = patterns_of(0)
    broken.intensity[4, 10] = np.nan
    broken.valid[4, 10] = False
    found = run(tmp_path, [broken, patterns_of(1)])
    line, point = 8, 10  # line 4 of subset 1 is angle 8 of the merged scan; even lines run forwards
    assert np.argwhere(found.repaired.values).tolist() == [[line, point]]
    # Linear interpolation in a smooth sinogram: within a few percent of the strongest value.
    error = np.abs(found.intensity.values[line, point] - truth_sinogram()[line, point]).max()
    assert error < 0.05 * truth_sinogram().max()
    assert "1 of 3360 frames are bad" in caplog.text


def test_a_line_without_beam_is_taken_from_its_neighbours_though_the_monitor_went_on(tmp_path):
    broken = patterns_of(0)
    broken.intensity[4] = 0
    found = run(tmp_path, [broken, patterns_of(1)])
    assert np.flatnonzero(found.repaired.values.all(axis=1)).tolist() == [8]
    assert found.repaired.values.sum() == 42
    # Linear interpolation over 4.5°, in which the blob moves by half of its width at most.
    assert np.abs(found.intensity.values - truth_sinogram()).max() < 0.1 * truth_sinogram().max()
    assert found.attrs["cor"] == pytest.approx(20.6, abs=0.05)


def test_channels_that_no_frame_sees_stay_nan_and_disturb_nothing(tmp_path, caplog):
    datasets = [patterns_of(k) for k in (0, 1)]
    for data in datasets:
        data.intensity[..., 1], data.sem[..., 1] = np.nan, np.nan
    found = run(tmp_path, datasets)
    assert np.isnan(found.intensity.values[..., 1]).all()
    np.testing.assert_allclose(found.intensity.values[..., ::2], truth_sinogram()[..., ::2], atol=1e-2)  # as above
    assert not found.repaired.any()
    assert "1 of 3 q bins are NaN in every frame" in caplog.text


@pytest.mark.parametrize(
    ("reading", "message"),
    [
        (np.nan, r"p1\.zarr: no monitor reading above 0, other subsets have one; .*raw\.monitor"),
        (1e6, r"the monitor reads 1e\+06 on average in .*p1\.zarr and 1 in .*p0\.zarr: .*another gain"),
    ],
)
def test_a_subset_with_another_monitor_than_the_others_is_named(tmp_path, reading, message):
    other = patterns_of(1)
    other["monitor"] = other.monitor * reading
    with pytest.raises(RawDataError, match=message):
        run(tmp_path, [patterns_of(0), other])


def test_a_few_lines_are_assembled_where_the_centre_is_given_and_nothing_else_asked(tmp_path):
    few = patterns_of(0).isel(line=slice(0, 3))
    found = run(tmp_path, [few], subsets=rows()[:1], settings=SETTINGS | {"cor": 20.6, "align": False})
    assert found.attrs["cor"] == 20.6
    expected = truth_sinogram()[:6:2] * few.monitor.values.mean()  # counts at the mean monitor
    np.testing.assert_allclose(found.intensity.values, expected, atol=1e-2)  # as above


def test_zigzag_is_seen_in_the_frames_where_nobody_says(tmp_path):
    found = run(tmp_path, [patterns_of(k, recorded=False) for k in (0, 1)], subsets=rows(zigzag="auto"))
    np.testing.assert_allclose(found.intensity.values, truth_sinogram(), atol=1e-2)  # as above
    assert (found.direction.values == np.where(np.arange(80) // 2 % 2, -1, 1)).all()


def test_a_mirrored_scan_is_the_same_scan_seen_from_the_other_end(tmp_path):
    settings = SETTINGS | {"mirrored": True}
    found = run(tmp_path, [patterns_of(k) for k in (0, 1)], settings=settings)
    np.testing.assert_allclose(found.intensity.values, truth_sinogram()[:, ::-1], atol=1e-2)  # as above
    assert found.attrs["cor"] == pytest.approx(41 - 20.6, abs=0.05)


def test_play_drift_and_intensity_are_found_undone_and_told(tmp_path):
    second = patterns_of(1)
    second["intensity"] = second.intensity * np.float32(1.04)
    found = run(tmp_path, [patterns_of(0), second])
    # The air of ten counts was brighter too, and is subtracted before: the factor is exactly the planted one.
    np.testing.assert_allclose(found.intensity.values, truth_sinogram() * 1.04**0.5, rtol=2e-3, atol=2e-2)
    sheet = json.loads((tmp_path / "quality.json").read_text())
    assert [s["factor"]["value"] for s in sheet["subsets"]] == pytest.approx([1.04**-0.5, 1.04**0.5], rel=1e-3)
    assert sheet["backlash"]["value"] == pytest.approx(0, abs=0.01)
    assert sheet["zigzag"]
    assert np.abs(found.offset).max() < 0.01


def test_a_subset_of_another_sample_is_refused_by_name(tmp_path):
    other = patterns_of(1)
    other["intensity"] = other.intensity[:, ::-1]  # the mirrored sample
    with pytest.raises(RawDataError, match=r"subset 1, 2 does not belong to this scan"):
        run(tmp_path, [patterns_of(0), other])
    assert not (tmp_path / "sinogram.zarr").exists()


def shadow():
    """Transmission of the blob, shape (angle, position): half of the beam is lost in its middle."""
    return np.exp(-0.7 * truth_sinogram()[..., 0] / truth_sinogram()[..., 0].max())


def test_where_the_direct_beam_was_recorded_only_the_air_that_arrived_is_subtracted(tmp_path):
    datasets = []
    for k in (0, 1):
        data = patterns_of(k)
        order = np.rint((data.translation.values + 3.0) / STEP).astype(int)
        arrived = shadow()[k::2][np.arange(order.shape[0])[:, None], order]
        # The air of 10 counts at full monitor is in the beam that the sample weakens.
        data["intensity"] = data.intensity - (10 * (1 - arrived) * data.monitor.values)[..., None].astype(np.float32)
        data["transmitted"] = (("line", "point"), 7e4 * arrived * data.monitor.values, {"units": "arbitrary"})
        datasets.append(data)
    found = run(tmp_path, datasets)
    np.testing.assert_allclose(found.transmission.values, shadow(), atol=1e-6)  # float32
    np.testing.assert_allclose(found.intensity.values, truth_sinogram(), atol=1e-2)  # as above
    without = run(tmp_path, [data.drop_vars("transmitted") for data in datasets])
    assert "transmission" not in without
    assert np.abs(without.intensity.values - truth_sinogram()).max() > 3


def with_groups(k, bad=None):
    """Patterns of two groups of pixels, one 10 % brighter than the other, whose mean is the whole."""
    data = patterns_of(k)
    values = np.stack([0.95 * data.intensity.values, 1.05 * data.intensity.values], axis=2)
    if bad:
        values[bad], data.intensity[bad], data.valid[bad] = np.nan, np.nan, False
    data["group_intensity"] = (("line", "point", "group", "q"), values, {"units": "counts"})
    return data


def test_groups_of_pixels_are_treated_as_the_whole_is(tmp_path):
    found = run(tmp_path, [with_groups(0, bad=(4, 10)), with_groups(1)])
    assert found.group_intensity.dims == ("angle", "position", "group", "q")
    for k, share in enumerate((0.95, 1.05)):
        np.testing.assert_allclose(found.group_intensity.values[:, :, k], share * found.intensity.values, atol=1e-2)


def test_the_noise_of_a_group_is_that_of_its_share_of_the_pixels(tmp_path, caplog):
    """Four groups with a quarter of the counts each: their air has one shape, as that of the whole has."""
    rng, datasets = np.random.default_rng(0), []
    for k in (0, 1):
        data = patterns_of(k)
        counts = rng.poisson(np.repeat(data.intensity.values[:, :, None] / 4, 4, axis=2))
        data["group_intensity"] = (("line", "point", "group", "q"), (4 * counts).astype("f4"), {"units": "counts"})
        data["intensity"] = (data.intensity.dims, counts.sum(axis=2).astype("f4"), {"units": "counts"})
        datasets.append(data)
    with caplog.at_level("INFO"):
        run(tmp_path, datasets, settings=SETTINGS | {"air_positions": 4})
    assert caplog.text.count("air: one shape for all projections") == 5
    assert "each projection has its own shape" not in caplog.text


def test_no_count_of_one_group_reaches_another(tmp_path):
    first = run(tmp_path, [with_groups(0), with_groups(1)])
    changed = [with_groups(0), with_groups(1)]
    for data in changed:
        data.group_intensity[:, :, 1] += 3.0  # in the sample and in its air alike
    second = run(tmp_path, changed)
    np.testing.assert_array_equal(first.group_intensity.values[:, :, 0], second.group_intensity.values[:, :, 0])
