"""Where a long search stands, so that a job that was killed goes on instead of starting again."""

import hashlib
import json
import zipfile
from pathlib import Path

import numpy as np

from .store import replaced_when_whole


class Checkpoint:
    """A small file with a vector and some plain values.

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

    def load(self) -> tuple[np.ndarray, dict] | None:
        """Vector and values; None where there is no file, a damaged one, or one of other work."""
        try:
            with np.load(self.path, allow_pickle=False) as stored:
                return (stored["vector"], json.loads(str(stored["facts"]))) if str(stored["key"]) == self._key else None
        except (FileNotFoundError, EOFError, KeyError, ValueError, zipfile.BadZipFile):
            return None

    def save(self, vector: np.ndarray, facts: dict) -> None:
        """Write both, whole or not at all."""
        with replaced_when_whole(self.path) as partial, open(partial, "wb") as stream:
            np.savez(stream, key=self._key, facts=json.dumps(facts), vector=vector)

    def remove(self) -> None:
        """The work is done, and that of all parts."""
        self.path.unlink(missing_ok=True)
        for part in self.path.parent.glob(f"{self.path.stem}-*{self.path.suffix}"):
            part.unlink()
