"""The figure of PQ-Net beside the fit."""

import numpy as np
import xarray as xr
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from ..figures import write_warnings
from .comparison import APART, PARAMETERS, answered, differences, disagreement

COLOURS = ("#0072B2", "#D55E00")
"""Okabe & Ito's blue and vermilion."""
AGREED = ("#D9D9D9", "#E69F00", "#000000")
"""Agreement, disagreement with a warning, and without."""
UNITS = {"scale": "scale", "a": "a (Å)", "b": "b (Å)", "c": "c (Å)"}
MOST = 4
"""Rows of parameters: all that the phase with the most cells has, then the strongest scales."""


def draw_comparison(maps: xr.Dataset, refined: xr.Dataset, fit: xr.Dataset, *, colormap: str) -> Figure:
    """Maps of PQ-Net, of its two steps and of the fit, and the histogram of their differences over their errors.

    Parameters
    ----------
    maps
        Store of kind 'pqnet'.
    refined, fit
        Stores of kind 'fit'.
    """
    shown = _shown(maps, fit)
    figure = Figure(figsize=(11, 2.5 * (len(shown) + 1)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(shown) + 1, 4, squeeze=False)
    for row, (phase, parameter) in zip(axes, shown, strict=False):
        _draw_row(figure, row, maps, refined, fit, phase, parameter, colormap)
    _draw_trust(figure, axes[-1], maps, refined, fit)
    write_warnings(figure, maps, width=150)
    for axis in [*axes[:, :3].ravel(), axes[-1, 3]]:
        axis.set(xticks=[], yticks=[])
    return figure


def _shown(maps, fit):
    targets = answered(maps)
    cells = [target for target in targets if target[1] != "scale"]
    first = cells[0][0] if cells else None
    chosen = [target for target in targets if target[0] == first][: len(PARAMETERS)]
    strength = {str(p): float(fit.scale.sel(phase=p).sum()) for p in maps.phase.values}
    rest = sorted((t for t in targets if t not in chosen and t[1] == "scale"), key=lambda t: -strength[t[0]])
    return (chosen + rest)[:MOST]


def _draw_row(figure, axes, maps, refined, fit, phase, parameter, colormap):
    images = [store[parameter].sel(phase=phase).values for store in (maps, refined, fit)]
    if parameter != "scale":
        known = np.isfinite(differences(refined, fit, phase, parameter, "_err")[0])
        images = [np.where(known, image, np.nan) for image in images]
    limits = np.nanpercentile(images[2], [1, 99]) if np.isfinite(images[2]).any() else (0, 1)
    titles = ("PQ-Net", "PQ-Net + 2 steps", "fit")
    for axis, image, title in zip(axes, images, titles, strict=False):
        drawn = axis.imshow(image, cmap=colormap, vmin=limits[0], vmax=limits[1], interpolation="nearest")
        axis.set_title(f"{phase}: {title}", fontsize=9)
    figure.colorbar(drawn, ax=axes[:3], label=UNITS[parameter], shrink=0.9, pad=0.01)
    bins = np.linspace(-5, 5, 41)
    sources = (("PQ-Net", maps, "_std"), ("+ 2 steps", refined, "_err"))
    for colour, (name, store, suffix) in zip(COLOURS, sources, strict=True):
        difference, sigma = differences(store, fit, phase, parameter, suffix)
        pulls = np.clip((difference / sigma)[np.isfinite(difference)], -4.99, 4.99)
        axes[3].hist(pulls, bins, density=True, histtype="step", color=colour, label=name)
    axes[3].plot(bins, np.exp(-(bins**2) / 2) / np.sqrt(2 * np.pi), color="0.5", lw=0.8, ls=":")
    axes[3].set(xlabel="difference to the fit / error bar", yticks=[])
    axes[3].legend(frameon=False, fontsize=7)


def _draw_trust(figure, axes, maps, refined, fit):
    """Where the answers are to be believed."""
    inside = np.where(maps.mask.values, maps.in_range.values.astype(float), np.nan)
    axes[0].imshow(inside, cmap="cividis", vmin=0, vmax=1, interpolation="nearest")
    axes[0].set_title(f"networks in range (yellow): {100 * np.nanmean(inside):.0f} %", fontsize=9)
    level = np.log10(np.maximum(maps.level.values, 0.1))
    drawn = axes[1].imshow(level, cmap="cividis", interpolation="nearest")
    axes[1].set_title("effective counts per bin, log₁₀", fontsize=9)
    figure.colorbar(drawn, ax=axes[1], shrink=0.8)
    chi2 = np.log10(np.maximum(refined.chi2.values, 0.1))
    drawn = axes[2].imshow(chi2, cmap="cividis", interpolation="nearest")
    axes[2].set_title("χ² after 2 steps, log₁₀", fontsize=9)
    figure.colorbar(drawn, ax=axes[2], shrink=0.8)
    axes[3].imshow(disagreement(maps, fit), cmap=ListedColormap(AGREED), vmin=-0.5, vmax=2.5, interpolation="nearest")
    axes[3].set_title(f"> {APART:g} bars from the fit:\norange flagged, black not", fontsize=9)
