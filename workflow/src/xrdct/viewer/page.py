"""The page: a map with its choices, the pattern of the voxel that is clicked, the evolution of the region drawn."""

from functools import partial
from html import escape

import numpy as np
from bokeh.document import Document
from bokeh.events import SelectionGeometry, Tap
from bokeh.layouts import column, row
from bokeh.models import (
    BoxSelectTool,
    Button,
    ColorBar,
    ColumnDataSource,
    Div,
    LassoSelectTool,
    LinearColorMapper,
    RangeSlider,
    Select,
    Slider,
    TextInput,
    Whisker,
)
from bokeh.palettes import Cividis256, Greys256, Viridis256
from bokeh.plotting import figure
from matplotlib.path import Path as Outline

from ..config.base import NAME
from ..errors import XrdctError
from ..figures import colour
from .sources import QUANTITIES, Beamtime

PALETTES = {"viridis": Viridis256, "cividis": Cividis256, "grey": Greys256}
NOTHING = "Click a voxel for its pattern; draw a region (lasso or box) for its evolution."


class Page:
    """What one visitor sees."""

    def __init__(self, beamtime: Beamtime, document: Document):
        self.beamtime, self.document = beamtime, document
        self.mask = None
        self.clicked = None
        voltage = beamtime.tree.voltage_V.values
        self.labels = [s if np.isnan(v) else f"{s} ({v:g} V)" for s, v in zip(beamtime.scans, voltage, strict=True)]
        self._make_choices()
        self._make_map()
        self._make_plots()
        self.say = Div(text=NOTHING, width=760, name="say")
        self.voxel = Div(width=760, name="voxel")
        for choice in (self.scan, self.phase, self.quantity, self.palette):
            choice.on_change("value", lambda attr, old, new: self.show_map())
        self.limits.on_change("value", lambda attr, old, new: self.show_limits())
        left = column(
            row(self.phase, self.quantity, self.palette), self.scan, self.limits, self.map, row(self.name, self.save)
        )
        document.add_root(row(left, column(self.say, self.patterns, self.voxel, self.evolution)))
        document.title = f"xrdct: {beamtime.store.name}"
        self.show_map()

    def _make_choices(self):
        beamtime = self.beamtime
        self.scan = Slider(start=0, end=max(1, len(beamtime.scans) - 1), step=1, value=0, width=540, show_value=False)
        self.scan.disabled = len(beamtime.scans) == 1
        self.phase = Select(title="phase", options=beamtime.phases, value=beamtime.phases[0], width=170)
        self.quantity = Select(title="parameter", options=list(QUANTITIES), value="scale", width=170)
        self.palette = Select(title="colours", options=list(PALETTES), value="viridis", width=120)
        self.limits = RangeSlider(
            start=0, end=1, value=(0, 1), step=0.01, width=540, title="colour range", format="0.0000"
        )
        self.name = TextInput(value="drawn", title="name of the region", width=170)
        self.save = Button(label="save mask, table, picture", width=170, align="end", disabled=True, name="save")
        self.save.on_click(self.export)

    def _make_map(self):
        x, y = self.beamtime.grid
        step = abs(x[1] - x[0])
        self.map = figure(
            width=560, height=540, match_aspect=True, tools="pan,wheel_zoom,reset,save", active_scroll="wheel_zoom",
            x_axis_label="x (mm)", y_axis_label="y (mm)", name="map",
        )  # fmt: skip
        self.map.add_tools(LassoSelectTool(continuous=False), BoxSelectTool(continuous=False))
        self.mapper = LinearColorMapper(palette=Viridis256, nan_color="white")
        place = {"x": [x[0] - step / 2], "y": [y[-1] - step / 2], "dw": [step * x.size], "dh": [step * y.size]}
        blank = np.full((y.size, x.size), np.nan, dtype=np.float32)
        self.image = ColumnDataSource({"image": [blank], **place})
        self.map.image(image="image", x="x", y="y", dw="dw", dh="dh", color_mapper=self.mapper, source=self.image)
        self.outline = ColumnDataSource({"x": [], "y": []})
        self.map.patch(
            "x", "y", source=self.outline, fill_alpha=0.15, fill_color=colour(1), line_color=colour(1), line_width=2
        )
        self.cross = ColumnDataSource({"x": [], "y": []})
        self.map.scatter("x", "y", source=self.cross, marker="cross", size=16, line_color=colour(1), line_width=2)
        self.map.add_layout(ColorBar(color_mapper=self.mapper), "right")
        self.map.on_event(Tap, self.tap)
        self.map.on_event(SelectionGeometry, self.draw)

    def _make_plots(self):
        self.patterns = figure(
            width=760, height=330, x_axis_label="q (1/Å)", y_axis_label="counts per voxel", name="patterns",
            tools="pan,wheel_zoom,box_zoom,reset,save",
        )  # fmt: skip
        names = ["measured", "neighbours", "fit", "background", *self.beamtime.phases]
        self.lines = {name: ColumnDataSource({"q": [], "value": []}) for name in names}
        for k, name in enumerate(names):
            width, dash = (
                (2, "solid") if name in ("measured", "fit") else (1, "dotted" if name == "neighbours" else "solid")
            )
            line = self.patterns.line(
                "q",
                "value",
                source=self.lines[name],
                color=colour(k),
                line_width=width,
                line_dash=dash,
                legend_label=name,
            )
            line.visible = name in ("measured", "neighbours", "fit", "background")
        self.patterns.legend.click_policy = "hide"
        self.patterns.legend[0].update(
            label_text_font_size="7pt", label_height=10, glyph_height=10, spacing=0, padding=4
        )
        self.patterns.add_layout(self.patterns.legend[0], "right")
        self.evolution = figure(width=760, height=250, tools="save", name="evolution", x_axis_label="scan")
        self.evolution.xaxis.ticker = list(range(len(self.labels)))
        self.evolution.xaxis.major_label_overrides = dict(enumerate(self.labels))
        self.series = ColumnDataSource({"k": [], "mean": [], "low": [], "high": []})
        self.evolution.line("k", "mean", source=self.series, color=colour(0), line_width=2)
        self.evolution.scatter("k", "mean", source=self.series, color=colour(0), size=8)
        for end in ("low", "high"):  # whiskers have no say in the range of the axis, points that are not seen do
            self.evolution.scatter("k", end, source=self.series, alpha=0)
        self.evolution.add_layout(Whisker(base="k", upper="high", lower="low", source=self.series))

    @property
    def _chosen(self):
        return (
            self.beamtime.scans[min(int(self.scan.value), len(self.beamtime.scans) - 1)],
            self.phase.value,
            self.quantity.value,
        )

    def show_map(self):
        """The chosen map, its colours over what all scans hold; then whatever hangs on it."""
        scan, phase, quantity = self._chosen
        values = np.concatenate([self.beamtime.image(s, phase, quantity).ravel() for s in self.beamtime.scans])
        finite = values[np.isfinite(values)]
        low, high = np.percentile(finite, [0.5, 99.5]) if finite.size else (0.0, 1.0)
        low, high = (min(0.0, low), high) if quantity in ("scale", "share", "weight_fraction") else (low, high)
        high = high if high > low else low + 1e-6
        self.mapper.palette = PALETTES[self.palette.value]
        self.limits.update(
            start=float(low), end=float(high), value=(float(low), float(high)), step=float(high - low) / 200
        )
        self.show_limits()
        image = self.beamtime.image(scan, phase, quantity)[::-1].astype(np.float32)  # bokeh's first row is the lowest
        self.image.patch({"image": [(0, image)]})
        unit = self.beamtime.unit(quantity)
        self.map.title.text = f"{scan}: {phase}, {quantity}{'' if unit == '1' else f' ({unit})'}"
        self.scan.title = f"scan {self.labels[self.beamtime.scans.index(scan)]}"
        if self.clicked:
            self.show_voxel()
        if self.mask is not None:
            self.show_evolution()

    def show_limits(self):
        """The colour range as the slider says."""
        self.mapper.update(low=self.limits.value[0], high=self.limits.value[1])

    def tap(self, event):
        """A voxel was clicked."""
        x, y = self.beamtime.grid
        step = abs(x[1] - x[0])
        if x[0] - step / 2 <= event.x <= x[-1] + step / 2 and y[-1] - step / 2 <= event.y <= y[0] + step / 2:
            self.clicked = int(np.abs(y - event.y).argmin()), int(np.abs(x - event.x).argmin())
            self.show_voxel()

    def show_voxel(self):
        """Pattern, fit and numbers of the voxel that was clicked."""
        x, y = self.beamtime.grid
        at, (scan, *_) = self.clicked, self._chosen
        self.cross.data = {"x": [x[at[1]]], "y": [y[at[0]]]}
        self.voxel.text = _table(self.beamtime.voxel(scan, *at))
        try:
            found = self.beamtime.pattern(scan, *at)
        except XrdctError as error:
            self.say.text = escape(str(error))
            return
        self._draw_curves({"measured": (found.q, found.measured), "neighbours": (found.q, found.neighbours)})
        self.say.text = f"voxel at x {x[at[1]]:.3f}, y {y[at[0]]:.3f} mm in {escape(scan)}, {found.stage} volume"
        # The pattern is on the screen before its fit begins: the first one of a scan takes seconds.
        self.document.add_next_tick_callback(partial(self.show_fit, scan, at, found))

    def show_fit(self, scan, at, pattern):
        """The fit of the pattern shown, unless another voxel was clicked meanwhile."""
        if (at, scan) != (self.clicked, self._chosen[0]):
            return
        found = self.beamtime.fit(scan, pattern)
        if found is None:
            self.say.text += "; no settings of a fit lie beside it"
            return
        curves = {"fit": (found.q, found.fit), "background": (found.q, found.background)}
        self._draw_curves(curves | {name: (found.q, found.background + part) for name, part in found.phases.items()})
        self.say.text += "; fitted"

    def _draw_curves(self, curves):
        for name, (q, value) in curves.items():
            self.lines[name].data = {"q": q, "value": value}

    def draw(self, event):
        """A region was drawn."""
        geometry = event.geometry
        if not event.final or geometry["type"] not in ("poly", "rect"):
            return
        if geometry["type"] == "rect":
            x0, x1, y0, y1 = (geometry[key] for key in ("x0", "x1", "y0", "y1"))
            corners = np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]])
        else:
            corners = np.stack([np.asarray(geometry[axis], dtype=float) for axis in ("x", "y")], axis=1)
        self.outline.data = {"x": corners[:, 0], "y": corners[:, 1]}
        x, y = self.beamtime.grid
        points = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
        self.mask = Outline(corners).contains_points(points).reshape(y.size, x.size)
        self.save.disabled = not self.mask.any()
        self.show_evolution()

    def show_evolution(self):
        """The chosen parameter in the drawn region against the scans."""
        _, phase, quantity = self._chosen
        found = self.beamtime.evolve(self.mask, phase, quantity)
        error = np.nan_to_num(found["se"])
        steps = np.arange(len(self.beamtime.scans))
        self.series.data = {
            "k": steps,
            "mean": found["mean"],
            "low": found["mean"] - error,
            "high": found["mean"] + error,
        }
        self.evolution.yaxis.axis_label = f"{phase}, {quantity}"
        self.evolution.title.text = f"{int(self.mask.sum())} voxels drawn; mean and standard error"

    def export(self):
        """Mask, table and picture of the drawn region, beside the store."""
        if not NAME.fullmatch(self.name.value):
            self.say.text = "a name has letters, digits, '_', '.', '+', '-'"
            return
        scan, phase, quantity = self._chosen
        names = {"scan": scan, "phase": phase, "quantity": quantity}
        mask, table, picture = self.beamtime.export_region(self.mask, self.name.value, **names)
        self.say.text = escape(f"written: {mask} (a mask for beamtime.regions), {table} and {picture}")


def make_page(beamtime: Beamtime):
    """What Bokeh calls for every visitor, with a document to fill."""
    return partial(Page, beamtime)


def _table(phases):
    head = "".join(f"<th>{name}</th>" for name in ("phase", "scale", "±", "share", "a (Å)", "±", "c (Å)", "±"))
    keys = ("scale", "scale_err", "share", "a", "a_err", "c", "c_err")
    digits = (4, 4, 3, 4, 4, 4, 4)
    rows = [
        f"<tr><td>{escape(name)}</td>"
        + "".join(f"<td>{_number(values[key], n)}</td>" for key, n in zip(keys, digits, strict=True))
        + "</tr>"
        for name, values in phases.items()
    ]
    return f"<table style='font-size:11px;border-spacing:8px 0'><tr>{head}</tr>{''.join(rows)}</table>"


def _number(value, digits):
    return "–" if np.isnan(value) else f"{value:.{digits}f}"
