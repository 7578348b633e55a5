"""The command `python -m safe_envs.safety_gymnasium_bridge --sweep`."""

from __future__ import annotations

import argparse
import fnmatch
import json
import multiprocessing
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from pathlib import Path

from safe_envs.safety_gymnasium_bridge.parity.sweep import COLUMNS, SweepRow, sweep_task
from safe_envs.safety_gymnasium_bridge.task_ids import GROUPS, TASKS


def main(arguments: Sequence[str] | None = None) -> int:
    """Print one row per id and a summary per group; return 1 if anything failed."""
    options = _parser().parse_args(arguments)
    chosen = [
        task.id
        for group in options.groups
        for task in TASKS.values()
        if task.group == group and any(fnmatch.fnmatch(task.id, p) for p in options.ids)
    ]
    if not chosen:
        print(
            f"no id of {', '.join(options.groups)} matches {' or '.join(options.ids)}; list them "
            "with --list",
            file=sys.stderr,
        )
        return 2
    if not options.sweep:
        print("\n".join(chosen))
        return 0
    print(f"{'id':40} {' '.join(COLUMNS)} seconds")
    rows = []
    for row in _rows(chosen, options.jobs):
        rows.append(row)
        print(_line(row), flush=True)
    print("\n".join(_summary(rows)))
    if options.json:
        options.json.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
    return 0 if all(row.passed == COLUMNS for row in rows) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m safe_envs.safety_gymnasium_bridge",
        description="The tasks of the genuine safety-gymnasium 1.0.0 on this machine.",
        epilog="Its module `parity` compares them with the original packages.",
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--sweep", action="store_true", help="run every check on every id")
    what.add_argument("--list", action="store_true", help="print the ids")
    parser.add_argument(
        "--ids", nargs="+", default=["*"], metavar="PATTERN", help='such as "SafetyPoint*"'
    )
    parser.add_argument("--groups", nargs="+", choices=GROUPS, default=list(GROUPS))
    parser.add_argument("--jobs", type=int, default=1, help="processes (1)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the rows here")
    return parser


def _rows(task_ids: list[str], jobs: int) -> Iterator[SweepRow]:
    if jobs == 1:
        yield from map(sweep_task, task_ids)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context) as pool:
        yield from pool.map(sweep_task, task_ids)


def _line(row: SweepRow) -> str:
    marks = " ".join(("yes" if c in row.passed else "NO").ljust(len(c)) for c in COLUMNS)
    return f"{row.id:40} {marks} {row.seconds:7.1f} {row.note[:200]}".rstrip()


def _summary(rows: list[SweepRow]) -> list[str]:
    lines = ["", f"{'group':12} {'ids':>4} " + " ".join(COLUMNS)]
    for group in GROUPS:
        own = [row for row in rows if row.group == group]
        if own:
            counts = (str(sum(c in row.passed for row in own)).rjust(len(c)) for c in COLUMNS)
            lines.append(f"{group:12} {len(own):4} " + " ".join(counts))
    return lines


if __name__ == "__main__":
    sys.exit(main())
