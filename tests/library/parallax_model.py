"""Projections of points with parallax, from where their rays land: shares nothing with the operator under test."""

import numpy as np


def landing(x, y, omega, distance):
    """Translation of a point's ray (mm), and the radius of its ring over that of a ring from the axis.

    Parameters
    ----------
    x, y
        mm, shape (n,).
    omega
        Degrees, shape (n_angles,).

    Returns
    -------
    Two arrays of shape (n_angles, n).
    """
    turned = np.radians(omega)[:, None]
    beam = np.array([-np.sin(turned), np.cos(turned)])  # +y, turned counter-clockwise by omega
    along = np.array([np.cos(turned), np.sin(turned)])  # +x, turned likewise
    downstream = beam[0] * x + beam[1] * y
    tangent = 0.05
    return along[0] * x + along[1] * y, (distance - downstream) * tangent / (distance * tangent)


def line_sinogram(x, y, amounts, omega, positions, channels, *, distance, width, beam, bright=True):
    """Sinogram of points with one line at 0, a Gaussian of standard deviation `width` in Y = ln tan 2theta.

    Parameters
    ----------
    x, y, amounts
        Of the points, shape (n,).
    positions, beam
        Centres of the positions and the standard deviation of the (Gaussian) beam, mm.
    channels
        Y at the bins, shape (n_channels,).
    bright
        Whether what is nearer to the detector is brighter.

    Returns
    -------
    numpy.ndarray
        Shape (n_angles, n_positions, n_channels), float32.
    """
    t, radius = landing(x, y, omega, distance)
    sinogram = np.empty((len(omega), len(positions), len(channels)), dtype=np.float32)
    for a in range(len(omega)):
        gain = amounts / radius[a] ** 2 if bright else amounts
        place = np.exp(-((positions[:, None] - t[a]) ** 2) / (2 * beam**2))
        line = np.exp(-((channels[None, :] - np.log(radius[a])[:, None]) ** 2) / (2 * width**2))
        sinogram[a] = (place * gain) @ line
    return sinogram


def moments(patterns, channels):
    """Sum, centroid and standard deviation along the last axis."""
    total = patterns.sum(axis=-1)
    centre = (patterns * channels).sum(axis=-1) / total
    return total, centre, np.sqrt((patterns * channels**2).sum(axis=-1) / total - centre**2)
