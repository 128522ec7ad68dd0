"""Other libraries' remarks, kept out of our log where we have already dealt with what they are about."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet(library: str) -> Iterator[None]:
    """Silence the log of a library (by the name of its logger) inside the block, and put it back as it was."""
    logger = logging.getLogger(library)
    before = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(before)
