"""The cycler: charge and voltage against time, the state of the cell at a moment, and the log as EC-Lab exports it."""

from datetime import UTC, datetime

import numpy as np

from .parameters import Cycler, LatticeParameters, Parameters, State
from .patterns import lattice_of

CLOCK = datetime(2000, 1, 2, tzinfo=UTC)
"""When the cycler starts, on the simulated clock: after the scans."""
COLUMNS = (
    *("mode", "ox/red", "error", "control changes", "Ns changes", "counter inc.", "Ns", "time/s", "dQ/mA.h"),
    *("(Q-Qo)/mA.h", "control/V/mA", "Ewe/V", "I/mA", "half cycle", "cycle number"),
)
GALVANOSTATIC, REST = 1, 3
"""Modes of EC-Lab."""


def anchor_times(cycler: Cycler) -> np.ndarray:
    """When each anchor of the course is reached, in s."""
    charge = np.array([anchor.charge for anchor in cycler.course])
    return 3600 / cycler.rate * np.append(0, np.cumsum(np.abs(np.diff(charge))))


def charge_at(cycler: Cycler, seconds: np.ndarray) -> np.ndarray:
    """Charge in the cell as a share of the capacity; it stays where it is after the course."""
    return np.interp(seconds, anchor_times(cycler), [anchor.charge for anchor in cycler.course])


def voltage_at(parameters: Parameters, seconds: np.ndarray) -> np.ndarray:
    """Voltage of the cell in V, without the steps that a real cell makes when the current is switched."""
    volts = [state.voltage_V for state in course_states(parameters)]
    return np.interp(seconds, anchor_times(parameters.cycler), volts)


def course_states(parameters: Parameters) -> list[State]:
    """The states of the course, in order."""
    by_name = {state.scan: state for state in parameters.states}
    return [by_name[anchor.state] for anchor in parameters.cycler.course]


def neighbours(cycler: Cycler, seconds: float) -> tuple[int, float]:
    """Number of the last anchor that was passed, and how far (0 to 1) the cell is on the way to the next."""
    times = anchor_times(cycler)
    before = int(np.clip(np.searchsorted(times, seconds, side="right") - 1, 0, len(times) - 2))
    return before, float(np.clip((seconds - times[before]) / (times[before + 1] - times[before]), 0, 1))


def state_at(parameters: Parameters, seconds: float) -> State:
    """The state that the cell has left last, with the lattice parameters of this moment."""
    first, share = neighbours(parameters.cycler, seconds)
    before, after = course_states(parameters)[first : first + 2]
    return before.model_copy(update={"lattice": mixed_lattice(before, after, share)})


def mixed_lattice(before: State, after: State, share: float) -> dict[str, LatticeParameters]:
    """Lattice parameters on the way from one state to another, linear in `share`."""
    mixed = {}
    for phase in {**before.lattice, **after.lattice}:
        own = [state.lattice.get(phase, LatticeParameters()) for state in (before, after)]
        first, last = lattice_of(phase, before.lattice), lattice_of(phase, after.lattice)
        a, c = ((1 - share) * first[k] + share * last[k] for k in (0, 2))
        set_a, set_c = (any(getattr(one, name) is not None for one in own) for name in ("a", "c"))
        mixed[phase] = LatticeParameters(a=a if set_a else None, c=c if set_c else None)
    return mixed


def cycler_log(parameters: Parameters) -> str:
    """The cycler's record of the whole course as EC-Lab exports it (.mpt): lines end in CR LF, columns are tabs apart.

    The header names its own number of lines, the last of which holds the names of the columns. Charging is oxidation
    with positive current; `(Q-Qo)` counts from the start; a cycle ends when charging begins anew.
    """
    cycler = parameters.cycler
    header = [
        "EC-Lab ASCII FILE",
        "",  # gets the number of lines
        "",
        "Galvanostatic Cycling with Potential Limitation",
        "",
        "Run on channel : 1 (SN 0)",
        "Electrode connection : standard",
        "Potential control : Ewe",
        f"Acquisition started on : {CLOCK:%m/%d/%Y %H:%M:%S}.000",
        "File : cycler.mpr",
        "Device : simulated",
        f"Comments : {parameters.sample}",
        f"Battery capacity : {cycler.capacity_mah:.3f} mA.h",
        "",
        "\t".join(COLUMNS) + "\t",
    ]
    header[1] = f"Nb header lines : {len(header)}                          "
    return "\r\n".join([*header, *("\t".join(row) for row in _rows(parameters))]) + "\r\n"


def _rows(parameters: Parameters) -> list[list[str]]:
    cycler, times = parameters.cycler, anchor_times(parameters.cycler)
    regular = np.arange(0, times[-1] + cycler.rest_s, cycler.log_every_s)
    seconds = np.unique(np.concatenate([regular, times, [times[-1] + cycler.rest_s]]))
    charge, volts = charge_at(cycler, seconds) * cycler.capacity_mah, voltage_at(parameters, seconds)
    going = np.sign(np.diff([anchor.charge for anchor in cycler.course]))
    # A record at the end of a step belongs to that step, as the current was still flowing.
    step = np.clip(np.searchsorted(times, seconds, side="left") - 1, 0, len(going) - 1)
    resting = seconds > times[-1]
    sense = np.where(resting, 0, going[step])
    half = np.append(0, np.cumsum(going[1:] != going[:-1]))[step]
    cycle = np.append(0, np.cumsum(going[1:] > going[:-1]))[step]
    gained = charge - charge[0]
    return [
        [
            str(REST if resting[k] else GALVANOSTATIC),
            str(int(going[step[k]] > 0)),
            *("0", "0", "0", "0"),
            str(int(resting[k])),
            f"{seconds[k]:.15E}",
            f"{gained[k] - gained[max(k - 1, 0)]:.7E}",
            f"{gained[k]:.15E}",
            f"{sense[k] * cycler.rate * cycler.capacity_mah:.7E}",
            f"{volts[k]:.7E}",
            f"{sense[k] * cycler.rate * cycler.capacity_mah:.7E}",
            str(half[k]),
            f"{cycle[k]:.7E}",
        ]
        for k in range(seconds.size)
    ]
