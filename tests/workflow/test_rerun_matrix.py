"""The rerun matrix: for every key of the configuration and column of the table, exactly the rules that must rerun.

Nothing is computed: the outputs of a beamtime with everything switched on are empty files that Snakemake was told to
take for made (`--touch`), and what it would run after a change is its own plan (`xrdct.rerun`), asked in one process.
A new rule needs no change of old rows; a new key or column without a row fails the first test.
"""

import copy
import shutil
from pathlib import Path

import pytest
import yaml
from rerun_rows import (
    ALL_SCANS,
    COLUMNS,
    FIGURES,
    KEYS,
    NETWORKS,
    REFINED,
    SCAN,
    SERIES_COLUMNS,
    SERIES_ROW,
    SETTINGS,
    TESTED_BELOW,
    TIMED,
    WITH_DLSR,
    WITH_SERIES,
)

from support import REPOSITORY, Beamtime
from xrdct.cli import main
from xrdct.config import Config
from xrdct.config.base import keys_of
from xrdct.rerun import LARGEST_CHECKSUM, TRIGGERS, explained, planned
from xrdct.scans import Subset, read_scans, write_scans
from xrdct.series import SeriesRow

TINY = REPOSITORY / "tests" / "data" / "tiny"


def put(settings, path, value):
    """Set a key by its path; of a list of sections, in its first."""
    *above, last = path.split(".")
    for part in above:
        settings = settings.setdefault(part, {})
        settings = settings[0] if isinstance(settings, list) else settings
    settings[last] = value


def write_series(path, row):
    path.write_text("\t".join(row) + "\n" + "\t".join(map(str, row.values())) + "\n", encoding="utf-8")


def believed_made(folder, sections, tiny_raw):
    """A beamtime in a new folder, of which Snakemake believes that it is made."""
    for name in ("raw", "raw2"):
        (folder / name).mkdir()
        for path in (tiny_raw / "raw").iterdir():
            (folder / name / path.name).symlink_to(path)
    for name, known in (("other.edf", "mask.edf"), ("other.cbf", "CeO2.cbf")):
        (folder / "raw" / name).symlink_to(tiny_raw / "raw" / known)
    for name in ("raw/geometry.poni", "raw/network.pt", "part.npy", "whole.npy"):
        (folder / name).touch()
    settings = yaml.safe_load((TINY / "config.yaml").read_text())
    for section, values in sections.items():
        settings.setdefault(section, {}).update(values)
    (folder / "config.yaml").write_text(yaml.safe_dump(settings))
    for name in ("scans.tsv", "same.tsv"):
        shutil.copy(TINY / "scans.tsv", folder / name)
    for name in ("cycler.mpt", "other.mpt"):
        (folder / "raw" / name).touch()
    write_series(folder / "series.tsv", SERIES_ROW)
    made = Beamtime(folder, folder / "config.yaml")
    for job in planned(made.config, folder):
        for output in map(Path, job.output):
            (folder / output).parent.mkdir(parents=True, exist_ok=True)
            if output.suffix == ".zarr":
                (folder / output).mkdir()
            else:
                (folder / output).touch()
    made.snakemake("--touch", "--forceall")
    return made


@pytest.fixture(scope="module")
def beamtime(tiny_raw, tmp_path_factory):
    return believed_made(tmp_path_factory.mktemp("matrix"), SETTINGS, tiny_raw)


@pytest.fixture(scope="module")
def refined(tiny_raw, tmp_path_factory):
    return believed_made(tmp_path_factory.mktemp("refined"), WITH_DLSR, tiny_raw)


@pytest.fixture(scope="module")
def timed(tiny_raw, tmp_path_factory):
    return believed_made(tmp_path_factory.mktemp("timed"), WITH_SERIES, tiny_raw)


def jobs_from_raw_files(made, folder):
    (folder / "raw").symlink_to(made.folder / "raw")
    for name in ("part.npy", "whole.npy"):
        (folder / name).touch()
    return planned(made.config, folder)


