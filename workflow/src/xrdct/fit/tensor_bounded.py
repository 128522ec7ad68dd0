"""`bounded.bounded_minimum` for many quadratic functions at a time, as PyTorch tensors: same steps, same end."""

import torch

from .bounded import INWARDS, ROUNDING


def bounded_minimum(
    matrix: torch.Tensor, gradient: torch.Tensor, low: torch.Tensor, high: torch.Tensor, fixed: torch.Tensor
) -> torch.Tensor:
    """Steps to the minima of ½ sᵀ M s − gᵀ s with low ≤ s ≤ high, shape (n, m).

    Parameters
    ----------
    matrix
        Shape (n, m, m), symmetric; parameters of which it says nothing must be `fixed`.
    gradient, low, high, fixed
        Shape (n, m).
    """
    n, m = gradient.shape
    step = torch.zeros_like(gradient)
    rows = torch.arange(n, device=step.device)
    root = torch.sqrt(torch.where(fixed, 1.0, matrix.diagonal(dim1=1, dim2=2)))
    held = fixed | ((low >= 0) & (gradient <= 0)) | ((high <= 0) & (gradient >= 0))
    state = [matrix, gradient, low, high, fixed, root, held, torch.zeros_like(step), fixed.new_zeros(n)]
    for _ in range(5 * m):
        more = _one_round(*state)
        step[rows] = state[7]
        if not more.any():
            break
        if not more.all():
            rows, *state = (values[more] for values in (rows, *state))
    return step


def _one_round(matrix, gradient, low, high, fixed, root, held, step, inside):
    """One solution of all rows; `held`, `step` and `inside` are changed. Which rows are not at their minimum yet."""
    wanted, solved = _solve_free(matrix, gradient, root, held, step)
    beyond = torch.maximum(low - wanted, wanted - high) * root
    beyond = torch.where(held, -torch.inf, beyond)
    worst = beyond.amax(dim=1, keepdim=True)
    begun = inside.clone()
    leaving = solved & ~begun & (worst[:, 0] > 0)
    entering = solved & ~begun & ~leaving
    walking = solved & begun
    limit = torch.where(wanted < low, low, high)
    # As far as the first limit in the way, for those that are inside already.
    out = (beyond > 0) & walking[:, None]
    reach = torch.where(out, torch.clamp((limit - step) / (wanted - step), min=0.0), torch.inf)
    share, place = reach.min(dim=1, keepdim=True)
    blocked = walking & (share[:, 0] < 1)
    moved = torch.clamp(step + torch.clamp(share, max=1.0) * (wanted - step), low, high)
    first = blocked[:, None] & (torch.arange(step.shape[1], device=step.device) == place)
    to_limit = (leaving[:, None] & (beyond >= 0.5 * worst)) | first
    to_limit &= ~held
    step.copy_(torch.where((walking[:, None] & ~held), moved, torch.where(entering[:, None], wanted, step)))
    step.copy_(torch.where(to_limit, limit, step))
    held |= to_limit
    inside |= entering
    released = _let_go(matrix, gradient, low, high, fixed, root, held, step, among=(entering | walking) & ~blocked)
    return leaving | blocked | released


def _let_go(matrix, gradient, low, high, fixed, root, held, step, *, among):
    """Let go, in rows `among`, of the held parameter that most wants to move inwards; where there is one."""
    pull = gradient - torch.einsum("bij,bj->bi", matrix, step)
    inwards = torch.where(step <= low, pull, -pull) / root
    inwards = torch.where(held & ~fixed & (low < high) & among[:, None], inwards, -torch.inf)
    most, place = inwards.max(dim=1)
    released = most > INWARDS
    held[torch.nonzero(released)[:, 0], place[released]] = False
    return released


def _solve_free(matrix, gradient, root, held, step):
    """Minima over what is not held, given what is; and which matrices are positive definite."""
    scale = torch.where(held, 0.0, 1 / root)
    right = (gradient - torch.einsum("bij,bj->bi", matrix, torch.where(held, step, 0.0))) * scale
    scaled = matrix * scale[:, :, None] * scale[:, None, :]
    scaled.diagonal(dim1=1, dim2=2).add_(torch.where(held, torch.ones_like(step), ROUNDING))
    factor, failed = torch.linalg.cholesky_ex(scaled)
    solution = torch.cholesky_solve(right[:, :, None], factor)[..., 0]
    return torch.where(held, step, solution * scale), failed == 0
