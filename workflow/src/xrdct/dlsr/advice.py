"""What a user should know of a DLSR before opening its maps."""

import numpy as np

from .refine import Refined

POOR = 1.3
"""χ² by counts from which on their noise does not explain what is left."""
STRANGE = 5.0
"""A channel that errs by so many times the median may hold a line that no phase has."""


def doubts(found: Refined, q: np.ndarray) -> list[str]:
    """What χ² does not say, in words; nothing where the noise of counts explains the residuals.

    Parameters
    ----------
    found
        The result.
    q
        Of the channels that were used, 1/Å, shape (n_used,).
    """
    if found.counts_chi2 < POOR:
        return []
    by_counts = f"chi2 is {found.counts_chi2:.1f} by the noise of counts alone"
    if not found.model_error.any():
        return [f"{by_counts}: the model errs by more, and the errors of the maps are too small; set dlsr.model_error"]
    errors, worst = 100 * found.model_error, int(found.model_error.argmax())
    strange = "; is a phase missing that has a line there?" if errors[worst] > STRANGE * np.median(errors) else ""
    return [
        f"{by_counts}; chi2 of {found.reduced_chi2:.2f} and the errors of the maps take the model to err by "
        f"{np.median(errors):.1f} % of the intensity (median of the channels), by {errors[worst]:.0f} % at "
        f"{q[worst]:.2f} 1/Å, as the residuals themselves tell: that chi2 is no proof of the model{strange}"
    ]
