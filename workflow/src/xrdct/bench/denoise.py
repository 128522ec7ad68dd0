"""Denoising on a jelly roll with known truth, at the paper's dose and at a tenth: what is gained, and what is bent.

``python -m xrdct.bench.denoise [--seeds N] [--steps N]`` measures with fewer seeds or another length of training.
"""

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import asdict

import numpy as np
import torch
from scipy.ndimage import binary_dilation, gaussian_filter

from ..denoise.baseline import blend, features_of
from ..denoise.guard import put_back
from ..denoise.inference import outputs
from ..denoise.low_rank import project_leave_one_out
from ..denoise.paper import train_channel_by_channel
from ..denoise.scaling import Scales, find_scales
from ..denoise.selection import METHODS, candidates_of
from ..denoise.splits import Split, by_angle, by_group, interlaced_parts, reconstruct_parts, reconstruct_turned
from ..denoise.training import Schedule, Training
from ..denoise.unet import UNet, best_device, new_network
from ..geometry import pixel_centres
from .jelly_roll import FOIL, FWHM, GRAIN, LIC6, LIC12, PARTS, C, JellyRoll, N, Q, jelly_roll, peak
from .marks import Mark, at_least, at_most, not_measured, reported, table

DEVICE = "CPU, 1 thread (or the GPU that the rows name)"
DOSES = {"paper's dose": 3000, "a tenth": 300}
"""Counts at the top of the cathode's peak in the strongest projections."""
SEEDS, STEPS, WIDTH, DEPTH = 3, 1500, 8, 3
COR = (N - 1) / 2
JUDGED = np.arange(0, len(Q), 3)
"""Channels whose filters are tuned with the truth; the comparison with them is on these."""
PEAKS = np.min([np.abs(Q - q) for q in (6 * np.pi / C, FOIL, LIC6, LIC12)], axis=0) < FWHM
"""Channels with a strong line; the rest counts as background."""
GROUPS = {"all": np.ones(len(Q), bool), "peaks": PEAKS, "background": ~PEAKS}
INSIDE = np.hypot(pixel_centres(N, 1.0)[None], pixel_centres(N, 1.0)[:, None]) < 0.495 * N
SCHEDULE_CHANNELS = 12
"""Channels of the scan on which the schedules are compared."""
WORST = {"c dry |bias|": max, "grain intensity": min, "grain peak": min}
"""What is shown of the worst seed beside the mean, and which one that is."""
SINGLE = ("network of one image", "network+weights of one image")
"""Methods without `denoise.joint`, where the network does not see the projection."""
SINGLE_SEEDS = 2
"""Phantoms that they are measured on."""


def measure(seeds: int = SEEDS, steps: int = STEPS) -> list[Mark]:
    """All marks; about half an hour on one core."""
    torch.set_num_threads(1)
    marks = [reported("phantoms at each dose", seeds), *floor_without_noise()]
    for name, counts in DOSES.items():
        runs = [judge(jelly_roll(seed), counts, seed=seed, steps=steps) for seed in range(seeds)]
        marks += dose_marks(name, over_seeds(runs))
    return [*marks, *schedules()]


def over_seeds(runs: list[dict[str, float]]) -> dict[str, float]:
    """Mean of every figure over the runs that have it (some are of seed 0 alone), and the worst of the gates'."""
    values = {key: [run[key] for run in runs if key in run] for key in runs[0]}
    found = {key: float(np.mean(own)) for key, own in values.items()}
    for key, own in values.items():
        for gate, worst in WORST.items():
            if key.endswith(gate) and "unguarded" not in key:
                found[f"{key}, worst seed"] = float(worst(own))
    return found


def fbp(sinogram: np.ndarray, angles: np.ndarray) -> np.ndarray:
    """Noise-free reconstruction, shape (n_channels, N, N)."""

    def read(channels):
        return [sinogram[..., channels]]

    split = Split([angles], [np.full(angles.size, COR)], read, N, sinogram.shape[-1])
    return reconstruct_parts(split)[:, 0]


def floor_without_noise() -> list[Mark]:
    """How well the held-out part can be predicted, by weights of Gaussians, where there is no noise at all."""
    roll = jelly_roll(0)
    clean = fbp(roll.sinogram, roll.angles)
    by_subset = by_angle(roll.sinogram, roll.angles, interlaced_parts(roll.angles, PARTS), cor=COR)
    groups = np.repeat(roll.sinogram[:, :, None], PARTS, axis=2)
    marks = []
    for name, split in (("angle", by_subset), ("pixel", by_group(groups, roll.angles, cor=COR))):
        found = weighted(reconstruct_parts(split))
        marks.append(reported(f"no noise, split by {name}: PSNR of the best weights", psnr(found, clean).mean(), "dB"))
    return marks