@pytest.fixture(scope="module")
def every_job(beamtime, tmp_path_factory):
    """The jobs of the whole beamtime, as they run on raw files alone."""
    return jobs_from_raw_files(beamtime, tmp_path_factory.mktemp("fresh"))


def with_what_follows(jobs, every_job):
    """Outputs of some jobs and of all that come after them, by the files that jobs read and write."""
    made, new = set(), {file for job in jobs for file in job.output}
    while new - made:
        made |= new
        new = {file for job in every_job if made & set(job.input) for file in job.output}
    return made


def changed_config(beamtime, changes, name="changed.yaml"):
    settings = yaml.safe_load(beamtime.config.read_text())
    for path, value in changes.items():
        put(settings, path, copy.deepcopy(value))
    path = beamtime.folder / name
    path.write_text(yaml.safe_dump(settings))
    return path


def rules_of(jobs):
    return {job.rule for job in jobs}


def test_every_key_and_every_column_has_its_row():
    rows = {*KEYS, *REFINED, *TIMED, *TESTED_BELOW}
    assert {".".join(path) for path in keys_of(Config)} - rows == set()
    assert rows - {".".join(path) for path in keys_of(Config)} == set()
    assert {*COLUMNS} == {*Subset.model_fields}
    assert {*SERIES_COLUMNS} == {*SeriesRow.model_fields}


def test_snakemake_believes_that_all_is_made(beamtime):
    assert planned(beamtime.config, beamtime.folder) == []
    assert beamtime.would_run() == {}


SAID = {"calibrate.frame": "raw/other.cbf is", "calibrate.poni": "raw/geometry.poni is", "raw.root": "raw2/"} | {
    "detector.mask": "raw/other.edf is",
    "absorption.correct": "assemble/sinogram.json is read too",
    "denoise.apply": "reconstruct/corrected/volume.json is read too",
    "pqnet.model": "models/others/model.pt is read too",
    "pqnet.apply": "fit/denoised/maps.json is read too",
    "maps.source": "fit/denoised/maps.json is read too",
}
"""What the sentence names in place of a key that says which file is read."""
OTHER_FILES = ("absorption.correct", "denoise.apply", "pqnet.model", "pqnet.apply", "maps.source", "fit.preset")
"""With these, other files follow one another, or fewer."""


@pytest.mark.parametrize("key", KEYS)
def test_a_changed_key_reruns_what_reads_it_and_what_follows_and_is_named(beamtime, every_job, key):
    value, readers, *more = KEYS[key]
    jobs = planned(changed_config(beamtime, {key: value} | (more[0] if more else {})), beamtime.folder)
    affected = [job for job in jobs if job.causes or job.missing]
    assert rules_of(affected) == readers
    if key not in OTHER_FILES:
        assert {file for job in jobs for file in job.output} == with_what_follows(affected, every_job)
    if readers:
        assert SAID.get(key, ".".join(key.split(".")[:2])) in explained("all", jobs)


@pytest.mark.parametrize(
    ("source", "rules", "folder"),
    [
        ("fit", NETWORKS | {"pqnet_infer", "draw_pqnet"}, "pqnet"),
        ("pqnet", {"draw_pqnet"}, "fit/denoised"),  # absorption needs the fit of the first volume
        ("pqnet+fit", {"draw_pqnet"}, "fit/denoised"),
    ],
)
def test_nothing_is_computed_that_the_maps_are_not_taken_from(beamtime, every_job, tmp_path, source, rules, folder):
    for name in ("raw", "part.npy"):
        (tmp_path / name).symlink_to(beamtime.folder / name)
    jobs = planned(changed_config(beamtime, {"maps.source": source}, f"{source}.yaml"), tmp_path)
    assert rules_of(every_job) - rules_of(jobs) == rules
    skipped = f"results/{SCAN}/{folder}/"
    assert any(file.startswith(skipped) for job in every_job for file in job.output)
    assert not any(file.startswith(skipped) for job in jobs for file in job.output)


