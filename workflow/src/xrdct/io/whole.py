"""Files and folders that appear under their name whole, or not at all."""

import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replaced_when_whole(path: str | Path) -> Iterator[Path]:
    """Give a temporary sibling of `path` to write to; rename it to `path` only if the block ends without an error."""
    path = Path(path)
    with scratch_beside(path) as partial:
        yield partial
        remove(path)
        partial.rename(path)


@contextmanager
def scratch_beside(path: str | Path) -> Iterator[Path]:
    """Give a free temporary name beside `path`, in a folder that exists; what is there at the end is removed.

    What a process left that was killed on this host while it wrote the same `path` is removed too.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    _sweep_partials(path)
    partial = path.with_name(f"{_partial_prefix(path)}{os.getpid()}")
    remove(partial)
    try:
        yield partial
    finally:
        remove(partial)


def remove(path: Path) -> None:
    """Remove a file or a folder with all that is in it, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _partial_prefix(path):
    """Of the temporary siblings that processes of this host write: whether another host's live, nobody here can say."""
    return f".{path.name}.partial-{socket.gethostname()}-"


def _sweep_partials(path):
    prefix = _partial_prefix(path)
    for sibling in path.parent.iterdir():
        pid = sibling.name.removeprefix(prefix)
        if pid != sibling.name and pid.isdecimal() and not _is_alive(int(pid)):
            remove(sibling)


def _is_alive(pid):
    try:
        os.kill(pid, 0)  # asks only, sends nothing
    except ProcessLookupError:
        return False
    except PermissionError:
        return True  # another user's
    return True
