"""The network: a small U-Net for single images of any size."""

import torch
import torch.nn.functional as F
from torch import nn

from ..gpu_memory import cuda_available


class UNet(nn.Module):
    """3 × 3 convolutions, down by stride 2, up by repetition, skips, and the image itself added at the end.

    Ronneberger, Fischer & Brox, MICCAI 2015, doi:10.1007/978-3-319-24574-4_28, with strides in place of pooling as in
    the NCA paper. The last convolution starts at zero: an untrained network gives its input back, and a short training
    cannot do worse than the reconstruction by much.

    Parameters
    ----------
    width
        Features of the first layer; each level has twice as many.
    depth
        Number of levels below the first.
    inputs
        Images given: the noisy one and, with 2, what all channels together say of it.
    """

    def __init__(self, width: int = 16, depth: int = 3, inputs: int = 1):
        super().__init__()
        self.architecture = {"width": width, "depth": depth, "inputs": inputs}
        n = [width * 2**level for level in range(depth + 1)]
        self.first = _convolution(inputs, n[0])
        self.down = nn.ModuleList(_convolution(n[i], n[i + 1], stride=2) for i in range(depth))
        self.same = nn.ModuleList(_convolution(n[i + 1], n[i + 1]) for i in range(depth))
        self.up = nn.ModuleList(_convolution(n[i + 1] + n[i], n[i]) for i in reversed(range(depth)))
        self.last = nn.Conv2d(n[0], 1, 1)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Denoise the first of the images (B, inputs, H, W) in units of its noise; shape (B, 1, H, W)."""
        x = F.relu(self.first(images))  # (B, width, H, W)
        skips = [x]
        for down, same in zip(self.down, self.same, strict=True):
            x = F.relu(same(F.relu(down(x))))  # (B, width 2^i, ⌈H / 2^i⌉, ⌈W / 2^i⌉)
            skips.append(x)
        x = skips.pop()
        for up in self.up:
            skip = skips.pop()
            x = F.interpolate(x, size=skip.shape[-2:], mode="nearest")
            x = F.relu(up(torch.cat([x, skip], dim=1)))
        return images[:, :1] + self.last(x)


def _convolution(n_in: int, n_out: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(n_in, n_out, 3, stride=stride, padding=1)


def new_network(*, width: int, depth: int, seed: int, inputs: int = 1, device: str = "cpu") -> UNet:
    """A network whose weights depend on the seed alone; the global random state is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = UNet(width, depth, inputs)
    return network.to(device, memory_format=torch.channels_last)


def best_device() -> str:
    """'cuda' where there is a GPU, else 'cpu'."""
    return "cuda" if cuda_available() else "cpu"
