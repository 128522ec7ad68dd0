"""Members to model.pt: the ensemble with its calibration and thresholds, and the model card."""

import json

import numba
import torch

from xrdct.config import PhaseSetSettings, PqNet
from xrdct.denoise.unet import best_device
from xrdct.io.pqnet import read_key, read_member, write_ensemble
from xrdct.io.profile import read_profile
from xrdct.io.store import replaced_when_whole, write_json
from xrdct.logbook import logbook
from xrdct.pqnet.ensemble import make_ensemble
from xrdct.pqnet.score import card_text, measure_card
from xrdct.pqnet.task import grid_of, make_task

TESTED = 3000
"""Patterns at each dose for the model card."""


def main(profile_file, members, outputs, *, phase_set, grid, settings):
    chosen = PqNet.model_validate(settings)
    task = make_task(PhaseSetSettings.model_validate(phase_set), grid_of(**grid), read_profile(profile_file), chosen)
    ensemble = make_ensemble(
        task.model,
        task.recipe,
        task.noise,
        task.scaling,
        [read_member(path, device=best_device()) for path in members],
        patterns=chosen.held_out,
        alarms=chosen.alarms,
        seed=chosen.seed,
    )
    card = measure_card(ensemble, task, patterns=TESTED) | {"keys": [read_key(path) for path in members]}
    write_ensemble(ensemble, outputs["model"], q=task.model.q, phases=task.model.phases.names, facts=card)
    write_json(card, outputs["numbers"])
    with replaced_when_whole(outputs["card"]) as partial:
        partial.write_text(card_text(card), encoding="utf-8")


if __name__ == "__main__":
    numba.set_num_threads(min(snakemake.threads, numba.config.NUMBA_NUM_THREADS))
    torch.set_num_threads(snakemake.threads)
    with logbook(snakemake.log[0]):
        main(
            snakemake.input.profile,
            snakemake.input.members,
            dict(snakemake.output.items()),
            **json.loads(snakemake.params.cfg),
        )
