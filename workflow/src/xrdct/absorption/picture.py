"""Picture of an attenuation map and of what the correction did to the phases."""

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from ..figures import colour, draw_map, new_figure

SHOWN = 3
"""Phases shown, those with the largest sum of scales."""
RINGS = 30
"""Steps of the radius in the profile."""


def draw_absorption(store: xr.Dataset, *, colormap: str) -> Figure:
    """µ, transmission, and the strongest phases before and after: as maps, and as means over rings about the axis.

    Parameters
    ----------
    store
        Opened store of kind 'attenuation'.
    colormap
        Name of a matplotlib colour map.
    """
    phases = strongest(store)
    figure, axes = new_figure(10.5, 3.4 * (1 + len(phases)), rows=1 + len(phases), columns=3)
    axes = axes.reshape(-1, 3)
    draw_map(figure, axes[0, 0], store.mu, colormap, label="attenuation (1/mm)")
    axes[0, 0].set_title(f"µ, absolute by {store.attrs['factor_source']}", fontsize=9)
    _draw_transmission(figure, axes[0, 1], store, colormap)
    axes[0, 2].axis("off")
    axes[0, 2].text(0, 1, _what_was_found(store), va="top", fontsize=8, wrap=True, transform=axes[0, 2].transAxes)
    for row, phase in zip(axes[1:], phases, strict=True):
        before, after = store.scale_before.sel(phase=phase), store.scale_after.sel(phase=phase)
        for axis, image, title in ((row[0], before, "before"), (row[1], after, "after")):
            draw_map(figure, axis, image, colormap, label="scale (∝ volume)")
            axis.set_title(f"{phase}, {title}", fontsize=9)
        _draw_profiles(row[2], before, after)
    return figure


def strongest(store: xr.Dataset) -> list[str]:
    """Names of the phases with the largest sum of scales after the correction."""
    total = np.clip(store.scale_after.values, 0, None).sum(axis=(1, 2))
    return [str(store.phase.values[k]) for k in np.argsort(-total)[:SHOWN] if total[k] > 0]


def ring_means(image: xr.DataArray) -> tuple[np.ndarray, np.ndarray]:
    """Radius (mm) and mean of a map over rings about the rotation axis, shape (RINGS,) each."""
    radius = np.hypot(image.x.values[None], image.y.values[:, None]).ravel()
    edge = float(image.x.values.max())
    ring = np.minimum((radius / edge * RINGS).astype(int), RINGS)
    count = np.bincount(ring, minlength=RINGS + 1)[:RINGS]
    total = np.bincount(ring, weights=image.values.ravel(), minlength=RINGS + 1)[:RINGS]
    return (np.arange(RINGS) + 0.5) * edge / RINGS, total / np.maximum(count, 1)


def _draw_transmission(figure, axis, store, colormap):
    values = store.transmission
    extent = [*values.position.values[[0, -1]], *values.angle.values[[0, -1]]]
    drawn = axis.imshow(values.values, extent=extent, origin="lower", aspect="auto", cmap=colormap, vmin=0, vmax=1)
    figure.colorbar(drawn, ax=axis, label="transmission", pad=0.01)
    axis.set(xlabel="position from the axis (mm)", ylabel="angle (°)")


def _draw_profiles(axis, before, after):
    for k, (image, label) in enumerate(((before, "before"), (after, "after"))):
        axis.plot(*ring_means(image), color=colour(k), label=label)
    axis.set(xlabel="distance from the axis (mm)", ylabel="mean scale on the ring", ylim=(0, None))
    axis.legend(frameon=False, fontsize=8)


def _what_was_found(store):
    lowest, opaque = float(store.transmission.min()), float(store.opaque.mean())
    changes = ", ".join(f"{100 * change:.1f} %" for change in np.atleast_1d(store.attrs["changes"]))
    lines = (
        f"volume per unit of scale: {store.attrs['factor']:.3g} ± {store.attrs['factor_error']:.1g}",
        f"mean µ where there is matter: {float(store.mu.where(store.mu > 0).mean()):.4f} 1/mm",
        f"lowest transmission: {100 * lowest:.1f} %; opaque rays: {100 * opaque:.2f} %",
        f"change of the transmission in each pass: {changes}",
        store.attrs["zero_order_error"].replace(": ", ":\n"),
        store.attrs["ways_out"].replace(": ", ":\n"),
        store.attrs["papers_map"],
    )
    return "\n\n".join(lines)
