"""What made a store, and whether it would come out the same again.

Three things let Snakemake rerun exactly what must: the canonical settings of a stage, a hash of the code the stage
runs, and beside every store a manifest with a hash of its content (`io.store`).
"""

import ast
import hashlib
import importlib.util
import json
from functools import cache
from pathlib import Path

from pydantic import BaseModel

PACKAGE = "xrdct"


def canonical_json(settings: BaseModel | dict | list) -> str:
    """Settings as text that depends on their values alone: keys sorted, types as validated (1 is 1.0)."""
    plain = settings.model_dump(mode="json") if isinstance(settings, BaseModel) else settings
    return json.dumps(plain, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def code_hash(script: str | Path) -> str:
    """Hash of a stage's script and of every module of this package that it imports, directly or not.

    C beside a module of the same name belongs to it. Parsed code is hashed, not text: comments, docstrings and layout
    change nothing. The same on every checkout of one revision; an upgrade of Python may change it once.
    """
    digest = hashlib.sha256()
    for path in sorted(_closure(Path(script).resolve()), key=lambda p: (p.parent.name, p.name)):
        digest.update(f"{path.parent.name}/{path.name}\n{_parsed(path)}\n".encode())
    return digest.hexdigest()[:16]


def file_sha256(path: str | Path) -> str:
    """sha256 of a (small) file's bytes."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def files_fingerprint(paths: list[str | Path]) -> str:
    """Short hash over the names and sizes of raw files and the first and last MiB of the first and last file.

    Tells files that were exchanged or cut off; half a terabyte of frames is not read twice for a full checksum.
    """
    paths = [Path(path) for path in paths]
    digest = hashlib.sha256()
    for path in paths:
        digest.update(f"{path.name} {path.stat().st_size}\n".encode())
    for path in dict.fromkeys((paths[0], paths[-1])):
        with open(path, "rb") as stream:
            digest.update(stream.read(2**20))
            stream.seek(max(0, path.stat().st_size - 2**20))
            digest.update(stream.read())
    return digest.hexdigest()[:16]


def _closure(script: Path) -> set[Path]:
    found, waiting = set(), [script]
    while waiting:
        path = waiting.pop()
        if path in found:
            continue
        found.add(path)
        waiting += _imports(path)
    return found


@cache
def _imports(path: Path) -> tuple[Path, ...]:
    """Files of this package that the file at `path` names in its import statements, wherever they stand."""
    package = _package_of(path)
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            base = importlib.util.resolve_name(base, package) if node.level else base
            names |= {f"{base}.{alias.name}" for alias in node.names}
    files = (file for name in sorted(names) if name.split(".")[0] == PACKAGE for file in _module_files(name))
    return tuple(dict.fromkeys(files))


def _root() -> Path:
    return Path(__file__).resolve().parent


def _package_of(path: Path) -> str:
    if not path.is_relative_to(_root()):
        return ""
    return ".".join([PACKAGE, *path.relative_to(_root()).parent.parts])


def _module_files(name: str) -> list[Path]:
    """Files that importing `name` (a module, or a name in one) runs: the module and the packages above it.

    The top `__init__.py` is left out where a module below it or a dunder such as ``__version__`` is meant, so that
    a new public name reruns nothing; it is taken where the name can only come from it.
    """
    parts = name.split(".")[1:]
    files = []
    for depth in range(1, len(parts) + 1):
        base = _root().joinpath(*parts[:depth])
        files += [file for file in (base.with_suffix(".py"), base / "__init__.py") if file.is_file()]
    if not files and not (parts and parts[0].startswith("__")):
        files.append(_root() / "__init__.py")
    return files


@cache
def _parsed(path: Path) -> str:
    parsed = ast.dump(_WithoutDocstrings().visit(ast.parse(path.read_text(encoding="utf-8"))))
    compiled = path.with_suffix(".c")
    return parsed + (compiled.read_text(encoding="utf-8") if compiled.is_file() else "")


class _WithoutDocstrings(ast.NodeTransformer):
    """Drops every statement that is a bare string: docstrings, and those below constants and fields."""

    def visit_Expr(self, node):
        is_text = isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        return None if is_text else node
