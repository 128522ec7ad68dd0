"""A beamtime that is simulated in a second: the preset `tiny`, coarser in everything. Used by several test files."""

import h5py
import numpy as np
import yaml

from xrdct.twin.bliss import DATASET
from xrdct.twin.parameters import PRESETS, Parameters
from xrdct.twin.simulate import simulate

COARSE = {
    "scan": {"n_positions": 12, "step_mm": 0.3, "n_projections": 3, "n_subsets": 2, "cor_offset_px": 0.4},
    "detector": {
        "shape": [10, 110],
        "pixel_um": 1376,
        "beam_centre": [4.7, 55.2],
        "column_gaps": [[30, 1]],
        "row_gaps": [[8, 1]],
    },
    "instrument": {"fwhm": 0.08},
    "beam": {"topup_frames": 20},
    "artefacts": {"beamstop_px": 2},
}
IDEAL = {
    "scan": {"zigzag": False, "cor_offset_px": 0},
    "detector": {"column_gaps": [], "row_gaps": []},
    "beam": {"monitor_decay": 0},
    "artefacts": {"poisson": False, "air": None, "bad_pixels": None, "beamstop_px": 0},
}
"""Every artefact switched off."""


def small(*changes: dict) -> Parameters:
    """The coarse beamtime with further changes, each a part of a parameter file."""
    settings = yaml.safe_load((PRESETS / "tiny.yaml").read_text(encoding="utf-8"))
    for change in (COARSE, *changes):
        settings = merged(settings, change)
    return Parameters.model_validate(settings)


def merged(settings: dict, change: dict) -> dict:
    """Settings with the keys of `change` replaced, section by section."""
    nested = {
        key: merged(settings[key], value) if isinstance(value, dict) and isinstance(settings.get(key), dict) else value
        for key, value in change.items()
    }
    return settings | nested


def master_path(folder, state, subset):
    """BLISS master file of one subset."""
    return folder / "raw" / f"{state.scan}_s{subset}.h5"


def one_subset(parameters: Parameters, folder) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Frames (lines, positions, rows, columns) and counters of the first subset of the first scan, as recorded."""
    simulate(parameters, folder, workers=2, quiet=True)
    with h5py.File(master_path(folder, parameters.states[0], 1)) as file:
        frames = file[DATASET][()].reshape(
            parameters.scan.n_projections, parameters.scan.n_positions, *parameters.detector.shape
        )
        return frames, {name: file[f"/1.1/measurement/{name}"][()] for name in ("mon", "diode", "rot", "ty")}
