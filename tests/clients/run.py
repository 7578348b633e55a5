"""Run other libraries, unmodified, on the environments: `make clients`.

`python tests/clients/run.py [CLIENT ...] [--write docs/clients/README.md]` installs each client
into its own virtual environment under `.clients`, runs the snippets of its page in docs/clients and
a thousand steps on each environment, and compares the costs that it reports with those of a plain
loop over the same actions. Exits with 1 if a client cannot be installed, fails, or reports
different costs.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness import Row
from venvs import ROOT, Client, python_beside, python_for

RL_ZOO = ("rl_zoo3==2.9.2", "requests", "pandas")  # which it needs but does not install
CLIENTS = (
    Client("torchrl", ("torchrl==0.14.1",)),
    Client("minari", ("minari[create,hdf5]==0.5.4",)),
    Client("skrl", ("skrl==2.1.1",)),
    Client("tianshou", ("tianshou==2.0.1",), unpinned=("filelock",)),
    Client(
        "cleanrl",
        ("gymnasium==0.29.1", "numpy<2", "tyro", "tensorboard"),
        unpinned=("gymnasium", "numpy"),
    ),
    Client("rl_zoo", RL_ZOO, with_agents=True),
    Client("rl_zoo_ppo", RL_ZOO, with_agents=True, home="rl_zoo"),
    Client("sbx", ("sbx-rl==0.28.0",)),
    Client("rllib", ("ray[rllib]==2.60.0",), unpinned=("gymnasium",)),
)
LONGEST = 3600  # [s] time limit of one client
BEGIN, END = "<!-- table of `make clients` -->\n", "<!-- end of the table -->\n"
HEADER = (
    "| client | environment | form | where to read costs | steps | cost | in a plain loop |\n"
    "|---|---|---|---|---|---|---|\n"
)


@dataclass(frozen=True)
class Result:
    """The result for one client; without rows, `failure` says why."""

    client: str
    version: str
    rows: tuple[Row, ...] = ()
    failure: str = ""

    @property
    def agrees(self) -> bool:
        return bool(self.rows) and not self.failure and all(row.agrees for row in self.rows)

    def lines(self) -> list[str]:
        """Return the lines of the table."""
        name = f"[{self.client}]({self.client}.md) {self.version}".strip()
        if self.failure or not self.rows:
            return [f"| {name} | | | | | **{self.failure or 'nothing was run'}** | |\n"]
        return [f"| {name} | `{row.env_id}` | {row.form} | {_ending(row)} |\n" for row in self.rows]


def _ending(row: Row) -> str:
    if row.failure:
        return f"{row.arrives} | | **{row.failure.replace('|', '/')}** | "
    cost = f"{row.cost:g}" if row.agrees else f"**{row.cost:g}**"
    return f"{row.arrives} | {row.steps:,} | {cost} | {row.truth:g}"


def main() -> int:
    known = {client.name: client for client in CLIENTS}
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clients", nargs="*", metavar="CLIENT", help=f"any of {', '.join(known)}")
    parser.add_argument("--write", type=Path, help="page whose table to update")
    parser.add_argument("--list", action="store_true", help="list the clients and stop")
    parser.add_argument(
        "--beside", type=Path, help="virtual environment to build on; installs all clients together"
    )
    arguments = parser.parse_args()
    if arguments.list:
        print(*known)
        return 0
    if unknown := set(arguments.clients) - set(known):
        parser.error(f"unknown clients {sorted(unknown)}; pass any of {', '.join(known)}")
    chosen = [known[name] for name in arguments.clients or known]
    results = [result_of(client, chosen, arguments.beside) for client in chosen]
    lines = [line for result in results for line in result.lines()]
    print(HEADER, *lines, sep="")
    if arguments.write is not None:
        write(lines, arguments.write)
    return 0 if all(result.agrees for result in results) else 1


def result_of(client: Client, chosen: Sequence[Client], beside: Path | None) -> Result:
    """Install and run one of the chosen clients; the result says what went wrong."""
    try:
        python = python_for(client) if beside is None else python_beside(beside, chosen)
    except (OSError, subprocess.CalledProcessError) as error:
        return Result(client.name, "", failure=f"cannot be installed: {error}".splitlines()[0])
    print(f"== {client.name}", flush=True)
    check = Path(__file__).with_name(f"check_{client.name}.py")
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / "rows.json"
        settings = {"MINARI_DATASETS_PATH": folder, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
        command, env = [python, check, written], {**os.environ, **settings}
        try:
            ended = subprocess.run(command, cwd=folder, env=env, timeout=LONGEST)
        except subprocess.TimeoutExpired:
            return Result(client.name, "", failure=f"did not finish within {LONGEST} seconds")
        if ended.returncode != 0 or not written.is_file():
            return Result(client.name, "", failure=f"ended with exit code {ended.returncode}")
        told = json.loads(written.read_text())
    return Result(client.name, told["version"], tuple(Row(**row) for row in told["rows"]))


def write(lines: Sequence[str], page: Path) -> None:
    """Replace these clients' lines in the table between the two marks of the page."""
    before, _, rest = page.read_text().partition(BEGIN)
    table, _, after = rest.partition(END)
    shown: dict[str, list[str]] = {client.name: [] for client in CLIENTS}
    written = {_client_of(line) for line in lines}
    kept = [line for line in table.splitlines(keepends=True) if _client_of(line) in shown]
    for line in [*(line for line in kept if _client_of(line) not in written), *lines]:
        shown[_client_of(line)].append(line)
    rows = "".join(line for of_client in shown.values() for line in of_client)
    page.write_text(f"{before}{BEGIN}\n{HEADER}{rows}\n{END}{after}")


def _client_of(line: str) -> str:
    return line.partition("| [")[2].partition("](")[0]


if __name__ == "__main__":
    sys.exit(main())
