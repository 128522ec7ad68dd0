"""Marks say what was aimed at and whether it was reached; the page holds what the files hold."""

import json
from pathlib import Path

import numpy as np
import pytest

from xrdct.bench import first_way, marks
from xrdct.bench.__main__ import BENCHES, main

HERE = Path(__file__).parent


def test_a_mark_holds_on_its_own_side_of_the_goal():
    assert marks.at_least("speed", 10, 10.0, "×").holds
    assert not marks.at_least("speed", 10, 9.9, "×").holds
    assert marks.at_most("error", 0.1, 0.1, "px").holds
    assert not marks.at_most("error", 0.1, 0.11, "px").holds
    assert marks.reported("memory", 3.0, "MB").holds is None
    assert not marks.at_least("correlation", 0.9, float("nan")).holds


def test_a_summary_survives_the_file_and_fills_the_table(tmp_path):
    found = marks.summary(
        "demo", [marks.at_least("a", 2, 3.14159, "s"), marks.not_measured("b", "≥ 5", "no GPU")], device="CPU"
    )
    marks.write_summary(found, tmp_path / "demo.json")
    read = json.loads((tmp_path / "demo.json").read_text())
    assert read == found
    assert read["marks"]["a"] == {"goal": "≥ 2", "measured": 3.14159, "unit": "s", "holds": True}
    page = marks.page([read])
    assert "| a | ≥ 2 | 3.142 s | yes |" in page
    assert "| b | ≥ 5 | not measured (no GPU) | – |" in page
    assert all(str(read[key]) in page for key in ("machine", "date", "revision", "device"))


def test_the_page_begins_with_what_is_missed_and_folds_what_is_only_reported():
    rows = [marks.at_most("|bias|", 2, 3.0, "Å"), marks.at_least("b", 1, 1.0), marks.reported("seconds", 7.0, "s")]
    page = marks.page([marks.summary("demo", rows, device="CPU")])
    head, body = page.split("## demo")
    assert "| [demo](#demo) | 1 | 1 | 0 |" in head
    assert "- demo: |bias|: 3 Å, goal ≤ 2" in head
    goals, folded = body.split("<details>")
    assert r"| \|bias\| | ≤ 2 | 3 Å | **no** |" in goals
    assert "| seconds | – | 7 s | – |" in folded


@pytest.mark.parametrize("path", sorted(HERE.glob("*.json")), ids=lambda path: path.stem)
def test_every_file_belongs_to_a_bench_and_names_machine_and_revision(path):
    found = json.loads(path.read_text())
    assert found["bench"] == path.stem
    assert path.stem in BENCHES
    assert all(found[key] for key in ("machine", "device", "date", "revision", "marks"))


def test_an_unknown_bench_is_refused_with_those_there_are(capsys):
    with pytest.raises(SystemExit):
        main(["nothing"])
    assert "first-way" in capsys.readouterr().err


def test_stage_records_add_up_over_jobs(tmp_path):
    (tmp_path / "scan").mkdir()
    for k, (seconds, memory) in enumerate([(1.5, 100.0), (2.0, 300.0)], 1):
        (tmp_path / "scan" / f"integrate_{k}.tsv").write_text(f"s\tmax_rss\n{seconds}\t{memory}\n")
    (tmp_path / "map_windows.tsv").write_text("s\tmax_rss\n0.5\t-\n")
    records = first_way.stage_records(tmp_path)
    assert records["integrate"] == {"s": 3.5, "max_rss": 300.0}
    assert records["map_windows"]["s"] == 0.5


def test_figures_of_any_number_type_are_written(tmp_path):
    found = [
        marks.at_most("a", 3, np.float32(2.5)),
        marks.at_least("b", 1, np.int64(4)),
        marks.reported("c", np.float32(0.5)),
    ]
    marks.write_summary(marks.summary("x", found, device="CPU"), tmp_path / "x.json")
    stored = json.loads((tmp_path / "x.json").read_text())["marks"]
    assert [mark["measured"] for mark in stored.values()] == [2.5, 4, 0.5]
