"""What must change a stage's code hash and settings text, and what must not, on a small package of its own."""

import hashlib
import importlib.util
import shutil

import pytest
from pydantic import BaseModel, ConfigDict

from xrdct import config, provenance

MODULES = {
    "__init__.py": "from importlib.metadata import version\n__version__ = 'from the top'\n",
    "direct.py": "from .relative import f\n\ndef run(x):\n    from .late import g\n    return f(x) + g(x)\n",
    "relative.py": "from . import sibling\nfrom .sub.deep import h\n\ndef f(x):\n    return sibling.LIMIT * h(x)\n",
    "sibling.py": 'LIMIT = 2.0\n"""How far it may go."""\n',
    "late.py": "import xrdct.other.leaf\n\ndef g(x):\n    return xrdct.other.leaf.ONE\n",
    "unrelated.py": "VALUE = 1\n",
    "sub/__init__.py": "from .shared import SCALE\n",
    "sub/deep.py": "from .. import __version__\nfrom ..climbed import C\n\ndef h(x):\n    return C\n",
    "sub/shared.py": "SCALE = 3\n",
    "climbed.py": "C = 1\n",
    "other/__init__.py": "SETTING = 1\n",
    "other/leaf.py": "ONE = 1\n",
}
SCRIPT = '''"""A stage."""
import numpy
from xrdct import direct

def main(x):
    """Runs."""
    return direct.run(x)
'''


@pytest.fixture
def checkout(tmp_path):
    return make_checkout(tmp_path / "checkout")


def make_checkout(folder):
    package = folder / "src" / "xrdct"
    for name, text in MODULES.items():
        file = package / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    shutil.copy(provenance.__file__, package / "provenance.py")
    script = folder / "scripts" / "stage.py"
    script.parent.mkdir()
    script.write_text(SCRIPT, encoding="utf-8")
    return folder


def hash_of(checkout):
    """The hash as a new process would find it: `provenance` loaded afresh from the checkout, without its caches."""
    spec = importlib.util.spec_from_file_location("fresh", checkout / "src" / "xrdct" / "provenance.py")
    fresh = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(fresh)
    return fresh.code_hash(checkout / "scripts" / "stage.py")


def rewrite(file, old, new):
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new), encoding="utf-8")


def test_the_hash_is_the_same_on_a_copy_in_another_folder(checkout, tmp_path):
    assert hash_of(checkout) == hash_of(checkout)
    assert hash_of(checkout) == hash_of(make_checkout(tmp_path / "elsewhere" / "another name"))


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("scripts/stage.py", '"""A stage."""', '"""Something else,\nover two lines."""\n# and a comment'),
        ("scripts/stage.py", '    """Runs."""\n', ""),
        (
            "src/xrdct/relative.py",
            "return sibling.LIMIT * h(x)",
            "return (\n        sibling.LIMIT  *  h( x )  # twice\n    )",
        ),
        ("src/xrdct/sibling.py", '"""How far it may go."""', '"""How far it went, in mm."""'),
        ("src/xrdct/sibling.py", '"""How far it may go."""\n', ""),
        ("src/xrdct/unrelated.py", "VALUE = 1", "VALUE = 2"),
        ("src/xrdct/__init__.py", "__version__ = ", "from . import unrelated\n__version__ = "),
    ],
)
def test_comments_docstrings_layout_and_unrelated_modules_change_nothing(checkout, file, old, new):
    before = hash_of(checkout)
    rewrite(checkout / file, old, new)
    assert hash_of(checkout) == before


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        pytest.param("scripts/stage.py", "direct.run(x)", "direct.run(x + 1)", id="the script itself"),
        pytest.param("src/xrdct/direct.py", "f(x) + g(x)", "f(x) - g(x)", id="from xrdct import x"),
        pytest.param("src/xrdct/relative.py", "LIMIT * h(x)", "LIMIT + h(x)", id="from .x import y"),
        pytest.param("src/xrdct/sibling.py", "2.0", "2.5", id="from . import x"),
        pytest.param("src/xrdct/late.py", "leaf.ONE", "leaf.ONE + 1", id="inside a function"),
        pytest.param("src/xrdct/other/leaf.py", "ONE = 1", "ONE = 2", id="import xrdct.a.b"),
        pytest.param("src/xrdct/other/__init__.py", "SETTING = 1", "SETTING = 2", id="the package above a module"),
        pytest.param("src/xrdct/sub/shared.py", "SCALE = 3", "SCALE = 4", id="imported by the package above a module"),
        pytest.param("src/xrdct/climbed.py", "C = 1", "C = 2", id="from ..x import y"),
    ],
)
def test_a_change_in_anything_that_runs_changes_the_hash(checkout, file, old, new):
    before = hash_of(checkout)
    rewrite(checkout / file, old, new)
    assert hash_of(checkout) != before


