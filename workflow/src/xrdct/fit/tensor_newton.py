"""`newton.fit_one` for many patterns at a time, as PyTorch tensors in double precision: the same steps, the same end.

Every pattern is in a round of its own. In each turn of the loop all that are not done take one step: those that it
helps go on to their next round, others try a shorter one in the next turn.
"""

import torch

from .newton import CONVERGED, GIVEN, LEAST, SETTLED, STOPPED
from .shapes import PER_PEAK, PER_PHASE
from .tensor_bounded import bounded_minimum
from .tensor_model import TensorModel

TRIES = 8
"""Steps, ever shorter, that a round tries."""


class TensorFit:
    """Fits of many patterns that share model, limits and what is free; arguments as for `newton.fit_one`, as tensors.

    Parameters
    ----------
    model
        On the device where all is done.
    low, high
        Shape (n_parameters,).
    free, knowledge
        Shape (n_free,).
    columns
        Shape (n_parameters,).
    n_scales
        Numbers of phases and of single peaks.
    """

    def __init__(
        self, model: TensorModel, *, low, high, free, knowledge, columns, n_scales, weights_kind, most, enough,
        absolute,
    ):  # fmt: skip
        self.model, self.free, self.knowledge, self.most, self.enough = model, free, knowledge, most, enough
        self.low, self.high = low, high
        self._low, self._high, self._middle = low[free], high[free], 0.5 * (low[free] + high[free])
        self._middle = torch.where(knowledge > 0, self._middle, 0.0)
        self._given, self._absolute = weights_kind == GIVEN, absolute
        self._owned = _owned(columns, *n_scales)

    @property
    def numbers_per_pattern(self) -> int:
        """Numbers that one pattern needs, roughly."""
        m = len(self.free)
        return self.model.numbers_per_pattern + 6 * m * m + 10 * self.model.n_bins + 20 * m

    def run(self, patterns, variances, starts, extra):
        """Parameters (n, n_parameters), errors (n, n_free) and summary (n, 5), as `newton.fit_all` sets them.

        `patterns` (n, n_bins), `variances` the same or (1, n_bins), `starts` (n, n_parameters), `extra` (n,).
        """
        self._patterns, self._variances, self._extra = patterns, variances.expand_as(patterns), extra
        mean = patterns.abs().mean(dim=1, keepdim=True)
        self._mean, self._least = mean, torch.clamp(LEAST * mean, min=1e-30)
        self._used = (self._variances > 0).sum(dim=1)
        n, m = len(patterns), len(self.free)
        self.found, self.rounds = torch.empty_like(starts), torch.zeros(n, dtype=torch.long, device=patterns.device)
        self.tries, self.damping = torch.zeros_like(self.rounds), patterns.new_full((n,), 1e-2)
        self.settled, self.asked, self.done = (torch.zeros_like(self.rounds, dtype=torch.bool) for _ in range(3))
        self.state = torch.full_like(self.rounds, STOPPED)
        self.fitted, self.weights = torch.empty_like(patterns), torch.empty_like(patterns)
        self.gradient, self.hessian = patterns.new_empty((n, m)), patterns.new_empty((n, m, m))
        self.merit, self.noise = patterns.new_empty(n), patterns.new_empty(n)
        active = torch.arange(n, device=patterns.device)
        self._keep(active, starts, *self.model.evaluate(starts, extra), at_first=True)
        while len(active):
            active = self._turn(active)
        rest = _chi2(self.weights, patterns, self.fitted)
        errors, freedom = self._standard_errors(rest)
        total = (self.weights * patterns**2).sum(dim=1)
        steps = torch.clamp(self.rounds + 1, max=self.most)
        return self.found, errors, torch.stack([steps, self.state, rest, total, freedom], dim=1)

    def _turn(self, active):
        """One step of all that are not done; those that are not done after it."""
        stepping = active[~self.settled[active]]
        step, promise = self._bounded_step(stepping)
        ends = (promise < SETTLED) & (self.rounds[stepping] > 1)
        self.settled[stepping[ends]] = True
        settled = active[self.settled[active]]
        mirrored, where = self._mirrored(settled)
        self.state[settled] = CONVERGED
        self.state[mirrored] = STOPPED
        stepping, step, promise = stepping[~ends], step[~ends], promise[~ends]
        trial = self.found[stepping]
        trial[:, self.free] = torch.clamp(trial[:, self.free] + step, self._low, self._high)
        rows, places = torch.cat([mirrored, stepping]), torch.cat([where, trial])
        model, slopes = self.model.evaluate(places, self._extra[rows])
        merit = _chi2(self.weights[rows], self._patterns[rows], model)
        merit += self.noise[rows] * self._misfit_to_limits(places)
        again = torch.arange(len(rows), device=rows.device) < len(mirrored)
        better = again | (merit <= self.merit[rows] * (1 + 1e-12)) | (self.rounds[rows] == 0)
        last = (promise < self.enough) & (self.rounds[stepping] > 1) & (self.tries[stepping] == 0)
        last = stepping[last & better[len(mirrored) :]]
        self.done[last], self.state[last] = True, CONVERGED
        worse = rows[~better]
        self.damping[worse] *= 10
        self.tries[worse] += 1
        self.settled[worse] = self.tries[worse] == TRIES  # no step helps: this is the minimum to rounding
        eased = rows[better & ~again]
        self.damping[eased] = torch.clamp(0.1 * self.damping[eased], min=1e-6)
        self._keep(*(_some(values, better) for values in (rows, places, model, slopes)))
        self.settled[mirrored], self.asked[mirrored] = False, True
        return rows[self._going(rows)]

    def _going(self, rows):
        """Which of the patterns have a further round."""
        return (self.rounds[rows] < self.most) & ~self.done[rows]

    def _keep(self, rows, places, model, slopes, *, at_first=False):
        """Take over parameters with their pattern, and begin a new round from there if there is to be one."""
        self.found[rows], self.fitted[rows], self.tries[rows] = places, model, 0
        if not at_first:
            self.rounds[rows] += (~self.done[rows]).long()
        going = self._going(rows)
        rows, model, slopes = (_some(values, going) for values in (rows, model, slopes))
        patterns = self._patterns[rows]
        weights = self._weights(rows, patterns, model, at_first)
        weighted = slopes * weights[:, None]
        self.weights[rows] = weights
        self.gradient[rows] = (weighted @ (patterns - model)[..., None])[..., 0]
        self.hessian[rows] = weighted @ slopes.mT
        merit = _chi2(weights, patterns, model)
        if self._absolute:
            self.noise[rows] = 1.0
        else:
            freedom = torch.clamp(self._used[rows] - len(self.free), min=1)
            self.noise[rows] = torch.clamp(merit / freedom, min=1e-30)
        self.merit[rows] = merit + self.noise[rows] * self._misfit_to_limits(self.found[rows])

    def _weights(self, rows, patterns, model, at_first):
        """As `newton.set_weights`."""
        variance = self._variances[rows]
        if self._given:
            return torch.where(variance > 0, 1 / torch.where(variance > 0, variance, 1.0), 0.0)
        floor = torch.maximum(self._mean, self._least)[rows] if at_first else self._least[rows]
        return torch.where(variance > 0, 1 / torch.maximum(patterns if at_first else model, floor), 0.0)

    def _bounded_step(self, rows):
        """As `newton.bounded_step`: steps (n, n_free) and what they promise."""
        hessian, at, noise = self.hessian[rows], self.found[rows][:, self.free], self.noise[rows, None]
        begun = self.rounds[rows, None] > 0
        damping = torch.where(begun, self.damping[rows, None], 0.0)
        fixed = (hessian.diagonal(dim1=1, dim2=2) <= 0) | (~begun & (self.knowledge > 0))
        pull = self.gradient[rows] + noise * self.knowledge * (self._middle - at)
        damped = hessian + torch.diag_embed((noise + damping) * self.knowledge)
        step = bounded_minimum(damped, pull, self._low - at, self._high - at, fixed)
        curved = torch.einsum("bij,bj->bi", hessian, step) + noise * self.knowledge * step
        return step, (step * (2 * pull - curved)).sum(dim=1)

    def _mirrored(self, rows):
        """Which of the settled patterns have a phase to be asked once more, and their parameters, mirrored there.

        As `newton.mirror_absent`.
        """
        rows = rows[~self.asked[rows] & (self.rounds[rows] + 3 <= self.most)]
        places = self.found[rows]
        absent = torch.zeros_like(places, dtype=torch.bool)
        for scale, own in self._owned:
            absent[:, own] = (places[:, scale] <= 0)[:, None]
        some = absent.any(dim=1)
        return rows[some], torch.where(absent, self.low + self.high - places, places)[some]

    def _misfit_to_limits(self, places):
        return (self.knowledge * (places[:, self.free] - self._middle) ** 2).sum(dim=1)

    def _standard_errors(self, rest):
        """As `uncertainty.standard_errors`: errors (n, n_free) and degrees of freedom (n,)."""
        at = self.found[:, self.free]
        inside = (at > self._low) & (at < self._high)
        told = self.hessian.diagonal(dim1=1, dim2=2) > 0
        fitted = (inside & told).sum(dim=1).to(rest.dtype)
        errors = torch.full_like(at, torch.nan)
        for _ in range(1 if self._absolute else 2):
            noise = torch.ones_like(rest)
            if not self._absolute:
                noise = torch.clamp(rest / torch.clamp(self._used - fitted, min=1), min=1e-30)
            variance, solved = self._inverse_diagonal(noise, told)
            shown = inside & told & solved[:, None]
            errors = torch.where(shown, torch.sqrt(variance), errors)
            decided = torch.where(shown, 1 - self.knowledge * variance, 0.0).sum(dim=1)
            fitted = torch.where(solved, decided, fitted)
        return errors, torch.clamp(self._used - fitted, min=1)

    def _inverse_diagonal(self, noise, told):
        """Diagonal of the inverse of H / noise + knowledge over what the data say something about."""
        information = self.hessian / noise[:, None, None] + torch.diag(self.knowledge)
        scale = torch.where(told, information.diagonal(dim1=1, dim2=2), 1.0) ** -0.5
        scale = torch.where(told, scale, 0.0)
        scaled = information * scale[:, :, None] * scale[:, None, :]
        scaled.diagonal(dim1=1, dim2=2).copy_(1 + 1e-10 * told.to(scaled.dtype))
        factor, failed = torch.linalg.cholesky_ex(scaled)
        inverse = torch.cholesky_inverse(factor)
        return inverse.diagonal(dim1=1, dim2=2) * scale**2, failed == 0


def _some(values, chosen):
    """Chosen rows; no copy of what is chosen whole."""
    return values if chosen.all() else values[chosen]


def _chi2(weights, patterns, model):
    return (weights * (patterns - model) ** 2).sum(dim=1)


def _owned(columns, n_phases, n_peaks):
    """Place of each scale, and places of the parameters of its phase or peak that are fitted."""
    bases = [(PER_PHASE * p, PER_PHASE) for p in range(n_phases)]
    bases += [(PER_PHASE * n_phases + PER_PEAK * k, PER_PEAK) for k in range(n_peaks)]
    owned = [(base, [k for k in range(base + 1, base + size) if columns[k] >= 0]) for base, size in bases]
    return [(base, own) for base, own in owned if own]
