"""Where numba keeps compiled kernels: a folder for every state of the code that holds kernels.

Numba looks at the file of a compiled function, not at those of the functions that it calls: after an update a kernel
would go on calling what another file held before (numba's documentation, "Caching", limitations). A folder of its own
for every state also keeps running jobs of the older code apart.
"""

import hashlib
import os
import re
import sys
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
VARIABLE = "NUMBA_CACHE_DIR"
NAME = re.compile(r"kernels-[0-9a-f]{16}")


def choose_kernel_cache(package: Path = PACKAGE) -> Path:
    """Set numba's folder for this process and those that it starts.

    It lies in the one that is given (`NUMBA_CACHE_DIR`), or beside the code, or where that cannot be written to in the
    user's cache. To be called before any kernel of the package is loaded; numba itself may be loaded already.
    """
    given = os.environ.get(VARIABLE)
    if given:
        base = Path(given)
        if NAME.fullmatch(base.name):  # chosen by the process that started this one, perhaps for another package
            base = base.parent
    elif os.access(package, os.W_OK):
        base = package / "__pycache__"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "xrdct"
    folder = base / f"kernels-{_digest(package)}"
    os.environ[VARIABLE] = str(folder)
    if "numba" in sys.modules:
        sys.modules["numba"].config.CACHE_DIR = str(folder)
    return folder


def _digest(package: Path) -> str:
    """Of all files that compile something."""
    total = hashlib.sha256()
    for path in sorted(path for path in package.rglob("*.py") if path.is_file()):
        text = path.read_bytes()
        if b"import numba" in text or b"from numba" in text:
            total.update(text)
    return total.hexdigest()[:16]
