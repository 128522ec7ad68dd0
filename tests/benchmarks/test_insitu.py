"""The in-situ bench says which region went wrong, and at which voltage."""

import numpy as np
import pytest
import xarray as xr
import yaml

from xrdct.bench import insitu, marks
from xrdct.twin.parameters import PRESETS

PHASES = ["NCA", *insitu.ANODE]
NAMES = [*insitu.ANODE_REGIONS, *insitu.CATHODE_REGIONS]
REGIONS = [how + name for how in ("", insitu.DRAWN) for name in NAMES]


@pytest.fixture
def states():
    settings = yaml.safe_load((PRESETS / "nca18650.yaml").read_text(encoding="utf-8"))
    return {state["scan"]: state for state in settings["states"]}


@pytest.fixture
def evolution(states):
    """What perfect maps would give."""
    shape = (len(states), len(REGIONS), len(PHASES))
    dims, names = ("scan", "region", "phase"), ("share_mean", "a_mean", "c_mean")
    coords = {"scan": list(states), "region": REGIONS, "phase": PHASES}
    found = xr.Dataset({name: (dims, np.full(shape, np.nan)) for name in names}, coords)
    for scan, state in states.items():
        for how in ("", insitu.DRAWN):
            for part in state["anode"]:
                for phase in insitu.ANODE:
                    found.share_mean.loc[scan, how + part["name"], phase] = part["phases"].get(phase, 0.0)
            for region in insitu.CATHODE_REGIONS:
                for edge in ("a", "c"):
                    found[f"{edge}_mean"].loc[scan, how + region, "NCA"] = state["lattice"][f"NCA@{region}"][edge]
    return found


def missed(found):
    return {mark.name for mark in found if mark.holds is False}


def test_perfect_maps_reach_every_mark(evolution, states):
    found = insitu.compare(evolution, states)
    assert not missed(found)
    assert len([mark for mark in found if mark.name.startswith("Table S5") and "±" in mark.goal]) == 6 * 3 * 2
    assert "LiC12+LiC6" in next(mark.measured for mark in found if mark.name.startswith("HL"))


def test_a_phase_that_comes_one_voltage_late_is_missed(evolution, states):
    evolution.share_mean.loc["v3p95", "drawn-HL", ["LiC12", "LiC6"]] = [1.0, 0.0]
    assert missed(insitu.compare(evolution, states)) == {"HL: phases at each voltage"}


def test_a_mean_beside_its_planted_value_is_missed_and_stands_there(evolution, states):
    evolution.c_mean.loc["v4p20", "drawn-ROI2", "NCA"] += 0.003
    found = insitu.compare(evolution, states)
    names = {"Table S5: c in ROI2 at 4.20 V", "Table S5: largest error of c, all regions and voltages"}
    assert missed(found) == names
    page = marks.table(marks.summary("insitu", found, device="CPU"))
    assert "| Table S5: c in ROI2 at 4.20 V | 14.47 ± 0.002 | 14.473 Å | **no** |" in page


def test_a_region_without_a_voxel_is_missed(evolution, states):
    evolution.a_mean.loc["v2p65", "drawn-ROI3", "NCA"] = np.nan
    names = {"Table S5: a in ROI3 at 2.65 V", "Table S5: largest error of a, all regions and voltages"}
    assert missed(insitu.compare(evolution, states)) == names


@pytest.fixture
def masks():
    """Six squares side by side, found by the rules as they were drawn."""
    found = np.zeros((len(REGIONS), 10, 60), bool)
    for k, name in enumerate(REGIONS):
        at = 10 * NAMES.index(name.removeprefix(insitu.DRAWN))
        found[k, :, at : at + 10] = True
    return xr.DataArray(found, dims=("region", "y", "x"), coords={"region": REGIONS})


def test_rules_that_find_what_was_drawn_reach_every_mark(masks, evolution, states):
    assert not missed(insitu.judge_rules(masks, evolution, states))


def test_a_rule_that_looks_elsewhere_is_missed(masks, evolution, states):
    masks.loc["ROI3"] = masks.sel(region="ROI1").values
    evolution.a_mean.loc["v4p20", "ROI3", "NCA"] = 2.819
    names = {"ROI3: found by its rule", "Table S5, regions by rule: largest error of a"}
    assert missed(insitu.judge_rules(masks, evolution, states)) == names


class TestMaps:
    @pytest.fixture
    def truth(self):
        """Discs of two phases, one of which the phase set calls by another name, and one in two regions."""
        y, x = np.mgrid[-20:21, -20:21]
        names = ["tab_NiCu", "NCA@ROI1", "NCA@ROI2", "Fe"]
        volume = np.stack([np.hypot(x - dx, y) < radius for dx, radius in ((8, 5), (-8, 4), (-2, 3), (0, 0))])
        share = volume / np.maximum(volume.sum(axis=0), 1)
        coords = {"phase": names, "y": y[:, 0], "x": x[0], "angle": np.arange(0, 180, 2.0)}
        data = {"volume_fraction": volume.astype("f4"), "weight_fraction": share.astype("f4")}
        return xr.Dataset({name: (("phase", "y", "x"), values) for name, values in data.items()}, coords)

    @pytest.fixture
    def maps(self, truth):
        """Three times what was planted."""
        tab, one, two, iron = 3 * truth.volume_fraction.values
        data = {"scale": (("phase", "y", "x"), np.stack([one + two, tab, iron])), "mask": (("y", "x"), tab >= 0)}
        return xr.Dataset(data, {"phase": ["NCA", "tab", "Fe"]})

    def test_perfect_maps_of_any_scale_are_alike_and_absent_phases_do_not_count(self, truth, maps):
        found = insitu.map_marks({"one": truth}, {"one": maps})
        assert [mark.measured for mark in found if mark.goal] == pytest.approx([1, 1])  # NCA and tab, no Fe
        assert not missed(found)
        # A disc's rim is lost in 90 projections, but not the disc.
        shown = [mark.measured for mark in found if not mark.goal]
        assert min(shown) > 0.9
        assert max(shown) < 1

    def test_the_worst_of_the_voltages_counts(self, truth, maps):
        moved = maps.roll(x=3)
        found = insitu.map_marks({"one": truth, "two": truth}, {"one": maps, "two": moved})
        assert len(missed(found)) == 2
