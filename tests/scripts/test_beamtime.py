"""Fits of three scans to one tree: planted motions, phases that come and go, cells; and its figures."""

import numpy as np
import pytest
import xarray as xr

import draw_beamtime
import draw_unrolled
from support_beamtime import MOTIONS, SETTINGS, STATES, STEP, N, gather_to, write_beamtime
from xrdct.errors import StoreError
from xrdct.io.store import read_manifest
from xrdct.io.tree import read_tree
from xrdct.registration import Motion


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("beamtime")
    write_beamtime(folder)
    return folder


@pytest.fixture(scope="module")
def tree(folder):
    return read_tree(folder / "beamtime.zarr").load()


def test_scans_are_put_on_the_place_of_the_first(tree):
    for k, planted in enumerate(MOTIONS.values()):
        found = Motion(float(tree.rotation_deg[k]), -float(tree.shift_y_mm[k]) / STEP, float(tree.shift_x_mm[k]) / STEP)
        off = np.hypot(*(found.places((N, N)) - Motion(*planted).places((N, N))))
        assert off.max() < 0.2  # the mark
    assert (tree.residual_px.values < 0.2).all()
    first, last = (tree["scans"][scan].scale.sel(phase="Fe").values for scan in ("s1", "s3"))
    both = np.isfinite(first) & np.isfinite(last)
    assert np.corrcoef(first[both], last[both])[0, 1] > 0.97


def test_the_evolution_is_the_planted_one(tree):
    evolution = tree["evolution"].to_dataset()
    for name, (voltage, lithiated, a, c) in STATES.items():
        one = evolution.sel(scan=name)
        assert float(one.voltage_V) == voltage
        found = one.sel(region="whole")
        # Layers touch in the blur of the resampling: a per cent or two of another phase.
        assert float(found.share_mean.sel(phase="LiC6")) == pytest.approx(lithiated, abs=0.03)
        low, high = (one.sel(region=f"NCA-{k}", phase="NCA") for k in (1, 2))
        # The marks: 0.001 and 0.002 Å.
        assert float(low.a_mean) == pytest.approx(a, abs=0.001)
        assert float(low.c_mean) == pytest.approx(c, abs=0.002)
        assert float(high.a_mean) == pytest.approx(a - 0.004, abs=0.001)
        assert float(high.c_mean) == pytest.approx(c + 0.04, abs=0.002)
    assert np.isnan(evolution.a_mean.sel(phase="Cu")).all()


def test_regions_are_stored_with_the_rule_that_made_them(tree, folder):
    regions = tree["regions"].to_dataset()
    assert regions.region.values.tolist() == ["whole", "upper", "cathode", "farther", "drawn", "NCA-1", "NCA-2"]
    upper = regions.mask.sel(region="upper").values
    assert upper[:45].all()
    assert not upper[51:].any()
    farther, other = (regions.mask.sel(region=name).values for name in ("farther", "NCA-2"))
    # Of the last scan, as the clusters are: the limit lies between the two, 5 standard errors from each.
    assert (farther & other).sum() > 0.98 * other.sum() > 0.96 * farther.sum()
    drawn = regions.mask.sel(region="drawn").values
    assert drawn.sum() == 400
    assert "azimuth_deg" in str(regions.rule.sel(region="upper").item())
    lines = (folder / "beamtime.csv").read_text().splitlines()
    assert lines[0].startswith("scan,voltage_V,region,phase,share_mean")
    assert len(lines) > 3 * 6


def test_the_tree_opens_without_the_package_and_comes_out_the_same_again(tree, folder):
    plain = xr.open_datatree(folder / "beamtime.zarr", engine="zarr", consolidated=False)
    assert sorted(plain["scans"].children) == sorted(STATES)
    gather_to(folder, "again")
    assert read_manifest(folder / "again.json")["sha256"] == read_manifest(folder / "beamtime.json")["sha256"]


def test_another_kind_of_store_is_refused(folder):
    with pytest.raises(StoreError, match="expected kind 'beamtime'"):
        read_tree(folder / "s1.zarr")
    with pytest.raises(StoreError, match="no such store"):
        read_tree(folder / "nowhere.zarr")


def test_every_figure_is_drawn_as_png_and_svg(folder):
    names = ("components", "shares", "cells", "uncertainty", "regions")
    outputs = {name: str(folder / f"{name}.png") for name in names}
    draw_beamtime.main(folder / "beamtime.zarr", outputs, groups=SETTINGS["groups"], colormap="viridis")
    unroll = {"casing": "Fe", "layer": "NCA", "pitch_mm": [0.35, 0.7], "radius_mm": [0.4, 2.0], "phases": ["NCA"]}
    png, svg = folder / "unrolled.png", folder / "unrolled.svg"
    draw_unrolled.main(folder / "beamtime.zarr", png, svg, unroll=unroll, colormap="viridis")
    for name in (*names, "unrolled"):
        assert (folder / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert "</svg>" in (folder / f"{name}.svg").read_text()
