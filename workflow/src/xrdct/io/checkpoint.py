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
        self.path, self._key = Path(path), hashlib.sha256(key.encode()).hexdigest()

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
        """The work is done."""
        self.path.unlink(missing_ok=True)
