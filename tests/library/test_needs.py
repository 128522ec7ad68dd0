"""What a cluster is asked for grows with the scan."""

import re

import pytest
from raw_files import subset_row

from support import REPOSITORY
from xrdct.needs import MEMORY, extent_of, memory_mib

PAPER = extent_of([subset_row(k, n_projections=100, n_positions=637) for k in (1, 2, 3, 4)], 400)


def test_the_extent_of_a_scan_is_that_of_all_its_subsets():
    assert PAPER.n_frames == 254_800
    assert PAPER.sinogram_mib == pytest.approx(254_800 * 400 * 4 / 2**20)
    assert PAPER.volume_mib == pytest.approx(405_769 * 400 * 4 / 2**20)


@pytest.mark.parametrize("rule", MEMORY)
def test_a_scan_of_the_papers_fits_a_node_and_a_larger_one_gets_more(rule):
    small = extent_of([subset_row(1)], 400)
    assert memory_mib(rule, small) <= memory_mib(rule, PAPER) < 32 * 1024
    assert memory_mib("integrate", PAPER, threads=8) == 2400


def test_every_job_of_a_scan_has_its_row():
    rules = "".join(path.read_text() for path in (REPOSITORY / "workflow" / "rules").glob("*.smk"))
    of_series = {"series"}  # sized by the row of another table
    assert set(re.findall(r'mem_mb=memory\("(\w+)"\)', rules)) | of_series == set(MEMORY)
