"""Parts of a beamtime: some scans, some lines."""

from ...errors import ConfigError
from .beamtime import Parameters


def first_lines(parameters: Parameters, n_lines: int) -> Parameters:
    """The same beamtime with only the first lines of every subset, at the same angles."""
    scan = parameters.scan
    step, n_lines = scan.span_deg / scan.n_projections, min(n_lines, scan.n_projections)
    starts = scan.starts_deg
    if starts is None:
        starts = tuple(scan.start_deg + step * k / scan.n_subsets for k in range(scan.n_subsets))
    fewer = {"n_projections": n_lines, "span_deg": step * n_lines, "starts_deg": starts}
    return parameters.model_copy(update={"scan": scan.model_copy(update=fewer)})


def chosen_scans(parameters: Parameters, names: list[str]) -> Parameters:
    """The same beamtime with only the scans and series of these names.

    Raises
    ------
    ConfigError
        When there is no such scan or series.
    """
    known = [state.scan for state in parameters.scans] + [series.name for series in parameters.series]
    strange = [name for name in names if name not in known]
    if strange:
        raise ConfigError(f"no scan or series is called {', '.join(strange)}; there are {', '.join(known)}")
    states = tuple(s.model_copy(update={"scanned": s.scanned and s.scan in names}) for s in parameters.states)
    if parameters.cycler is None:
        states = tuple(state for state in states if state.scanned)
    series = tuple(one for one in parameters.series if one.name in names)
    return parameters.model_copy(update={"states": states, "series": series})
