"""What all tests share: the real files, and beamtimes that were run once."""

import os
from pathlib import Path

import pytest

from support import REPOSITORY, Beamtime, simulate


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of the real files; tests that use it carry the marker `real_data`."""
    name = os.environ.get("XRDCT_REAL_DATA")
    if not name or not Path(name).is_dir():
        pytest.skip("XRDCT_REAL_DATA does not name the folder of real files")
    return Path(name)


@pytest.fixture(scope="session")
def tiny_raw(tmp_path_factory) -> Path:
    """Folder with the raw files of the preset `tiny` in raw/; not to be changed."""
    folder = tmp_path_factory.mktemp("tiny-raw")
    simulate("tiny", folder)
    return folder


@pytest.fixture(scope="session")
def tiny(tiny_raw, tmp_path_factory) -> Beamtime:
    """The preset `tiny`, run to the end; not to be changed."""
    beamtime = Beamtime(tiny_raw, REPOSITORY / "tests" / "data" / "tiny" / "config.yaml")
    beamtime.snakemake()
    return beamtime


@pytest.fixture(scope="session")
def demo(tmp_path_factory) -> Beamtime:
    """The demo beamtime, run to the end as `python3 run.py demo` does; not to be changed."""
    beamtime = Beamtime(tmp_path_factory.mktemp("demo"), REPOSITORY / "config" / "demo" / "config.yaml")
    simulate("demo", beamtime.folder)
    beamtime.snakemake()
    return beamtime
