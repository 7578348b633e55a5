"""Draws docs/images/leaderboard.png: `make demo`, then `python docs/leaderboard_picture.py`.

It submits the deep agents of the demo to a temporary leaderboard with a fixed season secret and
takes a screenshot of the board in Chromium.
"""

import argparse
import io
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright
from rich.console import Console

from baselines.commands.demo import demo_plan
from baselines.jobs.job import job_folder
from leaderboard.commands.export import write_site
from leaderboard.commands.submit import submit_here
from leaderboard.evaluation.evaluate import tried_policies
from leaderboard.store.database import open_database
from leaderboard.store.seasons import open_season
from leaderboard.submissions.from_runs import submission_of
from leaderboard.web.store_source import StoreSource

SECRET = bytes(32)
PICTURE = Path(__file__).parent / "images" / "leaderboard.png"
BOARD = "boards/Safe_DeepSeaTreasure-v0/index.html"
SIZE = {"width": 1400, "height": 860}


def main() -> None:
    """Draw the picture."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--demo", type=Path, default=Path("runs/demo"), help="folder of the demo")
    options.add_argument("--chromium", default="/usr/bin/chromium", help="the browser")
    given = options.parse_args(sys.argv[1:])
    agents: dict[str, list[Path]] = {}
    for job in demo_plan(given.demo).jobs:
        if job.section == "episodes":
            agents.setdefault(job.agent, []).append(job_folder(given.demo, job))
    with tempfile.TemporaryDirectory() as folder:
        site = Path(folder) / "site"
        url = f"sqlite:///{folder}/store.sqlite"
        database = open_database(url)
        open_season(database, "picture", SECRET)
        for runs in agents.values():
            submission = submission_of(runs, stochastic=True, fields={"authors": ["safe-envs"]})
            with tried_policies(submission) as tried:
                submit_here(url, submission, tried, Console(file=io.StringIO()))
        write_site(StoreSource(database), site)
        database.close()
        with sync_playwright() as browsers:
            browser = browsers.chromium.launch(
                executable_path=given.chromium, args=["--no-sandbox", "--disable-gpu"]
            )
            page = browser.new_page(viewport=SIZE)
            page.goto((site / BOARD).as_uri())
            page.screenshot(path=PICTURE)
            browser.close()
    print(PICTURE)


if __name__ == "__main__":
    main()
