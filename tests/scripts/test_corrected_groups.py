"""What is written after the correction: groups of pixels like the whole."""

import numpy as np
import pytest
import xarray as xr

from correct_absorption import corrected_dataset, to_measured
from xrdct.absorption.chain import Attenuated, divide
from xrdct.absorption.first_order import full_ring
from xrdct.absorption.iteration import Settled

SHAPE = (3, 5, 4)
"""angles, positions, q."""


@pytest.fixture
def transmitted():
    return np.random.default_rng(1).uniform(0.3, 1.0, SHAPE[:2])


def sinogram_of(groups, transmitted):
    """A sinogram of groups of pixels behind a sample; its air was subtracted in full."""
    rng = np.random.default_rng(2)
    air = rng.uniform(1, 2, (SHAPE[0], SHAPE[2]))
    seen = transmitted[..., None, None] * groups - (1 - transmitted[..., None, None]) * air[:, None, None]
    dims, units = ("angle", "position", "q"), {"units": "counts"}
    return xr.Dataset(
        {
            "intensity": (dims, seen.mean(axis=2).astype("f4"), units),
            "variance": (dims, np.ones(SHAPE, "f4"), {"units": "counts^2"}),
            "group_intensity": ((*dims[:2], "group", "q"), seen.astype("f4"), units),
            "air": (("angle", "q"), air.astype("f4"), units),
            "offset": ("angle", np.zeros(SHAPE[0]), {"units": "pixel"}),
        },
        coords={"angle": np.arange(3.0), "position": np.arange(5.0), "q": np.arange(4.0)},
        attrs={"cor": 2.0, "cor_units": "pixel", "step_mm": 0.1},
    )


def corrected(sinogram, transmitted, ratio=None):
    """What is written of a sinogram that was divided by a transmission, and by a ratio."""
    measured = to_measured(sinogram, lambda two_theta: full_ring())
    divided = divide(measured, transmitted, 0.02)
    settled = Settled(None, None, divided if ratio is None else divided.divided(ratio), None, (), True)
    return corrected_dataset(sinogram, measured, Attenuated(settled, None, None, None, transmitted, ratio), least=0.02)


@pytest.mark.parametrize("ratio", [None, np.random.default_rng(4).uniform(0.9, 1.1, SHAPE)])
def test_groups_of_pixels_are_corrected_as_the_whole_is(transmitted, ratio):
    """Denoising reconstructs the groups and nothing else: uncorrected, they would bring the absorption back."""
    true = np.random.default_rng(3).uniform(5, 9, (*SHAPE[:2], 2, SHAPE[2]))
    sinogram = sinogram_of(true, transmitted)
    found = corrected(sinogram, transmitted, ratio)
    expected = true if ratio is None else true / ratio[:, :, None]
    # float32 has seven digits, of which the division by 0.3 leaves six.
    np.testing.assert_allclose(found.group_intensity.values, expected, rtol=1e-5)
    np.testing.assert_allclose(found.intensity.values, expected.mean(axis=2), rtol=1e-5)
    assert found.group_intensity.dims == sinogram.group_intensity.dims


def test_a_sinogram_without_groups_stays_without(transmitted):
    sinogram = sinogram_of(np.ones((*SHAPE[:2], 2, SHAPE[2])), transmitted).drop_vars("group_intensity")
    found = corrected(sinogram, transmitted)
    assert "group_intensity" not in found
    np.testing.assert_allclose(found.intensity.values, 1, rtol=1e-5)
