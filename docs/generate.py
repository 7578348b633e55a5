"""Write the generated part of the documentation: `make docs`.

Environment pages come from the classes' docstrings and declared constraints, solver pages from
the solvers' docstrings, signatures of deep agents from their parts, pictures from the environments
themselves, and the figure of the README from the comparison that `make demo` runs.
"""

from __future__ import annotations

import inspect
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import gymnasium as gym
from board_pictures import write_board_pictures
from deep_agent_pages import deep_agent_names, deep_agent_page
from environment_films import environment_ids, film_of, page_name, write_film
from gymnasium.envs.registration import load_env_creator
from rich.console import Console

import agents.tabular
from agents import stub_writer
from baselines.commands.demo import DemoOptions, demo
from baselines.names.agents import SOLVERS

DOCS = Path(__file__).resolve().parent
README_FIGURE = "Safe_CliffWorld-v0.png"


def environment_page(env_id: str) -> str:
    """Return the page of one environment as Markdown."""
    env = gym.make(env_id, disable_env_checker=True)
    steps = gym.spec(env_id).max_episode_steps
    rows = [f"| `{c.name}` | {c.limit:.6g} | {c.discount:g} |" for c in env.unwrapped.constraints]
    description = inspect.getdoc(type(env.unwrapped)) or ""
    maker = load_env_creator(str(gym.spec(env_id).entry_point))
    if inspect.isfunction(maker):  # an environment and a wrapper around it
        own = ["```text", inspect.getdoc(maker) or "", "```", "", "The environment in it:", ""]
        description = "\n".join([*own, description])
    return "\n".join(
        [
            f"# {env_id}",
            "",
            f"![{env_id} in motion](../images/{page_name(env_id)}.gif)",
            "",
            f"*{film_of(env_id).told}*",
            "",
            "```python",
            "import gymnasium as gym",
            "import safe_envs",
            "",
            f'env = gym.make("{env_id}")',
            f'batch = gym.make_vec("{env_id}", num_envs=1024)  # the native vector form',
            "```",
            "",
            "| declared constraint | limit | discount |",
            "|---|---|---|",
            *rows,
            "",
            f"Return discount {env.unwrapped.reward_discount:g}; "
            + (f"at most {steps} steps an episode." if steps else "episodes end by themselves."),
            "",
            description,
            "",
        ]
    )


def solver_page(name: str) -> str:
    """Return the page of one tabular solver as Markdown."""
    solver = vars(agents.tabular)[name]
    module = inspect.getmodule(solver)
    title = (inspect.getdoc(module) or name).splitlines()[0].rstrip(".")
    return "\n".join(
        [
            f"# agents.tabular.{name}",
            "",
            f"{title}.",
            "",
            "```python",
            _call(name, solver),
            "```",
            "",
            "```text",
            inspect.getdoc(solver) or "",
            "```",
            "",
        ]
    )


def solver_names() -> list[str]:
    """Return the names of the solvers that have a page."""
    return ["linear_program", *sorted(SOLVERS)]


def pages() -> dict[Path, str]:
    """Return all generated pages, by path."""
    written = {
        DOCS / "environments" / f"{page_name(i)}.md": environment_page(i) for i in environment_ids()
    }
    written |= {DOCS / "agents" / f"{name}.md": solver_page(name) for name in solver_names()}
    written |= {DOCS / "agents" / f"{n}.md": deep_agent_page(n) for n in deep_agent_names()}
    return written


def draw_readme_figure() -> None:
    """Run the demo and keep its figure of the cliff world."""
    with tempfile.TemporaryDirectory() as folder:
        if demo(DemoOptions(out=Path(folder)), Console()) != 0:
            raise RuntimeError("the demo failed; see its output above")
        shutil.copy(Path(folder) / "plots" / README_FIGURE, DOCS / "images" / "demo.png")


def main() -> None:
    """Write everything."""
    stub_writer.PATH.write_text(stub_writer.stub_text())
    for path, text in pages().items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    for env_id in environment_ids():
        write_film(env_id)
    write_board_pictures()
    draw_readme_figure()


def _call(name: str, solver: Callable[..., object]) -> str:
    """Return a call of the solver with all arguments at their defaults, one a line."""
    lines = []
    for p in inspect.signature(solver).parameters.values():
        default = f'"{p.default}"' if isinstance(p.default, str) else repr(p.default)
        lines.append(p.name if p.default is p.empty else f"{p.name}={default}")
    return f"{name}(\n" + "".join(f"    {line},\n" for line in lines) + ")"


if __name__ == "__main__":
    main()
