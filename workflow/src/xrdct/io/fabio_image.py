"""One image file through fabio, refused when it is cut off.

fabio alone is not enough: of a truncated file it may return zeros (EDF), nothing (TIFF), or never return at
all (CBF that ends inside its header).
"""

import bz2
import gzip
import re
import warnings
import zlib
from pathlib import Path

import fabio
import numpy as np
from fabio.fabioutils import BytesIO

from ..errors import RawDataError
from .frame_source import missing_file

COMPRESSED = {".gz": gzip.open, ".bz2": bz2.open}
CBF_MAGIC, CBF_SECTION, CBF_DATA = b"###CBF", b"--CIF-BINARY-FORMAT-SECTION--", b"\x0c\x1a\x04\xd5"
CBF_HEADER_BYTES = 65536
"""Far more than a CBF header takes (fabio allows 8 kB): the data must start before."""

# What fabio's readers raise on bytes that are no image of the format that their first bytes announce.
UNREADABLE = (OSError, ValueError, LookupError, RuntimeError, TypeError, AttributeError, AssertionError)


def load_image(file: Path):
    """The image as a fabio object, pixels of its first frame read.

    Raises
    ------
    RawDataError
        When the file is missing, truncated, or no image.
    """
    image = _call(fabio.open, file)
    if getattr(image, "incomplete_file", False):
        raise RawDataError(f"{file}: truncated or still being written (fewer bytes than its header announces)")
    return image


def load_header(file: Path) -> dict[str, str]:
    """Keys and values of the header; pixels are not decoded.

    Raises
    ------
    RawDataError
        As `load_image`.
    """
    return dict(_call(fabio.openheader, file).header)


def pixels(image, number: int, file: Path) -> np.ndarray:
    """Frame `number` of an opened image, shape (rows, columns).

    Raises
    ------
    RawDataError
        When it cannot be decoded or holds no numbers.
    """
    try:
        frame = image.data if image.nframes == 1 else image.getframe(number).data
    except UNREADABLE as error:
        raise RawDataError(f"{file}: frame {number} cannot be read: damaged file ({error})") from None
    if frame is None:
        raise RawDataError(f"{file}: frame {number} has no pixels: truncated or damaged file")
    if frame.ndim != 2 or frame.dtype.kind not in "iufb":
        raise RawDataError(f"{file}: expected a frame of numbers, found {frame.dtype} of shape {frame.shape}")
    return frame


def _call(reader, file: Path):
    if not file.is_file():
        raise RawDataError(missing_file(file))
    source = _decompressed(file) if file.suffix in COMPRESSED else str(file)
    _check_cbf(file, source)
    try:
        with warnings.catch_warnings():
            # The reader's second try on a truncated TIFF warns; `pixels` then finds none and says so.
            warnings.simplefilter("ignore", UserWarning)
            return reader(source)
    except UNREADABLE as error:
        raise RawDataError(f"{file}: truncated, or not an image that fabio can read ({error})") from None


def _decompressed(file: Path) -> BytesIO:
    try:
        with COMPRESSED[file.suffix](file) as stream:
            return BytesIO(stream.read(), fname=str(file), mode="rb")
    except (EOFError, OSError, zlib.error) as error:
        raise RawDataError(f"{file}: truncated or damaged archive ({error})") from None


def _check_cbf(file: Path, source: str | BytesIO) -> None:
    if isinstance(source, BytesIO):
        head, size = source.getvalue()[:CBF_HEADER_BYTES], len(source.getvalue())
    else:
        with open(source, "rb") as stream:
            head, size = stream.read(CBF_HEADER_BYTES), file.stat().st_size
    if not head.startswith(CBF_MAGIC):
        return
    section = head.find(CBF_SECTION)
    start = head.find(CBF_DATA, max(section, 0))
    announced = re.search(rb"X-Binary-Size:\s*(\d+)", head[section:start]) if 0 <= section < start else None
    if announced is None or size < start + len(CBF_DATA) + int(announced[1]):
        raise RawDataError(f"{file}: truncated or still being written ({size} bytes)")
    if b'conversions="x-CBF_BYTE_OFFSET"' not in head[section:start]:
        raise RawDataError(f"{file}: only byte-offset compression of CBF can be read")
