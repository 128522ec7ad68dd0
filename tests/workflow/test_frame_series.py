"""Subsets that are series of image files, one per frame."""

import os

import yaml

from support import REPOSITORY, Beamtime, simulate
from xrdct.scans import read_scans, write_scans

TINY = REPOSITORY / "tests" / "data" / "tiny" / "config.yaml"
PRESET = REPOSITORY / "workflow" / "src" / "xrdct" / "twin" / "presets" / "tiny.yaml"


def test_a_series_in_folders_by_line_runs_and_a_file_written_again_in_place_reruns_it(tmp_path):
    parameters = yaml.safe_load(PRESET.read_text())
    parameters.setdefault("files", {})["format"] = "cbf"
    (tmp_path / "tiny-cbf.yaml").write_text(yaml.safe_dump(parameters))
    simulate(tmp_path / "tiny-cbf.yaml", tmp_path)
    own = Beamtime(tmp_path, TINY).changed(tmp_path, raw={"monitor": None, "omega": None, "translation": None})
    rows = [row for row in read_scans(tmp_path / "scans.tsv") if row.scan == "charged_4p2V"]
    n_positions = rows[0].n_positions
    folder = tmp_path / "raw" / "charged_4p2V_s1"
    for number, path in enumerate(sorted(folder.glob("*.cbf"))):
        line = folder / f"line_{number // n_positions}"
        line.mkdir(exist_ok=True)
        path.rename(line / path.name)
    by_line = {"file": "charged_4p2V_s1/line_*/*.cbf", "dataset": None}
    write_scans(tmp_path / "scans.tsv", [rows[0].model_copy(update=by_line), *rows[1:]])
    target = "results/charged_4p2V/integrate/1/patterns.json"
    own.snakemake(target)
    assert own.would_run(target) == {}
    again = next(folder.glob("line_3/*.cbf"))
    with open(again, "r+b") as stream:
        stream.seek(-100, os.SEEK_END)
        stream.write(b"\0")  # in place: neither the folder's time nor the file's size changes
    assert own.would_run(target) == {"integrate": 1}
