"""`beamtime.zarr`: one tree of stores with a common grid, written and read whole, with a manifest beside it.

`xarray.open_datatree("beamtime.zarr", engine="zarr")` opens it without this package::

    /             y, x (mm): the common grid; table of the scans (voltage, state, cycle, motion, residual);
                  `source`: fit, pqnet or pqnet+fit
    /scans/NAME   maps of one scan on the common grid
    /regions      mask of every region, with the rule that made it
    /evolution    scan × region × phase: mean, sd, standard error, voxels of every quantity
"""

import warnings
from pathlib import Path

import xarray as xr

from ..errors import StoreError
from .store import FORMAT, content_hashes, replaced_when_whole, stamp, write_manifest

KIND = "beamtime"
NODES = ("scans", "regions", "evolution")


def write_tree(tree: xr.DataTree, store: str | Path, manifest: str | Path, *, settings: dict, inputs: dict) -> None:
    """Write a beamtime's tree, then its manifest; neither appears before it is whole. Arguments as in `write_store`."""
    for node in tree.subtree:
        bare = [f"{node.path}/{name}" for name, variable in node.data_vars.items() if "units" not in variable.attrs]
        if bare:
            raise StoreError(f"{store}: without units: {', '.join(bare)}")
    tree = tree.copy()
    tree.attrs = stamp(tree.attrs, KIND, settings, inputs)
    with replaced_when_whole(store) as partial:
        tree.to_zarr(partial, mode="w", zarr_format=3, consolidated=False)
    write_manifest(tree_hashes(tree), store, manifest, KIND)


def tree_hashes(tree: xr.DataTree) -> dict[str, str]:
    """`content_hashes` of every node, by path."""
    content = {}
    for node in tree.subtree:
        hashes = content_hashes(node.to_dataset(inherit=False))
        content |= {f"{node.path.rstrip('/')}/{name}": value for name, value in hashes.items()}
    return content


def read_tree(store: str | Path) -> xr.DataTree:
    """Open a beamtime's tree lazily.

    Raises
    ------
    StoreError
        If it is missing, of another kind or format, or lacks a node.
    """
    if not Path(store).is_dir():
        raise StoreError(f"{store}: no such store; run the workflow with `beamtime.apply: true`")
    try:
        with warnings.catch_warnings():
            # Snakemake leaves its .snakemake_timestamp inside every folder that a rule makes.
            warnings.filterwarnings("ignore", message=r"Object at \.snakemake_timestamp")
            tree = xr.open_datatree(store, engine="zarr", consolidated=False, chunks=None)
    except (OSError, ValueError, KeyError) as error:
        raise StoreError(f"{store}: cannot be opened as a Zarr tree: {error}") from error
    found = (tree.attrs.get("kind"), tree.attrs.get("format"))
    if found != (KIND, FORMAT):
        raise StoreError(f"{store}: expected kind {KIND!r} in format {FORMAT}, found {found[0]!r} in {found[1]}")
    missing = [name for name in NODES if name not in tree.children]
    if missing:
        raise StoreError(f"{store}: node {', '.join(missing)} is missing; make it again")
    return tree
