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

    Parsed code is hashed, not text: comments, docstrings and layout change nothing. The same on every checkout of
    one revision; an upgrade of Python may change it once.
    """
    digest = hashlib.sha256()
    for path in sorted(_closure(Path(script).resolve()), key=lambda p: (p.parent.name, p.name)):
        digest.update(f"{path.parent.name}/{path.name}\n{_parsed(path)}\n".encode())
    return digest.hexdigest()[:16]


def file_sha256(path: str | Path) -> str:
    """sha256 of a (small) file's bytes."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


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
            names |= {base} | {f"{base}.{alias.name}" for alias in node.names}
    files = (_module_file(name) for name in sorted(names) if name.split(".")[0] == PACKAGE)
    return tuple(file for file in files if file)


def _root() -> Path:
    return Path(__file__).resolve().parent


def _package_of(path: Path) -> str:
    if not path.is_relative_to(_root()):
        return ""
    return ".".join([PACKAGE, *path.relative_to(_root()).parent.parts])


def _module_file(name: str) -> Path | None:
    base = _root().joinpath(*name.split(".")[1:])
    for candidate in (base.with_suffix(".py"), base / "__init__.py"):
        if name != PACKAGE and candidate.is_file():
            return candidate
    return None


@cache
def _parsed(path: Path) -> str:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and body:
            first = body[0]
            if (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
            ):
                node.body = body[1:]
    return ast.dump(tree)
