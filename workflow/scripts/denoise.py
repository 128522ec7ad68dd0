"""sinogram.zarr to a denoised volume.zarr with its spread, the network, and how its training went."""

import hashlib
import json
import logging
import shutil
from dataclasses import asdict
from pathlib import Path

import numba
import numpy as np
import torch
import xarray as xr

from xrdct.denoise.gates import try_on_scan
from xrdct.denoise.guard import put_back
from xrdct.denoise.low_rank import FEWEST_PARTS, project_leave_one_out
from xrdct.denoise.scaling import find_scales
from xrdct.denoise.selection import denoise_best, denoise_channel
from xrdct.denoise.splits import (
    by_angle,
    by_group,
    by_thinning,
    reconstruct_parts,
    refuse_unlike_parts,
)
from xrdct.denoise.training import Schedule, Training
from xrdct.denoise.unet import best_device, new_network
from xrdct.errors import GeometryError, StoreError
from xrdct.geometry import pixel_centres
from xrdct.gpu_memory import on_gpu_or_cpu
from xrdct.io.network import network_from, read_training
from xrdct.io.resumable import finished_beside, trained, tuned_channel_by_channel
from xrdct.io.store import manifest_digest, read_store, replaced_when_whole, write_store
from xrdct.io.whole import scratch_beside
from xrdct.logbook import logbook, progress

log = logging.getLogger("xrdct.denoise")

BOLDEST_FIRST = ("joint+network", "joint", "network+weights", "weights")
"""Methods in the order in which the gates refuse them."""
LEANING_ON_ALL_CHANNELS = BOLDEST_FIRST[:3]
"""Methods that are given the projection where there is one."""


def main(sinogram_store, sinogram_manifest, store, manifest, network_file, curves_file, *, settings, model=None):
    sinogram = read_store(sinogram_store, "sinogram")
    digest = manifest_digest(sinogram_manifest)
    split = split_of(sinogram, settings)
    shape = (split.n_channels, len(split.angles), split.n_positions, split.n_positions)
    # The parts of a full-size scan fill several gigabytes and are read a channel at a time: they stay on disk. Those of
    # a job that was killed go when it is started again.
    with scratch_beside(Path(store).with_suffix(".parts")) as folder:
        folder.mkdir()
        parts = np.lib.format.open_memmap(folder / "parts.npy", "w+", np.float32, shape)
        reconstruct_parts(split, out=parts, progress=progress("reconstruct parts", "block"))
        refuse_unlike_parts(parts)
        inside = circle(split.n_positions)
        scales = find_scales(parts, inside)
        volume, spread, methods, curves, gates = denoise(
            split, parts, scales, inside, network_file, digest, settings, model, folder
        )
    log.info("chosen by held-out data: %s", {name: methods.count(name) for name in sorted(set(methods))})
    write_curves(curves, curves_file)
    inputs = {"sinogram": digest} | ({"model": file_digest(model)} if model else {})
    dataset = to_dataset(volume, spread, methods, sinogram).assign_attrs(gates=json.dumps(gates, sort_keys=True))
    write_store(dataset, store, manifest, kind="volume", settings=settings, inputs=inputs)
    shutil.rmtree(finished_beside(network_file), ignore_errors=True)


def split_of(sinogram, settings):
    """Parts of the scan as the settings want them."""
    angles, cor = sinogram.angle.values, sinogram.attrs["cor"] + sinogram.offset.values
    if settings["split"] == "thinning":
        return by_thinning(sinogram.intensity, sinogram.variance, angles, cor=cor, seed=settings["seed"])
    if settings["split"] == "angle":
        return by_angle(sinogram.intensity, angles, sinogram.subset.values, cor=cor)
    if "group_intensity" not in sinogram:
        raise GeometryError(
            "denoise.split is 'pixel', but the sinogram has no groups of pixels: set integrate.groups to 4, or "
            "denoise.split to 'thinning'"
        )
    return by_group(sinogram.group_intensity, angles, cor=cor)


def circle(n):
    """Voxels inside the circle of the reconstruction, without its rim."""
    axis = pixel_centres(n, 1.0)
    return np.hypot(axis[None], axis[:, None]) < n / 2 - 1


def denoise(split, parts, scales, inside, network_file, digest, settings, model, folder):
    """Volume, spread, method of every channel, learning curves, and what the gates said."""
    device = best_device()
    log.info("network on %s", torch.cuda.get_device_name() if device == "cuda" else "the CPU")
    architecture = {name: settings[name] for name in ("width", "depth", "seed")}
    curves, network = [], None
    key = hashlib.sha256(json.dumps([digest, settings], sort_keys=True).encode()).hexdigest()
    if model is None and settings["schedule"] == "paper":

        def tuned(device):
            curves.clear()
            network = new_network(**architecture, device=device)
            channels = one_after_the_other(split, parts, scales, inside, network, settings, curves, network_file, key)
            return guarded(channels, parts)

        found = on_gpu_or_cpu("denoise, training", tuned, device)
        log.warning("the gates do not run with denoise.schedule 'paper': its network is another one for every channel")
        return *found, curves, None
    projected = None
    if settings["joint"] and parts.shape[1] < FEWEST_PARTS:
        log.warning("denoise.joint needs %d parts, found %d: done channel by channel", FEWEST_PARTS, parts.shape[1])
    elif settings["joint"]:
        projected = project_leave_one_out(parts, scales, inside, out=room(folder / "projected.npy", parts.shape))
    if model is not None:
        state = read_training(model)
        refuse_without_projection(state, model, projected)
        network = network_from(state, device=device)
        curves.append(curve_of("another scan's network", state))
    elif settings["steps"]:

        def train(device):
            network = new_network(**architecture, inputs=1 if projected is None else 2, device=device)
            training = Training(network, parts, scales, inside, schedule_of(settings), projected=projected)
            return trained(training, network_file, key=key, progress=progress("train", "step"))

        state = on_gpu_or_cpu("denoise, training", train, device)
        network = network_from(state, device=device)
        curves.append(curve_of("one network for all channels", state))
    *found, gates = behind_gates(parts, scales, inside, network, projected, folder)
    return *found, curves, gates


