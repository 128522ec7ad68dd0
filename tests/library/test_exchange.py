"""Maps for other programs, read back with their readers."""

import base64
import csv
import zlib
from xml.etree import ElementTree

import h5py
import numpy as np
import pytest
import tifffile
import xarray as xr
import zarr
from pyFAI.detectors import Detector
from pyFAI.geometry import Geometry

from support_beamtime import PHASES, STATES, STEP, N, write_beamtime
from xrdct.cli import main
from xrdct.errors import RawDataError
from xrdct.io.exchange import QUANTITIES, export, export_patterns
from xrdct.io.store import write_store
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


def cell_array(path, name):
    """Geometry and one array of a .vti, [y, x], read as the format's page says: https://docs.vtk.org."""
    image = ElementTree.parse(path).getroot().find("ImageData")
    (found,) = [one for one in image.iter("DataArray") if one.get("Name") == name]
    header, packed = base64.b64decode(found.text[:44]), base64.b64decode(found.text[44:])
    blocks, size, last, compressed = np.frombuffer(header, "<u8")
    assert (blocks, last, compressed) == (1, 0, len(packed))
    values = np.frombuffer(zlib.decompress(packed), "<f4")
    assert values.nbytes == size
    extent = [int(n) for n in image.find("Piece").get("Extent").split()]
    return image.attrib, values.reshape(extent[3] - extent[2], extent[1] - extent[0])


def test_vtk_images_have_their_cells_in_place(tree, tmp_path):
    files = export(tree, "vtk", tmp_path)
    assert [path.name for path in files] == [f"{scan}.vti" for scan in STATES]
    image, values = cell_array(tmp_path / "s2.vti", "LiC6 scale")
    np.testing.assert_array_equal(values[::-1], lithium(tree))
    one = tree["scans"]["s2"].to_dataset()
    # VTK's origin is the lower left corner of the first cell, its y goes up.
    origin, spacing = ([float(n) for n in image[key].split()] for key in ("Origin", "Spacing"))
    np.testing.assert_allclose(origin[:2], [one.x.min() - STEP / 2, one.y.min() - STEP / 2], atol=1e-9)
    assert spacing == [STEP, STEP, STEP]


def test_patterns_are_written_as_the_definition_of_nxxrdct_names_them(tree, tmp_path):
    """Names: github.com/nexuscontributions/nxxrdct 0.1.0b0."""
    results = tmp_path / "results"
    (results / "calibrate").mkdir(parents=True)
    detector = Detector(pixel1=1e-4, pixel2=1e-4, max_shape=(10, 10))
    Geometry(1.0, 5e-4, 5e-4, detector=detector, wavelength=0.13e-10).save(str(results / "calibrate" / "geometry.poni"))
    rng, dims, one = np.random.default_rng(1), ("angle", "position", "q"), {"units": "1"}
    for scan in STATES:
        data = xr.Dataset(
            {"intensity": (dims, rng.random((20, 5, 7), "f4"), {"units": "counts"}),
             "variance": (dims, rng.random((20, 5, 7), "f4"), {"units": "counts^2"}),
             "air": (("angle", "q"), np.zeros((20, 7), "f4"), {"units": "counts"}),
             **{name: (dims[:2], np.zeros((20, 5), int), one) for name in ("repaired", "bad_frame", "zingers")},
             **{name: ("angle", np.zeros(20), one) for name in ("subset", "direction", "offset")}},
            coords={"angle": np.arange(20) * 9.0, "position": np.arange(5) * 0.1, "q": np.linspace(1, 2, 7)},
        )  # fmt: skip
        folder = results / scan / "assemble"
        write_store(data, folder / "sinogram.zarr", folder / "sinogram.json", kind="sinogram", settings={}, inputs={})
    files = export_patterns(tree, results, tmp_path / "out")
    assert [path.name for path in files] == [f"{scan}.nxs" for scan in STATES]
    with h5py.File(tmp_path / "out" / "s3.nxs") as file:
        entry = file["entry"]
        assert entry["definition"][()] == b"NXxrdct"
        shown = entry["data"]
        signal = shown[shown.attrs["signal"]]
        assert signal == entry["instrument/detector/data"]
        assert [shown[axis].size for axis in shown.attrs["axes"]] == list(signal.shape) == [5, 20, 7]
        np.testing.assert_array_equal(signal[()].transpose(1, 0, 2), data.intensity.values)
        np.testing.assert_array_equal(entry["sample/rotation_angles"][()], data.angle.values)
        assert shown["radial_axis"].attrs["long_name"] == "q"
        # hc = 12.398 keV Å, and Bragg's law.
        assert entry["beam/incident_energy"][()] == pytest.approx(12.39842 / 0.13, rel=1e-6)
        spacing = 0.13 / (2 * np.sin(np.radians(entry["instrument/detector/polar_angle"][()]) / 2))
        np.testing.assert_allclose(2 * np.pi / spacing, data.q.values)


def test_patterns_that_are_not_there_are_named(tree, tmp_path):
    with pytest.raises(RawDataError, match=r"geometry\.poni"):
        export_patterns(tree, tmp_path, tmp_path / "out")


def test_the_command_names_what_it_wrote(tmp_path, capsys):
    write_beamtime(tmp_path)
    assert main(["export", str(tmp_path / "beamtime.zarr"), "--to", "nexus", "-o", str(tmp_path / "out")]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "out" / "beamtime.nxs")
