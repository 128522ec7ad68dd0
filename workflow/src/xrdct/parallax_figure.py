"""The picture of a parallax diagnosis."""

from matplotlib.figure import Figure

from .figures import COLOURS, new_figure


def draw_parallax(found: dict, *, title: str) -> Figure:
    """Shift and broadening against the radius, widths of lines, and what to do about it.

    Parameters
    ----------
    found
        From `parallax.diagnose`.
    title
        Of the scan.
    """
    figure, (shift, broad, width) = new_figure(10.5, 4.4, columns=3)
    r = found["radii_mm"]
    turn = "0–360°" if found["whole_turn"] else "0–180°"
    shift.fill_between(
        r,
        [-value for value in found["isolated_shift_percent"]],
        found["isolated_shift_percent"],
        color=COLOURS[1],
        alpha=0.3,
        label=f"isolated things, {turn}",
    )
    shift.axhline(0, color=COLOURS[0], label="layers around the axis")
    shift.plot(r, [found["parallax_percent"] * x / max(r) for x in r], ":", color="0.4", label="depth over distance")
    shift.set(xlabel="distance from the axis (mm)", ylabel="wrong in a, b, c (%)")
    shift.legend(frameon=False, fontsize=8, loc="upper left")
    broad.plot(r, found["isolated_broadening_percent"], color=COLOURS[1], label="isolated things")
    broad.plot(r, found["layers_broadening_percent"], color=COLOURS[0], label="layers, filled disc")
    broad.set(xlabel="distance from the axis (mm)", ylabel="added to a line's width (FWHM, % of q)", ylim=(0, None))
    broad.legend(frameon=False, fontsize=8)
    lines = found["line_widths"]
    q = [line["q"] for line in lines]
    width.plot(q, [line["instrument"] for line in lines], "o-", ms=3, color="0.4", label="instrument")
    widened = [line["instrument"] * line["widened_by"] for line in lines]
    width.plot(q, widened, "o-", ms=3, color=COLOURS[0], label="with parallax, near the axis")
    width.set(xlabel="q (1/Å)", ylabel="FWHM of a line (1/Å)", ylim=(0, None))
    width.legend(frameon=False, fontsize=8)
    figure.suptitle(
        f"{title}: parallax ± {found['parallax_percent']:.2g} % ({found['radius_mm']:.3g} mm at "
        f"{found['distance_mm'] / 1e3:.3g} m, {turn})",
        fontsize=11,
    )
    sentences = [*(f"WARNING: {text}" for text in found["warnings"]), *found["advice"]]
    figure.supxlabel("\n".join(sentences), fontsize=8, x=0.01, ha="left")
    return figure
