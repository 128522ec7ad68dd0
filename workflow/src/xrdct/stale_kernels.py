"""Compiled kernels that an update of the code has left behind.

Numba looks at the file of a compiled function, not at those of the functions that it calls: after `git pull` a kernel
would go on calling what another file held before (numba's documentation, "Caching", limitations).
"""

import hashlib
import os
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent


def forget_stale_kernels(package: Path = PACKAGE) -> bool:
    """Delete the kernels compiled beside the code if any file that holds some has changed; whether they were.

    Files are read only where the date of one has changed since the last look. A package that cannot be written to was
    installed as a whole, with files newer than any kernel of theirs.
    """
    sources = list(package.rglob("*.py"))
    seen = package / "__pycache__" / "kernels"
    dates = sum(path.stat().st_mtime_ns for path in sources)
    try:
        known, digest = seen.read_text(encoding="ascii").split()
        if int(known) == dates:
            return False
    except (OSError, ValueError):
        digest = ""
    found = _digest(sources)
    try:
        if found != digest:
            for path in [*package.rglob("*.nbi"), *package.rglob("*.nbc")]:
                path.unlink(missing_ok=True)
        seen.parent.mkdir(exist_ok=True)
        part = seen.with_name(f"{seen.name}.{os.getpid()}")
        part.write_text(f"{dates} {found}\n", encoding="ascii")
        part.replace(seen)
    except OSError:
        return False
    return found != digest


def _digest(sources: list[Path]) -> str:
    """Of all files that compile something."""
    total = hashlib.sha256()
    for path in sorted(sources):
        text = path.read_bytes()
        if b"import numba" in text or b"from numba" in text:
            total.update(text)
    return total.hexdigest()
