"""A small scan with a known answer: an off-axis gaussian blob, two interlaced zigzag subsets, three q channels."""

import numpy as np
import xarray as xr

from xrdct.io.store import write_store

STEP, COR, N_POSITIONS, N_LINES = 0.1, 20.6, 42, 40
BLOB_MM, SIGMA_MM = (0.5, -0.4), 0.25
CHANNELS = np.array([1.0, 2.0, 0.5], dtype=np.float32)


def truth_sinogram():
    """Line integrals of the blob at all 80 angles, shape (angle, position, q)."""
    angles = np.radians(np.arange(2 * N_LINES) * 2.25)
    t = (np.arange(N_POSITIONS) - COR) * STEP
    centre = BLOB_MM[0] * np.cos(angles) + BLOB_MM[1] * np.sin(angles)
    profile = 800 * np.exp(-(((t - centre[:, None]) / SIGMA_MM) ** 2) / 2)
    return (profile[..., None] * CHANNELS).astype(np.float32)


def patterns_of(subset, recorded=True):
    """Patterns of subset 0 or 1 as they were acquired: zigzag, a falling monitor, air in every frame."""
    clean = truth_sinogram()[subset::2]
    monitor = np.linspace(1.1, 0.9, N_LINES * N_POSITIONS).reshape(N_LINES, N_POSITIONS)
    column = np.tile(np.arange(N_POSITIONS, dtype=float), (N_LINES, 1))
    column[1::2] = column[1::2, ::-1]
    lines = np.arange(N_LINES)[:, None]
    measured = (clean[lines, column.astype(int)] + 10) * monitor[..., None]
    nothing = np.full((N_LINES, N_POSITIONS), np.nan)
    omega = np.tile((np.arange(N_LINES) * 4.5 + 2.25 * subset)[:, None], (1, N_POSITIONS))
    dims, counts = ("line", "point", "q"), {"units": "counts"}
    return xr.Dataset(
        {
            "intensity": (dims, measured.astype(np.float32), counts),
            "sem": (dims, np.sqrt(measured).astype(np.float32), counts),
            "spottiness": (dims, np.zeros_like(measured, dtype=np.float32), counts),
            "kept": (dims, np.full(measured.shape, 9, dtype=np.int32), {"units": "1"}),
            "valid": (dims[:2], np.ones((N_LINES, N_POSITIONS), bool), {"units": "1"}),
            "monitor": (dims[:2], monitor, {"units": "arbitrary"}),
            "omega": (dims[:2], omega if recorded else nothing, {"units": "degree"}),
            "translation": (dims[:2], column * STEP - 3.0 if recorded else nothing, {"units": "mm"}),
        },
        coords={"q": ("q", np.array([1.0, 2.0, 3.0]), {"units": "1/angstrom"})},
    )


def write_patterns(dataset, folder, name):
    """Write a patterns store; paths of store and manifest."""
    store, manifest = folder / f"{name}.zarr", folder / f"{name}.json"
    write_store(dataset, store, manifest, kind="patterns", settings={}, inputs={})
    return store, manifest
