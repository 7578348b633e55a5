"""Running one client: the snippets of its page, then each environment against the truth."""

from __future__ import annotations

import importlib.metadata
import json
import random
import re
import sys
import time
import traceback
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

PAGES = Path(__file__).resolve().parents[2] / "docs" / "clients"


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Args:
        env_id: what was run.
        form: single, native vector, ...
        arrives: where a user of the client reads the costs.
        steps: environment steps.
        cost: sum of the costs that the client reports.
        truth: sum of the costs of the same steps in a plain loop; None where `failure` is given.
        failure: what went wrong; empty if nothing.
        seconds: how long it took.
    """

    env_id: str
    form: str
    arrives: str
    steps: int = 0
    cost: float | None = None
    truth: float | None = None
    failure: str = ""
    seconds: float = 0.0

    @property
    def agrees(self) -> bool:
        return not self.failure and self.cost == self.truth


@dataclass(frozen=True)
class Case:
    """One environment in one form; `run` returns steps, the client's cost sum and the truth."""

    env_id: str
    form: str
    arrives: str
    run: Callable[[], tuple[int, float, float]]


def snippets(page: str) -> list[str]:
    """Return the Python blocks of a client's page."""
    text = (PAGES / f"{page}.md").read_text()
    return re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def names_of(page: str) -> dict[str, Any]:
    """Return what the snippets of a page define; they run one after the other, as written."""
    names: dict[str, Any] = {"__name__": "snippets"}
    for number, block in enumerate(snippets(page)):
        exec(compile(block, f"{page}.md, snippet {number}", "exec"), names)
    return names


def report(package: str, cases: Iterable[Case], version: str = "") -> None:
    """Run all cases and write the client's version and their rows to the file in the arguments.

    Args:
        package: whose version it is.
        cases: what to run.
        version: of a client that is not a package.
    """
    to = Path(sys.argv[1]).resolve()  # read now: some clients parse the arguments themselves
    rows = [_row(case) for case in cases]
    version = version or importlib.metadata.version(package)
    to.write_text(json.dumps({"version": version, "rows": [asdict(row) for row in rows]}))


def _row(case: Case) -> Row:
    _seed_what_clients_draw_from()
    start = time.monotonic()
    told = case.env_id, case.form, case.arrives
    try:
        steps, cost, truth = case.run()
    except Exception as error:
        traceback.print_exc()
        return Row(*told, failure=f"{type(error).__name__}: {error}".splitlines()[0][:200])
    return Row(*told, steps, float(cost), float(truth), seconds=time.monotonic() - start)


def _seed_what_clients_draw_from() -> None:
    import numpy as np  # here, because the command that reads rows has no packages
    import torch

    random.seed(0)
    np.random.seed(0)  # noqa: NPY002  the clients' own generator
    torch.manual_seed(0)
