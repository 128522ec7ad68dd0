"""The overhead of the workflow, computed from a plan."""

import pytest

from xrdct.bench.workflow import DEMO, of_the_papers, own_computing, share_of
from xrdct.config import load
from xrdct.cost import Plan, Step, plan
from xrdct.io.rates import read_rates


def test_starts_and_bookkeeping_are_overhead_and_the_rest_is_not():
    # A fit starts in 1.68 s, a script of which no start was measured in 1 s.
    steps = (Step("fit", jobs=2, cpu_s=2 * 1.68 + 90.0), Step("calibrate", jobs=1, cpu_s=11.0))
    planned = Plan(steps, (), 0.0, 0)
    assert own_computing(planned) == pytest.approx(100.0)
    assert share_of(planned, 4.0, 2.0) == pytest.approx(10 / 110)


def test_a_scan_of_the_papers_is_254_800_frames_of_two_megapixels():
    config, rows = of_the_papers(load(DEMO))
    paper, demo = plan(config, rows, read_rates()), plan(load(DEMO), rows, read_rates())
    assert sum(row.n_projections * row.n_positions for row in rows) == 254_800
    assert own_computing(paper) > own_computing(demo)
    assert share_of(paper, 10.0, 10.0) < share_of(demo, 10.0, 10.0)
