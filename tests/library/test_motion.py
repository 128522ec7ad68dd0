"""Lines, direction and steps found in recorded positions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xrdct.geometry import nominal_positions
from xrdct.motion import find_motion, is_slow_axis, line_angles


@given(
    n_lines=st.integers(1, 30),
    n_positions=st.integers(3, 60),
    zigzag=st.booleans(),
    step=st.floats(1e-3, 5),
    backwards=st.booleans(),
    seed=st.integers(0, 99),
)
def test_lines_are_found_in_jittering_positions(n_lines, n_positions, zigzag, step, backwards, seed):
    t = nominal_positions(n_lines, n_positions, zigzag=zigzag).ravel() * step * (-1 if backwards else 1)
    t += np.random.default_rng(seed).uniform(-0.1, 0.1, t.size) * step
    motion = find_motion(t)
    assert (motion.n_projections, motion.n_positions) == (n_lines, n_positions)
    assert motion.zigzag == (zigzag and n_lines > 1)
    # Jitter of ±0.1 on either end moves one difference by 0.2 at most, and so their median.
    assert motion.step == pytest.approx(step, rel=0.2)


def test_half_a_step_of_backlash_does_not_hide_the_lines():
    t = nominal_positions(20, 50, zigzag=True)
    t[1::2] += 0.5
    assert find_motion(t.ravel()).n_positions == 50


@pytest.mark.parametrize(
    "positions",
    [
        np.zeros(20),
        np.array([1.0]),
        np.random.default_rng(0).normal(size=97),
        nominal_positions(10, 20, zigzag=True).ravel()[:-7],
    ],
    ids=["still", "one frame", "noise", "aborted"],
)
def test_positions_without_equal_lines_are_no_scan(positions):
    assert find_motion(positions) is None


def test_the_slow_axis_steps_from_line_to_line_and_a_counter_does_not():
    stepped = np.repeat(30 + np.arange(10) * 1.8, 25)
    turning = 30 + np.arange(250) * 1.8 / 25
    assert is_slow_axis(stepped, 25)
    assert is_slow_axis(turning, 25)
    assert is_slow_axis(-stepped, 25)
    assert not is_slow_axis(np.random.default_rng(0).normal(1e5, 300, 250), 25)
    assert not is_slow_axis(np.full(250, 1.0), 25)
    np.testing.assert_allclose(line_angles(stepped, 25), 30 + np.arange(10) * 1.8, rtol=1e-12)  # means of equals
