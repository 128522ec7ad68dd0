"""Which channels the figure of a denoised scan shows, and what its learning curves say."""

import numpy as np
import pytest

from xrdct.denoise.picture import draw_learning, shown_channels

Q = 1 + 0.01 * np.arange(60)
WINDOWS = [
    {"name": name, "q_min": Q[centre - 4], "q_max": Q[centre + 4]}
    for name, centre in (("weak", 10), ("strong", 25), ("medium", 40), ("absent", 52))
]


@pytest.fixture
def volume():
    """Three phases, each with a peak in a quarter of the image, on a flat background."""
    values = np.full((20, 20, Q.size), 3.0, np.float32)
    for centre, height, rows in ((10, 0.5, slice(0, 10)), (25, 9.0, slice(10, 20)), (40, 2.0, slice(5, 15))):
        values[rows, :10] += height * np.exp(-0.5 * ((np.arange(Q.size) - centre) / 1.2) ** 2)
    return values


def test_the_strongest_the_medium_and_the_weakest_phase_that_are_there_are_shown(volume):
    noise = np.full(volume.shape, 0.02, np.float32)
    shown = shown_channels(volume, noise, Q, WINDOWS)
    assert list(shown.values()) == [25, 40, 10]
    assert [title.split(",")[0] for title in shown] == ["strong", "medium", "weak"]


def test_a_phase_that_noise_hides_is_not_shown(volume):
    shown = shown_channels(volume, np.full(volume.shape, 0.15, np.float32), Q, WINDOWS)
    assert list(shown.values()) == [25, 40]


def test_without_windows_channels_are_chosen_by_their_contrast(volume):
    assert next(iter(shown_channels(volume, volume, Q, []).values())) == 25


def test_the_step_that_was_kept_is_named_and_many_trainings_follow_one_another():
    history = [{"step": s, "training": 1 / s, "held_out": 2 / s} for s in (10, 20, 30)]
    one = draw_learning([{"name": "shared", "best_step": 20, "history": history}]).axes[0]
    assert "kept: step 20" in one.get_legend_handles_labels()[1]
    two = draw_learning([{"name": f"channel {k}", "best_step": 20, "history": history} for k in range(2)]).axes[0]
    assert [line.get_xdata().tolist() for line in two.lines] == [[10, 20, 30], [40, 50, 60]]
    assert draw_learning([]).axes[0].texts[0].get_text() == "no network was trained"
