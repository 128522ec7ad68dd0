"""Networks of PQ-Net as ONNX files, for programs that know nothing of PyTorch or of this package.

A file takes ``patterns`` (n, n_bins) on the model's q grid, in any unit, and ``level`` (n,), the effective counts per
bin (`pqnet.noise`). It gives ``values`` and ``widths`` (n, n_targets): scales in the unit of the patterns and cells in
Å, and the standard deviations that the network expects, not calibrated. What the columns are stands in its metadata.
"""

import json
import warnings
from pathlib import Path

import torch
from torch import nn

from ..errors import StoreError
from ..pqnet.ensemble import Ensemble
from ..pqnet.network import LOG_WIDTHS
from ..pqnet.scaling import Scaling
from .store import replaced_when_whole

OPSET = 18
"""Of ONNX, from December 2022."""
EXAMPLES = 2
"""Patterns that the exporter sends through; files take any number."""


class PhysicalNetwork(nn.Module):
    """A network with its scaling: physical patterns in, physical answers out."""

    def __init__(self, network: nn.Module, scaling: Scaling):
        super().__init__()
        self.network, self.scaling = network, scaling
        for name in ("centre", "width", "full"):
            self.register_buffer(name, torch.as_tensor(getattr(scaling, name), dtype=torch.float32))
        self.register_buffer("is_scale", torch.as_tensor(scaling.is_scale))

    def forward(self, patterns: torch.Tensor, level: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Values and widths, (B, T) each, from (B, n_bins) and (B,); as `Ensemble.raw_answers` of one member."""
        outputs = self.network(self.scaling.inputs(patterns, level))  # (B, T, 2)
        unit = torch.where(self.is_scale, self.full * patterns.mean(1, keepdim=True), torch.ones_like(self.full))
        values = (outputs[..., 0] * self.width + self.centre) * unit
        # A Laplace distribution whose mean absolute value is b has the standard deviation √2 b.
        widths = 2**0.5 * torch.exp(outputs[..., 1].clamp(*LOG_WIDTHS)) * self.width * unit
        return values, widths


def write_onnx(ensemble: Ensemble, facts: dict, folder: str | Path) -> list[Path]:
    """Write every member of an ensemble as ``member{k}.onnx``; the files.

    `facts` are those of the model (`io.pqnet.read_ensemble`): the model card goes into the metadata.

    Raises
    ------
    StoreError
        If the packages onnx and onnxscript are not installed.
    """
    try:
        import onnx
        import onnxscript  # noqa: F401  PyTorch's exporter imports it, and says less when it is not there
    except ImportError as error:
        raise StoreError(f"exporting to ONNX needs {error.name}: pip install 'xrdct[onnx]'") from error
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    metadata = {"targets": json.dumps(facts["targets"]), "q": json.dumps(facts["q"]), "card": json.dumps(facts)}
    files = []
    for k, member in enumerate(ensemble.members):
        model = _exported(PhysicalNetwork(member.cpu(), ensemble.scaling).eval(), n_bins=facts["q"][2])
        onnx.helper.set_model_props(model, metadata)
        onnx.checker.check_model(model)
        files.append(folder / f"member{k}.onnx")
        with replaced_when_whole(files[-1]) as partial:
            partial.write_bytes(model.SerializeToString())
    return files


def _exported(network, *, n_bins):
    examples = torch.ones(EXAMPLES, n_bins), torch.full((EXAMPLES,), 100.0)
    n = torch.export.Dim("n")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter, about its own insides
        program = torch.onnx.export(
            network, examples, dynamo=True, opset_version=OPSET, verbose=False, input_names=["patterns", "level"],
            output_names=["values", "widths"], dynamic_shapes=({0: n}, {0: n}),
        )  # fmt: skip
    return program.model_proto
