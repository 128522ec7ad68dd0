"""Zarr stores between the steps: form, provenance, manifest, and writing that is all or nothing.

A store is an `xarray.Dataset` in Zarr 3 with named dims, `units` on every variable and the attribute `provenance`
(settings, input checksums, versions). Beside it lies a manifest, a small JSON file with a hash of the content; the
next step depends on the manifest, because Snakemake does not look inside a folder. Provenance is not in the hash:
a new revision that computes the same numbers leaves the manifest, and so everything downstream, as it is.
"""

import hashlib
import json
import subprocess
import warnings
from math import prod
from pathlib import Path

import numpy as np
import xarray as xr
import zarr
from zarr.codecs import ZstdCodec

from .. import __version__
from ..errors import StoreError
from .whole import remove, replaced_when_whole

FORMAT = 1
"""Version of the stores' form; a reader refuses another one."""

FORMS = {
    "patterns": {
        "intensity": ("line", "point", "q"),
        "sem": ("line", "point", "q"),
        "spottiness": ("line", "point", "q"),
        "kept": ("line", "point", "q"),
        "omega": ("line", "point"),
        "translation": ("line", "point"),
        "monitor": ("line", "point"),
        "valid": ("line", "point"),
    },
    "sinogram": {
        "intensity": ("angle", "position", "q"),
        "variance": ("angle", "position", "q"),
        "air": ("angle", "q"),
        "repaired": ("angle", "position"),
        "bad_frame": ("angle", "position"),
        "zingers": ("angle", "position"),
        "subset": ("angle",),
        "direction": ("angle",),
        "offset": ("angle",),
    },
    "attenuation": {"mu": ("y", "x"), "transmission": ("angle", "position"), "opaque": ("angle", "position")},
    "volume": {"intensity": ("y", "x", "q")},
    "fit": {
        **{name: ("phase", "y", "x") for name in ("scale", "weight_fraction", "a", "b", "c", "size")},
        **{f"{name}_err": ("phase", "y", "x") for name in ("scale", "a", "b", "c", "size")},
        "at_limit": ("phase", "y", "x"),
        "rwp": ("y", "x"),
        "chi2": ("y", "x"),
        "mask": ("y", "x"),
        "mean_pattern": ("q",),
        "mean_fit": ("q",),
        "mean_background": ("q",),
    },
    "pqnet": {
        **{
            f"{name}{kind}": ("phase", "y", "x")
            for name in ("scale", "a", "b", "c")
            for kind in ("", "_std", "_spread", "_width")
        },
        "level": ("y", "x"),
        "in_range": ("y", "x"),
        "mask": ("y", "x"),
    },
    "library": {
        "intensity": ("pattern", "q"),
        "parameters": ("pattern", "parameter"),
        "dose": ("pattern",),
        "level": ("pattern",),
    },
    "maps": {"area": ("phase", "y", "x"), "q_centre": ("phase", "y", "x")},
    "series": {
        **{
            f"{of}{name}{kind}": ("phase", "line", "point") if not of else ("phase", "line")
            for of in ("", "line_")
            for name in ("scale", "weight_fraction", "a", "b", "c")
            for kind in ("", "_err")
        },
        "rwp": ("line", "point"),
        "line_rwp": ("line",),
        "time": ("line", "point"),
        **{name: ("line",) for name in ("line_time", "voltage", "current", "charge", "cycle")},
    },
}
"""Variables that a store of each kind holds, with their dims."""

CHUNKS = {
    "patterns": {"line": 1, "q": 64},
    "sinogram": {"q": 16},
    "attenuation": {},
    "volume": {"y": 64, "x": 64},
    "maps": {"phase": 1},
    "fit": {"phase": 1},
    "pqnet": {"phase": 1},
    "library": {"pattern": 8192},
    "series": {},
}
"""Chunk lengths by dim, chosen for how the next step reads; dims not named are not split."""

SHARDS = {"patterns": {"line": 8}, "fit": {}, "pqnet": {}, "maps": {}}
"""Lengths by dim of the files that hold several chunks; dims not named are not split. Network file systems suffer from
many small files. Kinds that are not named have one chunk per file: a large array, read whole, is read 1.2 times as
slowly from shards, and 1.8 times in blocks of rows, and needs its size in memory once more to be written."""


def write_store(
    dataset: xr.Dataset, store: str | Path, manifest: str | Path, *, kind: str, settings: dict, inputs: dict
) -> None:
    """Write a store, then its manifest; neither appears before it is whole.

    Parameters
    ----------
    dataset
        Of the form `FORMS[kind]`, with `units` in every variable's attributes.
    store, manifest
        Paths of the Zarr folder and of the JSON file beside it.
    kind
        One of `FORMS`.
    settings
        The stage's own configuration, recorded.
    inputs
        Checksum or fingerprint of every input by name, recorded.
    """
    check_form(dataset, kind, origin=str(store))
    complete = dataset.assign_attrs(stamp(dataset.attrs, kind, settings, inputs))
    encoding = {name: _encoding(v.dims, v.shape, kind) for name, v in complete.data_vars.items()}
    with replaced_when_whole(store) as partial:
        complete.to_zarr(partial, mode="w", zarr_format=3, consolidated=False, encoding=encoding)
    write_manifest(content_hashes(complete), store, manifest, kind)


