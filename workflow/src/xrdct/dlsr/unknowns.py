"""What is free: maps of parameters that every voxel has for itself, and numbers that all voxels share."""

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from ..fit.model import PatternModel


@dataclass(frozen=True)
class Unknowns:
    """One vector for all that is free, and its way to the parameters of the voxels and back.

    The vector holds the local ones (voxel by voxel, those of `member`), then the global ones.
    """

    model: PatternModel
    local: np.ndarray
    """Places (in `PatternModel.names`) of parameters that each voxel has for itself, shape (n_local,)."""
    shared: np.ndarray
    """Places of those that all voxels share, shape (n_shared,)."""
    member: np.ndarray
    """Which voxel has which local parameter free, shape (n_voxels, n_local), bool."""

    @property
    def places(self) -> np.ndarray:
        """Local, then shared."""
        return np.r_[self.local, self.shared]

    @property
    def n_local(self) -> int:
        """Entries of the vector that belong to single voxels."""
        return int(self.member.sum())

    def read(self, values: np.ndarray) -> np.ndarray:
        """The vector of values (n_voxels, n_parameters); a shared one is taken from the first voxel."""
        return np.r_[values[:, self.local][self.member], values[0, self.shared]]

    def write(self, vector: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Values with those of the vector in their places."""
        values = values.copy()
        maps = values[:, self.local]
        maps[self.member] = vector[: self.n_local]
        values[:, self.local] = maps
        values[:, self.shared] = vector[self.n_local :]
        return values

    def expand(self, vector: np.ndarray) -> np.ndarray:
        """A change of the vector as one of every voxel's `places`, shape (n_voxels, n_places)."""
        change = np.zeros((len(self.member), len(self.places)))
        change[:, : len(self.local)][self.member] = vector[: self.n_local]
        change[:, len(self.local) :] = vector[self.n_local :]
        return change

    def gather(self, change: np.ndarray) -> np.ndarray:
        """The transpose of `expand`."""
        return np.r_[change[:, : len(self.local)][self.member], change[:, len(self.local) :].sum(axis=0)]

    def limits(self) -> tuple[np.ndarray, np.ndarray]:
        """Lower and upper limits of the vector."""
        return self.read(np.tile(self.model.low, (len(self.member), 1))), self.read(
            np.tile(self.model.high, (len(self.member), 1))
        )

    def roughness(self, mask: np.ndarray, units: dict[int, float]) -> sp.csr_matrix:
        """Differences of neighbouring voxels, in units, as a matrix on the vector.

        Parameters
        ----------
        mask
            Where the voxels are, shape (n_y, n_x).
        units
            For the places that are to be smooth, the difference that counts as one.
        """
        parts = [self._differences(mask, place, unit) for place, unit in units.items()]
        n = self.n_local + len(self.shared)
        return sp.vstack(parts).tocsr() if parts else sp.csr_matrix((0, n))

    def _differences(self, mask, place, unit):
        column = int(np.flatnonzero(self.local == place)[0])
        number = np.full(self.member.shape, -1)
        number[self.member] = np.arange(self.n_local)
        image = np.full(mask.shape, -1)
        image[mask] = number[:, column]
        pairs = [(image[1:], image[:-1]), (image[:, 1:], image[:, :-1])]
        both = [(a[(a >= 0) & (b >= 0)], b[(a >= 0) & (b >= 0)]) for a, b in pairs]
        one, other = (np.concatenate(side) for side in zip(*both, strict=True))
        rows = np.arange(one.size)
        entries = np.r_[np.full(one.size, 1 / unit), np.full(one.size, -1 / unit)]
        shape = (one.size, self.n_local + len(self.shared))
        return sp.csr_matrix((entries, (np.r_[rows, rows], np.r_[one, other])), shape=shape)


def choose_unknowns(model: PatternModel, values: np.ndarray, phases: tuple[str, ...], present: np.ndarray) -> Unknowns:
    """Local: scales, background, and the cells of the named phases where they are present. Shared: all other cells and
    the sizes of phases that are present anywhere.

    Parameters
    ----------
    values
        Start, shape (n_voxels, n_parameters).
    phases
        Whose cells are maps.
    present
        Where each phase is strong enough for a cell, shape (n_phases, n_voxels), bool.
    """
    full = model.free(level="full")
    local = [*model.scale_places, *model.background_places]
    members = [np.ones(len(values), dtype=bool)] * len(local)
    shared = []
    for phase, there in zip(model.phases.phases, present, strict=True):
        for name in ("a", "b", "c", "1/size"):
            place = model.place(phase.name, name)
            if not full[place] or not there.any():
                continue
            if phase.name in phases and name != "1/size":
                local.append(place)
                members.append(there)
            else:
                shared.append(place)
    return Unknowns(model, np.array(local), np.array(shared, dtype=int), np.stack(members, axis=1))
