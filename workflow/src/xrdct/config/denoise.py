"""Settings of the denoising."""

from typing import Annotated, Literal

from pydantic import Field

from .base import Section


class Denoise(Section):
    """Noise2Inverse: a network trained on the scan's own noise, and what needs no network beside it."""

    apply: bool = False
    """Whether maps are made from the denoised volume."""
    split: Literal["pixel", "thinning", "angle"] = "pixel"
    """How the counts are shared out. pixel: the groups of detector pixels that `integrate.groups` made. thinning: noise
    is added that makes parts independent, where there are no groups. angle: the subsets, as in the papers; blurs where
    a subset has few angles."""
    schedule: Literal["shared", "paper"] = "shared"
    """shared: one network for all channels. paper: 100 epochs on the first channel, 10 on each next one, with the mean
    absolute error; many times as long."""
    steps: Annotated[int, Field(ge=0, le=10_000_000)] = 20_000
    """shared: steps of the training, one image each; 0: no network."""
    patience: Annotated[int, Field(ge=1)] | None = 50
    """shared: the training ends when held-out data gained nothing in so many looks, one per 100 steps; null: never."""
    loss: Literal["mse", "mae"] = "mse"
    """shared: what is minimised; both do equally well."""
    width: Annotated[int, Field(ge=1, le=256)] = 16
    """Features of the network's first layer."""
    depth: Annotated[int, Field(ge=1, le=6)] = 3
    """How often the network halves the image."""
    model: str | None = None
    """A network (`network.pt`) that another scan was trained to, relative to `raw.root`: used as it is, without
    training. null: trained on this scan."""
    joint: bool = True
    """true: what all channels say together takes part: a low-rank estimate of every voxel's pattern is the network's
    second image, and a choice of its own. Gains most, and leans most on the guard that puts rare phases and displaced
    peaks back. Whatever is chosen is tried on every scan with planted grains and a planted shift, and refused where it
    erases or bends them; the log and the volume's `gates` say what was left. Needs three parts at least. false: every
    channel on its own."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Of every random choice."""