class GrowingStore:
    """A store that is filled block by block along its first dim, so that it need not fit into memory.

    A job that was killed goes on after the last whole block when it is started again with the same key. The store
    gets its name, and its manifest, when the last block is in.

    Parameters
    ----------
    store, manifest
        Paths of the Zarr folder and of the JSON file beside it.
    kind
        One of `FORMS`.
    arrays
        Dims, shape, dtype and attributes of every variable that will be filled; all share the first dim.
    coords, attrs
        Coordinates and attributes, as for `xarray.Dataset`.
    settings, inputs
        Recorded, as in `write_store`.
    key
        Says whether a partial store found there is of the same work.
    """

    def __init__(
        self,
        store: str | Path,
        manifest: str | Path,
        *,
        kind: str,
        arrays: dict[str, tuple[tuple[str, ...], tuple[int, ...], type, dict]],
        coords: dict,
        attrs: dict,
        settings: dict,
        inputs: dict,
        key: str,
    ):
        self.store, self.manifest, self.kind = Path(store), Path(manifest), kind
        self.length = next(iter(arrays.values()))[1][0]
        self.block = SHARDS[kind][next(iter(arrays.values()))[0][0]]
        """Rows of the first dim that make a whole block; only the last one may be shorter."""
        self._partial = self.store.with_name(f".{self.store.name}.growing")
        self._progress = self._partial.with_suffix(".json")
        self._key = hashlib.sha256(key.encode()).hexdigest()  # the key can name every file of a series
        self.done = self._rows_done()
        """Rows of the first dim that are in."""
        if not self.done:
            self._create(arrays, coords, stamp(attrs, kind, settings, inputs))
        self._group = zarr.open_group(self._partial, mode="r+")

    def append(self, values: dict[str, np.ndarray]) -> None:
        """Write the next rows of every variable."""
        n = len(next(iter(values.values())))
        stop = self.done + n
        if n != min(self.block, self.length - self.done):
            raise ValueError(f"{n} rows at {self.done} of {self.length}: blocks are of {self.block} rows")
        for name, part in values.items():
            self._group[name][self.done : stop] = part
        self.done = stop
        with replaced_when_whole(self._progress) as partial:
            partial.write_text(json.dumps({"key": self._key, "done": self.done}))

    def read(self, name: str, rows: slice = slice(None)) -> np.ndarray:
        """What stands in a variable so far, or in some rows of its first dim."""
        return self._group[name][rows]

    def finish(self) -> None:
        """Check the form, give the store its name, write the manifest."""
        if self.done != self.length:
            raise ValueError(f"{self.done} of {self.length} rows are in")
        dataset = _open(self._partial)
        check_form(dataset, self.kind, origin=str(self.store))
        content = content_hashes(dataset)
        remove(self.store)
        self._partial.rename(self.store)
        write_manifest(content, self.store, self.manifest, self.kind)
        remove(self._progress)

    def discard(self) -> None:
        """Forget what is in: the next job begins anew."""
        remove(self._progress)
        remove(self._partial)

    def _rows_done(self) -> int:
        try:
            progress = json.loads(self._progress.read_text())
        except (OSError, json.JSONDecodeError):
            return 0
        return progress["done"] if progress["key"] == self._key and self._partial.is_dir() else 0

    def _create(self, arrays, coords, attrs):
        remove(self._progress)
        remove(self._partial)
        self._partial.parent.mkdir(parents=True, exist_ok=True)
        xr.Dataset(coords=coords, attrs=attrs).to_zarr(self._partial, mode="w", zarr_format=3, consolidated=False)
        group = zarr.open_group(self._partial, mode="r+")
        for name, (dims, shape, dtype, attributes) in arrays.items():
            encoding = _encoding(dims, shape, self.kind)
            config = {"write_empty_chunks": encoding.pop("write_empty_chunks")}
            group.create_array(
                name, shape=shape, dtype=dtype, dimension_names=dims, attributes=attributes, config=config, **encoding
            )


def read_store(store: str | Path, kind: str) -> xr.Dataset:
    """Open a store lazily and check that it is of the form that a step expects.

    Raises
    ------
    StoreError
        If it is missing, of another kind or format, or lacks a variable.
    """
    if not Path(store).is_dir():
        raise StoreError(f"{store}: no such store; run the step that makes it")
    try:
        dataset = _open(store)
    except (OSError, ValueError, KeyError) as error:
        raise StoreError(f"{store}: cannot be opened as a Zarr store: {error}") from error
    found = (dataset.attrs.get("kind"), dataset.attrs.get("format"))
    if found != (kind, FORMAT):
        raise StoreError(f"{store}: expected kind {kind!r} in format {FORMAT}, found {found[0]!r} in format {found[1]}")
    check_form(dataset, kind, origin=str(store))
    return dataset


