"""The trimmed mean against its definition, against statistics, and with every kind of bad pixel."""

import logging

import numpy as np
import pytest
from pyFAI.detectors import Detector
from pyFAI.integrator.azimuthal import AzimuthalIntegrator

from xrdct import integration
from xrdct.errors import GeometryError, RawDataError

SHAPE = (60, 80)
AXIS = {"q_min": 0.3, "q_max": 1.2, "n_bins": 25}


def geometry():
    detector = Detector(pixel1=1e-3, pixel2=1e-3, max_shape=SHAPE)
    return AzimuthalIntegrator(dist=0.3, poni1=0.031, poni2=0.022, rot1=0.02, wavelength=0.5e-10, detector=detector)


def integrator(mask=None, trim=0.2, **more):
    mask = np.zeros(SHAPE, bool) if mask is None else mask
    return integration.Integrator(geometry(), mask, trim=trim, polarization=0.95, **(AXIS | more))


def frames(n=1, level=200.0, seed=0):
    rng = np.random.default_rng(seed)
    q = geometry().center_array(SHAPE, unit="q_A^-1")
    return rng.poisson(level * (1 + np.exp(-(((q - 0.7) / 0.05) ** 2))), (n, *SHAPE)).astype(np.int32)


def by_definition(frame, bins, trim, keep=None):
    """Sort by signal/weight, cut the cumulated weight: plain numpy, bin by bin."""
    out = []
    for k in range(bins.q.size):
        part = slice(bins.indptr[k], bins.indptr[k + 1])
        pixels, weight = bins.indices[part], bins.weights[part].astype(float)
        good = np.ones(pixels.size, bool) if keep is None else keep.ravel()[pixels]
        signal, weight = frame.ravel()[pixels][good].astype(float), weight[good]
        order = np.argsort(signal / weight, kind="stable")
        signal, weight = signal[order], weight[order]
        after = np.cumsum(weight) / weight.sum()
        before = after - weight / weight.sum()
        kept = (before >= trim / 2 - 1e-9) & (after <= 1 - trim / 2 + 1e-9)
        out.append(signal[kept].sum() / weight[kept].sum())
    return np.array(out)


def test_the_pattern_is_the_trimmed_mean_of_each_bin():
    work = integrator()
    frame = frames()[0]
    found = work(frame[None]).intensity[0]
    expected = by_definition(frame, work.bins, 0.2)
    # pyFAI puts a pixel at the edge of a bin into the other one now and then (float32): half of the bins must agree
    # to float32 rounding, the others to what one pixel of about a hundred can do.
    assert np.median(np.abs(found / expected - 1)) < 1e-6
    np.testing.assert_allclose(found, expected, rtol=0.01)


def test_without_trimming_it_is_the_weighted_mean_and_spottiness_vanishes():
    work = integrator(trim=0.0)
    done = work(frames())
    # One pixel at a bin edge that pyFAI sorts elsewhere moves a mean of ~100 pixels by < 1 % of the noise's 7 %.
    assert np.abs(done.spottiness / done.intensity).max() < 2e-3


@pytest.mark.parametrize("code", [-1, -2])
def test_pixels_that_one_frame_marks_invalid_do_not_reach_its_pattern(code):
    work = integrator()
    frame = frames()[0]
    bad = np.zeros(SHAPE, bool)
    bad[10:20, 30:50] = True
    poisoned = frame.copy()
    poisoned[bad] = code
    expected = by_definition(frame, work.bins, 0.2, keep=~bad)
    touched = np.unique(work.bins.bin_of[np.isin(work.bins.indices, np.flatnonzero(bad))])
    found = work(poisoned[None]).intensity[0]
    # The bins with such pixels are redone in float64, so they agree to float32 rounding.
    np.testing.assert_allclose(found[touched], expected[touched], rtol=1e-6)


def test_an_invalid_pixel_and_a_masked_pixel_give_the_same_pattern():
    bad = np.zeros(SHAPE, bool)
    bad[::7, ::5] = True
    frame = frames()[0]
    poisoned = np.where(bad, -1, frame)
    # One edge pixel of ~100 more or less per bin (see above).
    np.testing.assert_allclose(
        integrator()(poisoned[None]).intensity, integrator(mask=bad)(frame[None]).intensity, rtol=0.01
    )


