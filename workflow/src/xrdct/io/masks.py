"""Masks of regions as images: what the viewer writes and a user's own program may draw. Row 0 is the largest y."""

from pathlib import Path

import numpy as np
from skimage.io import imread

from ..errors import ConfigError


def read_mask(path: str | Path) -> np.ndarray:
    """A mask (y, x): true where the image (NPY, TIFF or PNG) is not 0.

    Raises
    ------
    ConfigError
        If there is no such image, or it is not one of a single channel.
    """
    path = Path(path)
    if not path.is_file():
        raise ConfigError(f"{path}: no such mask; the configuration names it (beamtime.regions or absorption.extra)")
    image = np.load(path, allow_pickle=False) if path.suffix == ".npy" else imread(path)
    if image.ndim != 2:
        raise ConfigError(f"{path}: a mask has one value per pixel, found shape {image.shape}")
    return image != 0


def write_mask(mask: np.ndarray, path: str | Path) -> None:
    """Write a mask (y, x) as NPY."""
    np.save(path, np.asarray(mask, dtype=bool), allow_pickle=False)
