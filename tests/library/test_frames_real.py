"""Real frames, masters and images of beamlines."""

import numpy as np
import pytest

from xrdct.errors import RawDataError
from xrdct.io.frames import open_frames, read_image
from xrdct.io.nexus import list_scans


@pytest.mark.real_data
def test_danmax_frames_read_with_their_marks_and_hot_pixels(real_data):
    source = open_frames(real_data / "danmax_raw_pilatus" / "scan-0002_pilatus.h5")
    frames = source.read(0, 2)
    assert frames.shape == (2, 1679, 1475)
    assert set(np.unique(frames[frames < 0])) == {-2, -1}
    assert (frames[0] < 0).sum() == 203348  # SOURCE.txt
    assert frames.max() == 339797
    with pytest.raises(RawDataError, match=r"master\.h5: no such file.*scan-0002_pilatus\.h5"):
        open_frames(real_data / "danmax_raw_pilatus" / "scan-0002_master.h5")


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("file", "prefix"), [("ma4500_demoh5.h5", "demoh5_dataset_"), ("demoh5_dataset/demoh5_dataset.h5", "")]
)
def test_a_real_bliss_master_resolves_and_its_missing_frames_are_named(real_data, file, prefix):
    path = real_data / "bliss_id11_demoh5" / file
    scans = list_scans(path)
    assert [(scan.name, scan.title, scan.shape) for scan in scans] == [
        (f"{prefix}1.1", "loopscan 2 0.1", (2, 2048, 2048)),
        (f"{prefix}2.1", "loopscan 5 0.1", (5, 2048, 2048)),
    ]
    assert scans[0].recorded == ("elapsed_time", "epoch")
    with pytest.raises(RawDataError, match=r"scan0002/marana_0000\.h5, which is missing"):
        open_frames(path, scans[1].dataset)


@pytest.mark.real_data
def test_positioners_of_a_real_bliss_scan_are_read(real_data):
    from xrdct.io.hdf5_links import reading
    from xrdct.io.nexus import read_recorded

    with reading(real_data / "bliss_id11_demoh5" / "demoh5_dataset" / "demoh5_dataset.h5") as file:
        positions = read_recorded(file, "/1.1/measurement/marana", "diffty", 2)
        times = read_recorded(file, "/1.1/measurement/marana", "elapsed_time", 2)
    np.testing.assert_allclose(positions, [13.25, 13.25], rtol=1e-12)  # the file's double is 13.250000000000002
    assert times[0] == 0
    assert times[1] == pytest.approx(0.2718, abs=1e-4)  # loopscan 2 0.1, printed to four digits


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("file", "shape"),
    [
        ("ndtomo_ceo2/CeO2.cbf", (1679, 1475)),
        ("ndtomo_ceo2/mask.edf.gz", (1679, 1475)),
        ("gsecars_pil1m_ceo2/CeO2_Pilatus1M.tif.gz", (1043, 981)),
    ],
)
def test_real_images_are_read(real_data, file, shape):
    image = read_image(real_data / file)
    assert image.shape == shape
    assert image.max() > 0
