"""Maps for other programs, read back with their readers."""

import csv

import h5py
import numpy as np
import pytest
import tifffile
import xarray as xr
import zarr

from support_beamtime import PHASES, STATES, STEP, N, write_beamtime
from xrdct.cli import main
from xrdct.io.exchange import QUANTITIES, export
from xrdct.io.tree import read_tree


@pytest.fixture(scope="module")
def tree(tmp_path_factory) -> xr.DataTree:
    folder = tmp_path_factory.mktemp("exchange")
    write_beamtime(folder)
    return read_tree(folder / "beamtime.zarr").load()


def lithium(tree, scan="s2"):
    return tree["scans"][scan].scale.sel(phase="LiC6").values.astype(np.float32)


def test_tables_hold_every_fitted_voxel(tree, tmp_path):
    files = export(tree, "csv", tmp_path)
    assert sorted(path.name for path in files) == ["evolution.csv", "s1.csv", "s2.csv", "s3.csv"]
    with (tmp_path / "s2.csv").open() as file:
        rows = list(csv.DictReader(file))
    # Written with six digits; voxels that the motion brought in from outside are not fitted.
    found = {(float(row["x_mm"]), float(row["y_mm"])): float(row["LiC6 scale"]) for row in rows}
    one = tree["scans"]["s2"].to_dataset()
    assert len(found) == int(one.rwp.notnull().sum())
    x, y = float(one.x[30]), float(one.y[60])
    assert found[float(f"{x:.6g}"), float(f"{y:.6g}")] == pytest.approx(lithium(tree)[60, 30], rel=1e-5)


def test_imagej_stacks_have_a_page_per_phase_and_the_voxel_size(tree, tmp_path):
    files = export(tree, "tiff", tmp_path)
    assert len(files) == len(STATES) * len(QUANTITIES)
    with tifffile.TiffFile(tmp_path / "s2_scale.tif") as file:
        np.testing.assert_array_equal(file.asarray()[PHASES.index("LiC6")], lithium(tree))
        assert file.imagej_metadata["unit"] == "um"
        counts, per = file.pages[0].tags["XResolution"].value
        assert per / counts == pytest.approx(1000 * STEP, rel=1e-6)


def test_ome_zarr_says_what_its_axes_and_channels_are(tree, tmp_path):
    export(tree, "ome-zarr", tmp_path)
    group = zarr.open_group(tmp_path / "s2.ome.zarr", mode="r")
    ome = group.attrs["ome"]
    labels = [channel["label"] for channel in ome["omero"]["channels"]]
    image = ome["multiscales"][0]
    np.testing.assert_array_equal(group[image["datasets"][0]["path"]][labels.index("LiC6 scale")], lithium(tree))
    assert [axis["name"] for axis in image["axes"]] == ["c", "y", "x"]
    assert image["datasets"][0]["coordinateTransformations"][0]["scale"] == [1.0, 50.0, 50.0]


def test_nexus_has_an_entry_per_scan_with_its_axes(tree, tmp_path):
    (path,) = export(tree, "nexus", tmp_path)
    with h5py.File(path) as file:
        assert sorted(file) == sorted(STATES)
        data = file["s2/scale"]
        assert data.attrs["NX_class"] == "NXdata"
        signal = data[data.attrs["signal"]]
        assert signal.shape == tuple(data[axis].size for axis in data.attrs["axes"]) == (len(PHASES), N, N)
        np.testing.assert_array_equal(signal[PHASES.index("LiC6")], lithium(tree))


def test_the_command_names_what_it_wrote(tmp_path, capsys):
    write_beamtime(tmp_path)
    assert main(["export", str(tmp_path / "beamtime.zarr"), "--to", "nexus", "-o", str(tmp_path / "out")]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "out" / "beamtime.nxs")
