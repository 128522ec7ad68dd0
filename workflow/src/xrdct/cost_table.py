"""The plan of a beamtime's cost in words."""

from .cost import Plan

GB, TB = 1e9, 1e12


def as_text(plan: Plan, *, cores: int, origin: str) -> str:
    """Two tables, rules and stores, and the sums below them."""
    lines = [f"{'rule':<24}{'jobs':>8}{'CPU h':>10}"]
    for step in sorted(plan.rules, key=lambda step: -step.cpu_s):
        lines.append(f"{step.name:<24}{step.jobs:>8,}{step.cpu_s / 3600:>10.3f}")
    lines += ["", f"{'written':<32}{'GB':>10}{'files':>10}"]
    for step in plan.stores:
        lines.append(f"{step.name:<32}{step.written_bytes / GB:>10.3f}{step.files:>10,}")
    lines += [
        "",
        f"time: at least {plan.hours(cores):.3g} h on {cores} cores ({plan.cpu_s / 3600:.3g} CPU hours, no GPU)",
        f"raw data to read: {plan.raw_bytes / TB:.3g} TB; results: {plan.written_bytes / TB:.3g} TB",
        f"files: {plan.files:,} for the scans, at most {plan.files_per_scan:,} for one",
        f"rates: {origin}; far larger scans than those are an extrapolation",
    ]
    return "\n".join(lines)
