"""The command `show`: what is in the folder of a run or of a comparison."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console
from rich.table import Table

from baselines.jobs.episodic_job import plain_settings
from baselines.jobs.found_run import CONFIG, FoundRun, find_runs
from baselines.jobs.run_folder import versions
from baselines.names.agents import default_hyperparameters
from baselines.names.hyperparameters import hyperparameters_for
from baselines.report.printable import plain
from baselines.report.run_overview import CELLS, OVERVIEWS
from baselines.report.terminal_table import name_columns, number_columns, print_table

NOT_A_LINE = ("hyperparameters", "command", "versions")  # of config.json; shown on their own
COLORS = {"finished": "green", "unfinished": "yellow", "failed": "red", "damaged": "red"}


@dataclass(frozen=True)
class ShowOptions:
    """Show a run: its state, settings, result, warnings, command and versions.

    Of a comparison, a line per job. Nothing in the folder is executed.
    """

    run_dir: Annotated[Path, tyro.conf.Positional]
    """Folder of a run or of a comparison."""


def show(options: ShowOptions, console: Console) -> int:
    """Print what the folder holds.

    Returns:
        The exit code, 0; 1 if a job failed or is damaged.

    Raises:
        ValueError: if the folder holds no run.
    """
    found = find_runs(options.run_dir)
    if (options.run_dir / CONFIG).exists():
        _show_run(found[0], console)
    else:
        _show_jobs(found, console)
    return 1 if any(one.state in ("failed", "damaged") for one in found) else 0


def _show_run(found: FoundRun, console: Console) -> None:
    job = found.job
    title = str(found.folder) if job is None else f"{job.agent} on {job.env}, seed {job.seed}"
    color = COLORS[found.state]
    console.print(f"[bold]{plain(title)}[/]: [{color}]{found.state}[/]", soft_wrap=True)
    if found.reason:
        console.print(f"[{color}]{plain(found.reason)}[/]", soft_wrap=True)
    if job is not None:
        others = [k for k in found.config if k not in ("env", "agent", "seed", *NOT_A_LINE)]
        for name in others:
            console.print(f"{name}: {plain(json.dumps(found.config[name]))}", soft_wrap=True)
        settings = found.config["hyperparameters"]
        print_table(console, _settings_table(job.agent, job.env.id, settings))
    if found.result is not None and job is not None:
        print_table(console, OVERVIEWS[job.section].table(found.result))
        for note in OVERVIEWS[job.section].notes(found.result):
            console.print(f"[yellow]warning[/] {plain(note)}", soft_wrap=True)
    command = found.command or "not kept"
    console.print(f"command: {plain(command)}", soft_wrap=True, highlight=False)
    console.print(f"versions: {_versions(found.versions)}", soft_wrap=True, highlight=False)


def _settings_table(agent: str, env_id: str, settings: Mapping[str, Any]) -> Table:
    """Return the settings, those first that are not the agent's defaults.

    "tuned here" notes what the hyperparameters of this project say about the environment.
    """
    defaults = _as_json(default_hyperparameters(agent))
    tuned = _as_json(hyperparameters_for(agent, env_id))
    table = Table(title="settings", title_justify="left")
    name_columns(table, "setting", "value", "default", "note")
    changed = [name for name in settings if settings[name] != defaults.get(name, KeyError)]
    for name in [*changed, *(name for name in settings if name not in changed)]:
        value = plain(json.dumps(settings[name]))
        if name not in changed:
            table.add_row(plain(name), value, value, "")
            continue
        is_tuned = name in tuned and settings[name] == tuned[name]
        told = "tuned here" if is_tuned else "changed"
        default = plain(json.dumps(defaults[name])) if name in defaults else "unknown here"
        table.add_row(f"[bold]{plain(name)}[/]", f"[bold]{value}[/]", default, told)
    return table


def _as_json(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings as a config.json holds them."""
    as_read: dict[str, Any] = json.loads(json.dumps(plain_settings(dict(settings)), default=str))
    return as_read


def _versions(kept: Mapping[str, str]) -> str:
    """Return the versions of the run; those that differ from the installed ones say so."""
    if not kept:
        return "not kept"
    here = versions([package for package in kept if package != "python"])
    return ", ".join(
        f"{plain(f'{package} {number}')}"
        + ("" if here[package] == number else f" [yellow](here {plain(here[package])})[/]")
        for package, number in kept.items()
    )


def _show_jobs(found: list[FoundRun], console: Console) -> None:
    for env in dict.fromkeys(str(one.job.env) for one in found if one.job is not None):
        own = [one for one in found if one.job is not None and str(one.job.env) == env]
        print_table(console, _jobs_table(env, own))
    counted = {state: sum(one.state == state for one in found) for state in COLORS}
    told = ", ".join(f"{number} {state}" for state, number in counted.items() if number)
    noun = "job" if len(found) == 1 else "jobs"
    console.print(
        f"{len(found)} {noun}: {told}; returns and costs of stochastic policies, exact "
        "where there is a tabular model, else means of sampled episodes; lengths are sampled",
        soft_wrap=True,
    )
    for one in found:
        if one.state != "finished":
            console.print(
                f"[{COLORS[one.state]}]{one.state}[/] {plain(str(one.folder))}: "
                f"{plain(one.reason)}",
                soft_wrap=True,
            )


def _jobs_table(env: str, found: list[FoundRun]) -> Table:
    """Return a table of the jobs on one environment, a line each, and how values are summed."""
    table = Table(title=plain(env), title_justify="left", caption_justify="left")
    name_columns(table, "agent")
    for column in ("seed", "state"):
        table.add_column(column, no_wrap=True)
    number_columns(table, *CELLS)
    sums = [OVERVIEWS[one.job.section].sums(one.result) for one in found if one.job and one.result]
    table.caption = "\n".join(dict.fromkeys(sums))
    for one in found:
        if one.job is not None:
            cells = OVERVIEWS[one.job.section].cells(one.result) if one.result else ()
            state = f"[{COLORS[one.state]}]{one.state}[/]"
            table.add_row(plain(one.job.agent), str(one.job.seed), state, *cells)
    return table
