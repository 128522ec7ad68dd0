"""Are the stores of a beamtime what they were when their manifests were written?"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..errors import StoreError
from .store import FORMS, content_hashes, read_manifest, read_store
from .tree import KIND as TREE
from .tree import read_tree, tree_hashes


@dataclass(frozen=True)
class Verdict:
    """What was found out about one store."""

    store: Path
    problems: tuple[str, ...]
    """One line each; none: every value is as it was."""


def verify_stores(folder: str | Path) -> Iterator[Verdict]:
    """Compare every store below a folder with the manifest beside it; all values are read.

    Raises
    ------
    StoreError
        When there is no such folder, or it holds neither stores nor manifests.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise StoreError(f"{folder}: no such folder")
    manifests = manifests_below(folder)
    stores = {path for path in folder.rglob("*.zarr") if not path.name.startswith(".")}
    if not manifests and not stores:
        raise StoreError(f"{folder}: holds no stores; give the results folder of a beamtime")
    for store in sorted(stores | manifests.keys()):
        yield Verdict(store, tuple(_problems(store, manifests.get(store))))


def manifests_below(folder: str | Path) -> dict[Path, Path]:
    """The manifests below a folder by the stores that they are of, which need not be there."""
    return {
        path.parent / name: path for path in sorted(Path(folder).rglob("*.json")) if (name := _store_named_in(path))
    }


def _store_named_in(path: Path) -> str | None:
    """The name of the store that a manifest is of; None for JSON files of another kind, and inside stores."""
    if path.name == "zarr.json" or path.name.startswith("."):
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError):
        # A damaged manifest still lies beside its store.
        return f"{path.stem}.zarr" if path.with_suffix(".zarr").is_dir() else None
    return content["store"] if isinstance(content, dict) and {"store", "kind", "sha256"} <= content.keys() else None


def _problems(store: Path, manifest: Path | None) -> Iterator[str]:
    if manifest is None:
        yield "has no manifest: it was not finished, or the manifest was removed"
        return
    if not store.is_dir():
        yield f"is missing, but {manifest.name} stands"
        return
    try:
        expected = read_manifest(manifest)
        found = _hashes(store, expected["kind"])
    except StoreError as error:
        yield str(error)
        return
    except (OSError, RuntimeError, ValueError) as error:  # what codecs say of bytes that they cannot decode
        yield f"cannot be read: {error}"
        return
    for name in sorted(expected["sha256"].keys() | found.keys()):
        if name not in found:
            yield f"{name} is gone"
        elif name not in expected["sha256"]:
            yield f"{name} was added"
        elif found[name] != expected["sha256"][name]:
            yield f"{name} is not what was written"


def _hashes(store: Path, kind: str) -> dict[str, str]:
    if kind == TREE:
        return tree_hashes(read_tree(store))
    if kind not in FORMS:
        raise StoreError(f"is of kind {kind!r}, which this version does not know")
    return content_hashes(read_store(store, kind))
