"""The benches of PQ-Net run to their end on a toy size, and say what is missed."""

import numpy as np
import pytest
import torch

from xrdct.bench import pqnet, pqnet_presets
from xrdct.pqnet.training import Schedule

pytestmark = pytest.mark.usefixtures("one_thread")

TOY = pqnet_presets.Budget(patterns=1024, epochs=1, kinds=1, held_out=1000, tests=60, fitted=20, most=2)


def by_name(marks):
    names = [mark.name for mark in marks]
    assert len(set(names)) == len(names)  # rows of one name would overwrite each other in the file
    return {mark.name: mark for mark in marks}


def test_a_preset_is_measured_at_both_doses_and_only_the_two_steps_have_goals():
    found = by_name(pqnet_presets.preset_marks("lixc-4", TOY))
    assert all(np.isfinite(mark.measured) for mark in found.values())
    held = [name for name, mark in found.items() if "over the bound" in name and mark.goal]
    assert len(held) == 2  # scales and cells
    assert all("+ 2 steps" in name and "dose 2000" in name for name in held)


def test_the_fast_schedule_gets_the_patterns_and_the_time_of_the_papers(monkeypatch):
    seconds = {"paper": 6.0, "convolution": 9.0, "fast": 3.0}

    def run(training):
        training.epoch = training.schedule.epochs
        paper = not training.schedule.falling
        kind = training.network.architecture["kind"]
        return training.network, seconds["paper" if paper else "convolution" if kind == "convolution" else "fast"]

    monkeypatch.setattr(pqnet_presets, "trained", run)
    found = by_name(pqnet_presets.schedule_marks(TOY))
    seen = {name.removesuffix(": patterns seen"): mark.measured for name, mark in found.items() if "seen" in name}
    assert seen["nca-8, dense, the fast schedule on as many patterns as the paper's"] == 2 * 1024
    assert seen["nca-8, dense, the fast schedule in the time of the paper's"] == 4 * 1024
    assert seen["nca-8, dense, the fast schedule in the time of the convolution network"] == 3 * 1024


def test_the_papers_schedule_is_cut_off_where_the_budget_ends():
    paper = pqnet_presets.Run("dense", Schedule(epochs=2, batch=32, learning_rate=5e-4, falling=False), TOY)
    assert paper.epochs == 2
    assert paper.seconds > 0
    assert [mark.unit for mark in paper.marks("")] == ["", "", "s"]


def test_a_kept_network_is_taken_again_and_another_training_is_not(tmp_path, monkeypatch):
    monkeypatch.setattr(pqnet, "make_training", lambda task, **options: trainings.append(options) or Trained())
    trainings, task = [], pqnet.bench_task("nca-8", 1)
    first, seconds = pqnet.trained_member(task, 0, tmp_path)
    again, same = pqnet.trained_member(task, 0, tmp_path)
    assert len(trainings) == 1
    assert seconds == same
    assert all(torch.equal(a, b) for a, b in zip(first.state_dict().values(), again.state_dict().values(), strict=True))
    other = pqnet.bench_task("nca-8", 1)
    object.__setattr__(other, "settings", task.settings.model_copy(update={"batch": 64}))
    pqnet.trained_member(other, 0, tmp_path)
    assert len(trainings) == 2


class Trained:
    """A training that is over at once."""

    def __init__(self):
        self.network = pqnet.new_network(seed=0, kind="dense", n_bins=20, n_targets=3)

    def run(self):
        return self.network

    def state(self):
        network = self.network
        return {"architecture": network.architecture, "best": {"weights": network.state_dict()}, "history": []}
