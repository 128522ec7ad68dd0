"""Where a long search stands, so that a job that was killed goes on instead of starting again."""

import hashlib
import zipfile
from pathlib import Path

import numpy as np

from .store import replaced_when_whole


class Checkpoint:
    """A small file with a vector and a number.

    Parameters
    ----------
    path
        Of the file.
    key
        Names the work (settings, inputs); what another key has written is not taken up.
    """

    def __init__(self, path: str | Path, key: str):
        self.path, self._text, self._key = Path(path), key, hashlib.sha256(key.encode()).hexdigest()

    def part(self, name: str) -> "Checkpoint":
        """That of a part of the work, in a file beside this one."""
        return Checkpoint(self.path.with_stem(f"{self.path.stem}-{name}"), self._text)

    def load(self) -> tuple[float, np.ndarray] | None:
        """Number and vector; None where there is no file, a damaged one, or one of other work."""
        try:
            with np.load(self.path, allow_pickle=False) as stored:
                return (float(stored["number"]), stored["vector"]) if str(stored["key"]) == self._key else None
        except (FileNotFoundError, EOFError, KeyError, ValueError, zipfile.BadZipFile):
            return None

    def save(self, number: float, vector: np.ndarray) -> None:
        """Write both, whole or not at all."""
        with replaced_when_whole(self.path) as partial, open(partial, "wb") as stream:
            np.savez(stream, key=self._key, number=number, vector=vector)

    def remove(self) -> None:
        """The work is done, and that of all parts."""
        self.path.unlink(missing_ok=True)
        for part in self.path.parent.glob(f"{self.path.stem}-*{self.path.suffix}"):
            part.unlink()