def weighted(parts: np.ndarray) -> np.ndarray:
    """The truth-free weights, shape (n_channels, N, N)."""
    return np.stack([blend(features_of(values), values, INSIDE)[0].mean(axis=0) for values in parts])


def psnr(found: np.ndarray, clean: np.ndarray) -> np.ndarray:
    """dB in every channel, with the channel's range as its peak."""
    error = ((found - clean)[:, INSIDE].astype(float) ** 2).mean(axis=1)
    return 10 * np.log10(np.ptp(clean[:, INSIDE], axis=1).astype(float) ** 2 / error)


def judge(roll: JellyRoll, counts: int, *, seed: int, steps: int) -> dict[str, float]:
    """Every figure of one phantom at one dose; what only illustrates with seed 0 at the paper's dose alone."""
    clean, dense = fbp(roll.sinogram, roll.angles), fbp(roll.dense, roll.dense_angles)
    groups = roll.groups(counts, seed)
    parts = reconstruct_parts(by_group(groups, roll.angles, cor=COR))
    whole = parts.mean(axis=1)
    raw = methods(parts, seed=seed, steps=steps, joint=True)
    if seed < SINGLE_SEEDS:
        without = methods(parts, seed=seed, steps=steps, joint=False)
        raw |= {name: without[name.removesuffix(" of one image")] for name in SINGLE}
    volumes = {"FBP": whole} | {name: put_back(volume, parts)[0] for name, volume in raw.items()}
    if seed == 0 and counts == DOSES["paper's dose"]:
        interlaced = by_angle(groups.mean(axis=2), roll.angles, interlaced_parts(roll.angles, PARTS), cor=COR)
        apart = reconstruct_parts(interlaced)
        volumes["network by angle"] = put_back(methods(apart, seed=seed, steps=steps, joint=False)["network"], apart)[0]
        volumes |= {f"{name} unguarded": volume for name, volume in raw.items()}
    found = {}
    for name, volume in volumes.items():
        scores, far = psnr(volume, clean), psnr(volume, dense)
        alike = structure(volume, clean)
        for group, chosen in GROUPS.items():
            found |= {f"{name}, {group}": scores[chosen].mean(), f"{name}, dense {group}": far[chosen].mean()}
            found[f"{name}, judged {group}"] = scores[JUDGED][chosen[JUDGED]].mean()
            found[f"{name}, structure {group}"] = alike[chosen[JUDGED]].mean()
        found |= {f"{name}, {key}": value for key, value in chemistry(volume, clean, roll).items()}
    for name, scores in tuned_filters(whole, clean).items():
        found |= {f"{name}, judged {group}": scores[chosen[JUDGED]].mean() for group, chosen in GROUPS.items()}
    return found


def methods(parts: np.ndarray, *, seed: int, steps: int, joint: bool) -> dict[str, np.ndarray]:
    """The volume that each method makes of the parts before the guard, with `denoise.joint` or without."""
    scales = find_scales(parts, INSIDE)
    projected = project_leave_one_out(parts, scales, INSIDE) if joint else None
    network = trained(parts, scales, Schedule(steps=steps, seed=seed), projected)
    names = ["network", *(name for name in METHODS[1:] if joint or "joint" not in name)]
    found = {name: np.empty_like(parts[:, 0]) for name in names}
    for channel, values in enumerate(parts):
        own = projected[channel] if joint else None
        candidates = candidates_of(values, scales, INSIDE, channel, network=network, projected=own)
        for name, volume in found.items():
            volume[channel] = candidates[name].mean(axis=0)
    return found


def trained(parts, scales: Scales, schedule: Schedule, projected=None) -> UNet:
    """One network for all channels; of two inputs where the projection is given."""
    inputs = 1 if projected is None else 2
    network = new_network(width=WIDTH, depth=DEPTH, seed=schedule.seed, inputs=inputs, device=best_device())
    return Training(network, parts, scales, INSIDE, schedule, projected=projected).run()


