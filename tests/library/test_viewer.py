"""The viewer: what it reads, and the page itself in a real browser."""

import asyncio
import gc
import os
import subprocess
import sys

import numpy as np
import pytest
import xarray as xr

from support import REPOSITORY
from support_beamtime import MOTIONS, STATES, STEP, N, scan_of, write_beamtime
from support_browser import browser, find_browser
from xrdct.errors import StoreError
from xrdct.io.masks import read_mask
from xrdct.io.store import write_store
from xrdct.viewer.serve import open_server
from xrdct.viewer.sources import Beamtime

Q = np.linspace(1.0, 3.0, 40)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """A beamtime with volumes beside it whose first channels hold the number of the voxel."""
    folder = tmp_path_factory.mktemp("viewer")
    write_beamtime(folder)
    for scan in STATES:
        intensity = np.zeros((N, N, Q.size), np.float32)
        intensity[..., 0] = np.arange(N)[:, None]
        intensity[..., 1] = np.arange(N)[None, :]
        volume = xr.Dataset(
            {"intensity": (("y", "x", "q"), intensity, {"units": "counts/voxel"})},
            coords={**scan_of(scan)[["y", "x"]].coords, "q": ("q", Q, {"units": "1/angstrom"})},
            attrs={"voxel_mm": STEP},
        )
        store = folder / scan / "reconstruct" / "first"
        write_store(volume, store / "volume.zarr", store / "volume.json", kind="volume", settings={}, inputs={})
    return folder


def test_a_voxel_shows_the_pattern_of_the_same_piece_of_matter(results):
    beamtime = Beamtime(results / "beamtime.zarr")
    row, column = 30, 61
    for scan, (turn, down, right) in MOTIONS.items():
        angle, middle = np.radians(turn), (N - 1) / 2
        u, v = row - middle, column - middle
        there = (
            np.cos(angle) * u - np.sin(angle) * v + middle + down,
            np.sin(angle) * u + np.cos(angle) * v + middle + right,
        )
        found = beamtime.pattern(scan, row, column)
        # Half a pixel of rounding, and what the registration is off.
        assert found.measured[:2] == pytest.approx(there, abs=0.7)
        assert found.neighbours[:2] == pytest.approx(found.measured[:2], abs=1e-4)
        assert found.stage == "first"
        assert beamtime.fit(scan, found) is None


def test_without_a_volume_the_viewer_says_so(results, tmp_path):
    (tmp_path / "beamtime.zarr").symlink_to(results / "beamtime.zarr")
    with pytest.raises(StoreError, match="no volume lies beside"):
        Beamtime(tmp_path / "beamtime.zarr").pattern("s1", 3, 3)


def test_a_drawn_region_has_the_evolution_of_its_voxels_and_is_exported(results):
    beamtime = Beamtime(results / "beamtime.zarr")
    mask = np.zeros((N, N), bool)
    mask[40:50, 20:60] = True
    found = beamtime.evolve(mask, "LiC6", "share")
    expected = [np.nanmean(beamtime.image(scan, "LiC6", "share")[mask]) for scan in STATES]
    np.testing.assert_allclose(found["mean"], expected, rtol=1e-5)
    path, table, picture = beamtime.export_region(mask, "mine", scan="s2", phase="LiC6", quantity="share")
    assert picture.read_bytes().startswith(b"\x89PNG")
    np.testing.assert_array_equal(read_mask(path), mask)
    assert "s2,3.8,mine,LiC6" in table.read_text()


# Bokeh leaves a socket that it could not bind to the garbage collector.
@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_taken_port_is_an_error_that_says_so(results):
    closed = asyncio.new_event_loop()  # what an earlier user of this thread may leave behind
    asyncio.set_event_loop(closed)
    closed.close()
    server = open_server(results / "beamtime.zarr", port=0)
    with pytest.raises(StoreError, match="--port"):
        open_server(results / "beamtime.zarr", port=server.port)
    server.stop()
    server.io_loop.close()
    gc.collect()


SAID = "Bokeh.documents[0].get_model_by_name('say').text"
MAP = """(() => {
  const view = Bokeh.index.find_one(Bokeh.documents[0].get_model_by_name('map'))
  const box = view.el.getBoundingClientRect()
  return [box.left + view.frame.x_scale.compute(%f), box.top + view.frame.y_scale.compute(%f)]
})()"""
SAVE = """(() => {
  const box = Bokeh.index.find_one(Bokeh.documents[0].get_model_by_name('save')).el.getBoundingClientRect()
  return [(box.left + box.right) / 2, (box.top + box.bottom) / 2]
})()"""
CHOOSE_BOX = (
    """Bokeh.documents[0].get_model_by_name('map').toolbar.tools.find(t => t.type == 'BoxSelectTool').active = true"""
)


@pytest.mark.slow
@pytest.mark.skipif(find_browser() is None, reason="no Chromium on this machine")
def test_the_page_shows_a_map_a_clicked_pattern_and_a_drawn_region(results, tmp_path):
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY / "workflow" / "src")}
    command = [sys.executable, "-m", "xrdct", "view", results / "beamtime.zarr", "--port", "0"]
    with subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, text=True, env=environment) as server:
        try:
            asyncio.run(look(server.stdout.readline().split()[0], tmp_path))
        finally:
            server.terminate()


async def look(url, folder):
    async with browser(url, folder) as tab:
        await tab.until("window.Bokeh && Bokeh.documents.length && Bokeh.documents[0].is_idle")
        assert await tab.run("document.title") == "xrdct: beamtime.zarr"
        await tab.mouse(await tab.run(MAP % (0.525, 0.625)))
        await tab.until(f"{SAID}.includes('voxel at x 0.525, y 0.625')")
        drawn = "Bokeh.documents[0].get_model_by_name('patterns').renderers[0].data_source.data.value"
        assert await tab.until(f"{drawn}.length") == Q.size
        await tab.run(CHOOSE_BOX)
        corners = [await tab.run(MAP % corner) for corner in ((-1.0, -1.0), (-0.5, -0.5), (0.0, 0.0))]
        await tab.mouse(*corners)
        await tab.until("(Bokeh.documents[0].get_model_by_name('evolution').title.text || '').includes('voxels drawn')")
        assert not await tab.run("Bokeh.documents[0].get_model_by_name('save').disabled")
        await tab.mouse(await tab.run(SAVE))
        await tab.until(f"{SAID}.includes('drawn.png')")
        await tab.picture(folder / "page.png")
        assert (folder / "page.png").stat().st_size > 20_000  # an empty page is a few kilobytes
