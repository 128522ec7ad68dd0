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
    """What a bin's pixels become, before it is moved to the bin's centre (test_bin_centres.py)."""
    mask = np.zeros(SHAPE, bool) if mask is None else mask
    options = AXIS | {"centred": False} | more
    return integration.Integrator(geometry(), mask, trim=trim, polarization=0.95, **options)


def frames(n=1, level=200.0, seed=0):
    rng = np.random.default_rng(seed)
    q = geometry().center_array(SHAPE, unit="q_A^-1")
    return rng.poisson(level * (1 + np.exp(-(((q - 0.7) / 0.05) ** 2))), (n, *SHAPE)).astype(np.int32)


def by_definition(frame, bins, trim, keep=None):
    """Sort by signal/weight, keep a share of each pixel of the cumulated weight: plain numpy, bin by bin."""
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
        share = np.clip((np.minimum(after, 1 - trim / 2) - np.maximum(before, trim / 2)) / (after - before), 0, 1)
        out.append((share * signal).sum() / (share * weight).sum())
    return np.array(out)


@pytest.mark.parametrize("trim", [0.0, 0.2, 0.4])
def test_the_pattern_is_the_trimmed_mean_of_each_bin(trim):
    work = integrator(trim=trim)
    frame = frames()[0]
    # float32 rounding of the result.
    np.testing.assert_allclose(work(frame[None]).intensity[0], by_definition(frame, work.bins, trim), rtol=2e-7)


def test_pyfai_agrees_where_its_whole_pixels_at_the_cuts_let_it():
    work, frame = integrator(), frames()[0]
    outside = np.ones(SHAPE, np.int8)
    outside.ravel()[work.bins.indices] = 0
    theirs = geometry().medfilt1d_ng(
        frame,
        npt=AXIS["n_bins"],
        unit="q_A^-1",
        method=("no", "csr", "cython"),
        mask=outside,
        radial_range=(AXIS["q_min"], AXIS["q_max"]),
        percentile=(10, 90),
        polarization_factor=0.95,
    )
    np.testing.assert_allclose(theirs.radial, work.bins.q, rtol=1e-3)
    # pyFAI drops a pixel that straddles a cut whole: one of ~100 pixels at 1.3 sigma of 7 % noise, 1e-3 of the mean.
    np.testing.assert_allclose(work(frame[None]).intensity[0], theirs.intensity, rtol=5e-3)


def test_the_mean_is_the_trimmed_mean_without_trimming():
    mean = integrator(estimator="mean", trim=0.4)(frames())
    np.testing.assert_array_equal(mean.intensity, integrator(trim=0.0)(frames()).intensity)
    assert np.abs(mean.spottiness / mean.intensity).max() < 1e-6


@pytest.mark.parametrize("estimator", ["trimmed_mean", "mean", "sigma_clip"])
@pytest.mark.parametrize("code", [-1, -2])
def test_pixels_that_one_frame_marks_invalid_count_as_masked(estimator, code):
    frame = frames()[0]
    bad = np.zeros(SHAPE, bool)
    bad[10:20, 30:50] = True
    poisoned = np.where(bad, code, frame)
    found = integrator(estimator=estimator)(poisoned[None])
    expected = integrator(mask=bad, estimator=estimator)(frame[None])
    # The same pixels; pyFAI sums them in float32.
    np.testing.assert_allclose(found.intensity, expected.intensity, rtol=1e-5)
    np.testing.assert_array_equal(found.kept, expected.kept)


def test_sigma_clipping_removes_hot_pixels_and_keeps_the_rest():
    clean = frames()
    hot = clean.copy()
    hot[0].flat[np.random.default_rng(1).choice(clean.size, 40, replace=False)] = 500_000
    work = integrator(estimator="sigma_clip")
    # With the hot pixels gone (under 1 % of each bin) the clipped mean is the same to a fraction of its error.
    np.testing.assert_allclose(work(hot).intensity, work(clean).intensity, rtol=0.01)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32, np.int16, np.int64, np.float32])
def test_the_type_of_the_frames_does_not_matter(dtype):
    frame = np.clip(frames(level=60), 0, 120)
    np.testing.assert_array_equal(integrator()(frame.astype(dtype)).intensity, integrator()(frame).intensity)


def test_saturated_and_nan_pixels_are_invalid():
    frame = frames()[0].astype(np.float32)
    bad = np.zeros(SHAPE, bool)
    bad[20, 30] = bad[25, 36] = True
    poisoned = frame.copy()
    poisoned[20, 30], poisoned[25, 36] = np.nan, 1e6
    np.testing.assert_allclose(
        integrator(saturation=1e6)(poisoned[None]).intensity, integrator(mask=bad)(frame[None]).intensity, rtol=1e-6
    )