@pytest.mark.parametrize("line", ["from xrdct import VALUE", "import xrdct", "from xrdct import *"])
def test_names_that_only_the_top_package_can_give_are_followed_through_it(checkout, line):
    rewrite(checkout / "scripts/stage.py", "from xrdct import direct", line)
    rewrite(checkout / "src/xrdct/__init__.py", "__version__", "from .unrelated import VALUE\n__version__")
    before = hash_of(checkout)
    rewrite(checkout / "src/xrdct/unrelated.py", "VALUE = 1", "VALUE = 2")
    assert hash_of(checkout) != before


@pytest.mark.parametrize(
    "block",
    [
        "try:\n    pass\nexcept OSError:\n    ...",
        "try:\n    pass\nfinally:\n    ...",
        "for _ in ():\n    pass\nelse:\n    ...",
        "match 1:\n    case 1:\n        ...",
        "class A:\n    async def f():\n        with open(0):\n            ...",
    ],
)
def test_imports_are_followed_wherever_they_stand(checkout, block):
    rewrite(checkout / "scripts/stage.py", "from xrdct import direct", block.replace("...", "import xrdct.unrelated"))
    before = hash_of(checkout)
    rewrite(checkout / "src/xrdct/unrelated.py", "VALUE = 1", "VALUE = 2")
    assert hash_of(checkout) != before


def test_modules_that_import_each_other_end_the_search(checkout):
    rewrite(checkout / "src/xrdct/climbed.py", "C = 1", "from . import direct\nC = 1")
    assert len(hash_of(checkout)) == 16


class Model(BaseModel):
    model_config = ConfigDict(frozen=True)
    width: float
    name: str = "µ"
    limits: tuple[float, float] | None = None


def test_canonical_text_depends_on_values_not_on_spelling():
    text = provenance.canonical_json(Model.model_validate({"width": 1, "limits": [1, 2]}))
    assert text == provenance.canonical_json(Model.model_validate({"limits": (1.0, 2.0), "name": "µ", "width": 1.0}))
    assert text != provenance.canonical_json(Model(width=1.0 + 2**-52, limits=(1, 2)))
    assert Model.model_validate_json(text) == Model(width=1, limits=(1, 2))


def test_the_keys_of_plain_settings_are_sorted_at_every_depth():
    assert provenance.canonical_json({"b": [{"d": 1, "c": "é"}], "a": None}) == '{"a":null,"b":[{"c":"é","d":1}]}'


def test_the_settings_of_a_stage_read_from_yaml_integers_are_those_from_floats():
    assert provenance.canonical_json(config.Integrate(q_max=4)) == provenance.canonical_json(
        config.Integrate(q_max=4.0)
    )


def test_values_that_json_cannot_hold_are_refused():
    with pytest.raises(ValueError, match="not JSON compliant"):
        provenance.canonical_json({"a": float("nan")})


def test_the_checksum_of_a_file_is_sha256_of_its_bytes(tmp_path):
    (tmp_path / "a.cif").write_bytes(b"data_\n")
    assert provenance.file_sha256(tmp_path / "a.cif") == hashlib.sha256(b"data_\n").hexdigest()


def test_a_fingerprint_sees_an_exchanged_or_shortened_file(tmp_path):
    files = [tmp_path / name for name in ("a.h5", "b.h5")]
    for path in files:
        path.write_bytes(bytes(range(256)) * 10_000)
    before = provenance.files_fingerprint(files)
    assert provenance.files_fingerprint(files) == before
    files[1].write_bytes(files[1].read_bytes()[:-1])
    shortened = provenance.files_fingerprint(files)
    files[1].write_bytes(b"x" + bytes(range(256)) * 10_000)
    assert len({before, shortened, provenance.files_fingerprint(files)}) == 3
