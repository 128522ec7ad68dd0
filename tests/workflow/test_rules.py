"""The workflow as text: format, lint, and a dry-run that finds jobs."""

import subprocess
import sys

from support import REPOSITORY, Beamtime


def test_the_rules_are_formatted():
    files = [REPOSITORY / "Snakefile", *sorted((REPOSITORY / "workflow" / "rules").glob("*.smk"))]
    done = subprocess.run([sys.executable, "-m", "snakefmt", "--check", *files], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_rules_pass_lint(tiny):
    assert "Congratulations" in tiny.snakemake("--lint")


def test_a_dry_run_from_raw_files_alone_finds_every_job(tiny_raw, tmp_path):

    (tmp_path / "raw").symlink_to(tiny_raw / "raw")
    fresh = Beamtime(tmp_path, REPOSITORY / "tests" / "data" / "tiny" / "config.yaml")
    jobs = fresh.would_run()
    assert jobs["integrate"] == 4
    for rule in ("assemble", "reconstruct", "map_windows", "draw_scan", "diagnose_parallax"):
        assert jobs[rule] == 2
    assert jobs["calibrate"] == jobs["draw_overview"] == 1


def test_the_report_holds_every_figure(tiny, tmp_path):
    tiny.snakemake("--report", tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text()
    for name in ("overview.png", "cake.png", "sinogram.png", "mean_pattern.png", "maps.png", "parallax.png"):
        assert name in text
