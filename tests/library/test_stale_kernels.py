"""Kernels that numba kept of an older checkout."""

import os
import subprocess
import sys

import pytest

from xrdct.stale_kernels import forget_stale_kernels

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


@pytest.fixture
def package(tmp_path):
    """A package whose one kernel calls a kernel of another file."""
    folder = tmp_path / "kernels_of_two_files"
    folder.mkdir()
    for name, text in {"__init__": "", "inner": INNER.format(number=1), "outer": OUTER, "plain": "x = 1\n"}.items():
        (folder / f"{name}.py").write_text(text, encoding="utf-8")
    return folder


def answer(package) -> str:
    """What the outer kernel returns in a process of its own."""
    code = f"from {package.name}.outer import outer; print(outer())"
    # Kernels lie beside their code, as for a user who has set no other place.
    environment = {name: value for name, value in os.environ.items() if name != "NUMBA_CACHE_DIR"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=package.parent, env=environment, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def test_a_kernel_that_is_called_from_another_file_is_not_the_one_of_before(package):
    assert answer(package) == "1"
    forget_stale_kernels(package)
    (package / "inner.py").write_text(INNER.format(number=2), encoding="utf-8")
    assert forget_stale_kernels(package)
    assert answer(package) == "2"


def test_kernels_stay_while_no_file_that_holds_any_has_changed(package):
    forget_stale_kernels(package)
    kept = package / "__pycache__" / "outer.outer-7.py311.nbi"
    kept.write_bytes(b"compiled")
    (package / "plain.py").write_text("x = 2\n", encoding="utf-8")
    assert not forget_stale_kernels(package)
    assert not forget_stale_kernels(package)
    assert kept.exists()


def test_a_damaged_note_of_the_last_look_counts_as_none(package):
    forget_stale_kernels(package)
    (package / "__pycache__" / "kernels").write_text("half a li", encoding="ascii")
    assert forget_stale_kernels(package)