def test_pixel_groups_are_patterns_of_the_same_thing_with_independent_noise():
    work = integrator(groups=4)
    done = work(frames(n=200, level=50.0))
    assert done.groups.shape == (200, 4, AXIS["n_bins"])
    centred = done.groups - done.groups.mean(axis=0)
    correlation = np.corrcoef(centred[:, 0].ravel(), centred[:, 1].ravel())[0, 1]
    # 5000 pairs of independent numbers correlate by 1/sqrt(5000) = 0.014.
    assert abs(correlation) < 0.06
    # Four groups have half the precision of the whole each: their mean is within a tenth of a sigma of it.
    np.testing.assert_allclose(done.groups.mean(axis=(0, 1)), done.intensity.mean(axis=0), rtol=0.01)


def test_hot_pixels_leave_the_trimmed_mean_and_show_in_the_spottiness():
    work = integrator()
    clean = frames()
    hot = clean.copy()
    hot[0].flat[np.random.default_rng(1).choice(clean.size, 40, replace=False)] = 500_000
    before, after = work(clean), work(hot)
    # 40 of 4800 pixels fill < 5 % of a bin's pixels: the cut moves by that share, well under the 7 % noise per pixel.
    np.testing.assert_allclose(after.intensity, before.intensity, rtol=0.01)
    assert np.nanmax(after.spottiness) > 100 * np.nanmax(np.abs(before.spottiness))


@pytest.mark.parametrize("trim", [0.0, 0.2, 0.4])
def test_the_standard_error_is_the_scatter_of_repeated_frames(trim):
    done = integrator(trim=trim)(frames(n=300, level=50.0, seed=2))
    scatter = done.intensity.std(axis=0, ddof=1)
    # 300 repeats know a standard deviation to 4 %, the median of 25 bins to 1 %; the bins are not quite flat (the peak
    # crosses some), which the error counts as scatter.
    np.testing.assert_allclose(np.median(done.sem.mean(axis=0) / scatter), 1.0, atol=0.05)


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


def series(stack, work, **options):
    spans = integration.spans_of(0, len(stack), stack[0].nbytes * 3)
    options = {"dtype": stack.dtype} | options
    parts = list(integration.integrate_series(lambda a, b: stack[a:b], spans, work, **options))
    return np.concatenate([part.intensity for part in parts])


@pytest.mark.parametrize("workers", [1, 3])
def test_spans_and_workers_do_not_change_a_bit(workers, monkeypatch):
    stack = frames(n=11)
    monkeypatch.setattr(integration, "BYTES_PER_TASK", stack[0].nbytes * 3 * 2)
    work = integrator()
    np.testing.assert_array_equal(series(stack, work, workers=workers), work(stack).intensity)


def test_a_frame_that_cannot_be_read_is_marked_and_the_rest_goes_on(caplog):
    stack = frames(n=5)

    def read(start, stop):
        if start <= 3 < stop:
            raise RawDataError("frame 3 is damaged")
        return stack[start:stop]

    with caplog.at_level(logging.WARNING):
        parts = list(integration.integrate_series(read, [(0, 2), (2, 5)], integrator(), dtype=stack.dtype))
    valid = np.concatenate([part.valid for part in parts])
    assert valid.tolist() == [True, True, True, False, True]
    assert "frame 3 is damaged; this frame is marked invalid" in caplog.text


@pytest.mark.parametrize("dtype", [np.int32, np.uint32, np.uint16, np.float32])
def test_an_unreadable_frame_is_invalid_in_every_type(dtype):
    def read(start, stop):
        raise RawDataError("gone")

    (part,) = integration.integrate_series(read, [(0, 1)], integrator(), dtype=np.dtype(dtype))
    assert not part.valid.any()


def test_too_many_bad_frames_stop_the_run_and_a_few_are_mentioned(caplog):
    valid = np.arange(10) != 4
    with pytest.raises(RawDataError, match=r"1 of 10 frames .*first: frame 4"):
        integration.check_bad_share(valid, max_bad_share=0.05)
    with caplog.at_level(logging.WARNING):
        integration.check_bad_share(valid, max_bad_share=0.1)
    assert "1 of 10 frames" in caplog.text


def test_the_share_of_bins_with_few_counts_is_told():
    # 3 counts everywhere but under the peak, where 6 stay below ten as well; 200 nowhere.
    assert integration.low_count_share(integrator()(frames(level=3.0)).intensity) == 1.0
    assert integration.low_count_share(integrator()(frames(level=200.0)).intensity) == 0.0