def refuse_without_projection(state, model, projected):
    """A network that was given what all channels say together cannot do without it."""
    if state["architecture"].get("inputs", 1) > 1 and projected is None:
        raise StoreError(
            f"{model}: this network was trained with denoise.joint on three parts or more; set denoise.joint to true, "
            "or train one without"
        )


def room(path, shape):
    """A new array of float32 on disk."""
    return np.lib.format.open_memmap(path, "w+", np.float32, shape)


def behind_gates(parts, scales, inside, network, projected, folder):
    """Volume, spread and methods of the best methods that bend and erase nothing, and what every trial left.

    What is not let pass is refused by its name, the boldest first, and the rest is chosen from again.
    """
    refused, gates = [], []
    while True:
        # A network of two inputs is not asked without the projection: what leans on it is refused together.
        used = {"network": None if "network+weights" in refused else network, "without": refused}
        *found, methods = guarded(denoise_best(parts, scales, inside, projected=projected, **used), parts)
        wanted = projected is not None and not set(LEANING_ON_ALL_CHANNELS) <= set(refused)
        out = room(folder / "planted.npy", parts.shape) if wanted else None
        left = try_on_scan(parts, found[0], scales, inside, joint=wanted, out=out, **used)
        if left is None:
            log.warning("the gates did not run: the scan has too few channels to plant anything")
            return *found, methods, gates
        bold = next((name for name in BOLDEST_FIRST if name in methods), None)
        shares = {name: round(value, 3) for name, value in asdict(left).items()}
        gates.append({"passed": left.passed, "left": shares, "refused": list(refused)})
        log.log(logging.INFO if left.passed else logging.WARNING, "gates: left of what was planted: %s", shares)
        if left.passed or bold is None:
            return *found, methods, gates
        log.warning("refused: %s erases a rare phase or bends peaks on this scan", bold)
        refused.append(bold)


def guarded(channels, parts):
    """Volume and spread [channel, y, x] under the guard, and the method of every channel."""
    volume, spread, methods = collect(channels, (len(parts), *parts.shape[1:]))
    volume, added = put_back(volume, parts)
    return volume, np.hypot(spread, added), methods


def one_after_the_other(split, parts, scales, inside, network, settings, curves, network_file, key):
    """The paper's schedule: each channel is denoised while the network is tuned to it."""
    tuned = tuned_channel_by_channel(
        network, split, parts, scales, inside, seed=settings["seed"], network_file=network_file, key=key
    )
    for found, state in tuned:
        curves.append(curve_of(f"channel {found.channel}", state))
        yield found
    for channel in sorted(set(range(len(parts))) - set(scales.usable.tolist())):
        yield denoise_channel(parts[channel], scales, inside, channel)


def curve_of(name, state):
    """What `picture.draw_learning` wants of a training."""
    return {"name": name, "best_step": state["best"]["step"], "history": state["history"]}


def write_curves(curves, path):
    """A JSON file, whole or not at all."""
    with replaced_when_whole(path) as partial:
        partial.write_text(json.dumps(curves) + "\n")


def schedule_of(settings):
    """The shared training as the settings want it."""
    return Schedule(**{name: settings[name] for name in ("steps", "patience", "loss", "seed")})


def collect(channels, shape):
    """Volume and spread [channel, y, x], and the method of every channel."""
    volume = np.empty((shape[0], *shape[2:]), np.float32)
    spread, methods = np.empty_like(volume), ["none"] * shape[0]
    for found in progress("denoise", "channel")(channels):
        volume[found.channel], spread[found.channel] = found.image, found.spread
        methods[found.channel] = found.method
    return volume, spread, methods


def file_digest(path):
    """Checksum of the network that came from elsewhere."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()[:16]


def to_dataset(volume, spread, methods, sinogram):
    """The store's form, as of `reconstruct`, with the spread of every voxel and the method of every channel."""
    axis = pixel_centres(volume.shape[1], sinogram.attrs["step_mm"])
    dims, units = ("y", "x", "q"), {"units": "counts/voxel"}
    return xr.Dataset(
        {
            "intensity": (dims, np.moveaxis(volume, 0, -1), units),
            "spread": (dims, np.moveaxis(spread, 0, -1), units),
        },
        coords={
            "y": ("y", axis[::-1], {"units": "mm"}),
            "x": ("x", axis, {"units": "mm"}),
            "q": ("q", sinogram.q.values, {"units": "1/angstrom"}),
        },
        attrs={"stage": "denoised", "voxel_mm": sinogram.attrs["step_mm"], "methods": methods},
    )


if __name__ == "__main__":
    numba.set_num_threads(min(snakemake.threads, numba.config.NUMBA_NUM_THREADS))
    torch.set_num_threads(snakemake.threads)
    with logbook(snakemake.log[0]):
        main(
            snakemake.input.store,
            snakemake.input.manifest,
            snakemake.output.store,
            snakemake.output.manifest,
            snakemake.params.network,
            snakemake.output.curves,
            settings=json.loads(snakemake.params.cfg),
            model=snakemake.input.get("model") or None,
        )
