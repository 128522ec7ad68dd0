"""What a cluster is asked for grows with the scan."""

import re

import pytest
from raw_files import subset_row

from support import REPOSITORY
from xrdct.needs import MEMORY, OF_VALUES, extent_of, memory_mib, memory_of_values, values_of_maps
from xrdct.snakemake_call import read_profile

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
    assert set(re.findall(r'mem_mb=memory_for\("(\w+)"', rules)) == set(OF_VALUES)
    # What has the size of a frame is the same everywhere.
    assert re.findall(r"mem_mb=lambda wildcards, attempt: (.*)", rules) == ["4000 * attempt,"]
    assert not re.findall(r"(?:mem_mb|runtime)=\d+", rules)
    for function in ("memory", "memory_for", "minutes"):
        body = re.search(rf"def {function}\(.*?(?=\ndef )", rules, re.DOTALL)[0]
        assert re.search(r"\* attempt\n", body), function
    of_series = {"series"}  # sized by the row of another table
    assert set(re.findall(r'mem_mb=memory\("(\w+)"\)', rules)) | of_series == set(MEMORY)


@pytest.mark.parametrize("rule", OF_VALUES)
def test_networks_and_the_beamtime_ask_for_more_where_they_hold_more(rule):
    assert memory_of_values(rule, 2 * 10**8) > memory_of_values(rule, 10**8) > memory_of_values(rule, 0) > 0
    # 30,000 patterns of 1000 bins, and 20 scans of the papers with 13 phases: a node has that.
    assert memory_of_values(rule, 30_000 * 1000) < 8 * 1024


def test_the_values_of_maps_are_those_of_all_scans():
    rows = [subset_row(k, n_positions=637).model_copy(update={"scan": scan}) for scan in "ab" for k in (1, 2)]
    assert values_of_maps(rows, 13) == 2 * 637**2 * 13 * 11
    assert memory_of_values("gather_beamtime", values_of_maps(rows, 13)) == pytest.approx(3000 + 12 * 443, rel=0.01)


def test_the_profile_of_a_cluster_names_rules_that_there_are():
    rules = "".join(path.read_text() for path in (REPOSITORY / "workflow" / "rules").glob("*.smk"))
    known = set(re.findall(r"^rule (\w+):", rules, re.MULTILINE))
    profile = read_profile("slurm")
    arrays = set(profile["slurm-array-jobs"].split(","))
    assert known >= set(profile["set-resources"]) | set(profile["groups"]) | arrays
    # A job of a group cannot be one of an array too, nor ask for another partition than the rest of its group.
    assert not set(profile["groups"]) & (arrays | set(profile["set-resources"]))
    assert set(profile["groups"].values()) == set(profile["group-components"])