@pytest.mark.parametrize("key", REFINED)
def test_a_changed_key_of_dlsr_reruns_what_reads_it(refined, key):
    value, readers, *more = REFINED[key]
    jobs = planned(changed_config(refined, {key: value} | (more[0] if more else {})), refined.folder)
    assert rules_of(job for job in jobs if job.causes) >= readers
    if not more:
        assert rules_of(job for job in jobs if job.causes) == readers
    if readers:
        assert key in explained("all", jobs)


@pytest.mark.parametrize("key", TIMED)
def test_a_changed_key_reruns_what_reads_it_of_a_series(timed, key):
    value, readers = TIMED[key]
    jobs = planned(changed_config(timed, {key: value}), timed.folder)
    own = [job for job in jobs if "series" in dict(job.wildcards)]
    assert rules_of(job for job in own if job.causes) == readers
    if readers:
        assert SAID.get(key, ".".join(key.split(".")[:2])) in explained("all", own)


@pytest.mark.parametrize("column", SERIES_COLUMNS)
def test_a_changed_column_of_a_series_reruns_nothing_of_the_scans(timed, column):
    value, readers, said = SERIES_COLUMNS[column]
    write_series(timed.folder / "other.tsv", SERIES_ROW | {column: value})
    jobs = planned(changed_config(timed, {"series.table": "other.tsv"}), timed.folder)
    assert all("series" in dict(job.wildcards) for job in jobs)
    assert rules_of(job for job in jobs if job.causes or job.missing) == readers
    assert said in explained("all", jobs)


def test_without_parallax_every_volume_is_another(refined):
    jobs = planned(changed_config(refined, {"reconstruct.parallax": "off"}), refined.folder)
    found = rules_of(job for job in jobs if job.causes)
    assert found >= {"reconstruct", "correct_absorption", "diagnose_parallax"}
    assert "reconstruct.parallax" in explained("all", jobs)


@pytest.mark.parametrize("column", COLUMNS)
def test_a_changed_column_reruns_its_scan_only(beamtime, every_job, column):
    value, readers = COLUMNS[column]
    rows = read_scans(TINY / "scans.tsv")
    own = [row for row in rows if row.scan == SCAN]
    others = [row for row in rows if row.scan != SCAN]
    if column == "file":
        changed = [own[0].model_copy(update={"file": own[1].file}), own[1].model_copy(update={"file": own[0].file})]
    elif column == "subset":  # the second becomes the first: its frames are read under another name
        changed = [own[0].model_copy(update={"subset": 2}), own[1].model_copy(update={"subset": 1})]
    else:
        changed = [row.model_copy(update={column: value}) for row in own]
    write_scans(beamtime.folder / "other.tsv", [*others, *changed])
    jobs = planned(changed_config(beamtime, {"scans": "other.tsv"}), beamtime.folder)
    affected = [job for job in jobs if job.causes or job.missing]
    assert {dict(job.wildcards).get("scan") for job in jobs} <= {"renamed" if column == "scan" else SCAN, None}
    if column == "scan":
        readers = {job.rule for job in every_job if "scan" in dict(job.wildcards)} | {"draw_overview"} | ALL_SCANS
    assert rules_of(affected) == readers
    if column != "scan":
        assert {file for job in jobs for file in job.output} == with_what_follows(affected, every_job)


def test_a_new_scan_computes_that_scan_only(beamtime):
    rows = read_scans(TINY / "scans.tsv")
    again = [row.model_copy(update={"scan": "again"}) for row in rows if row.scan == SCAN]
    write_scans(beamtime.folder / "other.tsv", [*rows, *again])
    jobs = planned(changed_config(beamtime, {"scans": "other.tsv"}), beamtime.folder)
    others = [job for job in jobs if dict(job.wildcards).get("scan") != "again"]
    assert rules_of(others) == {"draw_overview", "gather_beamtime", "draw_beamtime", "draw_unrolled"}
    assert sum(job.rule == "integrate" for job in jobs) == len(again)


