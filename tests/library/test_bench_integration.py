"""The bench of the integration step measures what it says."""

import time

import numpy as np

from xrdct.bench.integration import N_BINS, alternating, load_setup


def test_contenders_take_turns_and_warm_up_once():
    calls = []
    seconds = alternating({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, 3)
    assert "".join(calls) == "ab" * 4
    assert {name: len(values) for name, values in seconds.items()} == {"a": 3, "b": 3}


def test_time_spent_waiting_is_not_counted():
    seconds = alternating({"sleeper": lambda: time.sleep(0.05)}, 2)
    assert seconds["sleeper"].max() < 0.02  # CPU time; the wall time is 0.05


def test_without_real_files_the_frame_is_a_full_synthetic_detector(monkeypatch):
    monkeypatch.delenv("XRDCT_REAL_DATA", raising=False)
    setup = load_setup()
    indices, indptr, weights = setup.table
    assert setup.counts.shape == (1679, 1475)
    assert len(indptr) == N_BINS + 1
    assert np.count_nonzero(setup.mask == 0) * 0.99 < len(indices) == len(weights)
    assert 300 <= np.median(setup.counts[setup.mask == 0]) <= 2000
    assert setup.frame(1 / 30)[setup.mask == 1].max() == -1
