"""Settings: what is wrong is named by key, and equal settings are equal text."""

import pytest
import yaml

from xrdct.config import load, validate
from xrdct.errors import ConfigError
from xrdct.provenance import canonical_json


def settings(**sections):
    """The least that makes a beamtime, with changes by section."""
    least = {
        "detector": {"name": "Pilatus CdTe 2M"},
        "beam": {"energy_kev": 71},
        "calibrate": {"frame": "CeO2.cbf"},
    }
    return {key: least.get(key, {}) | sections.get(key, {}) for key in least | sections}


def problems(**sections):
    """The lines of the error that these settings raise."""
    with pytest.raises(ConfigError) as caught:
        validate(settings(**sections), origin="config.yaml")
    return str(caught.value).splitlines()


def test_the_least_configuration_is_valid_and_has_the_papers_defaults():
    config = validate(settings())
    assert config.integrate.trim == 0.20
    assert [w.name for w in config.windows.all()] == ["LiC6", "LiC12", "graphite"]


def test_a_misspelt_key_is_an_error_with_a_suggestion():
    assert problems(integrate={"n_bin": 400}) == ["config.yaml: integrate.n_bin: unknown key, did you mean `n_bins`?"]


def test_a_misspelt_section_is_an_error_with_a_suggestion():
    assert problems(integrat={}) == ["config.yaml: integrat: unknown key, did you mean `integrate`?"]


@pytest.mark.parametrize(
    ("section", "key", "value", "allowed"),
    [
        ("beam", "energy_kev", 4, "greater than or equal to 5"),
        ("beam", "energy_kev", "71 keV", "valid number"),
        ("beam", "polarization", 1.5, "less than or equal to 1"),
        ("integrate", "trim", 1.0, "less than 1"),
        ("integrate", "n_bins", 400.5, "valid integer"),
        ("calibrate", "max_rms_deg", 0, "greater than 0"),
        ("assemble", "cor", float("nan"), "finite"),
        ("assemble", "cor", float("inf"), "finite"),
        ("reconstruct", "filter", "ramlak", "'ram-lak'"),
    ],
)
def test_a_value_out_of_range_names_key_range_and_value(section, key, value, allowed):
    (line,) = problems(**{section: {key: value}})
    assert line.startswith(f"config.yaml: {section}.{key}: ")
    assert allowed in line
    assert repr(value) in line


def test_a_missing_key_is_named():
    with pytest.raises(ConfigError, match=r"beam: this key is required"):
        validate({"detector": {"name": "x"}, "calibrate": {"frame": "f"}})


def test_every_problem_is_told_at_once():
    assert len(problems(beam={"energy_kev": 0}, integrate={"trim": 2, "bins": 1})) == 3


def test_a_window_outside_the_pattern_is_an_error():
    (line,) = problems(integrate={"q_min": 1.75})
    assert "LiC6 (1.67–1.73 1/Å) with 2.5 bins at either side lies outside" in line


def test_q_limits_the_wrong_way_round_are_an_error():
    (line,) = problems(integrate={"q_min": 4.0})
    assert "q_min (4.0 1/Å) must be below q_max (3.85 1/Å)" in line


@pytest.mark.parametrize(
    "detector",
    [
        {"name": None},
        {"name": "Pilatus1M", "shape": [10, 10]},
        {"name": None, "shape": [10, 10]},
    ],
)
def test_a_detector_is_described_once(detector):
    (line,) = problems(detector=detector)
    assert "give either `name`, or both" in line


def test_two_windows_of_one_name_are_an_error():
    (line,) = problems(windows={"preset": None, "windows": [{"name": "a", "q_min": 1, "q_max": 2}] * 2})
    assert "two windows are called a" in line


@pytest.mark.parametrize("name", ["../up", "a/b", ".hidden", "a..b", "", "a b"])
def test_a_name_that_could_leave_the_results_folder_is_an_error(name):
    (line,) = problems(windows={"preset": None, "windows": [{"name": name, "q_min": 1, "q_max": 2}]})
    assert "is not a plain name" in line


def test_a_loaded_configuration_cannot_change():
    config = validate(settings())
    with pytest.raises(ValueError, match="frozen"):
        config.beam.energy_kev = 50


def test_python_tags_in_yaml_are_refused(tmp_path):
    marker = tmp_path / "run"
    path = tmp_path / "config.yaml"
    path.write_text(f"scans: !!python/object/apply:os.mkdir ['{marker}']\n")
    with pytest.raises(ConfigError, match=r"config\.yaml: not plain YAML"):
        load(path)
    assert not marker.exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a: [1", "not plain YAML"),
        (b"- a\n- b\n", "expected a mapping of settings, found list"),
        (b"", "expected a mapping of settings, found NoneType"),
        (b"a: \xff\xfe\n", "not a text file in UTF-8"),
    ],
)
def test_a_file_that_holds_no_settings_is_named(tmp_path, content, message):
    (tmp_path / "config.yaml").write_bytes(content)
    with pytest.raises(ConfigError, match=rf"config\.yaml: {message}"):
        load(tmp_path / "config.yaml")


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    with pytest.raises(ConfigError, match="no such configuration file"):
        load(tmp_path / "config.yaml")
    with pytest.raises(ConfigError, match="not a text file"):
        load(tmp_path)


