"""Settings of the direct least-squares reconstruction."""

from typing import Annotated, Literal

from pydantic import Field

from .base import PlainName, Positive, Section


class Dlsr(Section):
    """Scales and cells fitted to the sinogram itself, where `reconstruct.parallax` is dlsr."""

    phases: tuple[PlainName, ...] = ()
    """Phases of the fit whose cells are refined in every voxel; all other cells, and the sizes, are one number for the
    whole sample. Empty: those that name cells in `per_voxel`."""
    smooth: Positive | None = None
    """Weight of the prior that neighbouring cells are alike: 1 takes a difference of one standard error of the fit as
    seriously as one standard error of the data. null: the weight that predicts a held-out subset best; about three
    times as long."""
    prior: Literal["smooth", "tv"] = "smooth"
    """smooth: differences of neighbouring cells count by their square, for gradients. tv (total variation): those
    larger than an error of the fit count by their size, for parts with sharp borders."""
    model_error: bool = True
    """Whether weights know that the model errs besides the noise of counts (foils thinner than a voxel, spotty rings,
    what corrections leave): a share of the intensity, found for every channel from what the fit leaves. false: counts
    alone, which trust strong lines of casing and foils too much."""
    max_iterations: Annotated[int, Field(ge=1, le=500)] = 20
    """Gauss-Newton steps after which the search is given up."""
    samples: Annotated[int, Field(ge=0, le=1000)] = 8
    """Draws behind the standard errors: 8 give them to a quarter; each costs about as much as two steps. 0: none."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Of these draws."""
