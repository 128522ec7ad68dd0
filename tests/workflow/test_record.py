"""The record of a run lies beside its results and says what they were made from."""

import json
import re

from support import REPOSITORY
from xrdct.cli import main
from xrdct.io.store import git_revision, manifest_digest
from xrdct.provenance import file_sha256
from xrdct.record import times_by_rule


def test_a_finished_run_leaves_its_record(tiny):
    record = json.loads((tiny.folder / "results" / "run.json").read_text())
    assert record["configuration"]["integrate"]["n_bins"] == 157
    assert [row["scan"] for row in record["table"]] == ["discharged_2p65V"] * 2 + ["charged_4p2V"] * 2
    assert record["inputs"] == {
        "CeO2.cbf": file_sha256(tiny.folder / "raw" / "CeO2.cbf"),
        "mask.edf": file_sha256(tiny.folder / "raw" / "mask.edf"),
    }
    assert record["git_revision"].removesuffix("+changes") == git_revision().removesuffix("+changes")
    own = record["stores"]["results/charged_4p2V/integrate/1/patterns.zarr"]
    assert own["manifest"] == manifest_digest(tiny.folder / "results/charged_4p2V/integrate/1/patterns.json")
    assert {len(fingerprint) for fingerprint in own["inputs"].values()} == {16, 64}  # frames; geometry and mask
    assert len(record["stores"]) == 4 + 3 * 2  # patterns; sinogram, volume and maps of two scans
    counts = {rule: times["jobs"] for rule, times in record["rules"].items()}
    assert counts["integrate"] == 4
    assert counts["reconstruct"] == counts["draw_scan"] == 2
    assert record["rules"]["integrate"]["wall_s"] > 0


def test_every_benchmark_is_called_as_its_rule():
    """What the record sums up by."""
    rules = "".join(path.read_text() for path in (REPOSITORY / "workflow" / "rules").glob("*.smk"))
    found = re.findall(r'^rule (\w+):.*?benchmark:\s+"([^"]+)"', rules, re.MULTILINE | re.DOTALL)
    assert len(found) == rules.count("\nrule ") + rules.startswith("rule ")
    for rule, path in found:
        assert re.fullmatch(rf"{rule}(_\{{\w+\}})?\.tsv", path.split("/")[-1]), (rule, path)


def test_what_a_run_left_is_verified(tiny, capsys):
    assert main(["verify", str(tiny.folder / "results")]) == 0
    assert "ok: 10 stores" in capsys.readouterr().out


def test_times_are_summed_by_rule_and_the_last_repetition_counts(tmp_path):
    header = "s\th:m:s\tmax_rss\tcpu_time\n"
    (tmp_path / "scan").mkdir()
    (tmp_path / "scan" / "integrate_1.tsv").write_text(header + "9\t0:00:09\t70\t8\n2\t0:00:02\t50\t3\n")
    (tmp_path / "scan" / "integrate_2.tsv").write_text(header + "1\t0:00:01\tNA\tNA\n")
    (tmp_path / "scan" / "reconstruct_subset1.tsv").write_text(header + "1.5\t0:00:01\t10\t1\n")
    (tmp_path / "scan" / "pqnet_infer_denoised.tsv").write_text(header + "1.5\t0:00:01\t10\t1\n")
    assert times_by_rule(tmp_path) == {
        "pqnet_infer": {"jobs": 1, "wall_s": 1.5, "cpu_s": 1.0, "max_mib": 10.0},
        "integrate": {"jobs": 2, "wall_s": 3.0, "cpu_s": 3.0, "max_mib": 50.0},
        "reconstruct": {"jobs": 1, "wall_s": 1.5, "cpu_s": 1.0, "max_mib": 10.0},
    }
