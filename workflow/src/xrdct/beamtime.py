"""All scans of a beamtime on one grid, with its regions and their evolution: the tree that figures are made from."""

from collections.abc import Callable, Sequence

import numpy as np
import xarray as xr
from scipy.ndimage import binary_fill_holes

from .config.beamtime import Beamtime, Region
from .errors import ConfigError, StoreError
from .evolution import CELLS, UNITS, cells_where_strong, evolve, group_tops, shares, top_of
from .regions import between, clusters, near, ring, sector, strong
from .registration import Motion, Registration, register, resample

MAPS = ("scale", "scale_err", "weight_fraction", "a", "a_err", "c", "c_err")
IMAGES = ("rwp",)
WHOLE = "whole"
"""Region of every voxel."""


def register_scans(
    maps: Sequence[xr.Dataset], *, reference: int, by: Sequence[str], max_rotation_deg: float
) -> list[Registration]:
    """The motion of every scan against the reference, by the scales of phases that the charge does not change.

    Parameters
    ----------
    maps
        Stores of kind 'fit' on one grid (`common_grid`).
    reference
        Number of the scan that stays where it is.
    by
        Phases to compare; none: the sum of all.
    max_rotation_deg
        Turns within ± this are tried.
    """

    def picture(one):
        scale = one.scale.sel(phase=list(by)) if by else one.scale
        # Every phase counts alike: foils are faint beside a casing.
        tops = [max(top_of(image), np.finfo(float).tiny) if by else 1.0 for image in scale.values]
        return sum(np.nan_to_num(image) / top for image, top in zip(scale.values, tops, strict=True))

    fixed = picture(maps[reference])
    return [
        Registration(Motion(), 0.0, 0.0)
        if k == reference
        else register(picture(one), fixed, max_rotation_deg=max_rotation_deg)
        for k, one in enumerate(maps)
    ]


def common_grid(maps: Sequence[xr.Dataset], *, reference: int) -> list[xr.Dataset]:
    """The maps on the reference's pixels (linear interpolation where a scan had others), rotation axis upon axis."""
    grid = {axis: maps[reference][axis] for axis in ("y", "x")}
    step = {"voxel_mm": maps[reference].attrs["voxel_mm"]}
    wanted = [one[[*MAPS, *IMAGES]].drop_attrs(deep=False).assign_attrs(step) for one in maps]
    return [
        one if all(one[axis].equals(grid[axis]) for axis in grid) else one.interp(grid, method="linear")
        for one in wanted
    ]


def moved(maps: xr.Dataset, motion: Motion) -> xr.Dataset:
    """Maps as the reference's pixels see them."""
    return xr.Dataset(
        {
            name: (
                variable.dims,
                np.stack([resample(image, motion) for image in variable.values])
                if variable.ndim == 3
                else resample(variable.values, motion),
                variable.attrs,
            )
            for name, variable in maps.data_vars.items()
        },
        coords=maps.coords,
        attrs=maps.attrs,
    )