LOST = [
    f"results/{SCAN}/{name}.json"
    for name in ("integrate/1/patterns", "assemble/sinogram", "absorption/sinogram", "fit/first/maps", "windows/maps")
]


def test_what_a_failed_job_lost_is_made_again_though_all_that_follows_is_there(beamtime):
    """Snakemake removes a failed job's old outputs, and misses no file in the middle: stale maps would pass."""
    for name in LOST:
        path = beamtime.folder / name
        path.rename(path.with_suffix(".lost"))
    try:
        jobs = planned(beamtime.config, beamtime.folder)
    finally:
        for name in LOST:
            path = beamtime.folder / name
            path.with_suffix(".lost").rename(path)
    assert {file for job in jobs for file in job.missing} >= set(LOST)


def test_the_plan_has_the_triggers_of_the_profiles():
    for profile in (REPOSITORY / "profiles").iterdir():
        settings = yaml.safe_load((profile / "config.yaml").read_text())
        assert set(settings["rerun-triggers"]) == {trigger.item_to_choice() for trigger in TRIGGERS}
        assert settings["max-checksum-file-size"] == f"{LARGEST_CHECKSUM // 10**9}GB"


def why(beamtime, capsys, *arguments):
    code = main(["why", *arguments, "-d", str(beamtime.folder)])
    printed = capsys.readouterr()
    return code, printed.out or printed.err


def test_xrdct_why_says_it_in_one_sentence(beamtime, capsys):
    changed = str(changed_config(beamtime, {"integrate.trim": 0.1}))
    target = f"results/{SCAN}/assemble/sinogram.json"
    assert why(beamtime, capsys, target, "--config", str(beamtime.config)) == (0, f"{target} is up to date.\n")
    assert why(beamtime, capsys, target, "--config", changed) == (
        0,
        f"{target}: 4 jobs (assemble, calibrate, integrate) would run again, because integrate.trim has changed "
        "from 0.2 to 0.1.\n",
    )
    again = beamtime.folder / "results" / "calibrate" / "rings.tsv"
    again.rename(again.with_suffix(".away"))
    _, said = why(beamtime, capsys, "results/calibrate/rings.tsv", "--config", str(beamtime.config))
    again.with_suffix(".away").rename(again)
    assert said.endswith("1 job (calibrate) would run, because results/calibrate/rings.tsv is not there yet.\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["results/nothing"], "No rule to produce results/nothing"),
        (["--config", "nowhere.yaml"], "nowhere.yaml: no such configuration file"),
    ],
)
def test_xrdct_why_refuses_what_is_not_there(beamtime, capsys, arguments, said):
    code, printed = why(beamtime, capsys, "--config", str(beamtime.config), *arguments)
    assert code == 2
    assert said in printed


def test_display_options_rerun_figures_only(beamtime):
    changes = {"report.colormap": "magma", "report.phases": ["Cu"]}
    assert rules_of(planned(changed_config(beamtime, changes), beamtime.folder)) == FIGURES


def test_the_plan_is_that_of_a_dry_run(beamtime):
    changed = Beamtime(beamtime.folder, changed_config(beamtime, {"integrate.trim": 0.1, "report.phases": []}))
    counts = {}
    for job in planned(changed.config, beamtime.folder):
        counts[job.rule] = counts.get(job.rule, 0) + 1
    assert changed.would_run() == counts


def test_order_comments_and_one_against_one_point_zero_rerun_nothing(beamtime):
    settings = yaml.safe_load(beamtime.config.read_text())
    settings["beam"]["energy_kev"] = float(settings["beam"]["energy_kev"])
    path = beamtime.folder / "same.yaml"
    path.write_text("# A remark.\n" + yaml.safe_dump(dict(reversed(settings.items())), sort_keys=False))
    assert planned(path, beamtime.folder) == []
