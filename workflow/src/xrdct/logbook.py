"""What a job says: a log file, the terminal, and a progress bar with the time left."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from tqdm import tqdm

from .errors import XrdctError


@contextmanager
def logbook(path: str | Path) -> Iterator[None]:
    """Send this package's log to `path` and its warnings to the terminal.

    An `XrdctError` ends the job in one line, and so does what the system refuses: a full disk, a read-only folder.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    to_file, to_terminal = logging.FileHandler(path, mode="w", encoding="utf-8"), logging.StreamHandler()
    to_file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    to_terminal.setFormatter(logging.Formatter(f"{path.stem}: %(levelname)s: %(message)s"))
    to_terminal.setLevel(logging.WARNING)
    logger = logging.getLogger("xrdct")
    before = logger.level
    logger.setLevel(logging.INFO)
    for handler in (to_file, to_terminal):
        logger.addHandler(handler)
    try:
        yield
    except (XrdctError, OSError) as error:
        logger.error("%s", error)
        sys.exit(1)
    except RuntimeError as error:
        if "checksum" in str(error):  # zstd's word for a damaged chunk of a store (`io.store`)
            logger.error("%s: a store that was read is damaged; `xrdct verify results` says which", error)
            sys.exit(1)
        logger.exception("the job ended early")
        raise
    except BaseException:
        logger.exception("the job ended early")
        raise
    finally:
        logger.setLevel(before)
        for handler in (to_file, to_terminal):
            logger.removeHandler(handler)
            handler.close()


@contextmanager
def shown(path: str | Path) -> Iterator[None]:
    """Send this package's log to the terminal, with the time, and to the end of `path`."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handlers = [logging.FileHandler(path, encoding="utf-8"), logging.StreamHandler(sys.stdout)]
    logger = logging.getLogger("xrdct")
    before = logger.level
    logger.setLevel(logging.INFO)
    for handler in handlers:
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%Y-%m-%d %H:%M:%S"))
        logger.addHandler(handler)
    try:
        yield
    finally:
        logger.setLevel(before)
        for handler in handlers:
            logger.removeHandler(handler)
            handler.close()


def progress(label: str, unit: str):
    """A wrapper for an iterable that shows a bar after two seconds; once in 15 s where nobody watches."""
    often = 0.5 if sys.stderr.isatty() else 15.0
    return partial(tqdm, desc=label, unit=unit, delay=2.0, mininterval=often, leave=False, dynamic_ncols=True)
