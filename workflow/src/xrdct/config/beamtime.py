"""Settings of what is said about the whole beamtime: co-registration, regions, evolution, the unrolled cell."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from .base import PlainName, Positive, Section

Share = Annotated[float, Field(ge=0, le=1)]
Range = tuple[float, float]


class Strong(Section):
    """Where the map of a phase's scale is strong."""

    phase: PlainName
    """Phase of the fit."""
    above: Share | None = None
    """From this share of its highest value on; null: no lower limit."""
    below: Share | None = None
    """Up to this share of its highest value; null: no upper limit."""


class Edge(Section):
    """Where a lattice parameter of a phase lies between two values; voxels without one are left out."""

    phase: PlainName
    """Phase whose cell is fitted in every voxel."""
    edge: Literal["a", "c"]
    """Which edge of the cell."""
    angstrom: Range
    """From and to, in Å."""


class Distance(Section):
    """A distance from the largest connected part of a phase, such as a tab."""

    phase: PlainName
    """Phase of the fit."""
    above: Share = 0.5
    """It is where its scale reaches this share of its highest value."""
    mm: Range
    """From and to, in mm."""


class Region(Section):
    """Voxels for which every condition holds. A region is the same on the common grid for all scans."""

    name: PlainName
    """Name of the region."""
    strong: tuple[Strong, ...] = ()
    """Phases that are strong, or weak, there."""
    cell: tuple[Edge, ...] = ()
    """Lattice parameters there: what charging did, or did not do."""
    radius_mm: Range | None = None
    """Distance from the centre of the cell."""
    azimuth_deg: Range | None = None
    """Direction from the centre of the cell, counter-clockwise from +x; from > to crosses 0°."""
    distance: Distance | None = None
    """Distance from something."""
    mask: str | None = None
    """Image (NPY, TIFF or PNG) of the common grid, row 0 at the largest y; what is not 0 belongs to the region. The
    viewer writes such masks."""
    scan: PlainName | None = None
    """Scan whose maps are looked at; null: the mean over all scans for `strong` and `distance`, for `cell` the last
    scan."""

    @model_validator(mode="after")
    def _says_something(self):
        if not (self.strong or self.cell or self.radius_mm or self.azimuth_deg or self.distance or self.mask):
            raise ValueError(f"region {self.name!r} has no condition: give strong, radius_mm, azimuth_deg, …")
        return self


class Clusters(Section):
    """Regions that the data divide themselves into: k-means on the lattice parameters of a phase."""

    phase: PlainName
    """Phase whose a and c are fitted in every voxel."""
    count: Annotated[int, Field(ge=2, le=9)] = 3
    """How many; they are called PHASE-1, PHASE-2, … in the order of c."""
    scan: PlainName | None = None
    """Scan to look at; null: the last one, where a cell that was not charged everywhere shows it."""


# NCA 18650 paper, figures 4 and 5: the lithiation of the anode is heterogeneous (HL: highly lithiated, DL: delithiated,
# IN: inner windings), the cathode's cells are told apart (ROI1: bulk, ROI2: inner windings, ROI3: beside the aluminium
# tab, where they stay as they were discharged). The papers drew them by hand; here are rules that say the same. The
# last scan must be of the charged cell: a of NCA is then 2.82 Å, beside the tab 2.85 Å (Table S5), and 2.836 lies
# between. The two innermost windings end 2.4 mm from the centre.
NCA = {"phase": "NCA", "above": 0.35}
PRESETS = {
    "nca18650": [
        {"name": "HL", "strong": [{"phase": "LiC6", "above": 0.35}]},
        {"name": "DL", "strong": [{"phase": "LiC30plus", "above": 0.35}]},
        {"name": "IN", "radius_mm": [1.4, 2.3]},
        {
            "name": "ROI1",
            "strong": [NCA],
            "cell": [{"phase": "NCA", "edge": "a", "angstrom": [0.0, 2.836]}],
            "radius_mm": [2.7, 8.6],
        },
        {"name": "ROI2", "strong": [NCA], "radius_mm": [1.4, 2.6]},
        {"name": "ROI3", "strong": [NCA], "cell": [{"phase": "NCA", "edge": "a", "angstrom": [2.836, 9.0]}]},
    ]
}


class Unroll(Section):
    """The cell with its windings straightened."""

    casing: PlainName
    """Phase of the casing, whose circle is the start."""
    layer: PlainName
    """Phase that marks the spiral: the foil of one electrode (Cu or Al)."""
    pitch_mm: Annotated[tuple[Positive, Positive], Field(min_length=2, max_length=2)]
    """Between which values the distance from winding to winding is looked for."""
    radius_mm: Range
    """Between which radii the windings lie."""
    phases: tuple[PlainName, ...] = ()
    """What is shown unrolled; empty: all phases but the casing."""


class Beamtime(Section):
    """All scans together."""

    apply: bool = False
    """Whether the fits of all scans are put on one grid; needs a phase set in `fit`."""
    reference: PlainName | None = None
    """Scan to whose place the others are turned and shifted; null: the first of the table."""
    register_by: tuple[PlainName, ...] = ()
    """Phases that the charge does not change (foils, casing, tabs), by whose scales scans are registered; empty: the
    sum of all."""
    max_rotation_deg: Annotated[float, Field(ge=0, le=180)] = 20
    """Turns within ± this are tried."""
    groups: dict[PlainName, tuple[PlainName, ...]] = {}
    """Phases of one electrode by its name: their shares sum to 1. Phases in no group have shares of everything."""
    least_scale: Share = 0.1
    """A voxel has a share, or a cell, of a phase where its scale (its group's) is above this share of its highest
    value and above three standard errors."""
    preset: PlainName | None = None
    """Regions of a paper: nca18650."""
    regions: tuple[Region, ...] = ()
    """Further regions."""
    clusters: Clusters | None = None
    """Regions by k-means; null: none."""
    unroll: Unroll | None = None
    """The unrolled cell; null: no such figure."""

    def all_regions(self) -> list[Region]:
        """The preset's regions followed by the user's own."""
        return [Region.model_validate(region) for region in PRESETS.get(self.preset, [])] + list(self.regions)

    @model_validator(mode="after")
    def _known_preset_and_single_names(self):
        if self.preset is not None and self.preset not in PRESETS:
            raise ValueError(f"no preset of regions is called {self.preset!r}, only {', '.join(PRESETS)}")
        names = ["whole", *(region.name for region in self.all_regions())]
        double = sorted({name for name in names if names.count(name) > 1})
        if double:
            raise ValueError(f"two regions are called {', '.join(double)} ('whole' is always there)")
        return self

    def phases_named(self) -> set[str]:
        """Every phase that the section speaks of."""
        regions = self.all_regions()
        named = {phase for group in self.groups.values() for phase in group} | set(self.register_by)
        named |= {one.phase for region in regions for one in region.strong}
        named |= {one.phase for region in regions for one in region.cell}
        named |= {region.distance.phase for region in regions if region.distance}
        if self.clusters:
            named.add(self.clusters.phase)
        if self.unroll:
            named |= {self.unroll.casing, self.unroll.layer, *self.unroll.phases}
        return named

    def cells_named(self) -> list[tuple[str, str, set[str]]]:
        """What looks at cells: its name, the phase, and the edges of which one must be known."""
        found = [
            (f"region {region.name}", one.phase, {one.edge}) for region in self.all_regions() for one in region.cell
        ]
        if self.clusters:
            found.append(("clusters", self.clusters.phase, {"a", "c"}))
        return found
