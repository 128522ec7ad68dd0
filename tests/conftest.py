"""What all tests share: the real files, beamtimes that were run once, and who runs what when there are two workers."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock

import slurm_node
from support import REPOSITORY, Beamtime, simulate

HERE = Path(__file__).resolve().parent


ORDER = ["results/test_demo.py", "workflow", "scripts", "library", "benchmarks", "results"]
"""What takes longest begins first; other tests of the demo come when it is there, so that no worker waits for it."""


def pytest_sessionstart(session):
    """A SLURM that was killed with its tests would cost every Snakemake nine seconds (`slurm_node`)."""
    if not hasattr(session.config, "workerinput"):
        slurm_node.remove_left_over()


def pytest_collection_modifyitems(items):
    """Sort the files, which go to the workers one by one."""
    items.sort(key=lambda item: [*(item.path.is_relative_to(HERE / name) for name in ORDER), True].index(True))


@pytest.fixture(scope="session")
def once(tmp_path_factory, request) -> Callable[[str, Callable[[Path], None]], Path]:
    """`once(name, make)`: a folder that `make` fills for all workers of a test run together."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if hasattr(request.config, "workerinput") else base

    def folder_of(name: str, make: Callable[[Path], None]) -> Path:
        folder = shared / name
        with FileLock(shared / f"{name}.lock"):
            if not (folder / "made").exists():
                folder.mkdir(exist_ok=True)
                make(folder)
                (folder / "made").touch()
        return folder

    return folder_of


@pytest.fixture
def one_thread():
    """Networks of toy images wait longer for a second thread than they gain by it, and numba raises torch's number."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of the real files; tests that use it carry the marker `real_data`."""
    name = os.environ.get("XRDCT_REAL_DATA")
    if not name or not Path(name).is_dir():
        pytest.skip("XRDCT_REAL_DATA does not name the folder of real files")
    return Path(name)


@pytest.fixture(scope="session")
def pictures() -> Path:
    """Folder of what a test leaves to be looked at."""
    folder = REPOSITORY / "build" / "pictures"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def tiny_raw(once) -> Path:
    """Folder with the raw files of the preset `tiny` in raw/; not to be changed."""
    return once("tiny-raw", lambda folder: simulate("tiny", folder))


@pytest.fixture(scope="session")
def tiny(tiny_raw, once) -> Beamtime:
    """The preset `tiny`, run to the end; not to be changed."""
    config = REPOSITORY / "tests" / "data" / "tiny" / "config.yaml"

    def make(folder):
        for name in ("raw", "truth"):
            shutil.copytree(tiny_raw / name, folder / name)
        Beamtime(folder, config).snakemake()

    return Beamtime(once("tiny", make), config)


@pytest.fixture(scope="session")
def demo(once) -> Beamtime:
    """The demo beamtime, run to the end as `python3 run.py demo` does; not to be changed."""
    config = REPOSITORY / "config" / "demo" / "config.yaml"

    def make(folder):
        simulate("demo", folder)
        Beamtime(folder, config).snakemake()

    return Beamtime(once("demo", make), config)
