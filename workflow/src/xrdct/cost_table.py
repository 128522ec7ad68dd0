"""The plan of a beamtime's cost in words."""

from .cost import Plan
from .cost_profile import OnCluster

GB, TB = 1e9, 1e12


def as_text(plan: Plan, *, cores: int, origin: str, cluster: OnCluster | None = None) -> str:
    """Two tables, rules and stores, and the sums below them: on some cores, or on a cluster."""
    lines = [f"{'rule':<24}{'jobs':>8}{'CPU h':>10}"]
    for step in sorted(plan.rules, key=lambda step: -step.cpu_s):
        lines.append(f"{step.name:<24}{step.jobs:>8,}{step.cpu_s / 3600:>10.3f}")
    lines += ["", f"{'written':<32}{'GB':>10}{'files':>10}"]
    for step in plan.stores:
        lines.append(f"{step.name:<32}{step.written_bytes / GB:>10.3f}{step.files:>10,}")
    lines += [
        "",
        _time(plan, cores) if cluster is None else _time_on_cluster(plan, cluster),
        f"raw data to read: {plan.raw_bytes / TB:.3g} TB; results: {plan.written_bytes / TB:.3g} TB",
        f"files: {plan.files:,} for the scans, at most {plan.files_per_scan:,} for one",
        f"rates: {origin}; far larger scans than those are an extrapolation",
    ]
    return "\n".join(lines)


def _time(plan: Plan, cores: int) -> str:
    return f"time: at least {plan.hours(cores):.3g} h on {cores} cores ({plan.cpu_s / 3600:.3g} CPU hours, no GPU)"


def _time_on_cluster(plan: Plan, cluster: OnCluster) -> str:
    return (
        f"time: at least {cluster.seconds / 3600:.3g} h and what the queue takes ({plan.cpu_s / 3600:.3g} CPU hours, "
        f"no GPU, and {cluster.starts_cpu_s / 3600:.3g} for starting jobs)\n"
        f"jobs: {cluster.submitted:,} go to the cluster, {cluster.at_a_time:g} at a time; {cluster.here:,} stay here"
    )
