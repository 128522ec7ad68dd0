"""Real files that more than one test of the library reads."""

import h5py
import numpy as np
import pytest


@pytest.fixture(scope="session")
def tooth(real_data) -> tuple[np.ndarray, np.ndarray]:
    """Line integrals of attenuation, shape (181, 640), of the first row of the APS tooth, and its angles in degrees."""
    with h5py.File(real_data / "tomopy_tooth" / "tooth.h5") as file:
        group = file["exchange"]
        data, flat, dark = (group[name][:, 0].astype(float) for name in ("data", "data_white", "data_dark"))
        angles = group["theta"][...]
    dark, flat = dark.mean(axis=0), flat.mean(axis=0)
    return -np.log((data - dark) / (flat - dark)), angles
