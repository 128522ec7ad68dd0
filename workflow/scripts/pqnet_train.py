"""Phase set and instrument profile to member{k}.pt: one network of the ensemble, trained from where it was left."""

import hashlib
import json
import logging
import shutil
from pathlib import Path

import numba
import torch

from xrdct.config import PhaseSetSettings, PqNet
from xrdct.denoise.unet import best_device
from xrdct.gpu_memory import on_gpu_or_cpu
from xrdct.io.pqnet import read_training, write_member, write_training
from xrdct.io.profile import read_profile
from xrdct.io.store import read_store, replaced_when_whole
from xrdct.logbook import logbook, progress
from xrdct.pqnet.task import grid_of, make_task, make_training
from xrdct.provenance import canonical_json, file_sha256

log = logging.getLogger("xrdct.pqnet")


def main(profile_file, member_file, *, phase_set, grid, settings, member, code, library=None, cache=None):
    key = key_of(file_sha256(profile_file), phase_set, grid, settings, member, code)
    kept = Path(cache) / f"{key}.pt" if cache else None
    if kept and kept.is_file():
        log.info("member %d was trained before: %s", member, kept)
        copy(kept, member_file)
        return
    task = make_task(
        PhaseSetSettings.model_validate(phase_set),
        grid_of(**grid),
        read_profile(profile_file),
        PqNet.model_validate(settings),
    )
    device = best_device()
    log.info("member %d on %s", member, torch.cuda.get_device_name() if device == "cuda" else "the CPU")
    stored = stored_arrays(library)

    def train(device):
        training = make_training(task, member=member, device=device, stored=stored)
        run(training, member_file, key=key, settings=settings)

    on_gpu_or_cpu("PQ-Net, training", train, device)
    if kept:
        kept.parent.mkdir(parents=True, exist_ok=True)
        copy(member_file, kept)


def key_of(profile, phase_set, grid, settings, member, code):
    """What makes one network and no other."""
    text = canonical_json([profile, phase_set, grid, settings, member, code])
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def run(training, member_file, *, key, settings):
    """Train to the end; a training of the same key that was killed goes on."""
    partial = Path(member_file).with_name(f".{Path(member_file).name}.growing")
    state = read_training(partial, key=key)
    if state is not None:
        training.restore(state)
        log.info("training goes on after epoch %d", training.epoch)
    training.run(checkpoint=lambda state: write_training(state, partial, key=key), progress=progress("train", "epoch"))
    best = training.best
    log.info(
        "mean absolute error %.4f of the ranges, after epoch %d of %d", best["error"], best["epoch"], training.epoch
    )
    write_member(training.state(), member_file, key=key, settings=settings)
    partial.unlink(missing_ok=True)


def stored_arrays(library):
    """The arrays of a stored library, None without one."""
    if library is None:
        return None
    stored = read_store(library, "library")
    names = {"patterns": "intensity", "level": "level", "dose": "dose", "parameters": "parameters"}
    return {name: stored[variable].values for name, variable in names.items()}


def copy(source, target):
    """Copy a file, whole or not at all."""
    with replaced_when_whole(target) as partial:
        shutil.copyfile(source, partial)


if __name__ == "__main__":
    numba.set_num_threads(min(snakemake.threads, numba.config.NUMBA_NUM_THREADS))
    torch.set_num_threads(snakemake.threads)
    torch.set_float32_matmul_precision("high")  # TF32 where there is a GPU: 11 bits are enough to learn from
    with logbook(snakemake.log[0]):
        main(
            snakemake.input.profile,
            snakemake.output[0],
            member=int(snakemake.wildcards.member),
            code=snakemake.params.code,
            library=snakemake.input.get("library"),
            # No parameter of the rule: where networks are kept changes none of them.
            cache=snakemake.resources.get("cache") or None,
            **json.loads(snakemake.params.cfg),
        )
