"""What a beamtime will cost follows from measured rates, and files from the stores' own rules."""

import json
import re

import numpy as np
import pytest
import xarray as xr
from raw_files import subset_row

from support import REPOSITORY
from xrdct.cli import main
from xrdct.config import load
from xrdct.cost import SIZES, not_measured, plan, rule_rates, size_of
from xrdct.cost_profile import LOCAL, THREADS, on_cluster
from xrdct.io.rates import measured_rates, read_rates
from xrdct.io.store import FORMS, files_of_array, write_store
from xrdct.scans import read_scans
from xrdct.snakemake_call import read_profile, snakemake_command

DEMO = REPOSITORY / "config" / "demo"
CONFIG, ROWS = load(DEMO / "config.yaml"), read_scans(DEMO / "scans.tsv")
PAPER = [subset_row(k, n_projections=100, n_positions=637) for k in (1, 2, 3, 4)]


def seconds(planned, rule):
    return next(step.cpu_s for step in planned.rules if step.name == rule)


def volume(n=70, q=5):
    values = np.random.default_rng(0).random((n, n, q), dtype=np.float32)
    coords = {name: (name, np.arange(k, dtype=float), {"units": "1"}) for name, k in (("y", n), ("x", n), ("q", q))}
    return xr.Dataset({"intensity": (FORMS["volume"]["intensity"], values, {"units": "1"})}, coords)


def test_the_files_of_an_array_are_those_that_a_store_has(tmp_path):
    write_store(volume(), tmp_path / "v.zarr", tmp_path / "v.json", kind="volume", settings={}, inputs={})
    found = [path for path in (tmp_path / "v.zarr" / "intensity").rglob("*") if path.is_file()]
    assert files_of_array(("y", "x", "q"), (70, 70, 5), "volume") == len(found) - 1 == 4  # 2 x 2 chunks of 64


def test_a_run_is_predicted_from_its_own_rates():
    size = size_of(CONFIG, ROWS)
    times = {"integrate": {"jobs": 8, "cpu_s": 40.0}, "fit": {"jobs": 4, "cpu_s": 30.0}}
    rates = read_rates() | {"rules": rule_rates(times, size)}
    planned = plan(CONFIG, ROWS, rates)
    assert [(step.jobs, pytest.approx(step.cpu_s)) for step in planned.rules] == [(8, 40.0), (4, 30.0)]
    assert planned.hours(2) == pytest.approx(70 / 3600 / 2)


def test_twice_the_frames_cost_twice_the_integration_beyond_its_start():
    rates = read_rates()
    double = [row.model_copy(update={"n_projections": 2 * row.n_projections}) for row in ROWS]
    once, twice = (seconds(plan(CONFIG, rows, rates), "integrate") for rows in (ROWS, double))
    start = len(ROWS) * rates["rules"]["integrate"]["start_s"]
    assert twice - start == pytest.approx(2 * (once - start), rel=1e-3)  # the shipped rates have four digits


def test_a_stage_that_is_off_costs_nothing_and_one_never_measured_is_named():
    rates = read_rates()
    off = CONFIG.model_copy(update={"denoise": CONFIG.denoise.model_copy(update={"apply": False})})
    assert "denoise" not in {step.name for step in plan(off, ROWS, rates).rules}
    rates["rules"].pop("denoise")
    assert not_measured(off, rates) == []
    assert not_measured(CONFIG, rates) == ["denoise"]


def test_reconstruction_with_parallax_is_named_where_only_that_without_was_measured():
    way = CONFIG.reconstruct.model_copy(update={"method": "sirt", "parallax": "dlsr"})
    config, rates = CONFIG.model_copy(update={"reconstruct": way}), read_rates()
    assert not_measured(config, rates) == ["refine_dlsr", "reconstruct with parallax"]
    assert not_measured(config, rates | {"parallax": "linear"}) == ["refine_dlsr"]


@pytest.mark.parametrize("rule", SIZES)
def test_every_rule_whose_work_grows_has_a_rate_that_is_not_zero(rule):
    assert read_rates()["rules"][rule]["cpu_s_per_unit"] > 0


