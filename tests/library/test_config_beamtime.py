"""The section `beamtime`: what is refused before anything runs."""

from pathlib import Path

import pytest
import yaml

from xrdct import config
from xrdct.config.beamtime import PRESETS, Beamtime
from xrdct.errors import ConfigError

DEMO = Path(__file__).resolve().parents[2] / "config" / "demo" / "config.yaml"


def demo(**beamtime):
    settings = yaml.safe_load(DEMO.read_text(encoding="utf-8"))
    settings["beamtime"].update(beamtime)
    return settings


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_the_presets_are_valid_regions(preset):
    names = [region.name for region in Beamtime(preset=preset).all_regions()]
    assert len(names) == len(set(names)) == 6


@pytest.mark.parametrize(
    ("beamtime", "message"),
    [
        ({"register_by": ["Ag"]}, "Ag is no phase of the fit"),
        ({"clusters": {"phase": "NMC"}}, "NMC is no phase of the fit"),
        ({"regions": [{"name": "whole", "radius_mm": [0, 1]}]}, "two regions are called whole"),
        ({"regions": [{"name": "all"}]}, "no condition"),
        ({"preset": "nmc"}, "no preset of regions is called 'nmc'"),
        ({"pitch": 3}, "unknown key"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_name(beamtime, message):
    with pytest.raises(ConfigError, match=message):
        config.validate(demo(**beamtime))


def test_a_beamtime_without_a_fit_is_refused():
    settings = demo()
    settings["fit"] = {}
    del settings["absorption"], settings["pqnet"], settings["maps"]  # each of them needs a fit too, and says so
    with pytest.raises(ConfigError, match=r"beamtime\.apply needs the maps of a fit"):
        config.validate(settings)


@pytest.mark.parametrize(
    ("beamtime", "message"),
    [
        ({"clusters": {"phase": "Cu"}}, "clusters looks at a or c of Cu, which is not fitted"),
        ({"regions": [{"name": "x", "cell": [{"phase": "Cu", "edge": "a", "angstrom": [3, 4]}]}]}, "region x looks at"),
    ],
)
def test_a_rule_by_cells_needs_cells_in_every_voxel(beamtime, message):
    settings = demo(**beamtime)
    config.validate(settings)  # two steps of the full fit follow the networks, and free every cell
    settings["maps"] = {"source": "fit"}
    with pytest.raises(ConfigError, match=message):
        config.validate(settings)
