"""What every test may use."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of real files; tests that need it skip where it is not named."""
    folder = os.environ.get("XRDCT_REAL_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("XRDCT_REAL_DATA names no folder of real files")
    return Path(folder)
