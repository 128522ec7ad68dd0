"""Maps as VTK ImageData (.vti), the XML form that ParaView opens: docs.vtk.org, "VTK XML formats"."""

import base64
import zlib
from collections.abc import Mapping
from pathlib import Path
from xml.sax.saxutils import quoteattr

import numpy as np

from .store import replaced_when_whole


def write_vti(maps: Mapping[str, np.ndarray], path: str | Path, *, x: np.ndarray, y: np.ndarray) -> None:
    """Write maps as cells of one layer of voxels, whole or not at all.

    VTK counts y upwards: rows are written from the smallest y on. The layer is one voxel thick and lies at z = 0.

    Parameters
    ----------
    maps
        Arrays (y, x) by name, row 0 at the largest y; written as float32, NaN stays NaN.
    path
        Ends in .vti.
    x, y
        Centres of columns and rows, mm, evenly spaced.
    """
    step = float(abs(x[1] - x[0]))
    extent = f"0 {x.size} 0 {y.size} 0 1"
    origin = f"{x.min() - step / 2:.9g} {y.min() - step / 2:.9g} {-step / 2:.9g}"
    with (
        replaced_when_whole(path) as partial,
        Path(partial).open("w", encoding="ascii", errors="xmlcharrefreplace") as file,
    ):
        file.write(
            '<?xml version="1.0"?>\n'
            '<VTKFile type="ImageData" version="1.0" byte_order="LittleEndian" header_type="UInt64" '
            'compressor="vtkZLibDataCompressor">\n'
            f'<ImageData WholeExtent="{extent}" Origin="{origin}" Spacing="{step:.9g} {step:.9g} {step:.9g}">\n'
            f'<Piece Extent="{extent}">\n<CellData>\n'
        )
        for name, image in maps.items():
            values = np.ascontiguousarray(image[::-1], dtype="<f4").tobytes()
            file.write(
                f'<DataArray type="Float32" Name={quoteattr(name)} format="binary">{_encoded(values)}</DataArray>\n'
            )
        file.write("</CellData>\n</Piece>\n</ImageData>\n</VTKFile>\n")


def _encoded(values: bytes) -> str:
    """One compressed block behind its header: number of blocks, size of each, of the last partial one, compressed."""
    packed = zlib.compress(values, 6)
    header = np.array([1, len(values), 0, len(packed)], dtype="<u8").tobytes()
    return base64.b64encode(header).decode() + base64.b64encode(packed).decode()
