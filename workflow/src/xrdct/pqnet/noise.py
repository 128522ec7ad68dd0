"""Noise: what counting makes of clean patterns, and one number that says how much of it a pattern has.

The *level* of a pattern is its effective counts per bin, mean² / mean variance: the mean counts where noise is Poisson,
and free of units where it is not, as after reconstruction.
"""

import numpy as np
import torch

POISSON, RECONSTRUCTED = "poisson", "reconstructed"
"""Kinds of noise. poisson: a pattern of counts. reconstructed: a voxel, as noisy in every bin as the whole scan is there,
whatever stands in the voxel itself."""
SCAN = 4
"""Other patterns that stand for the rest of the scan."""
LEAST = 1e-3
"""Effective counts per bin below which nothing is told apart."""


def add_noise(
    clean: torch.Tensor, dose: torch.Tensor, *, kind: str, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Patterns with noise, and their level.

    Parameters
    ----------
    clean
        Shape (n_patterns, n_bins), heights of a full phase, in an order without meaning.
    dose
        Counts at that height, shape (n_patterns,).
    kind
        `POISSON` or `RECONSTRUCTED`.

    Returns
    -------
    torch.Tensor
        Counts, shape (n_patterns, n_bins).
    torch.Tensor
        Level, shape (n_patterns,).
    """
    counts = clean * dose[:, None]
    if kind == POISSON:
        noisy = torch.poisson(counts, generator=generator)
        return noisy, noisy.mean(1).clamp_min(LEAST)
    variance = channel_variance(clean) * dose[:, None]
    normal = torch.randn(counts.shape, generator=generator, device=counts.device)
    noisy = counts + variance.sqrt() * normal
    return noisy, level_of(noisy, variance)


def channel_variance(clean: torch.Tensor) -> torch.Tensor:
    """Variance of reconstructed voxels at dose 1: the mean of a few other patterns, same shape."""
    return sum(clean.roll(1 + 7 * k, dims=0) for k in range(SCAN)) / SCAN


def level_of(patterns: torch.Tensor, variance: torch.Tensor) -> torch.Tensor:
    """Effective counts per bin, shape (n_patterns,); the variance has the shape of the patterns or of one."""
    mean = patterns.mean(1).clamp_min(0)
    return (mean**2 / variance.mean(-1).clamp_min(1e-30)).clamp_min(LEAST)


def draw_doses(n: int, limits: tuple[float, float], generator: torch.Generator) -> torch.Tensor:
    """Doses, uniform in their logarithm, shape (n,)."""
    low, high = np.log(limits)
    device = generator.device
    return torch.exp(low + (high - low) * torch.rand(n, generator=generator, device=device))
