"""Figures of a denoised scan: what became of the strongest, a medium and the weakest phase, and the learning curves."""

import json
from pathlib import Path

import numpy as np

from xrdct.denoise.picture import Row, draw_denoised, draw_learning, shown_channels
from xrdct.figures import save_figure
from xrdct.figures_beamtime import save_both
from xrdct.io.store import read_store
from xrdct.logbook import logbook
from xrdct.reconstruction.backend import reconstruct


def main(sinogram_store, volume_store, curves, outputs, *, windows, colormap):
    volume = read_store(volume_store, "volume")
    intensity, spread = volume.intensity.values, volume.spread.values
    channels = shown_channels(intensity, spread, volume.q.values, windows)
    split = json.loads(volume.attrs["provenance"])["settings"]["split"]
    plain = reconstruction(read_store(sinogram_store, "sinogram"), list(channels.values()), split)
    rows = [
        Row(title, volume.attrs["methods"][c], plain[..., k], intensity[..., c], spread[..., c])
        for k, (title, c) in enumerate(channels.items())
    ]
    save_both(draw_denoised(rows, colormap=colormap), outputs["denoised"], outputs["vector"])
    if "learning" in outputs:
        save_figure(draw_learning(json.loads(Path(curves).read_text())), outputs["learning"])


def reconstruction(sinogram, channels, split):
    """What the denoising started from: the groups' mean when it was split by them."""
    counts = sinogram.group_intensity.mean("group") if split == "pixel" else sinogram.intensity
    cor = sinogram.attrs["cor"] + sinogram.offset.values
    chosen = counts.isel(q=channels).transpose("angle", "position", "q").values.astype(np.float32)
    return reconstruct(np.ascontiguousarray(chosen), sinogram.angle.values, cor=cor)


if __name__ == "__main__":
    with logbook(snakemake.log[0]):
        main(
            snakemake.input.sinogram,
            snakemake.input.volume,
            snakemake.input.curves,
            dict(snakemake.output.items()),
            **json.loads(snakemake.params.cfg),
        )
