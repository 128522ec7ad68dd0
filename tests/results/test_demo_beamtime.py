"""The demo's beamtime as a whole against the simulator's truth: evolution, motions, the unrolled foil."""

import json

import numpy as np
import pytest

from xrdct.bench.first_way import read_truth
from xrdct.circle import find_casing
from xrdct.io.tree import read_tree
from xrdct.unroll import find_spiral

NCA = {"discharged_2p65V": (2.8616, 14.2315), "charged_4p2V": (2.819, 14.481)}
ANODE = ("graphite", "LiC30plus", "LiC12", "LiC6")


@pytest.fixture(scope="module")
def tree(demo):
    return read_tree(demo.folder / "results" / "beamtime.zarr").load()


def test_a_cell_that_did_not_move_is_not_moved(tree):
    assert np.abs(tree.rotation_deg.values).max() < 0.2
    assert np.hypot(tree.shift_x_mm, tree.shift_y_mm).max() < 0.1 * tree.attrs["voxel_mm"]
    assert tree.residual_px.values.max() < 0.2  # the mark


@pytest.mark.parametrize("scan", NCA)
def test_the_cathode_has_its_planted_cell(tree, scan):
    found = tree["evolution"].to_dataset().sel(scan=scan, region="cathode", phase="NCA")
    # The marks are 0.001 and 0.002 Å without parallax; the demo has some.
    assert float(found.a_mean) == pytest.approx(NCA[scan][0], abs=0.001)
    assert float(found.c_mean) == pytest.approx(NCA[scan][1], abs=0.003)


@pytest.mark.parametrize("scan", NCA)
def test_the_shares_of_the_anode_are_the_planted_ones(demo, tree, scan):
    truth = read_truth(demo.folder, scan).volume_fraction
    planted = {phase: float(truth.sel(phase=phase).sum()) for phase in ANODE if phase in truth.phase.values}
    found = tree["evolution"].share_mean.sel(scan=scan, region="whole")
    for phase, amount in planted.items():
        # What is said of a voxel counts alike wherever the anode is strong; at its edges all phases are weak.
        assert float(found.sel(phase=phase)) == pytest.approx(amount / sum(planted.values()), abs=0.04)


def test_the_copper_foil_is_followed_within_half_a_pixel(demo, tree):
    cell = json.loads(read_truth(demo.folder, "charged_4p2V").attrs["parameters"])["cell"]
    scans = [tree["scans"][name].scale.fillna(0) for name in tree.scan.values]
    copper, casing = (sum(one.sel(phase=phase) for one in scans).values for phase in ("Cu", "Fe"))
    step = tree.attrs["voxel_mm"]
    circle = find_casing(casing)
    spiral = find_spiral(copper, circle, pitch_px=(0.28 / step, 0.45 / step), radius_px=(0.3 / step, 1.35 / step))
    x = tree.x.values[0] + spiral.columns * step - cell["axis_x_mm"]
    y = tree.y.values[0] - spiral.rows * step - cell["axis_y_mm"]
    layers = {name: cell[f"{name}_um"] / 1000 for name in ("separator", "anode", "copper", "cathode", "aluminium")}
    pitch = 2 * (layers["separator"] + layers["anode"] + layers["cathode"]) + layers["copper"] + layers["aluminium"]
    foil = cell["hole_radius_mm"] + layers["separator"] + layers["anode"] + layers["copper"] / 2
    turn = np.arctan2(y, x) % (2 * np.pi) / (2 * np.pi)
    off = np.min([np.abs(np.hypot(x, y) - foil - pitch * (turn + k)) for k in range(4)], axis=0) / step
    assert np.percentile(off, 99) < 0.5  # the mark
    assert np.ptp(spiral.turns) / (2 * np.pi) == pytest.approx(cell["turns"], abs=0.1)
    off_centre = (
        tree.y.values[0] - circle.row * step - cell["axis_y_mm"],
        tree.x.values[0] + circle.column * step - cell["axis_x_mm"],
    )
    assert np.hypot(*off_centre) < 0.1 * step
