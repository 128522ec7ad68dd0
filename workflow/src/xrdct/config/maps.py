"""Settings of the peak maps, of which maps of phases and cells are taken, and of the report."""

from typing import Literal

from pydantic import model_validator

from .base import PlainName, Positive, Section


class Window(Section):
    """One q window whose area is mapped."""

    name: PlainName
    """Name of the map, usually the phase."""
    q_min: Positive
    """Lower end in 1/Å."""
    q_max: Positive
    """Upper end in 1/Å."""

    @model_validator(mode="after")
    def _ordered(self):
        if self.q_min >= self.q_max:
            raise ValueError(f"window {self.name!r}: q_min ({self.q_min}) must be below q_max ({self.q_max} 1/Å)")
        return self


# Si-graphite correlative paper, Table 1: the Li-ion windows of its peak maps, 1/Å.
PRESETS = {
    "lithiated-graphite": [("LiC6", 1.67, 1.73), ("LiC12", 1.78, 1.82), ("graphite", 1.82, 1.90)],
    "nmc": [("NMC-lithiated", 4.57, 4.62), ("NMC-delithiated", 4.45, 4.50)],
}
PRESETS["si-graphite"] = PRESETS["nmc"] + PRESETS["lithiated-graphite"]


class Windows(Section):
    """Maps of the area under peaks."""

    preset: Literal["lithiated-graphite", "nmc", "si-graphite"] | None = None
    """Windows of the Si-graphite correlative paper; null: only those listed below."""
    windows: tuple[Window, ...] = ()
    """Further windows."""
    background: Literal["none", "linear"] = "linear"
    """linear: a straight line through the shoulders of each window is subtracted; none: the plain sum."""

    def all(self) -> list[Window]:
        """The preset's windows followed by the user's own."""
        preset = PRESETS.get(self.preset, [])
        return [Window(name=n, q_min=a, q_max=b) for n, a, b in preset] + list(self.windows)

    @model_validator(mode="after")
    def _named_once(self):
        names = [w.name for w in self.all()]
        double = sorted({n for n in names if names.count(n) > 1})
        if double:
            raise ValueError(f"two windows are called {', '.join(double)}")
        return self


class Maps(Section):
    """Maps of phases and cells: which of them the figures and the beamtime take."""

    source: Literal["best", "pqnet+fit", "pqnet", "fit", "all"] = "best"
    """fit: the full-profile fit. pqnet: what the networks answer. pqnet+fit: two steps of the fit from their answer.
    best: pqnet+fit where `pqnet.apply` is true, else fit. Nothing but what is taken is computed. all: every one, and
    their comparison voxel by voxel; the best is taken."""


class Report(Section):
    """Figures of the report; nothing here changes a number."""

    phases: tuple[PlainName, ...] = ()
    """Structures (names of files in resources/structures) whose lines are marked in the mean pattern."""
    colormap: str = "viridis"
    """Matplotlib colour map of the maps."""