def structure(found: np.ndarray, clean: np.ndarray) -> np.ndarray:
    """Structural similarity of the judged channels (scikit-image, 7 × 7 windows, the channel's range)."""
    from skimage.metrics import structural_similarity

    spans = np.ptp(clean, axis=(1, 2))
    return np.array([structural_similarity(found[c], clean[c], data_range=spans[c]) for c in JUDGED])


def tuned_filters(noisy: np.ndarray, clean: np.ndarray) -> dict[str, np.ndarray]:
    """PSNR of the judged channels by filters whose strength was chosen, per channel, with the truth in hand."""
    from skimage.restoration import denoise_nl_means, denoise_tv_chambolle

    def means(image, strength):
        return denoise_nl_means(image, patch_size=5, patch_distance=6, h=strength, sigma=strength, fast_mode=True)

    filters = {
        "Gaussian": (gaussian_filter, (0.4, 0.6, 0.8, 1.0, 1.3, 1.7, 2.2, 3, 4)),
        "TV": (lambda image, s: denoise_tv_chambolle(image, weight=s), (0.2, 0.35, 0.6, 1, 1.7, 3, 5)),
        "NLM": (means, (0.5, 0.7, 0.85, 1, 1.2)),
    }
    return {
        name: np.array([best_score(run, strengths, noisy[c], clean[c]) for c in JUDGED])
        for name, (run, strengths) in filters.items()
    }


def best_score(run: Callable, strengths, noisy: np.ndarray, clean: np.ndarray) -> float:
    """The highest PSNR of a filter over its strengths, on an image in units of its noise."""
    unit = float(np.std((noisy - clean)[INSIDE]))
    found = [run(noisy / unit, s) * unit if run is not gaussian_filter else run(noisy, s) for s in strengths]
    return max(float(psnr(image[None], clean[None])[0]) for image in found)


def chemistry(found: np.ndarray, clean: np.ndarray, roll: JellyRoll) -> dict[str, float]:
    """Error of the lattice parameter c, its bias in the dry spot, and what is left of the grain."""
    ring = binary_dilation(roll.grain, iterations=5) & ~binary_dilation(roll.grain, iterations=2)
    line = np.abs(Q - GRAIN) < FWHM

    def above(volume):
        return volume[:, roll.grain].mean(axis=1) - volume[:, ring].mean(axis=1)

    left, there = above(found), above(clean)
    top = np.abs(Q - GRAIN).argmin()
    difference = fit_c(found, roll.cathode) - fit_c(clean, roll.cathode)
    spread = np.sqrt(np.mean(np.clip(difference, -0.1, 0.1) ** 2))
    return {
        "c rms": 1e3 * spread,
        "c bias": 1e3 * float(np.median(difference)),
        "c dry bias": (dry := 1e3 * float(difference[roll.dry[roll.cathode]].mean())),
        "c dry |bias|": abs(dry),
        "grain intensity": left[line].sum() / there[line].sum(),
        "grain peak": left[top] / there[top],
    }


def fit_c(volume: np.ndarray, where: np.ndarray) -> np.ndarray:
    """c of every voxel in Å: height, position and constant of the 003 line by Gauss–Newton, all voxels at once."""
    near = np.abs(Q - 6 * np.pi / C) < 0.04
    values = volume[near][:, where].T.astype(float)
    position = np.full(len(values), 6 * np.pi / C)
    small = 1e-4
    for _ in range(12):
        shape, ahead = peak(position)[:, near], peak(position + small)[:, near]
        design = np.stack([shape, np.ones_like(shape), (ahead - shape) / small], axis=-1)
        normal = np.einsum("vqi,vqj->vij", design, design)
        solved = np.linalg.solve(normal, np.einsum("vqi,vq->vi", design, values)[..., None])[..., 0]
        step = solved[:, 2] / np.where(np.abs(solved[:, 0]) > 1e-3, solved[:, 0], np.inf)
        position = np.clip(position + np.clip(step, -0.004, 0.004), 1.295, 1.332)
    return 6 * np.pi / position


