"""Two raw frames of a battery on a Pilatus CdTe 2M: gaps, bad pixels and hot ones do not reach the pattern.

The frames hold −1 (gaps), −2 (bad pixels), grains that saturate single pixels (up to 339,797 counts where a ring has
some hundred), and the beamstop. The geometry that belongs to them is not known: the centre was read off the rings
(least scatter of log counts around their mean at each radius, ± 1 px), the distance is made up. It scales q and no
more.
"""

from itertools import pairwise

import numpy as np
import pytest
from pyFAI.integrator.azimuthal import AzimuthalIntegrator

from xrdct.integration import Integrator
from xrdct.io.frames import open_frames
from xrdct.units import wavelength_from_energy

pytestmark = pytest.mark.real_data

CENTRE, PIXEL, DISTANCE = (1577.5, 746.1), 172e-6, 0.25
Q = {"q_min": 1.0, "q_max": 11.0, "n_bins": 700}
POLARIZATION = 0.95
HOT = 2000
"""Counts that no ring reaches outside the beamstop: the rings end at about 1000, the grains are far above."""


@pytest.fixture(scope="module")
def frames(real_data):
    with open_frames(real_data / "danmax_raw_pilatus" / "scan-0002_pilatus.h5") as source:
        return source.read(0, 2)


@pytest.fixture(scope="module")
def geometry():
    poni = {f"poni{axis}": PIXEL * centre for axis, centre in enumerate(CENTRE, 1)}
    wavelength = 1e-10 * wavelength_from_energy(35.0)
    return AzimuthalIntegrator(dist=DISTANCE, **poni, detector="Pilatus CdTe 2M", wavelength=wavelength)


@pytest.fixture(scope="module")
def integrator(geometry, frames):
    """Without a mask: what the frames mark must be enough."""
    gaps = (frames < 0).all(axis=0)
    return Integrator(geometry, np.zeros(gaps.shape, bool), **Q, polarization=POLARIZATION, trim=0.20, gaps=gaps)


@pytest.fixture(scope="module")
def patterns(frames, integrator):
    return integrator(frames)


@pytest.fixture(scope="module")
def rings(geometry):
    """Bin of every pixel (−1: none), from the pixel's place alone, and its weight; flat."""
    rows, columns = np.indices((1679, 1475)) + 0.5
    radius = PIXEL * np.hypot(rows - CENTRE[0], columns - CENTRE[1]).ravel()
    q = 4 * np.pi / wavelength_from_energy(35.0) * np.sin(np.arctan(radius / DISTANCE) / 2)
    number = np.floor((q - Q["q_min"]) / (Q["q_max"] - Q["q_min"]) * Q["n_bins"]).astype(int)
    weight = geometry.solidAngleArray((1679, 1475)) * geometry.polarization((1679, 1475), POLARIZATION)
    return np.where((number >= 0) & (number < Q["n_bins"]), number, -1), weight.ravel()


def per_ring(frame, rings, reduce):
    """`reduce` of the corrected counts of the valid pixels of every ring, in plain numpy."""
    number, weight = rings
    use = (number >= 0) & (frame.ravel() >= 0)
    order = np.argsort(number[use], kind="stable")
    values = (frame.ravel() / weight)[use][order]
    starts = np.searchsorted(number[use][order], np.arange(Q["n_bins"] + 1))
    return np.array([reduce(values[a:b]) for a, b in pairwise(starts)])


def between_percentiles(values):
    low, high = np.percentile(values, [10, 90])
    return values[(values >= low) & (values <= high)].mean()


def test_the_frames_hold_what_must_not_reach_the_pattern(frames, rings):
    """Else the tests below would prove nothing."""
    inside = (rings[0] >= 0).reshape(frames.shape[1:])
    for frame in frames:
        assert {-2, -1} <= set(np.unique(frame[inside]))
        assert (frame[inside] > HOT).sum() > 10
    assert frames[0][inside].max() == 339797


