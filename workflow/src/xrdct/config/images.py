"""Settings of the way from frames to a pattern in every voxel."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from .base import Positive, Section


class Integrate(Section):
    """Frames to patterns: azimuthal trimmed mean."""

    q_min: Annotated[float, Field(ge=0)] = 0.5
    """Lower end of the pattern in 1/Å."""
    q_max: Positive = 3.85
    """Upper end of the pattern in 1/Å."""
    n_bins: Annotated[int, Field(ge=10, le=20000)] = 400
    """Number of q bins. Natural is one per pixel radius between q_min and q_max; more only splits the same counts."""
    estimator: Literal["trimmed_mean", "mean", "sigma_clip"] = "trimmed_mean"
    """What a bin's pixels become: trimmed_mean (below), mean, or pyFAI's sigma_clip (several times slower)."""
    trim: Annotated[float, Field(ge=0, lt=1)] = 0.20
    """Share of each bin's pixels dropped, half from either tail: 0.20 keeps the 10–90 percentiles. Removes hot pixels
    and single-grain spots; 0 is the plain mean."""
    groups: Annotated[int, Field(ge=1, le=16)] = 1
    """Number of disjoint, azimuth-balanced groups of detector pixels that get patterns of their own: independent noise
    with the same angles, for the denoiser (4). 1: none."""
    centred: bool = True
    """Whether a bin shows what all of it would, by a cubic through half bins: on strips and beside gaps lines shift by
    a tenth of a bin without, and change by a per cent. false: as other programs do."""
    saturation: Positive | None = None
    """Counts at or above this are invalid; null: only what the detector marks (negative, or the type's largest)."""
    max_bad_frames: Annotated[float, Field(ge=0, le=1)] = 0.02
    """Fail when more than this share of a subset's frames cannot be used."""

    @model_validator(mode="after")
    def _ordered(self):
        if self.q_min >= self.q_max:
            raise ValueError(f"q_min ({self.q_min} 1/Å) must be below q_max ({self.q_max} 1/Å)")
        if self.groups > 1 and self.estimator == "sigma_clip":
            raise ValueError("groups need estimator trimmed_mean or mean")
        return self


class Assemble(Section):
    """Patterns of all subsets to one sinogram."""

    air_positions: Annotated[int, Field(ge=0, le=1000)] | None = None
    """Positions at either edge of the field that see no sample: what they see, per projection, is the air scatter that
    is subtracted. null: found from the data; 0: nothing is subtracted."""
    cor: Annotated[float, Field(ge=0)] | None = None
    """Centre of rotation in pixels from the centre of the first column; null: found from the data."""
    align: bool = True
    """The play of the translation between its two directions, and how centre and intensity differ from subset to
    subset, are found from the data and taken into account. false: only the centre of rotation is found."""
    mirrored: bool = False
    """true: the positions are counted the other way round. For a translation motor that runs against the axis of
    `geometry`, or a rotation that turns against it: maps would come out mirrored."""
    cor_q: tuple[Positive, Positive] | None = None
    """q range (1/Å) whose sum is used for `cor` and `align`; null: the whole pattern."""
    max_bad_share: Annotated[float, Field(ge=0, le=1)] = 0.05
    """Refuse a scan with more than this share of bad frames; fewer are interpolated in position or angle and marked."""
    zingers: bool = True
    """Single samples far above all their neighbours are replaced: what a cosmic ray left after trimming."""
    stripe_width: Annotated[int, Field(ge=3, le=101)] | None = None
    """Columns of the median that removes stripes (rings in the maps), odd. It bends what is narrow and round in the
    sample, a casing above all, and is for scans that do show rings; null: none."""

    @model_validator(mode="after")
    def _odd(self):
        if self.stripe_width is not None and self.stripe_width % 2 == 0:
            raise ValueError(f"stripe_width must be odd, found {self.stripe_width}")
        return self


class Reconstruct(Section):
    """Sinogram to one pattern per voxel."""

    method: Literal["fbp", "sirt", "sart", "cgls", "tv"] = "fbp"
    """fbp: filtered back-projection, fast and linear. For few or noisy projections the iterative ones: sirt (smooth,
    slow), sart (fewer iterations), cgls (fewest, no constraint), tv (flat regions with sharp edges)."""
    filter: Literal["ram-lak", "shepp-logan", "cosine", "hann"] = "ram-lak"
    """fbp: filter of the back-projection; ram-lak is sharpest, hann smoothest."""
    support: Literal["circle", "none"] = "circle"
    """circle: voxels outside the circle inscribed in the image are 0, and iterative methods know that nothing lies
    there; none: the whole square."""
    iterations: Annotated[int, Field(ge=1, le=10000)] | None = None
    """Iterative methods; null: 200 for sirt and tv, 20 for cgls, 10 for sart, 20 for fbp where it is repeated; with
    parallax for sirt and cgls as many as bring the residual to the noise, or predict a held-out interlaced subset (see
    log and attributes). Fewer are smoother."""
    nonnegative: bool = False
    """sirt, sart, tv and fbp, which is then repeated with what it leaves of the data: negative values are set to 0
    after every iteration. Lifts the mean where there is only noise; keeps holes empty beside a strong casing. With
    parallax it is needed for lines as sharp in the middle of a sample as at its rim."""
    parallax: Literal["off", "linear", "dlsr"] = "off"
    """linear: voxels near to the detector and far from it are put at the same distance, for samples so thick that it
    matters (see parallax.png of every scan); method fbp (repeated with what it leaves of the data, and best with
    `nonnegative`), sirt or cgls. dlsr: the same, and from there cells and scales are fitted to the sinogram itself
    (section `dlsr`)."""
    each_subset: bool = False
    """true: every interlaced subset is reconstructed on its own too, to see what changed during the scan. Fewer
    projections make more streaks; each takes the memory of the whole on disk."""
    tv_weight: Positive = 3e-3
    """tv: weight of the total variation, relative to the root mean square of a channel's sinogram; larger is smoother.
    About the noise of one value over that root mean square, divided by the root of the number of angles."""

    @model_validator(mode="after")
    def _constrained_where_possible(self):
        if self.nonnegative and self.method == "cgls":
            raise ValueError("cgls cannot be `nonnegative`; take fbp, sirt, sart or tv")
        if self.parallax != "off" and self.method not in ("fbp", "sirt", "cgls"):
            raise ValueError(f"{self.method} does not know of parallax; take fbp, sirt or cgls, or parallax: off")
        return self
