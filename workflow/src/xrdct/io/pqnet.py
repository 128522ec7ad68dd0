"""Files of PQ-Net: a network, a training under way, an ensemble; tensors and plain values, no code."""

import pickle
from dataclasses import fields, is_dataclass
from pathlib import Path

import numpy as np
import torch

from .. import __version__
from ..errors import StoreError
from ..pqnet.calibration import Calibration
from ..pqnet.ensemble import Ensemble
from ..pqnet.network import new_network
from ..pqnet.novelty import Components, Threshold
from ..pqnet.scaling import Scaling
from .store import git_revision, replaced_when_whole

FORMAT = 2
"""Version of the files' form; a reader refuses another one."""
TRAINING, MEMBER, ENSEMBLE = "pqnet training", "pqnet member", "pqnet ensemble"
SAME_BIN = 1e-3
"""Grids agree whose bins lie this share of a bin from each other."""


def write_training(state: dict, path: str | Path, *, key: str) -> None:
    """Write the state of a training (`pqnet.training.Training.state`), whole or not at all."""
    _write({"key": key, "state": state}, path, TRAINING)


def read_training(path: str | Path, *, key: str) -> dict | None:
    """The state in a file; None when there is no file, or it is of another training."""
    if not Path(path).is_file():
        return None
    content = _read(path, TRAINING)
    return content["state"] if content["key"] == key else None


def write_member(state: dict, path: str | Path, *, key: str, settings: dict) -> None:
    """Write the best weights of a finished training."""
    content = {"architecture": state["architecture"], "weights": state["best"]["weights"], "history": state["history"]}
    _write(content | {"key": key, "settings": settings}, path, MEMBER)


def read_member(path: str | Path, *, device: str = "cpu") -> torch.nn.Module:
    """A trained network.

    Raises
    ------
    StoreError
        If the file is missing, damaged, or holds something else.
    """
    return _network(_read(path, MEMBER), device)


def read_key(path: str | Path) -> str:
    """The key of a trained network: what it was trained on, and how."""
    return _read(path, MEMBER)["key"]


def read_settings(path: str | Path) -> dict:
    """The settings that were written with a trained network."""
    return _read(path, MEMBER)["settings"]


def write_ensemble(
    ensemble: Ensemble, path: str | Path, *, q: np.ndarray, phases: tuple[str, ...], facts: dict
) -> None:
    """Write an ensemble with the grid (1/Å) and the names that it is for; `facts` are plain values, recorded."""
    content = {item.name: _packed(getattr(ensemble, item.name)) for item in fields(ensemble) if item.name != "members"}
    content["members"] = [
        {"architecture": member.architecture, "weights": {k: v.cpu() for k, v in member.state_dict().items()}}
        for member in ensemble.members
    ]
    content |= {"q": torch.from_numpy(np.asarray(q, dtype=float)), "phases": list(phases), "facts": facts}
    _write(content, path, ENSEMBLE)


def read_ensemble(
    path: str | Path, *, q: np.ndarray | None = None, phases: tuple[str, ...] | None = None, device: str = "cpu"
) -> tuple[Ensemble, dict]:
    """An ensemble and the facts written with it.

    Parameters
    ----------
    q, phases
        Grid (1/Å) and names that it must be for; None: any.

    Raises
    ------
    StoreError
        If the file is missing, damaged or something else, or the ensemble is for another grid or other phases.
    """
    content = _read(path, ENSEMBLE)
    own = content["q"].numpy()
    if q is not None and (len(own) != len(q) or np.abs(own - q).max() > SAME_BIN * (own[1] - own[0])):
        raise StoreError(
            f"{path}: is for {len(own)} bins of {own[0]:.4f}–{own[-1]:.4f} 1/Å, the patterns have {len(q)} of "
            f"{q[0]:.4f}–{q[-1]:.4f} 1/Å; integrate on the grid of the model, or train another one"
        )
    if phases is not None and list(phases) != content["phases"]:
        raise StoreError(f"{path}: is for phases {', '.join(content['phases'])}, not for {', '.join(phases)}")
    scaling = _unpacked(Scaling, content["scaling"])
    ensemble = Ensemble(
        tuple(_network(member, device) for member in content["members"]),
        Scaling(**{**vars(scaling), "targets": tuple(map(tuple, scaling.targets))}),
        _unpacked(Components, content["components"]),
        _unpacked(Calibration, content["calibration"]),
        _unpacked(Calibration, content["steps"]),
        _unpacked(Threshold, content["residual"]),
        _unpacked(Threshold, content["deviance"]),
        _unpacked(Threshold, content["local"]),
    )
    return ensemble, content["facts"]


def _network(content, device):
    network = new_network(**content["architecture"], seed=0, device=device)
    network.load_state_dict(content["weights"])
    return network.eval()


def _packed(value):
    """Arrays as tensors, which are read without running code; dataclasses as dictionaries."""
    if is_dataclass(value):
        return {item.name: _packed(getattr(value, item.name)) for item in fields(value)}
    return torch.from_numpy(np.ascontiguousarray(value)) if isinstance(value, np.ndarray) else value


def _unpacked(kind, content):
    return kind(**{name: v.numpy() if isinstance(v, torch.Tensor) else v for name, v in content.items()})


def _write(content, path, kind):
    stamp = {"kind": kind, "format": FORMAT, "xrdct": __version__, "git_revision": git_revision()}
    with replaced_when_whole(path) as partial:
        torch.save(stamp | content, partial)


def _read(path, kind):
    path = Path(path)
    if not path.is_file():
        raise StoreError(f"{path}: no such file; train the networks first")
    try:
        # weights_only: a file from elsewhere can hold numbers and tensors, but no code.
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, pickle.UnpicklingError, EOFError) as error:
        raise StoreError(f"{path}: not a readable network: {error}") from error
    if not isinstance(content, dict) or (content.get("kind"), content.get("format")) != (kind, FORMAT):
        raise StoreError(f"{path}: expected a {kind} in format {FORMAT}, found something else")
    return content
