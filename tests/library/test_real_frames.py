"""Two real frames of a battery go through reading, masking and integration."""

import numpy as np
import pytest
from pyFAI.detectors import detector_factory
from pyFAI.integrator.azimuthal import AzimuthalIntegrator

from xrdct.integration import Integrator
from xrdct.io.frames import open_frames

pytestmark = pytest.mark.real_data


@pytest.fixture(scope="module")
def frames(real_data):
    with open_frames(real_data / "danmax_raw_pilatus" / "scan-0002_pilatus.h5") as source:
        return source.read(0, 2)


@pytest.fixture(scope="module")
def integrator(frames):
    """Distance and centre are not recorded with these frames: any that put the beam near the middle will do here."""
    detector = detector_factory("Pilatus CdTe 2M")
    geometry = AzimuthalIntegrator(dist=0.4, poni1=0.144, poni2=0.127, wavelength=0.3542e-10, detector=detector)
    mask = np.zeros(frames.shape[1:], bool)
    return Integrator(geometry, mask, q_min=0.5, q_max=5.0, n_bins=400, polarization=0.95)


def test_gaps_and_hot_pixels_do_not_reach_the_pattern(frames, integrator):
    assert set(np.unique(frames[frames < 0])) == {-2, -1}
    assert frames.max() == 339_797
    found = integrator(frames)
    assert np.isfinite(found.intensity).all()
    bins = integrator.bins
    for k in range(0, 400, 7):
        ring = frames[0].ravel()[bins.indices[bins.indptr[k] : bins.indptr[k + 1]]]
        good = ring[ring >= 0]
        # A mean of the middle 80 % lies between the 10th and the 90th percentile; weights differ by < 10 % on a ring.
        low, high = np.percentile(good, [10, 90])
        assert 0.9 * low <= found.intensity[0, k] <= high / 0.85
        assert found.kept[0, k] <= good.size


def test_the_hot_pixels_show_in_the_spottiness_instead(frames, integrator):
    found = integrator(frames)
    hottest = int(np.argmax(frames[0]))
    at = np.flatnonzero(integrator.bins.indices == hottest)[0]
    k = int(np.searchsorted(integrator.bins.indptr, at, side="right")) - 1
    n_pixels = integrator.bins.indptr[k + 1] - integrator.bins.indptr[k]
    assert found.spottiness[0, k] > 0.5 * frames[0].max() / n_pixels


def test_masking_what_the_frame_marks_changes_nothing(frames, integrator):
    mask = frames[0] < 0
    detector = detector_factory("Pilatus CdTe 2M")
    geometry = AzimuthalIntegrator(dist=0.4, poni1=0.144, poni2=0.127, wavelength=0.3542e-10, detector=detector)
    masked = Integrator(geometry, mask, q_min=0.5, q_max=5.0, n_bins=400, polarization=0.95)
    np.testing.assert_array_equal(masked(frames[:1]).intensity, integrator(frames[:1]).intensity)