@pytest.mark.parametrize("dtype", [np.uint16, np.uint32])
def test_the_largest_value_of_an_unsigned_type_is_invalid(dtype):
    frame = frames()[0].astype(dtype)
    assert not integration.invalid_pixels(frame).any()
    frame[3, 4] = np.iinfo(dtype).max
    assert np.argwhere(integration.invalid_pixels(frame)).tolist() == [[3, 4]]


def test_saturated_and_nan_pixels_are_invalid():
    frame = frames()[0].astype(np.float32)
    frame[1, 2], frame[5, 6] = np.nan, 1e6
    assert np.argwhere(integration.invalid_pixels(frame, saturation=1e6)).tolist() == [[1, 2], [5, 6]]


def test_hot_pixels_leave_the_trimmed_mean_and_show_in_the_spottiness():
    work = integrator()
    clean = frames()
    hot = clean.copy()
    hot[0].flat[np.random.default_rng(1).choice(clean.size, 40, replace=False)] = 500_000
    before, after = work(clean), work(hot)
    # 40 of 4800 pixels fill < 5 % of a bin's pixels: the cut moves by that share, well under the 7 % noise per pixel.
    np.testing.assert_allclose(after.intensity, before.intensity, rtol=0.01)
    assert np.nanmax(after.spottiness) > 100 * np.nanmax(np.abs(before.spottiness))


def test_the_standard_error_is_the_scatter_of_repeated_frames():
    work = integrator()
    done = work(frames(n=300, level=50.0, seed=2))
    scatter = done.intensity.std(axis=0, ddof=1)
    # 300 repeats know a standard deviation to 4 %; the Poisson formula itself is good to 8 % (integration docs).
    np.testing.assert_allclose(np.median(done.sem.mean(axis=0) / scatter), 1.0, atol=0.08)


def test_a_frame_of_invalid_pixels_is_marked_not_invented():
    done = integrator()(np.full((1, *SHAPE), -1, np.int32))
    assert not done.valid[0]
    assert np.isnan(done.intensity).all()


def test_a_frame_of_another_shape_is_refused_with_both_shapes():
    with pytest.raises(GeometryError, match=r"\(80, 60\).*\(60, 80\).*transposed"):
        integrator()(np.zeros((1, 80, 60), np.int32))


def test_a_mask_of_another_shape_or_over_everything_is_refused():
    with pytest.raises(GeometryError, match=r"mask has shape \(10, 10\), the detector \(60, 80\)"):
        integrator(mask=np.zeros((10, 10), bool))
    with pytest.raises(GeometryError, match="mask leaves none of the 4800 pixels"):
        integrator(mask=np.ones(SHAPE, bool))


def test_a_q_range_outside_the_detector_is_refused_with_what_it_sees():
    with pytest.raises(GeometryError, match=r"0\.3–9\.0 1/Å.*sees only 0\.\d+–\d\.\d+ 1/Å"):
        integrator(q_max=9.0)


def test_blocks_do_not_change_the_result():
    stack = frames(n=7)
    work = integrator()
    whole = work(stack)
    blocks = integration.integrate_frames(lambda a, b: stack[a:b], 7, work, block=3)
    np.testing.assert_array_equal(whole.intensity, blocks.intensity)
    np.testing.assert_array_equal(whole.sem, blocks.sem)


def test_too_many_dark_frames_stop_the_run_and_a_few_are_marked(caplog):
    stack = frames(n=10)
    stack[4] = -1
    with pytest.raises(RawDataError, match=r"1 of 10 frames .*first: frame 4"):
        integration.integrate_frames(lambda a, b: stack[a:b], 10, integrator(), max_bad_share=0.05)
    with caplog.at_level(logging.WARNING):
        done = integration.integrate_frames(lambda a, b: stack[a:b], 10, integrator(), max_bad_share=0.1)
    assert (~done.valid).nonzero()[0].tolist() == [4]
    assert "1 of 10 frames" in caplog.text


def test_low_counts_are_warned_of(caplog):
    stack = frames(n=2, level=2.0)
    with caplog.at_level(logging.WARNING):
        integration.integrate_frames(lambda a, b: stack[a:b], 2, integrator())
    assert "fewer than 10 counts per pixel" in caplog.text
