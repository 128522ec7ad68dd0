"""What made a store, and whether it would come out the same again.

Three things let Snakemake rerun exactly what must: the canonical settings of a stage, a hash of the code the stage
runs, and beside every store a manifest with a hash of its content (`io.store`).
"""

import ast
import hashlib
import importlib.util
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

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
        digest.update(f"{path.parent.name}/{path.name}\n{_module(path).code}\n".encode())
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
        waiting += _module(path).imports
    return found


class _Module(NamedTuple):
    code: str
    """Parsed code, without docstrings, and the C beside it."""
    imports: tuple[Path, ...]
    """Files of this package that its import statements name, wherever they stand."""


@cache
def _module(path: Path) -> _Module:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = set()
    for node in _statements(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            base = importlib.util.resolve_name(base, _package_of(path)) if node.level else base
            names |= {f"{base}.{alias.name}" for alias in node.names}
    files = (file for name in sorted(names) if name.split(".")[0] == PACKAGE for file in _module_files(name))
    compiled = path.with_suffix(".c")
    beside = compiled.read_text(encoding="utf-8") if compiled.is_file() else ""
    return _Module(ast.dump(tree) + beside, tuple(dict.fromkeys(files)))


def _statements(node: ast.AST) -> Iterator[ast.AST]:
    """All statements below a node; bare strings (docstrings, also those below constants and fields) are taken out.

    Expressions are not looked into: they hold no statements, and this runs at every start of Snakemake.
    """
    for block in ("body", "orelse", "finalbody", "handlers", "cases"):
        found = getattr(node, block, None)
        if isinstance(found, list):
            found[:] = [child for child in found if not _is_text(child)]
            for child in found:
                yield child
                yield from _statements(child)


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


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
