"""Compiled kernels do not outlive the files that they were made from."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from xrdct.kernel_cache import VARIABLE, choose_kernel_cache

INNER = """import numba


@numba.njit(cache=True)
def inner():
    return {number}
"""
OUTER = """import numba

from .inner import inner


@numba.njit(cache=True)
def outer():
    return inner()
"""
ASK = """
from pathlib import Path
{first}
from xrdct.kernel_cache import choose_kernel_cache
choose_kernel_cache(Path("{name}").resolve())
from {name}.outer import outer
print(outer(), sum(outer.stats.cache_hits.values()))
"""


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    """What a test sets for numba ends with it."""
    import numba

    monkeypatch.setenv(VARIABLE, "")
    monkeypatch.setattr(numba.config, "CACHE_DIR", numba.config.CACHE_DIR)


@pytest.fixture
def package(tmp_path):
    """A package whose one kernel calls a kernel of another file."""
    folder = tmp_path / "kernels_of_two_files"
    folder.mkdir()
    for name, text in {"__init__": "", "inner": INNER.format(number=1), "outer": OUTER, "plain": "x = 1\n"}.items():
        (folder / f"{name}.py").write_text(text, encoding="utf-8")
    return folder


def answer(package, first="", **variables) -> list[str]:
    """What the outer kernel returns in a process of its own, and how often it was found compiled."""
    code = ASK.format(name=package.name, first=first)
    source = str(Path(sys.modules["xrdct"].__file__).parents[1])
    environment = os.environ | {"PYTHONPATH": source} | variables
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=package.parent, env=environment, check=True, capture_output=True, text=True)
    return done.stdout.split()


def test_a_kernel_that_is_called_from_another_file_is_not_the_one_of_before(package, tmp_path):
    given = {VARIABLE: str(tmp_path / "given")}
    assert answer(package, **given) == ["1", "0"]
    assert answer(package, **given) == ["1", "1"]
    (package / "inner.py").write_text(INNER.format(number=2), encoding="utf-8")
    # A script may have imported numba before.
    assert answer(package, first="import numba", **given) == ["2", "0"]


def test_only_files_with_kernels_make_a_new_folder(package):
    before = choose_kernel_cache(package)
    (package / "plain.py").write_text("x = 2\n", encoding="utf-8")
    assert choose_kernel_cache(package) == before
    (package / "inner.py").write_text(INNER.format(number=2), encoding="utf-8")
    assert choose_kernel_cache(package) != before
    assert before.parent == package / "__pycache__"


def test_a_process_takes_over_the_place_of_the_one_that_started_it(package, monkeypatch, tmp_path):
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    first = choose_kernel_cache(package)
    assert first.parent == tmp_path
    assert choose_kernel_cache(package) == first


def test_a_lock_of_an_editor_that_points_nowhere_does_no_harm(package):
    (package / ".#plain.py").symlink_to("nobody@nowhere")
    choose_kernel_cache(package)


def test_beside_code_that_may_not_be_written_kernels_go_to_the_users_folder(package, monkeypatch, tmp_path):
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert choose_kernel_cache(package).parent == tmp_path / "xrdct"
