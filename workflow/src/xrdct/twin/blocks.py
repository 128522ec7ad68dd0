"""Blocks of frames: what the beam meets in some frames of a line, and the counts that the detector writes."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass

import numpy as np

from .acquisition import axis_columns, beam_intensity, frame_columns, line_angles
from .frames import air_image, record, weaken
from .grains import sector_brightness
from .parameters import Parameters
from .sample import Sample, Station
from .scattering import Scatterer, arc_tables, paths_of_line, radial_tables
from .shine import add_arcs, add_spots, addresses, shine
from .upsets import lose, overflow

PIXELS_AT_ONCE = 2**22
"""Frames are made in blocks of about this many pixels (48 MB with the expected counts), two blocks per thread."""


@dataclass(frozen=True)
class Block:
    """Some frames of one line, in acquisition order."""

    first: int
    """Number of the first frame in its subset."""
    paths: np.ndarray
    """Effective path lengths, from `paths_of_line`."""
    straight: np.ndarray
    """Path lengths of the direct beam, mm, shape (n_frames, n_materials)."""
    transmission: np.ndarray
    """Of the direct beam, shape (n_frames,)."""
    intensity: np.ndarray
    """Of the beam, relative to full, shape (n_frames,)."""


def blocks_of_line(
    parameters: Parameters,
    first: int,
    *,
    paths: np.ndarray,
    straight: np.ndarray,
    transmission: np.ndarray,
    intensity: np.ndarray,
) -> Iterator[Block]:
    """A line, whose frames count on from `first`, in blocks of limited size; other arguments as in `Block`."""
    rows, columns = parameters.detector.shape
    length = max(1, PIXELS_AT_ONCE // (rows * columns))
    for begin in range(0, len(paths), length):
        part = slice(begin, begin + length)
        yield Block(first + begin, paths[part], straight[part], transmission[part], intensity[part])


def blocks_of_subset(parameters: Parameters, sample: Sample, subset: int, first: int = 0) -> Iterator[Block]:
    """The frames of a subset from number `first` on, line by line."""
    scan = parameters.scan
    order, angles = frame_columns(scan), line_angles(scan)[subset - 1]
    axes = axis_columns(scan, parameters.cor)[subset - 1]
    intensity = (1 + parameters.beam.unseen_drift) ** (subset - 1) * beam_intensity(scan, parameters.beam)[subset - 1]
    for line in range(first // scan.n_positions, scan.n_projections):
        begin = max(0, first - line * scan.n_positions)
        columns = order[line, begin:]
        yield from blocks_of_line(
            parameters,
            line * scan.n_positions + begin,
            paths=paths_of_line(parameters, sample.scatterer, angles[line], axes[line])[columns],
            straight=sample.driven.path_lengths[subset - 1, line, columns],
            transmission=sample.driven.transmission[subset - 1, line, columns],
            intensity=intensity[line, begin:],
        )


def frame_maker(
    parameters: Parameters, station: Station, scatterer: Scatterer, *, scan: str, subset: int, lost: np.ndarray
) -> Callable[[Block], np.ndarray]:
    """A function from a block to its frames, (n, n_rows, n_columns) int32.

    `scan` and `subset` key the random numbers; `lost` says which frames of the subset are lost.
    """
    artefacts = parameters.artefacts
    where = addresses(station.pixels, station.q, scatterer.exits)
    air = air_image(artefacts.air, station.pixels)
    stream = {"seed": parameters.seed, "scan": scan, "subset": subset}

    def make_block(block: Block) -> np.ndarray:
        images = shine(radial_tables(block.paths[:, :, : len(scatterer.mu)], scatterer.patterns), where)
        if scatterer.arcs:
            add_arcs(images, arc_tables(block.paths, scatterer.arcs), where)
        for spots in scatterer.spots:
            factors = sector_brightness(
                block.straight[:, spots.material],
                spots.grains,
                n_rings=int(spots.ring_of_q.max()) + 1,
                first_frame=block.first,
                material=spots.name,
                **stream,
            )
            lines = radial_tables(block.paths[:, :, [spots.material]], spots.patterns[None])
            add_spots(images, lines, where, factors, spots.ring_of_q)
        weaken(images, air, block.intensity, block.transmission)
        counts = record(images, station.defects, first_frame=block.first, poisson=artefacts.poisson, **stream)
        overflow(counts, artefacts.saturation)
        lose(counts, lost[block.first : block.first + len(counts)], artefacts.lost)
        return counts.reshape(-1, *parameters.detector.shape)

    return make_block


def in_order(pool: Executor, function: Callable, items: Iterable, *, ahead: int) -> Iterator:
    """Results of `function` for each item, in order, with at most `ahead` of them waiting in memory."""
    waiting = deque()
    for item in items:
        waiting.append(pool.submit(function, item))
        if len(waiting) > ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def counted(blocks: Iterable[np.ndarray], bar, n_frames: int) -> Iterator[np.ndarray]:
    """The first `n_frames` of the same frames, counted on the progress bar."""
    left = n_frames
    for block in blocks:
        yield block[:left]
        bar.update(len(block[:left]))
        left -= len(block[:left])
        if not left:
            return
