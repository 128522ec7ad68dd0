"""Noise: what counting makes of clean patterns, and one number that says how much of it a pattern has.

The *level* of a pattern is its effective counts per bin, the mean of signal² / variance: the mean counts where noise is
Poisson, and free of units where it is not, as after reconstruction.
"""

import numpy as np
import torch

POISSON, RECONSTRUCTED = "poisson", "reconstructed"
"""Kinds of noise. poisson: a pattern of counts. reconstructed: a voxel, as noisy in every bin as the whole scan is
there, whatever stands in the voxel itself."""
SCAN = 4
"""Other patterns that stand for the rest of the scan."""
SPOTTY = 0.3
"""Grains that flare up add noise in proportion to the signal: a share of it, up to this, beside that of counting."""
LEAST = 1e-3
"""Effective counts per bin below which nothing is told apart."""


def add_noise(
    clean: torch.Tensor, dose: torch.Tensor, *, kind: str, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Patterns with noise, their level, and the variance that is known of them.

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
    torch.Tensor
        Variance, the shape of the counts; with Poisson noise the counts themselves.
    """
    counts = clean * dose[:, None]
    if kind == POISSON:
        noisy = torch.poisson(counts, generator=generator)
        return noisy, counted_level(noisy), noisy
    variance = channel_variance(counts, generator)
    normal = torch.randn(counts.shape, generator=generator, device=counts.device)
    noisy = counts + variance.sqrt() * normal
    return noisy, level_of(noisy, variance), variance


def channel_variance(counts: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Variance of reconstructed voxels, from the mean of a few other patterns, same shape as the counts."""
    # All other voxels as bright as this one: rolled patterns are brought to its sum.
    total = counts.sum(1, keepdim=True)
    scan = sum(counts.roll(1 + 7 * k, dims=0) for k in range(SCAN))
    scan = scan * (total / scan.sum(1, keepdim=True))
    spotty = SPOTTY * torch.rand(len(counts), 1, generator=generator, device=counts.device)
    return scan + (spotty * scan) ** 2


def counted_level(counts: torch.Tensor) -> torch.Tensor:
    """Level of Poisson counts, shape (n_patterns,)."""
    return counts.mean(1).clamp_min(LEAST)


def level_of(patterns: torch.Tensor, variance: torch.Tensor) -> torch.Tensor:
    """Level of patterns of known variance (that of the patterns, or one for all), shape (n_patterns,)."""
    # Noise alone has a mean square of one variance.
    return ((patterns**2 / variance.clamp_min(1e-30)).mean(1) - 1).clamp_min(LEAST)


def draw_doses(n: int, limits: tuple[float, float], generator: torch.Generator) -> torch.Tensor:
    """Doses, uniform in their logarithm, shape (n,)."""
    low, high = np.log(limits)
    device = generator.device
    return torch.exp(low + (high - low) * torch.rand(n, generator=generator, device=device))