def test_spelling_of_numbers_and_order_of_keys_do_not_change_canonical_settings(tmp_path):
    texts = []
    for beam in (
        "beam: {energy_kev: 71, polarization: 0.950}",
        "beam: {polarization: 95.0e-2, energy_kev: 71.0}",
    ):
        rest = {k: v for k, v in settings().items() if k != "beam"}
        (tmp_path / "c.yaml").write_text(beam + "\n" + yaml.safe_dump(rest))
        texts.append(canonical_json(load(tmp_path / "c.yaml")))
    assert texts[0] == texts[1]


def test_a_default_written_out_changes_nothing():
    written = validate(settings(integrate={"trim": 0.2, "n_bins": 400}))
    assert canonical_json(written) == canonical_json(validate(settings()))


CU = {"name": "Cu", "free": {"a": [3.61, 3.62]}}
SET = {"name": "mine", "q_min": 1.6, "q_max": 3.2, "phases": [CU]}
PEAK = {"name": "PE", "q": 1.7, "q_limits": [1.68, 1.72], "fwhm": 0.02, "fwhm_limits": [0.01, 0.05]}


@pytest.mark.parametrize(
    ("fit", "message"),
    [
        ({"preset": "nca-8", "phase_set": SET}, "give either `preset` or `phase_set`"),
        ({"preset": "nca-9"}, "Input should be 'nca-13'"),
        ({"phase_set": SET | {"phases": []}}, "at least 1 item"),
        ({"phase_set": SET | {"phases": [CU, CU]}}, "two phases or peaks are called Cu"),
        ({"phase_set": SET | {"q_min": 3.3}}, r"q_min \(3.3\) must be below q_max"),
        ({"phase_set": SET | {"q_max": 5.0}}, r"lies outside integrate.q_min–q_max \(0.5–3.85 1/Å\)"),
        ({"phase_set": SET | {"phases": [CU | {"free": {"a": [3.7, 3.6]}}]}}, "lower limit"),
        ({"phase_set": SET | {"phases": [CU | {"per_voxel": ["c"]}]}}, "per_voxel names c"),
        ({"phase_set": SET | {"phases": [CU | {"size_nm": 20}]}}, "must lie in size_limits_nm"),
        ({"phase_set": SET | {"peaks": [PEAK | {"q": 1.8}]}}, "q .1.8. must lie in q_limits"),
        ({"phase_set": SET | {"peaks": [PEAK | {"q": 1.5, "q_limits": [1.4, 1.6]}]}}, "leave the range"),
        ({"mask_threshold": 1.0}, "less than 1"),
    ],
)
def test_a_fit_that_contradicts_itself_is_refused(fit, message):
    with pytest.raises(ConfigError, match=message):
        validate(settings(fit=fit))


def test_a_misspelt_key_of_a_phase_is_named_with_its_place():
    found = problems(fit={"phase_set": SET | {"phases": [CU | {"fre": {}}]}})
    assert found[0].startswith("config.yaml: fit.phase_set.phases.0.fre: unknown key")


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        (
            {"absorption": {"correct": True, "factor": "given", "given_factor": 1.0}},
            r"absorption\.correct needs .* fit",
        ),
        (
            {"absorption": {"correct": True, "factor": "transmission"}, "fit": {"preset": "nca-8"}},
            r"name the counter of the direct beam in raw\.transmitted",
        ),
        (
            {"absorption": {"correct": True, "casing": {"phase": "Ti", "thickness_mm": 1}}, "fit": {"preset": "nca-8"}},
            r"absorption\.casing: 'Ti' is no phase of the fit \(NCA, ",
        ),
        ({"absorption": {"correct": True}, "fit": {"preset": "nca-8"}}, r"give casing\.phase and casing\.thickness_mm"),
        ({"denoise": {"apply": True}}, r"set integrate\.groups to 4, or denoise\.split to thinning"),
        ({"maps": {"source": "pqnet"}, "fit": {"preset": "nca-8"}}, r"maps\.source is pqnet: set pqnet\.apply to true"),
        (
            {
                "maps": {"source": "pqnet"},
                "fit": {"preset": "nca-8"},
                "pqnet": {"apply": True, "targets": ["NCA"]},
                "beamtime": {"apply": True, "groups": {"anode": ["graphite"], "cathode": ["NCA"]}},
            },
            r"must answer for what beamtime speaks of; add graphite to pqnet\.targets",
        ),
    ],
)
def test_stages_that_lack_what_they_need_are_refused(sections, message):
    with pytest.raises(ConfigError, match=message):
        validate(settings(**sections))


@pytest.mark.parametrize(
    ("applied", "source", "taken", "computed"),
    [
        (False, "best", "fit", {"fit"}),
        (True, "best", "pqnet+fit", {"pqnet"}),
        (True, "pqnet", "pqnet", {"pqnet"}),
        (True, "fit", "fit", {"fit"}),
        (True, "all", "pqnet+fit", {"fit", "pqnet"}),
    ],
)
def test_maps_are_taken_from_one_source_and_only_that_is_computed(applied, source, taken, computed):
    found = validate(settings(fit={"preset": "nca-8"}, pqnet={"apply": applied}, maps={"source": source}))
    assert found.map_source() == taken
    assert found.map_sources() == computed
