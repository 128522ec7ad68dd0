"""The same beamtime in every layout of raw files, as the pipeline's readers see it."""

import fabio
import numpy as np
import pytest
from small_beamtime import small

from xrdct.io.frames import open_frames
from xrdct.scans import read_scans
from xrdct.twin.simulate import simulate

SHORT = {"scan": {"n_positions": 10, "step_mm": 0.4, "n_projections": 2}}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Folders by format."""
    folders = {}
    for kind in ("bliss", "hdf5", "cbf"):
        folders[kind] = tmp_path_factory.mktemp(kind)
        assert simulate(small(SHORT, {"files": {"format": kind}}), folders[kind], workers=2, quiet=True)
    return folders


@pytest.mark.parametrize("kind", ["hdf5", "cbf"])
def test_frames_and_counters_are_the_same_in_every_format(written, kind):
    rows = {name: read_scans(written[name] / "scans.tsv") for name in ("bliss", kind)}
    for expected, found in zip(rows["bliss"], rows[kind], strict=True):
        with (
            open_frames(written["bliss"] / "raw" / expected.file, expected.dataset) as reference,
            open_frames(written[kind] / "raw" / found.file, found.dataset) as frames,
        ):
            assert tuple(frames.shape) == tuple(reference.shape) == (20, 10, 110)
            np.testing.assert_array_equal(frames.read(0, 20), reference.read(0, 20))
            for counter in ("mon", "diode", "rot", "ty"):
                # A header has nine digits.
                np.testing.assert_allclose(frames.values(counter), reference.values(counter), rtol=1e-8, atol=1e-8)


def test_cbf_headers_say_what_a_pilatus_says(written):
    image = fabio.open(written["cbf"] / "raw" / "charged_4p2V_s2" / "charged_4p2V_s2_000003.cbf")
    header = image.header["_array_data.header_contents"]
    for line in ("Exposure_time 0.0100000 s", "Detector_distance 1.000000 m", "Wavelength 0.130510 A"):
        assert line in header
    assert image.header["_array_data.header_convention"] == "PILATUS_1.2"


@pytest.mark.parametrize("kind", ["hdf5", "cbf"])
def test_a_second_run_in_the_same_format_writes_nothing_and_the_same_seed_gives_the_same_bytes(written, kind, tmp_path):
    parameters = small(SHORT, {"files": {"format": kind}})
    assert not simulate(parameters, written[kind], quiet=True)
    simulate(parameters, tmp_path, workers=1, quiet=True)
    here = {path.relative_to(tmp_path): path.read_bytes() for path in (tmp_path / "raw").rglob("*") if path.is_file()}
    assert len(here) > 5
    for name, content in here.items():
        assert (written[kind] / name).read_bytes() == content, name
    assert simulate(small(SHORT, {"files": {"format": kind}, "seed": 9}), tmp_path, quiet=True)
