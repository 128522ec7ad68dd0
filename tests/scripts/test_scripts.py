"""Every rule has a script of its name but those that share one, and every script belongs to a rule."""

import re

from draw_overview import title_of
from support import REPOSITORY
from xrdct.record import SHARED_SCRIPT


def test_rules_and_scripts_have_the_same_names():
    text = "".join(path.read_text() for path in (REPOSITORY / "workflow" / "rules").glob("*.smk"))
    rules = set(re.findall(r"^rule (\w+):", text, re.MULTILINE))
    scripts = {path.stem for path in (REPOSITORY / "workflow" / "scripts").glob("*.py")}
    assert rules - set(SHARED_SCRIPT) == scripts
    for name in scripts:
        assert f"../scripts/{name}.py" in text
        assert f'script_hash("{name}")' in text


def test_a_row_without_state_and_voltage_is_titled_by_its_name():
    assert title_of(scan="a", state="", voltage_V=None) == "a"
    assert title_of(scan="a", state="charged", voltage_V=4.2) == "charged, 4.2 V"