def dose_marks(dose: str, of: dict[str, float]) -> list[Mark]:
    """The marks at one dose, from figures averaged over the seeds."""
    few = dose == "a tenth"

    def gain(name, group):
        return of[f"{name}, {group}"] - of[f"FBP, {group}"]

    best = {group: max(of[f"{name}, judged {group}"] for name in ("Gaussian", "TV", "NLM")) for group in GROUPS}
    marks = [
        at_least(f"{dose}: network by pixel over FBP, all channels", 4, gain("network", "all"), "dB"),
        at_least(f"{dose}: the same, peak channels", 3, gain("network", "peaks"), "dB"),
        at_least(f"{dose}: the same, background", 0, gain("network", "background"), "dB"),
    ]
    for name in ("network", "network+weights", "joint+network"):
        for group, goal in (("all", -0.3), ("peaks", 0.5)):
            ahead = of[f"{name}, judged {group}"] - best[group]
            marks.append(
                at_least(f"{dose}: {name} over the best filter tuned with the truth, {group}", goal, ahead, "dB")
            )
    for name in SINGLE:
        ahead = of[f"{name}, judged peaks"] - best["peaks"]
        marks.append(reported(f"{dose}: {name} over the best filter tuned with the truth, peaks", ahead, "dB"))
    ahead = of["joint, judged all"] - best["all"]
    marks.append(at_least(f"{dose}: guarded joint method over that filter, all", 2 if few else 3, ahead, "dB"))
    for name in (*METHODS[1:], SINGLE[1]):
        marks += [
            at_most(f"{dose}: {name}, rms of c / FBP's", 0.6 if few else 0.8, of[f"{name}, c rms"] / of["FBP, c rms"]),
            at_most(f"{dose}: {name}, |bias of c| in the dry spot", 5 if few else 2, of[f"{name}, c dry |bias|"], "mÅ"),
            at_least(f"{dose}: {name}, intensity left of a grain of 3 voxels", 0.5, of[f"{name}, grain intensity"]),
            at_least(f"{dose}: {name}, peak height left of it", 0.7, of[f"{name}, grain peak"]),
        ]
    marks += [
        reported(
            f"{dose}: {key}", value, "mÅ" if ", c " in key else "" if "grain" in key or "structure" in key else "dB"
        )
        for key, value in of.items()
    ]
    return marks


def schedules() -> list[Mark]:
    """One network for all channels against the paper's one after the other, split by pixel, at the paper's dose."""
    roll, stride = jelly_roll(0), len(Q) // SCHEDULE_CHANNELS
    split = by_group(roll.groups(DOSES["paper's dose"], 0), roll.angles, cor=COR)
    every = reconstruct_parts(split)
    projected = project_leave_one_out(every, find_scales(every, INSIDE), INSIDE)[::stride]
    parts, clean = every[::stride], fbp(roll.sinogram, roll.angles)[::stride]
    scales = find_scales(parts, INSIDE)

    def turned(channel):
        return reconstruct_turned(split, stride * channel, seed=0)

    network, found, taken = new_network(width=WIDTH, depth=DEPTH, seed=0), np.empty_like(clean), 0
    start = time.process_time()
    for channel, tuned in train_channel_by_channel(network, parts, scales, INSIDE, turned=turned):
        found[channel] = outputs(tuned.network, parts[channel], scales, channel).mean(axis=0)
        taken += tuned.step
    marks = [
        reported(f"`paper` on {len(parts)} channels, stopped early: CPU time", time.process_time() - start, "s"),
        reported("`paper`: steps taken", taken),
        reported("`paper`: PSNR", psnr(found, clean).mean(), "dB"),
    ]
    for share, goal in ((0.05, 1.5), (0.2, 0.5)):
        for name, beside in (("`shared`", projected), ("`shared` of one image", None)):
            behind = psnr(found, clean).mean() - psnr(shared(parts, scales, round(share * taken), beside), clean).mean()
            row = f"{name} behind `paper` at {share:g} of its steps"
            marks.append(at_most(row, goal, behind, "dB"))
    marks.append(not_measured("time per channel at 637² on a GPU with its share of training", "≤ 1 s", "no GPU here"))
    return marks


def shared(parts: np.ndarray, scales: Scales, steps: int, projected: np.ndarray | None) -> np.ndarray:
    """The volume that one network makes after so many steps on all channels."""
    network = trained(parts, scales, Schedule(steps=steps), projected)
    beside = [None] * len(parts) if projected is None else projected
    found = [outputs(network, values, scales, c, projected=beside[c]) for c, values in enumerate(parts)]
    return np.stack(found).mean(axis=1)


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--steps", type=int, default=STEPS)
    options = parser.parse_args(argv)
    marks = measure(options.seeds, options.steps)
    print(table({"marks": {mark.name: asdict(mark) for mark in marks}}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
