"""Settings of PQ-Net: what the networks are shown, how long they learn, and when they are believed."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from .base import PlainName, Positive, Section
from .fit import Limits


def _ordered(limits: tuple[float, float]) -> tuple[float, float]:
    if limits[0] > limits[1]:
        raise ValueError(f"the lower limit ({limits[0]}) must not be above the upper one ({limits[1]})")
    return limits


NotNegative = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, lt=1)]


class PqNetLibrary(Section):
    """Simulated patterns: made by the fit's model from the ranges of `fit.preset` or `fit.phase_set`."""

    absent: Share = 0.3
    """Share of the patterns that lack a phase, for every phase on its own."""
    background: Annotated[tuple[NotNegative, NotNegative], AfterValidator(_ordered)] = (0.0, 0.15)
    """Range of the background's constant, in heights of the strongest line of a phase at full scale."""
    background_shape: Share = 0.6
    """How far the background may bend: sum of its higher coefficients over the constant, at most."""
    broadening: Annotated[float, Field(ge=0, le=0.05)] = 0.0
    """Lines are broadened by up to this FWHM relative to q (Gaussian), as parallax does; 0: not at all."""
    noise: Literal["reconstructed", "poisson"] = "reconstructed"
    """reconstructed: a voxel is as noisy at each q as the whole scan is there; poisson: as counts are, right for
    patterns that were not reconstructed, and the papers' way."""
    doses: Limits = (30.0, 10_000.0)
    """Range of the counts at the height of the strongest line of a phase at full scale."""
    stored: bool = False
    """true: `patterns` are written to library.zarr with their noise and shown again in every epoch, as in the paper;
    false: every epoch has new ones."""
    patterns: Annotated[int, Field(ge=1000)] = 20_000
    """Patterns in an epoch; the paper's library has 200,000."""


class PqNet(Section):
    """PQ-Net: an ensemble of networks for scales and cells, and two steps of the full fit from its answer."""

    apply: bool = False
    """Whether networks are trained and maps made with them, beside the fit's."""
    model: PlainName | None = None
    """Folder of the networks below `models/`; null: the name of the phase set. They depend on this section, the phase
    set and the instrument's profile, on no scan."""
    targets: tuple[PlainName, ...] = ()
    """Phases and single peaks that the networks answer for (scale, and the cells named in `per_voxel`); empty: all.
    With fewer each is known better; the two steps of the fit are of all phases in any case."""
    library: PqNetLibrary = PqNetLibrary()
    network: Literal["dense", "convolution"] = "dense"
    """dense: fully connected, fast on a CPU. convolution: the paper's, with a branch for every answer; learns from 2.5
    times fewer patterns, each 4 to 5 times as dear on a CPU."""
    schedule: Literal["fast", "paper"] = "fast"
    """fast: as below. paper: batches of 32 at a constant 5e-4 until held-out patterns gain nothing for 5 epochs."""
    members: Annotated[int, Field(ge=1, le=100)] = 5
    """Networks in the ensemble; the paper has 10."""
    epochs: Annotated[int, Field(ge=1)] = 75
    """fast: length of the training."""
    batch: Annotated[int, Field(ge=8)] = 512
    """fast: patterns per step."""
    learning_rate: Positive = 2e-3
    """fast: at its highest; it falls to zero along a cosine."""
    held_out: Annotated[int, Field(ge=2000)] = 30_000
    """Patterns that error bars are calibrated on; no network ever sees them."""
    alarms: Annotated[float, Field(gt=0, lt=0.5)] = 0.05
    """Share of ordinary patterns that may be called out of range after the two steps."""
    gpu: Annotated[int, Field(ge=0, le=8)] = 0
    """GPUs that a job asks a cluster for; one that is there is used in any case."""
    cache: str | None = None
    """Folder where trained networks are kept for other beamtimes with the same settings and profile; null: none."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Of every random choice."""

    def of_ensemble(self) -> dict:
        """What an ensemble depends on."""
        return self.model_dump(mode="json", exclude={"apply", "model", "gpu", "cache"})

    def of_member(self) -> dict:
        """What a network depends on."""
        return self.model_dump(mode="json", exclude={"apply", "model", "members", "held_out", "alarms", "gpu", "cache"})