def test_the_pattern_is_the_rings_mean_between_percentiles(frames, patterns, rings):
    for frame, intensity in zip(frames, patterns.intensity, strict=True):
        reference = per_ring(frame, rings, between_percentiles)
        difference = np.abs(intensity / reference - 1)
        # The reference cuts at equal counts of pixels, the pattern at equal weights (they vary along a ring with the
        # polarisation), and some pixels at the edges of bins are on the other side.
        assert np.median(difference) < 0.002
        assert difference.max() < 0.02


def test_hot_pixels_stay_out_of_the_pattern_and_appear_as_spottiness(frames, patterns, rings):
    for frame, intensity, spottiness in zip(frames, patterns.intensity, patterns.spottiness, strict=True):
        # The 99.9 percentile of the valid pixels is 534 counts in the brighter frame.
        assert intensity.max() < HOT < frame.max() / 50
        medians = per_ring(frame, rings, np.median)
        assert (intensity < 1.5 * medians).all()
        assert (intensity > 0.7 * medians).all()
        with_grains = intensity + spottiness
        assert (with_grains / medians).max() > 2


@pytest.mark.parametrize("value", [2**30, HOT + 1])
def test_how_hot_a_pixel_is_makes_no_difference(frames, integrator, patterns, value):
    changed = integrator(np.where(frames > HOT, np.int32(value), frames))
    np.testing.assert_array_equal(changed.intensity, patterns.intensity)


def test_what_an_invalid_pixel_holds_makes_no_difference(frames, integrator, patterns):
    changed = integrator(np.where(frames < 0, np.int32(-100000), frames))
    np.testing.assert_array_equal(changed.intensity, patterns.intensity)
    np.testing.assert_array_equal(changed.kept, patterns.kept)


def test_a_mask_of_the_invalid_pixels_changes_nothing(frames, geometry, patterns):
    mask = (frames < 0).any(axis=0)
    assert (mask == (frames < 0).all(axis=0)).all()
    masked = Integrator(geometry, mask, **Q, polarization=POLARIZATION, trim=0.20)(frames)
    # The same pixels in the same order; the sums may be taken in other blocks: float32 at the end.
    np.testing.assert_allclose(masked.intensity, patterns.intensity, rtol=1e-6)


def test_masking_the_hot_pixels_hardly_changes_the_trimmed_pattern(frames, geometry, patterns, rings):
    hot = (frames > HOT).any(axis=0)
    gaps = (frames < 0).all(axis=0)
    masked = Integrator(geometry, hot, **Q, polarization=POLARIZATION, trim=0.20, gaps=gaps)(frames)
    number = rings[0]
    share = np.bincount(number[hot.ravel() & (number >= 0)], minlength=Q["n_bins"]) / (patterns.kept[0] / 0.8)
    for frame, before, after in zip(frames, patterns.intensity, masked.intensity, strict=True):
        # A share of the pixels gone from one tail moves both cuts by less than that share of the pixels, and each of
        # these moves the mean of the 80 % inside by less than the distance of the cuts. A fifth: cuts at whole pixels.
        distance = per_ring(frame, rings, lambda values: np.subtract(*np.percentile(values, [90, 10])))
        assert (np.abs(after - before) <= 1.2 * share / 0.8 * distance + 1e-5 * before).all()
        assert np.abs(after / before - 1).max() < 0.02
    before, after = (p.intensity + p.spottiness for p in (patterns, masked))
    assert np.abs(after / before - 1).max() > 0.5, "the plain mean, in contrast, is made of them"


def test_both_frames_show_the_same_rings(patterns):
    """The second has less than half the counts; noise or a hot pixel would be its own."""
    first, second = patterns.intensity
    outside = slice(100, None)  # clear of the beamstop's shadow
    assert np.corrcoef(first[outside], second[outside])[0, 1] > 0.999
