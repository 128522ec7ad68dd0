"""What a run would compute again, and because of which setting: Snakemake's own plan, asked without running anything.

Snakemake compares the parameters of every job with those recorded when its output was made. Ours are the canonical
JSON of the settings that a stage reads (`cfg`), a hash of its code (`code`) and a stamp of its frames (`frames`): so a
difference has a name.
"""

import ast
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from snakemake.api import SnakemakeApi
from snakemake.exceptions import RuleException, WorkflowError
from snakemake.settings.types import (
    ConfigSettings,
    DAGSettings,
    OutputSettings,
    RerunTrigger,
    ResourceSettings,
    StorageSettings,
    WorkflowSettings,
)

from .config import Config, load
from .config.base import keys_of
from .errors import ConfigError
from .scans import Subset
from .series import SeriesRow

REPOSITORY = Path(__file__).resolve().parents[3]
TRIGGERS = {RerunTrigger.MTIME, RerunTrigger.PARAMS, RerunTrigger.INPUT, RerunTrigger.SOFTWARE_ENV}
LARGEST_CHECKSUM = 10**9
"""Both as in the profiles, which a run is started with."""
KEYS = sorted((path for path in keys_of(Config) if len(path) > 1), key=len)
EITHER = {
    "phase_set": "fit.preset or fit.phase_set",
    "windows": "windows.preset or windows.windows",
    "regions": "beamtime.preset or beamtime.regions",
    "declared_span": "the table's n_projections or angle_step_deg",
    "treated": "reconstruct.parallax",
}
"""What in the parameters of jobs is made from two keys, or has a name of its own."""


@dataclass(frozen=True)
class Job:
    """One job that would run."""

    rule: str
    wildcards: tuple[tuple[str, str], ...]
    input: tuple[str, ...]
    output: tuple[str, ...]
    causes: tuple[str, ...]
    """What has changed for this job itself; nothing where it runs only because one before it does."""
    missing: tuple[str, ...]
    """Files that are not there yet."""


def planned(config: str | Path, folder: str | Path, targets: Iterable[str] = ()) -> list[Job]:
    """The jobs that Snakemake would run for some targets, in no special order.

    Parameters
    ----------
    config
        The YAML file.
    folder
        Working folder, with `results` and Snakemake's records of them.
    targets
        Rules or files of the workflow; none: everything.

    Raises
    ------
    ConfigError
        When Snakemake refuses configuration, table or target; its message.
    """
    if not Path(folder).is_dir():  # Snakemake would make it
        raise ConfigError(f"{folder}: no such folder")
    load(config)  # its messages name file and key; Snakemake's reader of YAML does not
    here = Path.cwd()
    try:
        with SnakemakeApi(OutputSettings(dryrun=True, log_level_override="ERROR", enable_file_logging=False)) as api:
            workflow = api.workflow(
                resource_settings=ResourceSettings(cores=1),
                config_settings=ConfigSettings(configfiles=[Path(config).resolve()]),
                storage_settings=StorageSettings(),
                workflow_settings=WorkflowSettings(),
                snakefile=REPOSITORY / "Snakefile",
                workdir=Path(folder),
            )
            dag_settings = DAGSettings(
                targets=frozenset(targets), rerun_triggers=TRIGGERS, max_checksum_file_size=LARGEST_CHECKSUM
            )
            return _jobs(workflow.dag(dag_settings).workflow_api._workflow)
    except (RuleException, WorkflowError) as error:
        raise ConfigError(str(error)) from None
    finally:
        os.chdir(here)


def _jobs(workflow) -> list[Job]:
    """Jobs of a parsed workflow. Snakemake's summaries begin with the same two calls; its API gives text only."""
    workflow._prepare_dag(forceall=False, ignore_incomplete=True, lock_warn_only=True, nolock=True)
    workflow._build_dag()
    return [_job(job, workflow) for job in workflow.dag.needrun_jobs() if not job.rule.norun]


