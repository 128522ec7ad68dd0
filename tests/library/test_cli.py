"""The command line: exit codes, what is printed where, and no traceback for a user's mistake."""

import subprocess
import sys

import pytest
from raw_files import subset_row, write_beamtime

from support import REPOSITORY
from xrdct.cli import COMMANDS, main
from xrdct.scans import read_scans


def test_check_says_ok_with_a_summary(tmp_path, capsys):
    assert main(["check", str(write_beamtime(tmp_path))]) == 0
    assert capsys.readouterr().out == "ok: 1 scan, 2 subsets, 48 frames\n"


def test_check_prints_one_line_per_problem_and_fails(tmp_path, capsys):
    config = write_beamtime(tmp_path, rows=[subset_row(1, zigzag="no"), subset_row(2, n_projections=4)])
    assert main(["check", str(config)]) == 1
    output = capsys.readouterr()
    assert len(output.out.splitlines()) == 2
    assert output.err.startswith("2 problems in ")


def test_check_of_a_missing_configuration_is_a_problem(tmp_path, capsys):
    assert main(["check", str(tmp_path / "config.yaml")]) == 1
    assert "no such configuration file" in capsys.readouterr().out


def test_init_writes_a_table_that_check_accepts(tmp_path, capsys):
    config = write_beamtime(tmp_path)
    table = tmp_path / "scans.tsv"
    table.unlink()
    assert main(["init", str(tmp_path / "raw"), "-o", str(table)]) == 0
    assert "1 scan, 2 subsets" in capsys.readouterr().out
    assert len(read_scans(table)) == 2
    assert main(["check", str(config)]) == 0


def test_init_prints_the_table_unless_a_file_is_named(tmp_path, capsys):
    write_beamtime(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    assert main(["init", str(tmp_path / "raw")]) == 0
    printed = capsys.readouterr().out
    (tmp_path / "printed.tsv").write_text(printed)
    assert len(read_scans(tmp_path / "printed.tsv")) == 2
    assert printed.startswith("# Proposed")
    assert set(tmp_path.rglob("*")) == {*before, tmp_path / "printed.tsv"}


def test_check_takes_the_working_folder(tmp_path, capsys):
    config = write_beamtime(tmp_path, raw={"root": "raw"})
    assert main(["check", str(config), "--directory", str(tmp_path)]) == 0


def test_a_simulated_beamtime_checks_out(tiny_raw, capsys):
    config = REPOSITORY / "tests" / "data" / "tiny" / "config.yaml"
    assert main(["check", str(config), "-d", str(tiny_raw)]) == 0
    assert capsys.readouterr().out == "ok: 2 scans, 4 subsets, 1,344 frames\n"


def test_init_does_not_overwrite(tmp_path, capsys):
    write_beamtime(tmp_path)
    before = (tmp_path / "scans.tsv").read_text()
    assert main(["init", str(tmp_path / "raw"), "-o", str(tmp_path / "scans.tsv")]) == 2
    assert "exists" in capsys.readouterr().err
    assert (tmp_path / "scans.tsv").read_text() == before


@pytest.mark.parametrize("folder", ["empty", "nowhere"])
def test_init_without_frames_writes_nothing(tmp_path, capsys, folder):
    (tmp_path / "empty").mkdir()
    assert main(["init", str(tmp_path / folder), "-o", str(tmp_path / "t.tsv")]) == 2
    assert folder in capsys.readouterr().err
    assert not (tmp_path / "t.tsv").exists()


def test_init_into_a_folder_that_is_not_there_is_an_error(tmp_path, capsys):
    write_beamtime(tmp_path)
    assert main(["init", str(tmp_path / "raw"), "-o", str(tmp_path / "no" / "t.tsv")]) == 2
    assert "does not exist" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_help_and_version_import_nothing_heavy(option):
    """Time on a busy machine proves nothing; what takes it are these imports."""
    code = (
        "import sys; from xrdct.cli import main\n"
        f"try: main(['{option}'])\n"
        "except SystemExit: pass\n"
        "heavy = ('numpy', 'pyFAI', 'h5py', 'pydantic', 'torch', 'astra', 'xarray', 'matplotlib')\n"
        "print([m for m in heavy if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "[]"


def test_every_command_has_help(capsys):
    for name in COMMANDS:
        with pytest.raises(SystemExit) as stopped:
            main([name, "--help"])
        assert stopped.value.code == 0
        assert f"usage: xrdct {name}" in capsys.readouterr().out


def test_a_users_mistake_is_one_message_and_exit_code_2(tmp_path, capsys):
    frame, folder = str(tmp_path / "nothing.cbf"), str(tmp_path / "out")
    assert main(["calibrate", frame, "--energy", "71", "--detector", "Pilatus1M", "-o", folder]) == 2
    assert "nothing.cbf: no such file" in capsys.readouterr().err
    assert main(["simulate", "no-preset", "--out", folder]) == 2
    assert "neither a parameter file nor one of the presets (demo, " in capsys.readouterr().err


CALIBRATE = ["calibrate", "frame.cbf", "--detector", "Pilatus1M"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([*CALIBRATE, "-o", "new", "--energy", "0"], "--energy: expected a number from 5 to 500, found 0"),
        ([*CALIBRATE, "-o", "new", "--energy", "nan"], "--energy: expected a number from 5 to 500, found nan"),
        ([*CALIBRATE, "-o", "new", "--energy", "71000"], "--energy: expected a number from 5 to 500"),
        ([*CALIBRATE, "-o", "new", "--energy", "71", "--max-rms", "-1"], "--max-rms: expected a number from"),
        ([*CALIBRATE, "-o", "new", "--energy", "71", "--shape", "0", "-3"], "--shape: expected a number at least 1"),
        ([*CALIBRATE, "-o", "file", "--energy", "71"], "file is no folder"),
        (["simulate", "tiny", "--out", "file"], "file is no folder"),
        (["simulate", "tiny", "--out", "file/below"], "file is no folder"),
        (["simulate", "tiny", "--out", ""], "'' is no folder"),
        (["simulate", "tiny", "--out", "new", "--workers", "-3"], "--workers: expected a number at least 1, found -3"),
        (["simulate", "tiny", "--out", "new", "--workers", "two"], "--workers: invalid number value: 'two'"),
        (["simulate", "tiny", "--out", "new", "--lines", "0"], "--lines: expected a number at least 1, found 0"),
        (["simulate", "latin", "--out", "new"], "latin: not a text file in UTF-8"),
        (["schema", "-o", "no/such/folder/x"], "no/such/folder/x: No such file or directory"),
        (["schema", "-o", "."], ".: Is a directory"),
    ],
)
def test_an_odd_argument_is_refused_by_name_before_any_work(tmp_path, monkeypatch, capsys, arguments, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    (tmp_path / "latin").write_bytes("sample: Ångström".encode("latin-1"))
    try:
        code = main(arguments)
    except SystemExit as stopped:  # argparse's own way out
        code = stopped.code
    assert code == 2
    assert said in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "latin"]