@pytest.mark.parametrize("n_bins", [400, 1000])
def test_a_scan_of_the_papers_size_makes_fewer_than_2000_files(n_bins):
    config = CONFIG.model_copy(update={"integrate": CONFIG.integrate.model_copy(update={"n_bins": n_bins})})
    assert plan(config, PAPER, read_rates()).files_per_scan < 2000


def test_rates_are_read_off_a_finished_folder(tmp_path):
    store = tmp_path / "results" / ROWS[0].scan / "reconstruct" / "first" / "volume"
    store.parent.mkdir(parents=True)
    write_store(volume(), f"{store}.zarr", f"{store}.json", kind="volume", settings={}, inputs={})
    table, settings = [row.model_dump(mode="json") for row in ROWS], CONFIG.model_dump(mode="json")
    record = {"machine": "m", "xrdct": "1", "git_revision": "r", "configuration": settings, "table": table}
    (tmp_path / "results" / "run.json").write_text(json.dumps(record))
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks" / "calibrate.tsv").write_text("s\tcpu_time\tmax_rss\n3.0\t2.5\t9.0\n")
    rates = measured_rates(tmp_path)
    assert rates["rules"]["calibrate"] == {"jobs": 1, "start_s": 0.0, "cpu_s_per_unit": 2.5}
    arrays = rates["stores"]["reconstruct/first/volume"]["arrays"]
    assert arrays["intensity"]["shape"] == [70, 70, 5]
    assert not arrays["intensity"]["whole"]
    assert rates["other_files"] == 1  # the manifest


def test_the_command_says_hours_terabytes_files_and_where_the_rates_are_from(capsys, tmp_path):
    assert main(["plan", str(DEMO / "config.yaml"), "--cores", "2"]) == 0
    said = capsys.readouterr().out
    assert all(word in said for word in (" h on 2 cores", " TB", "files: ", "rates: the demo beamtime"))
    assert main(["plan", str(DEMO / "config.yaml"), "--rates", str(tmp_path)]) == 2
    assert "written when a run has finished" in capsys.readouterr().err


def test_on_a_cluster_the_demo_is_as_many_jobs_as_its_rules_say():
    planned, profile = plan(CONFIG, ROWS, read_rates()), read_profile("slurm")
    found = on_cluster(planned, profile, scans=2)
    # Calibration, 8 subsets, 8 more of either scan but its two maps of q windows, which are one job, 3 networks, their
    # calibration and the beamtime; the figures stay.
    assert (found.submitted, found.here) == (1 + 8 + 2 * 7 + 1 + 3 + 1 + 1, 17)
    narrow = on_cluster(planned, profile | {"jobs": 1, "max-threads": 1}, scans=2)
    assert narrow.seconds > 5 * found.seconds  # all jobs one after another, on a core each


def test_threads_and_local_rules_are_those_of_the_rules():
    rules = "".join(path.read_text() for path in (REPOSITORY / "workflow" / "rules").glob("*.smk"))
    found = dict(part.split(":", 1) for part in re.split(r"^rule ", rules, flags=re.MULTILINE)[1:])
    threads = {name: int(re.search(r"\n    threads: (\d+)|$", text)[1] or 1) for name, text in found.items()}
    assert {name: n for name, n in threads.items() if n > 1 and not name.endswith("_series")} == THREADS
    assert {name for name, text in found.items() if "localrule: True" in text} == {
        name for name in found if name.startswith(LOCAL)
    }


def test_the_command_says_what_a_profile_makes_of_it(capsys, tmp_path):
    assert main(["plan", str(DEMO / "config.yaml"), "--workflow-profile", "slurm"]) == 0
    assert "29 go to the cluster, 200 at a time; 17 stay here" in capsys.readouterr().out
    assert main(["plan", str(DEMO / "config.yaml"), "--workflow-profile", str(tmp_path)]) == 2
    assert "no such file; give a name in profiles/" in capsys.readouterr().err


def test_a_profile_of_ones_own_is_told_for_a_cluster_by_its_executor(tmp_path):
    (tmp_path / "config.v8+.yaml").write_text("executor: slurm\njobs: 3\n")
    assert read_profile(str(tmp_path))["jobs"] == 3
    calls = [snakemake_command(DEMO, tmp_path, cores=2, profile=name) for name in (str(tmp_path), "slurm", "default")]
    assert ["--local-cores" in call for call in calls] == [True, True, False]
