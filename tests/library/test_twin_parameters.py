"""The page that explains the twin's parameter file, and files upon presets."""

import re

import pytest
import yaml

from xrdct.errors import ConfigError
from xrdct.twin.parameters import PRESETS, Parameters, load_parameters
from xrdct.twin.parameters.reference import PAGE, parameter_reference


def test_the_page_of_all_keys_is_current():
    assert PAGE.read_text(encoding="utf-8") == parameter_reference(), "run `python -m xrdct.twin.parameters.reference`"


def test_every_key_is_explained():
    schema = Parameters.model_json_schema()
    for name, section in ({"Parameters": schema} | schema["$defs"]).items():
        unexplained = [key for key, value in section["properties"].items() if not value.get("description")]
        assert not unexplained, name
        assert section["description"], name


@pytest.mark.parametrize("preset", sorted(path.stem for path in PRESETS.glob("*.yaml")))
def test_every_preset_is_valid_and_can_be_built_upon(preset, tmp_path):
    mine = tmp_path / "mine.yaml"
    changes = {"base": preset, "sample": "mine", "beam": {"dose": 0.5}, "artefacts": {"air": None}}
    mine.write_text(yaml.safe_dump(changes), encoding="utf-8")
    base, built = load_parameters(preset), load_parameters(str(mine))
    assert (built.sample, built.beam.dose, built.artefacts.air) == ("mine", 0.5, None)
    assert built.beam.energy_kev == base.beam.energy_kev
    assert (built.cell, built.states, built.scan) == (base.cell, base.states, base.scan)


def test_the_example_of_the_readme_is_a_parameter_file(tmp_path):
    (example,) = re.findall(r"```yaml\n(.*?)```", (PAGE.parent / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    mine = tmp_path / "mine.yaml"
    mine.write_text(example, encoding="utf-8")
    parameters = load_parameters(str(mine))
    assert parameters.cell.pitch_mm == pytest.approx(0.395)  # two coatings of the cathode, each 20 µm thicker
    assert parameters.beam.dose == load_parameters("nca18650").beam.dose / 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("base: demo\nbeam: {doze: 1}\n", r"mine\.yaml: beam\.doze: Extra inputs are not permitted"),
        ("base: demo\nscan: {step_mm: 0}\n", r"scan\.step_mm: Input should be greater than 0"),
        ("base: nowhere\n", r"nowhere: neither a parameter file nor one of the presets \(demo, "),
        ("cell: [\n", r"mine\.yaml: not plain YAML"),
    ],
)
def test_a_wrong_file_is_refused_with_its_key(text, message, tmp_path):
    mine = tmp_path / "mine.yaml"
    mine.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=message):
        load_parameters(str(mine))
