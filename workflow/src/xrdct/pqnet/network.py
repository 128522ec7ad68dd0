"""Networks from a pattern to parameters: (n_patterns, n_bins + 1) to (n_patterns, n_targets, 2).

The last input is the noise level. Of the last two outputs the first is the value, the second the logarithm of its width
(the mean absolute error that is to be expected).
"""

import torch
from torch import nn
from torch.nn import functional as F

LOG_WIDTHS = (-8.0, 3.0)
"""Widths outside e^-8 to e^3 of a target's own width mean nothing."""


class ConvolutionNetwork(nn.Module):
    """The paper's: convolutions with max-pooling, flattened, and a branch of its own for every target."""

    def __init__(
        self, n_bins: int, n_targets: int, *, widths=(32, 32, 64, 64), branch: int = 128, dropout: float = 0.1
    ):
        super().__init__()
        self.architecture = {
            "kind": "convolution", "n_bins": n_bins, "n_targets": n_targets, "widths": tuple(widths),
            "branch": branch, "dropout": dropout,
        }  # fmt: skip
        layers, channels, length = [], 1, n_bins
        for width in widths:
            layers += [nn.Conv1d(channels, width, 5, padding=2), nn.ReLU(), nn.MaxPool1d(2)]
            channels, length = width, length // 2
        self.trunk = nn.Sequential(*layers, nn.Flatten())
        self.branches = nn.ModuleList(
            nn.Sequential(
                nn.Linear(channels * length + 1, branch), nn.ReLU(), nn.Dropout(dropout), nn.Linear(branch, 2)
            )
            for _ in range(n_targets)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        features = torch.cat([self.trunk(x[:, None, :-1]), x[:, -1:]], 1)  # (B, C·L + 1)
        return torch.stack([branch(features) for branch in self.branches], 1)  # (B, T, 2)


class DenseNetwork(nn.Module):
    """Fully connected with residual layers: the grid is fixed, so a position is an address. The faster one on a CPU."""

    def __init__(self, n_bins: int, n_targets: int, *, width: int = 512, depth: int = 3):
        super().__init__()
        self.architecture = {
            "kind": "dense", "n_bins": n_bins, "n_targets": n_targets, "width": width, "depth": depth,
        }  # fmt: skip
        self.first = nn.Linear(n_bins + 1, width)
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))
        self.last = nn.Linear(width, 2 * n_targets)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.silu(self.first(x))  # (B, W)
        for layer in self.layers:
            x = x + F.silu(layer(x))
        return self.last(x).unflatten(1, (-1, 2))  # (B, T, 2)


NETWORKS = {"convolution": ConvolutionNetwork, "dense": DenseNetwork}


def new_network(*, seed: int, kind: str, device: str = "cpu", **architecture) -> nn.Module:
    """A network of `NETWORKS[kind]` with weights that depend on the seed alone; other random numbers are untouched."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return NETWORKS[kind](**architecture).to(device)


def loss_of(outputs: torch.Tensor, values: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
    """Mean absolute error of what counts; the widths learn from that error without bending the values.

    The width's part is a Laplace likelihood of the detached error, so light that the trunk serves the values.
    """
    error = (outputs[..., 0] - values).abs()
    log_width = outputs[..., 1].clamp(*LOG_WIDTHS)
    likelihood = log_width + error.detach() * torch.exp(-log_width)
    return (counts * (error + 0.1 * likelihood)).mean()


def mean_absolute_error(outputs: torch.Tensor, values: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
    """Over what counts."""
    return (counts * (outputs[..., 0] - values).abs()).sum() / counts.sum()
