"""The chain from patterns to projections in bands of neighbouring bins, so that no image holds the whole pattern."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ..fit.model import PatternModel
from ..reconstruction.parallax import touched
from ..reconstruction.tilted import TiltedBeam
from .banded import Banded

BLOCK = 4096
"""Voxels whose patterns or derivatives are computed at a time."""
IMAGE = 5e8
"""Bytes of an image of one band: a band has as many bins of ln tan 2θ as fit."""


@dataclass(frozen=True, eq=False)
class Band:
    """Some bins of the data, and of the model what can be seen in them from any depth."""

    channels: slice
    """Among the bins of the data that are used."""
    model: PatternModel
    """On the fine bins of q that the band needs; those of neighbouring bands overlap."""
    own: slice
    """Of these fine bins those that no other band counts as its own."""
    there: Banded
    """From fine bins of q to bins of Y, shape (n_fine, n_bins + 2 padding)."""
    back: Banded
    """From bins of Y of a projection to the channels, shape (n_bins, n_channels)."""

    def project(self, beam: TiltedBeam, places: np.ndarray, patterns: Iterable[tuple[slice, np.ndarray]]) -> np.ndarray:
        """Sinogram of the channels, (angle, position, channel), of patterns given by parts of the voxels.

        Parameters
        ----------
        places
            Of the voxels in the flattened map, shape (n_voxels,).
        patterns
            Slices of the voxels and their patterns, shape (n, n_fine).
        """
        image = beam.constant_image(0, self.back.shape[0])
        flat = image.reshape(-1, image.shape[2])
        for part, values in patterns:
            flat[places[part]] = self.there.of(values.astype(np.float32, copy=False))
        return self.back.of(beam @ image)

    def pull(self, beam: TiltedBeam, places: np.ndarray, sinogram: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
        """The transpose: parts of the voxels, and what the channels say about their patterns, (n, n_fine)."""
        image = beam.T @ self.back.transposed(sinogram[..., self.channels])
        flat = image.reshape(-1, image.shape[2])
        for part in parts(len(places)):
            yield part, self.there.transposed(flat[places[part]])


def parts(n: int) -> Iterator[slice]:
    """Slices of at most `BLOCK` that cover n voxels."""
    return (slice(first, min(first + BLOCK, n)) for first in range(0, n, BLOCK))


def cut_bands(model: PatternModel, there: np.ndarray, back: np.ndarray, padding: int, size: int) -> list[Band]:
    """Bands of about `size` bins of ln tan 2θ.

    Parameters
    ----------
    model
        On all fine bins.
    there
        Fine bins of q to all bins of Y, shape (n_fine, n_bins + 2 padding).
    back
        Bins of Y that are seen from any depth to the channels, shape (n_bins, n_channels).
    padding
        `TiltedBeam.padding`.
    """
    n_bins, n_channels = back.shape
    n_bands = min(n_channels, -(-n_bins // size))
    edges = np.linspace(0, n_channels, n_bands + 1).round().astype(int).tolist()
    channels = [slice(first, end) for first, end in pairwise(edges)]
    seen = [touched(back[:, chosen].T) for chosen in channels]
    wide = [slice(bins.start, bins.stop + 2 * padding) for bins in seen]
    fine = [touched(there[:, bins].T) for bins in wide]
    middles = [(one.stop + other.start) // 2 for one, other in pairwise(fine)]
    limits = [fine[0].start, *middles, fine[-1].stop]
    return [
        Band(
            channels[k],
            model.part(fine[k]),
            slice(limits[k] - fine[k].start, limits[k + 1] - fine[k].start),
            Banded(there[fine[k], wide[k]]),
            Banded(back[seen[k], channels[k]]),
        )
        for k in range(n_bands)
    ]
