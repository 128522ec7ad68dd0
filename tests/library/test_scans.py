"""The scan table: read back as written, and every bad row named by its line."""

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as given_settings
from hypothesis import strategies as st
from raw_files import subset_row

from xrdct.errors import TableError
from xrdct.scans import (
    Subset,
    format_scans,
    missing_subsets,
    parse_scans,
    read_scans,
    scan_names,
    subsets_of,
    write_scans,
)

COLUMNS = list(Subset.model_fields)


def table(path, *rows, columns=COLUMNS):
    """Write rows (dicts of text) as a table."""
    lines = ["\t".join(columns)] + ["\t".join(row.get(c, "") for c in columns) for row in rows]
    path.write_text("\n".join(lines) + "\n")
    return path


def row(**changes):
    """A good row as text."""
    good = {
        "scan": "cell1",
        "subset": "1",
        "file": "a.h5",
        "n_projections": "3",
        "n_positions": "8",
        "angle_start_deg": "0",
        "angle_step_deg": "60",
        "step_mm": "0.03",
        "zigzag": "yes",
    }
    return good | changes


def problems(path):
    """Lines of the error that reading raises."""
    with pytest.raises(TableError) as caught:
        read_scans(path)
    return str(caught.value).splitlines()


@given(
    angle=st.floats(-360, 360),
    step=st.floats(1e-6, 10),
    voltage=st.none() | st.floats(0, 5),
    sample=st.text("abcÅµ -_", max_size=8).map(str.strip),
)
@given_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
def test_a_table_is_read_back_as_written(tmp_path, angle, step, voltage, sample):
    rows = [subset_row(k, angle_start_deg=angle, step_mm=step, voltage_V=voltage, sample=sample) for k in (1, 2)]
    write_scans(tmp_path / "scans.tsv", rows)
    assert read_scans(tmp_path / "scans.tsv") == rows
    (tmp_path / "scans.tsv").write_text(format_scans(rows, notes=["proposed\nby hand"]), encoding="utf-8")
    assert read_scans(tmp_path / "scans.tsv") == rows
    assert (tmp_path / "scans.tsv").read_text().startswith("# proposed\n# by hand\nscan\t")


def test_comments_blank_lines_and_a_byte_order_mark_are_passed_over(tmp_path):
    path = table(tmp_path / "scans.tsv", row())
    path.write_text("\ufeff# note\n\n" + path.read_text())
    assert [r.scan for r in read_scans(path)] == ["cell1"]


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("scan", "../up", "is not a plain name"),
        ("scan", "a/b", "is not a plain name"),
        ("subset", "0", "greater than or equal to 1"),
        ("n_projections", "3.5", "valid integer"),
        ("n_positions", "1", "greater than or equal to 2"),
        ("angle_step_deg", "nan", "finite"),
        ("step_mm", "-0.03", "greater than 0"),
        ("step_mm", "0,03", "valid number"),
        ("zigzag", "maybe", "'yes', 'no' or 'auto'"),
    ],
)
def test_a_bad_cell_is_named_by_line_column_and_value(tmp_path, column, value, message):
    (line,) = problems(table(tmp_path / "scans.tsv", row(subset="2"), row(**{column: value})))
    assert f"scans.tsv: line 3: column {column}: " in line
    assert message in line
    assert repr(value) in line


def test_an_empty_cell_of_a_needed_column_is_named(tmp_path):
    assert "line 2: column file: empty" in problems(table(tmp_path / "scans.tsv", row(file="")))[0]


def test_line_numbers_count_comments(tmp_path):
    path = table(tmp_path / "scans.tsv", row(zigzag="?"))
    path.write_text("# one\n# two\n" + path.read_text())
    assert "line 4" in problems(path)[0]


def test_a_row_with_too_few_cells_is_named(tmp_path):
    path = table(tmp_path / "scans.tsv", row())
    path.write_text(path.read_text() + "cell1 2 b.h5\n")
    assert f"line 3: 1 cells for {len(COLUMNS)} columns" in problems(path)[0]


def test_a_subset_that_stands_twice_names_both_lines(tmp_path):
    (line,) = problems(table(tmp_path / "scans.tsv", row(), row(subset="2"), row()))
    assert "line 4: scan cell1 subset 1 stands already in line 2" in line


@pytest.mark.parametrize(("column", "value"), [("n_positions", "9"), ("step_mm", "0.02"), ("voltage_V", "4.2")])
def test_subsets_of_one_scan_must_agree(tmp_path, column, value):
    (line,) = problems(table(tmp_path / "scans.tsv", row(), row(subset="2", **{column: value})))
    assert f"line 3: scan cell1 has {column}" in line


def test_unknown_missing_and_double_columns_are_all_named(tmp_path):
    columns = [c for c in COLUMNS if c != "step_mm"] + ["file", "zig_zag"]
    lines = problems(table(tmp_path / "scans.tsv", columns=columns))
    assert [line.split(": ", 1)[1] for line in lines] == [
        "unknown column 'zig_zag'",
        "column 'step_mm' is missing",
        "column 'file' appears twice",
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the table is empty"),
        (b"# only notes\n", "the table is empty"),
        ("\t".join(COLUMNS).encode(), "a header but no rows"),
        (b"sc\xe4n\n", "not a text file in UTF-8"),
    ],
)
def test_a_table_without_rows_is_refused(tmp_path, content, message):
    (tmp_path / "scans.tsv").write_bytes(content)
    assert message in problems(tmp_path / "scans.tsv")[0]


def test_a_missing_table_says_how_to_get_one(tmp_path):
    assert "xrdct init" in problems(tmp_path / "scans.tsv")[0]


def test_good_rows_beside_bad_ones_can_still_be_looked_at(tmp_path):
    rows, found = parse_scans(table(tmp_path / "scans.tsv", row(), row(subset="x")))
    assert [(number, r.subset) for number, r in rows] == [(2, 1)]
    assert len(found) == 1


def test_missing_subsets_are_named():
    rows = [subset_row(k) for k in (1, 2, 4)]
    assert missing_subsets(rows) == ["scan cell1_4p2V: subset 3 of 4 is missing from the table"]
    assert missing_subsets(rows[:2]) == []
    assert len(missing_subsets(rows[:2], expected=4)) == 2
    assert "exceeds raw.subsets_per_scan = 3" in missing_subsets(rows, expected=3)[-1]


def test_scans_keep_the_order_of_the_table_and_subsets_their_number():
    rows = [subset_row(2, scan="b"), subset_row(1, scan="b"), subset_row(1, scan="a")]
    assert scan_names(rows) == ["b", "a"]
    assert [r.subset for r in subsets_of(rows, "b")] == [1, 2]