def _job(job, workflow) -> Job:
    reason = workflow.dag.reason(job)
    made_before = {file for files in workflow.dag.dependencies[job].values() for file in files}
    recorded = [file for file in job.output if workflow.persistence.metadata(file)]
    causes = [f"{file} has changed" for file in sorted(reason.updated_input - made_before)]
    causes += [f"{file} was not finished" for file in sorted(reason.incomplete_output)]
    if recorded:
        causes += _changed_parameters(job, workflow.persistence.params_changed(job))
        if any(workflow.persistence.input_changed(job)):
            old = {file for output in recorded for file in workflow.persistence.input(output)}
            causes += _changed_inputs(old, set(job.input))
    missing = sorted(reason.missing_output) or ([] if recorded else job.output)
    wildcards = tuple(sorted(job.wildcards.items()))
    return Job(job.rule.name, wildcards, tuple(job.input), tuple(job.output), tuple(causes), tuple(missing))


def _changed_parameters(job, change) -> Iterator[str]:
    """Names of what differs between the recorded parameters of a job (known by their values only) and those of now."""
    for name, value in job.params.items():
        if repr(value) not in change.only_new:
            continue
        if name == "code":
            yield f"the code of {job.rule.name} has changed"
        elif name == "frames":
            yield f"frames of {', '.join(_measurement(job.wildcards))}, have changed"
        elif name == "cfg":
            olds = [json.loads(text) for text in map(ast.literal_eval, change.only_old) if text[:1] in "{["]
            for old in olds:
                yield from dict.fromkeys(_named(job.rule.name, *part) for part in differences(old, json.loads(value)))


def _measurement(wildcards) -> Iterator[str]:
    """'charged', 'subset 2'; or 'series line'."""
    for name, value in wildcards.items():
        yield value if name == "scan" else f"{name} {value}"


def _changed_inputs(old: set[str], new: set[str]) -> Iterator[str]:
    yield from (f"{file} is read too" for file in sorted(new - old))
    yield from (f"{file} is not read any more" for file in sorted(old - new))


def differences(old, new, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], object, object]]:
    """Where two plain structures differ: (path, value in the first, value in the second); a missing value is None."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(old.keys() | new.keys()):
            yield from differences(old.get(key), new.get(key), (*path, key))
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for k, pair in enumerate(zip(old, new, strict=True)):
            yield from differences(*pair, (*path, str(k)))
    elif old != new:
        yield path, old, new


def _named(rule: str, path: tuple[str, ...], old, new) -> str:
    plain = all(not isinstance(value, dict | list) for value in (old, new))
    change = f" from {json.dumps(old, ensure_ascii=False)} to {json.dumps(new, ensure_ascii=False)}" if plain else ""
    return f"{setting_of(rule, path)} has changed{change}"


def setting_of(rule: str, path: tuple[str, ...]) -> str:
    """The configuration's key, or the table's column, that a place in the parameters of a rule's jobs comes from.

    Stages get the settings they need under the last part of the key's name, so of the keys that end like the path
    the rule's own section comes first, then the table.
    """
    names = tuple(part for part in path if not part.isdecimal())
    if names[0] in EITHER:
        return EITHER[names[0]]
    section = names[0].removesuffix("_settings")  # of another stage than the rule's
    drawn = "report" if rule.startswith("draw_") else ""
    # Below a key there may be names of the user's own (groups of phases): they are left out one by one.
    parts = [names[start:stop] for stop in range(len(names), 0, -1) for start in range(stop)]
    for tail in parts:
        found = [key for key in KEYS if key[-len(tail) :] == tail]
        for own in (section, rule, drawn):
            for key in found:
                if key[0] in own:
                    return ".".join(key)
        if len(tail) == 1 and tail[0] in {*Subset.model_fields, *SeriesRow.model_fields}:
            of_series = tail[0] == "n_projections" and rule.endswith("_series")  # lines of either
            return f"the table's {'n_repeats' if of_series else tail[0]}"
        if found:
            return ".".join(found[0])
    return ".".join(names)


def explained(target: str, jobs: list[Job]) -> str:
    """One sentence: what would run for a target, and why."""
    if not jobs:
        return f"{target} is up to date."
    rules = ", ".join(sorted({job.rule for job in jobs}))
    count = f"{len(jobs)} job{'' if len(jobs) == 1 else 's'} ({rules})"
    causes = list(dict.fromkeys(cause for job in jobs for cause in job.causes))
    if causes:
        return f"{target}: {count} would run again, because {' and '.join(causes)}."
    new = sorted({file for job in jobs for file in job.missing})
    because = f"{new[0]} {'is' if len(new) == 1 else f'and {len(new) - 1} more are'} not there yet" if new else "forced"
    return f"{target}: {count} would run, because {because}."
