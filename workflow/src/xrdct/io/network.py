"""Files that hold a network: the checkpoints of a training, and the network that other scans use."""

import pickle
from pathlib import Path

import torch

from .. import __version__
from ..denoise.unet import UNet, new_network
from ..errors import StoreError
from .store import git_revision, replaced_when_whole

FORMAT = 1
"""Version of the file's form; a reader refuses another one."""
KIND = "denoiser"


def write_training(state: dict, path: str | Path, *, key: str) -> None:
    """Write the state of a training (`denoise.training.Training.state`), whole or not at all.

    `key` says what it was trained on and how; a training goes on only from a file with its own.
    """
    stamp = {"kind": KIND, "format": FORMAT, "key": key, "xrdct": __version__, "git_revision": git_revision()}
    with replaced_when_whole(path) as partial:
        torch.save(stamp | {"state": state}, partial)


def read_training(path: str | Path, *, key: str | None = None) -> dict | None:
    """The state in a file; with a `key`, None when there is no file or it is of another training.

    Raises
    ------
    StoreError
        If the file is missing (without `key`), damaged, or holds something else.
    """
    path = Path(path)
    if not path.is_file():
        if key is not None:
            return None
        raise StoreError(f"{path}: no such file; denoise.model names a network that a training wrote")
    try:
        # weights_only: a file from elsewhere can hold numbers and tensors, but no code.
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, pickle.UnpicklingError, EOFError) as error:
        raise StoreError(f"{path}: not a readable network: {error}") from error
    if not isinstance(content, dict) or (content.get("kind"), content.get("format")) != (KIND, FORMAT):
        raise StoreError(f"{path}: expected a {KIND} in format {FORMAT}, found something else")
    return content["state"] if key in (None, content["key"]) else None


def network_from(state: dict, *, device: str = "cpu") -> UNet:
    """The network with the weights that did best on held-out pairs."""
    network = new_network(**state["architecture"], seed=0, device=device)
    network.load_state_dict(state["best"]["weights"])
    return network
