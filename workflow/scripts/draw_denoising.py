"""Figure of what denoising did: the q windows of a scan reconstructed without it, and as they are now."""

import json

import numpy as np
import xarray as xr

from xrdct.figures_beamtime import save_both
from xrdct.figures_denoising import draw_denoising
from xrdct.io.store import read_store
from xrdct.logbook import logbook
from xrdct.reconstruction.backend import reconstruct


def main(inputs, png, svg, *, colormap):
    sinogram, volume = read_store(inputs["sinogram"], "sinogram"), read_store(inputs["volume"], "volume")
    found = before_and_after(sinogram, volume, windows_of(read_store(inputs["maps"], "maps"), volume.q.values))
    save_both(draw_denoising(found, colormap=colormap), png, svg)


def before_and_after(sinogram, volume, windows):
    """Means of the windows before and after, and the standard error after, dims (phase, y, x)."""
    before = reconstruct(
        np.stack([window_mean(sinogram.intensity, inside) for inside in windows.values()], axis=-1),
        sinogram.angle.values,
        cor=sinogram.attrs["cor"] + sinogram.offset.values,
    )
    dims = ("phase", "y", "x")
    return xr.Dataset(
        {
            "before": (dims, np.moveaxis(before, -1, 0)),
            "after": (dims, np.stack([window_mean(volume.intensity, inside) for inside in windows.values()])),
            "spread": (dims, np.stack([window_error(volume.spread, inside) for inside in windows.values()])),
        },
        coords={"phase": list(windows), "y": volume.y, "x": volume.x},
    )


def windows_of(maps, q):
    """Bins of every q window by its name; without any, all bins."""
    limits = zip(maps.phase.values.tolist(), maps.q_min.values, maps.q_max.values, strict=True)
    found = {f"{name}\n{low:g}–{high:g} 1/Å": (q >= low) & (q <= high) for name, low, high in limits}
    return {name: inside for name, inside in found.items() if inside.any()} or {"all q": np.ones(q.size, bool)}


def window_mean(values, inside):
    """Mean over the bins of a window, read without the others."""
    return values.isel(q=np.flatnonzero(inside)).mean("q").values.astype(np.float32)


def window_error(spread, inside):
    """Standard error of the mean of a window, whose bins are denoised one by one."""
    return np.sqrt((spread.isel(q=np.flatnonzero(inside)).values ** 2).sum(axis=-1)) / inside.sum()


if __name__ == "__main__":
    with logbook(snakemake.log[0]):
        main(
            dict(snakemake.input.items()),
            snakemake.output.image,
            snakemake.output.vector,
            **json.loads(snakemake.params.cfg),
        )
