"""What the cycler says at the time of a measurement, and how much charge went where."""

from typing import NamedTuple

import numpy as np

from .errors import CyclerError
from .io.cycler import CyclerLog

REST = 1e-6
"""Currents below this share of the largest one are none."""


class Electric(NamedTuple):
    """State of the cell at the times of measurements; NaN before the log begins and after it ends."""

    voltage_V: np.ndarray
    current_A: np.ndarray
    charge_Ah: np.ndarray
    """Charge that went in since the log began, what came out subtracted."""
    cycle: np.ndarray
    """Number of the cycle, −1 outside the log."""


class CycleCapacity(NamedTuple):
    """Of one cycle."""

    cycle: int
    charge_Ah: float
    discharge_Ah: float

    @property
    def efficiency(self) -> float:
        """Charge that came out over charge that went in; NaN where none went in."""
        return self.discharge_Ah / self.charge_Ah if self.charge_Ah > 0 else float("nan")


def align(log: CyclerLog, when: np.ndarray, *, offset_s: float = 0.0) -> Electric:
    """State of the cell when something was measured.

    Parameters
    ----------
    log
        From `io.cycler.read_cycler`.
    when
        Times of the measurements in seconds since 1970, by the beamline's clock; seconds since the log's first record
        where the log does not say when it began.
    offset_s
        The cycler's clock minus the beamline's: what a photograph of both screens shows.

    Raises
    ------
    CyclerError
        When no measurement lies within the log: the clocks, or their zones, do not fit.
    """
    times = np.asarray(when, dtype=float) + offset_s - (log.started or 0.0)
    inside = (times >= log.time_s[0]) & (times <= log.time_s[-1])
    if times.size and not inside.any():
        gap = times.min() - log.time_s[-1] if times.min() > log.time_s[-1] else times.max() - log.time_s[0]
        remedy = "the offset between the clocks (whole hours: the zone)" if log.started else "when the log starts"
        raise CyclerError(
            f"all {times.size} measurements lie outside the cycler's log, {gap / 3600:+.2f} h away: set {remedy}"
        )

    def at(values):
        return np.where(inside, np.interp(times, log.time_s, values), np.nan)

    last = np.clip(np.searchsorted(log.time_s, times, side="right") - 1, 0, log.time_s.size - 1)
    return Electric(
        at(log.voltage_V), at(log.current_A), at(charge(log)), np.where(inside, log.cycle[last], -1).astype(int)
    )


def unknown(count: int) -> Electric:
    """The state at `count` measurements without a log."""
    nothing = np.full(count, np.nan)
    return Electric(nothing, nothing, nothing, np.full(count, -1))


def charge(log: CyclerLog) -> np.ndarray:
    """Charge in ampere hours that went in up to every record (trapezoids)."""
    step = np.diff(log.time_s) * (log.current_A[1:] + log.current_A[:-1]) / 2
    return np.r_[0.0, np.cumsum(step)] / 3600


def capacities(log: CyclerLog) -> list[CycleCapacity]:
    """Charge in and out of every cycle, a cycle beginning where a charge follows a discharge if the log has no numbers.

    A record's current counts over the time to the record before it, by trapezoids; a sign change inside a step is
    divided where the current crosses zero.
    """
    number = log.cycle if np.ptp(log.cycle) else count_cycles(log.current_A)
    before, after, step = log.current_A[:-1], log.current_A[1:], np.diff(log.time_s) / 3600
    area = (before + after) / 2 * step
    crossing = before * after < 0
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(crossing, before / (before - after), 0.0)
    inwards = np.where(
        crossing, np.where(before > 0, before * share, after * (1 - share)) / 2 * step, np.clip(area, 0, None)
    )
    found = []
    for cycle in np.unique(number):
        own = number[1:] == cycle
        into = float(inwards[own].sum())
        found.append(CycleCapacity(int(cycle), into, into - float(area[own].sum())))
    return found


def count_cycles(current: np.ndarray) -> np.ndarray:
    """Number of the cycle of every record, from 1: a new one begins with each charge after a discharge."""
    sign = np.where(np.abs(current) > REST * np.abs(current).max(), np.sign(current), 0)
    active = np.flatnonzero(sign)
    starts = active[1:][(sign[active[1:]] > 0) & (sign[active[:-1]] < 0)]
    number = np.ones(current.size, dtype=int)
    for start in starts:
        number[start:] += 1
    return number
