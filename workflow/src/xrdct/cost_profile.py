"""What a profile for a cluster makes of a plan: the jobs that it submits, what starting them costs, the least time."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil, inf

from .cost import ONCE, Plan

THREADS = {
    "integrate": 8,
    "reconstruct": 16,
    "fit": 16,
    "correct_absorption": 16,
    "refine_dlsr": 16,
    "denoise": 16,
    "pqnet_library": 4,
    "pqnet_join": 4,
    "pqnet_infer": 16,
}
"""Cores that a job of a rule uses where it may; of all others one."""
LOCAL = ("draw_", "diagnose_")
"""Beginnings of the names of rules that stay where Snakemake runs."""
STARTS, START_S = 2, 1.8
"""Snakemakes that start for one job on a cluster, and CPU seconds of each (`bench workflow`)."""


@dataclass(frozen=True)
class OnCluster:
    """A plan under a profile."""

    submitted: int
    """Allocations that the cluster is asked for."""
    at_a_time: float
    """Of these, at most."""
    here: int
    """Jobs that stay where Snakemake runs."""
    starts_cpu_s: float
    """CPU seconds of starting what is submitted, not in the plan."""
    seconds: float
    """From the first frame to the last map, at least: the queue and the reading of files come on top."""


def on_cluster(plan: Plan, profile: Mapping, *, scans: int) -> OnCluster:
    """What becomes of a plan under a profile.

    Parameters
    ----------
    plan
        Of the beamtime.
    profile
        Keys of Snakemake's profile: `jobs`, `max-threads`, `groups` and `group-components` are looked at.
    scans
        Of the beamtime.
    """
    most, at_a_time = profile.get("max-threads", inf), profile.get("jobs", inf)
    groups, components = profile.get("groups", {}), profile.get("group-components", {})
    submitted, here, all_jobs, one_scan = 0, 0, 0.0, 0.0
    for step in plan.rules:
        if step.name.startswith(LOCAL):
            here += step.jobs
            continue
        together = components.get(groups.get(step.name), 1)
        submitted += ceil(step.jobs / together)
        seconds = step.cpu_s / min(THREADS.get(step.name, 1), most)
        all_jobs += seconds
        if step.name == "integrate":  # subsets run side by side
            one_scan += seconds / step.jobs
        elif step.name not in ONCE:
            one_scan += seconds if step.name == "gather_beamtime" else seconds / scans
    return OnCluster(
        submitted, at_a_time, here, submitted * STARTS * START_S, max(one_scan, all_jobs / min(at_a_time, submitted))
    )