def check_form(dataset: xr.Dataset, kind: str, *, origin: str) -> None:
    """Raise `StoreError` unless every variable of `FORMS[kind]` is there with its dims and a unit."""
    for name, dims in FORMS[kind].items():
        if name not in dataset:
            raise StoreError(f"{origin}: variable {name!r} of a {kind} store is missing")
        if dataset[name].dims != dims:
            raise StoreError(f"{origin}: {name!r} has dims {dataset[name].dims}, expected {dims}")
        if "units" not in dataset[name].attrs:
            raise StoreError(f"{origin}: {name!r} has no units")


def content_hashes(dataset: xr.Dataset) -> dict[str, str]:
    """sha256 of each variable (dims, dtype, attributes, values in C order) and of the store's own attributes.

    Large arrays are read and hashed in slices of their first dim; `provenance` is left out (see above).
    """
    hashes = {name: _variable_hash(dataset[name].variable) for name in sorted(map(str, dataset.variables))}
    attrs = {key: value for key, value in dataset.attrs.items() if key != "provenance"}
    hashes["attributes"] = hashlib.sha256(_attrs_text(attrs).encode()).hexdigest()
    return hashes


def write_json(content: dict, path: str | Path) -> None:
    """Write a small file of results, renamed into place when whole."""
    with replaced_when_whole(path) as partial:
        partial.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def read_manifest(path: str | Path) -> dict:
    """A manifest as written by `write_store`."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError) as error:
        raise StoreError(f"{path}: no readable manifest: {error}") from error


def manifest_digest(path: str | Path) -> str:
    """One short hash over a manifest, to record as an input's checksum."""
    text = json.dumps(read_manifest(path)["sha256"], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def git_revision() -> str:
    """Commit of the checkout that runs, with '+changes' when it was edited; 'unknown' outside a checkout."""
    call = [
        "git",
        "-C",
        str(Path(__file__).parent),
        "describe",
        "--always",
        "--abbrev=12",
        "--dirty=+changes",
        "--exclude=*",
    ]
    try:
        done = subprocess.run(call, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return done.stdout.strip()


def _variable_hash(variable: xr.Variable) -> str:
    digest = hashlib.sha256()
    head = {"dims": variable.dims, "shape": variable.shape, "dtype": str(variable.dtype)}
    digest.update((_attrs_text(head) + _attrs_text(variable.attrs)).encode())
    step = max(1, int(2**25 / max(1, variable.nbytes / max(1, variable.shape[0] if variable.ndim else 1))))
    slices = range(0, variable.shape[0], step) if variable.ndim else [None]
    for start in slices:
        part = variable if start is None else variable[start : start + step]
        values = np.asarray(part.values)
        if values.dtype.kind in "OUT":
            digest.update("\0".join(map(str, values.ravel().tolist())).encode())
        else:
            digest.update(np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()


def _attrs_text(attrs: dict) -> str:
    return json.dumps(attrs, sort_keys=True, default=lambda value: np.asarray(value).tolist())


def _open(store):
    with warnings.catch_warnings():
        # Snakemake leaves its .snakemake_timestamp inside every folder that a rule makes.
        warnings.filterwarnings("ignore", message=r"Object at \.snakemake_timestamp")
        return xr.open_zarr(store, consolidated=False, chunks=None)


def stamp(attrs, kind, settings, inputs):
    """A store's own attributes with its kind, format and provenance."""
    provenance = {"settings": settings, "inputs": inputs, "xrdct": __version__, "git_revision": git_revision()}
    return {"kind": kind, "format": FORMAT, **attrs, "provenance": json.dumps(provenance, sort_keys=True)}


def write_manifest(content, store, manifest, kind):
    text = json.dumps({"store": Path(store).name, "kind": kind, "format": FORMAT, "sha256": content}, indent=1)
    with replaced_when_whole(manifest) as partial:
        partial.write_text(text + "\n", encoding="utf-8")


def chunks_of_array(dims, shape, kind) -> tuple[int, ...]:
    """Chunk lengths of a variable in a store of a kind."""
    return tuple(min(n, CHUNKS[kind].get(dim, n)) for dim, n in zip(dims, shape, strict=True))


def files_of_array(dims, shape, kind) -> int:
    """How many files hold the values of a variable in a store of a kind: shards, or chunks where there are none."""
    encoding = _encoding(dims, shape, kind)
    lengths = encoding.get("shards", encoding["chunks"])
    return prod(-(-n // length) for n, length in zip(shape, lengths, strict=True))


def _encoding(dims, shape, kind):
    """How a variable lies on disk: chunks, and shards where a file holds several chunks."""
    chunks = chunks_of_array(dims, shape, kind)
    # A chunk that was never written reads as the fill value without a word: write all, so that a missing one shows.
    # zstd's own checksum: a damaged chunk is an error for whoever reads it next, not other numbers.
    encoding = {"chunks": chunks, "write_empty_chunks": True, "compressors": (ZstdCodec(level=0, checksum=True),)}
    if kind in SHARDS:
        wanted = (SHARDS[kind].get(dim, n) for dim, n in zip(dims, shape, strict=True))
        encoding["shards"] = tuple(-(-n // chunk) * chunk for n, chunk in zip(wanted, chunks, strict=True))
    return encoding
