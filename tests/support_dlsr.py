"""What the tests of DLSR share."""

from xrdct.bench.thick_cell import SIZE_NM
from xrdct.config import PhaseSetSettings

ONE_LINE = PhaseSetSettings.model_validate(
    {
        "name": "003",
        "q_min": 1.17,
        "q_max": 1.45,
        "background_degree": 1,
        "phases": [
            {"name": "NCA", "cell": {"a": 2.83}, "free": {"c": [14.0, 14.7]}, "per_voxel": ["c"], "size_nm": SIZE_NM}
        ],
    }
)
"""The line 003 of NCA alone: c without a, and quick. The bench takes the whole pattern."""