def cell_centre(total: np.ndarray, x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Centroid (x, y) in mm of all that lies within the outline of the cell."""
    inside = binary_fill_holes(strong(total, above=0.1))
    rows, columns = np.nonzero(inside)
    return float(x[columns].mean()), float(y[rows].mean())


def make_regions(
    scales: xr.DataArray, cells: xr.Dataset, settings: Beamtime, *, read_mask: Callable[[str], np.ndarray]
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Masks (y, x) of all regions, and the rule of each as text.

    Parameters
    ----------
    scales
        Scales of all scans on the common grid, dims (scan, phase, y, x).
    cells
        Lattice parameters where the phase is strong, same dims, by name.
    settings
        What is wanted.
    read_mask
        Reads a mask that a region names.
    """
    mean = scales.fillna(0).mean("scan")
    centre = cell_centre(mean.sum("phase").values, scales.x.values, scales.y.values)
    fitted = scales.notnull().any(("scan", "phase")).values
    masks, rules = {WHOLE: fitted}, {WHOLE: "every fitted voxel"}
    for region in settings.all_regions():
        seen = mean if region.scan is None else scales.sel(scan=region.scan)
        edges = cells.sel(scan=region.scan if region.scan is not None else scales.scan.values[-1])
        masks[region.name] = fitted & _inside(region, seen, edges, centre, read_mask)
        rules[region.name] = region.model_dump_json(exclude_defaults=True)
    if settings.clusters:
        chosen = settings.clusters
        scan = chosen.scan if chosen.scan is not None else scales.scan.values[-1]
        of = {"scan": scan, "phase": chosen.phase}
        values = np.stack([cells[name].sel(of).values for name in CELLS])
        values = values[[bool(np.isfinite(one).any()) for one in values]]
        if not len(values):
            raise ConfigError(f"beamtime.clusters: {chosen.phase} has no cell in any voxel of scan {scan}")
        member = clusters(values, count=chosen.count)
        for k in range(chosen.count):
            name = f"{chosen.phase}-{k + 1}"
            masks[name] = member == k
            rules[name] = f"k-means {k + 1} of {chosen.count} on the cell of {chosen.phase} in scan {scan}"
    return masks, rules


def _inside(
    region: Region, scale: xr.DataArray, cells: xr.Dataset, centre: tuple[float, float], read_mask
) -> np.ndarray:
    x, y = scale.x.values, scale.y.values
    inside = np.ones((y.size, x.size), dtype=bool)
    for one in region.strong:
        inside &= strong(scale.sel(phase=one.phase).values, above=one.above, below=one.below)
    for one in region.cell:
        edge = cells[one.edge].sel(phase=one.phase).values
        if not np.isfinite(edge).any():
            raise ConfigError(
                f"beamtime: region {region.name} looks at {one.edge} of {one.phase}, which was not fitted"
            )
        inside &= between(edge, one.angstrom)
    if region.radius_mm:
        inside &= ring(x, y, centre=centre, radius_mm=region.radius_mm)
    if region.azimuth_deg:
        inside &= sector(x, y, centre=centre, azimuth_deg=region.azimuth_deg)
    if region.distance:
        what = strong(scale.sel(phase=region.distance.phase).values, above=region.distance.above)
        inside &= near(what, distance_mm=region.distance.mm, voxel_mm=abs(x[1] - x[0]))
    if region.mask:
        mask = read_mask(region.mask)
        if mask.shape != inside.shape:
            raise ConfigError(
                f"beamtime.regions: mask {region.mask} has {mask.shape} pixels, the common grid {inside.shape}"
            )
        inside &= mask
    return inside


def gather(
    maps: dict[str, xr.Dataset], table: dict[str, dict], settings: Beamtime, *, read_mask: Callable[[str], np.ndarray]
) -> xr.DataTree:
    """The tree of a beamtime (form: `io.tree`).

    Parameters
    ----------
    maps
        Stores of kind 'fit' by scan, in the order of the table; the attribute `source` says what made them.
    table
        sample, cycle, state and voltage_V by scan.
    settings
        The section `beamtime` of the configuration.
    read_mask
        Reads a mask that a region names.
    """
    names = list(maps)
    _same_phases(maps)
    source = next(iter(maps.values())).attrs.get("source", "fit")
    reference = names.index(settings.reference) if settings.reference else 0
    gridded = common_grid(list(maps.values()), reference=reference)
    found = register_scans(
        gridded, reference=reference, by=settings.register_by, max_rotation_deg=settings.max_rotation_deg
    )
    scans = [moved(one, each.motion) for one, each in zip(gridded, found, strict=True)]
    quantities = _quantities(scans, settings)
    stacked = {name: np.stack([one[name] for one in quantities]) for name in UNITS}
    grid = {axis: scans[0][axis] for axis in ("y", "x")}
    coords = {"scan": _text("scan", names), "phase": scans[0].phase, **grid}
    dims = ("scan", "phase", "y", "x")
    cells = xr.Dataset({name: (dims, stacked[name]) for name in CELLS}, coords=coords)
    scales = xr.DataArray(np.stack([one.scale.values for one in scans]), dims=dims, coords=coords)
    masks, rules = make_regions(scales, cells, settings, read_mask=read_mask)
    nodes = {"/": _root(names, table, found, scans[0], names[reference], source)}
    for name, one, more in zip(names, scans, quantities, strict=True):
        own = {key: (("phase", "y", "x"), more[key].astype(np.float32), {"units": UNITS[key]}) for key in ("share",)}
        nodes[f"/scans/{name}"] = (
            one.drop_vars(["y", "x"]).assign(own).drop_attrs(deep=False).assign_attrs(_plain(table[name]))
        )
    nodes["/regions"] = xr.Dataset(
        {
            "mask": (("region", "y", "x"), np.stack(list(masks.values())), {"units": "1"}),
            "rule": ("region", _strings(rules.values()), {"units": "1"}),
        },
        coords={"region": _text("region", masks)},
    )
    evolution = evolve(stacked, np.stack(list(masks.values())))
    units = {"mean": UNITS, "sd": UNITS, "se": UNITS, "n": dict.fromkeys(UNITS, "1")}
    nodes["/evolution"] = xr.Dataset(
        {
            name: (("scan", "region", "phase"), values, {"units": units[name.split("_")[1]][name.split("_")[0]]})
            for name, values in evolution.items()
        },
        coords={"region": _text("region", masks), "phase": scans[0].phase.variable},
    ).assign_coords(voltage_V=("scan", _voltages(names, table), {"units": "V"}))
    return xr.DataTree.from_dict(nodes)


def _same_phases(maps):
    found = {name: one.phase.values.tolist() for name, one in maps.items()}
    first, *others = found
    for name in others:
        if found[name] != found[first]:
            raise StoreError(
                f"the fits of {first} and {name} hold other phases ({', '.join(found[first])}; "
                f"{', '.join(found[name])}): fit all scans with one phase set"
            )


def _quantities(scans: list[xr.Dataset], settings: Beamtime) -> list[dict[str, np.ndarray]]:
    """Shares and cells of every scan where there is something to be said, (phase, y, x) by name."""
    phases = scans[0].phase.values.tolist()
    groups = [[phases.index(phase) for phase in group] for group in settings.groups.values()]
    scales = [one.scale.values for one in scans]
    tops = group_tops(scales, groups)
    highest = [max(top_of(scale[k]) for scale in scales) for k in range(len(phases))]
    found = []
    for one in scans:
        own = {"share": shares(one.scale.values, groups, least=settings.least_scale, tops=tops)}
        for name in CELLS:
            fitted = np.isfinite(one[f"{name}_err"].values)
            own[name] = np.stack(
                [
                    cells_where_strong(
                        np.where(fitted[k], one[name].values[k], np.nan),
                        one.scale.values[k],
                        one.scale_err.values[k],
                        least=settings.least_scale,
                        top=highest[k],
                    )
                    for k in range(len(phases))
                ]
            )
        found.append(own)
    return found


def _root(names, table, found, one, reference, source):
    step = one.attrs["voxel_mm"]
    columns = {
        "voltage_V": (_voltages(names, table), "V"),
        **{key: (_strings(table[name][key] for name in names), "1") for key in ("sample", "cycle", "state")},
        "rotation_deg": ([one.motion.rotation_deg for one in found], "degree"),
        "shift_x_mm": ([one.motion.shift_x_px * step for one in found], "mm"),
        "shift_y_mm": ([-one.motion.shift_y_px * step for one in found], "mm"),
        "place_error_px": ([one.error_px for one in found], "pixel"),
        "residual_px": ([one.residual_px for one in found], "pixel"),
    }
    return xr.Dataset(
        {name: ("scan", values, {"units": unit}) for name, (values, unit) in columns.items()},
        coords={"scan": _text("scan", names), "y": one.y, "x": one.x},
        attrs={"voxel_mm": step, "reference": reference, "source": source},
    )


def _voltages(names, table):
    voltages = (table[name]["voltage_V"] for name in names)
    return np.array([np.nan if voltage is None else voltage for voltage in voltages], dtype=float)


def _strings(values):
    return np.array([str(value) for value in values], dtype=np.dtypes.StringDType())


def _text(dim, names):
    return xr.Variable(dim, _strings(names))


def _plain(row):
    return {key: "" if value is None else value for key, value in row.items()}
