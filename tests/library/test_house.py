"""What must agree across files: versions, the exported schema, environments and locks, BENCHMARKS.md."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml

from xrdct import __version__, config
from xrdct.bench.__main__ import current_page
from xrdct.scans import Subset
from xrdct.series import SeriesRow, read_series

REPOSITORY = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]


def plain(name):
    return (
        re.split(r"[ <>=\[;]", name.strip())[0].lower().replace("_", "-").removesuffix("-base").removesuffix("-minimal")
    )


def test_the_version_is_the_same_everywhere():
    citation = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text())
    assert citation["version"] == PROJECT["version"] == __version__


def test_the_exported_schema_is_current():
    exported = (REPOSITORY / "workflow" / "schemas" / "config.schema.json").read_text()
    assert exported == config.json_schema(), "run `xrdct schema`"


def test_the_lock_files_pin_every_dependency():
    locked = "".join((REPOSITORY / "requirements" / name).read_text() for name in ("core.lock", "torch.lock"))
    pinned = {plain(line) for line in locked.splitlines() if "==" in line}
    assert {plain(name) for name in PROJECT["dependencies"]} <= pinned


@pytest.mark.parametrize("name", ["core", "gpu"])
def test_the_conda_environments_list_what_the_locks_list(name):
    listed = yaml.safe_load((REPOSITORY / "envs" / f"{name}.yaml").read_text())["dependencies"]
    found = {plain(item).replace("pytorch", "torch") for item in listed if isinstance(item, str)} - {"python", "pip"}
    wanted = {plain(item) for item in PROJECT["dependencies"]}
    assert found == (wanted if name == "gpu" else wanted - {"torch", "astra-toolbox"})


def locked():
    """Version of every package in the lock files."""
    text = "".join((REPOSITORY / "requirements" / f"{name}.lock").read_text() for name in ("core", "torch"))
    return {plain(name): version for name, version in re.findall(r"^([\w.-]+)==(\S+)", text, re.MULTILINE)}


@pytest.mark.parametrize("name", ["core", "gpu"])
def test_the_conda_environments_pin_what_the_locks_pin(name):
    """To the second number: conda-forge does not build every one of PyPI's small releases."""
    versions = locked() | {"python": "3.11"}
    for item in yaml.safe_load((REPOSITORY / "envs" / f"{name}.yaml").read_text())["dependencies"]:
        package, _, version = item.partition(" =")
        assert version.split(".") == versions[plain(package).replace("pytorch", "torch")].split(".")[:2], item


@pytest.mark.parametrize("name", ["Dockerfile", "xrdct.def"])
def test_the_containers_install_the_lock_files_and_nothing_else(name):
    recipe = (REPOSITORY / "envs" / name).read_text()
    assert "python:3.11-slim" in recipe  # as the conda environments
    installed = re.findall(r"pip install (.*)", recipe)
    assert [re.findall(r"requirements/(\w+)\.lock", line) for line in installed] == [["core"], ["torch"], []]
    assert "--no-deps" in installed[-1]
    run = (REPOSITORY / "run.py").read_text()
    index = re.search(r'TORCH_CPU_INDEX = "(.*)"', run)[1]
    assert f"--extra-index-url {index}" in recipe


@pytest.mark.parametrize("folder", ["config", "config/demo", "config/operando", "tests/data/tiny"])
def test_every_shipped_configuration_and_table_is_valid(folder):
    from xrdct.scans import missing_subsets, read_scans

    cfg = config.load(REPOSITORY / folder / "config.yaml")
    rows = read_scans(REPOSITORY / folder / cfg.scans, may_be_empty=cfg.series.table is not None)
    if cfg.series.table is not None:
        assert read_series(REPOSITORY / folder / cfg.series.table)
    assert missing_subsets(rows, expected=cfg.raw.subsets_per_scan) == []


def test_the_table_columns_are_explained_to_users():
    text = (REPOSITORY / "config" / "README.md").read_text()
    for column in {**Subset.model_fields, **SeriesRow.model_fields}:
        assert column in text


def test_benchmarks_page_is_made_from_the_json_files():
    assert (REPOSITORY / "BENCHMARKS.md").read_text() == current_page(), "run `python3 run.py bench page`"


def test_the_configuration_that_users_edit_shows_every_section():
    shown = yaml.safe_load((REPOSITORY / "config" / "config.yaml").read_text())
    assert set(config.Config.model_fields) - set(shown) == set()
