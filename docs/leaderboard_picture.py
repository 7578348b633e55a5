"""Draws docs/images/leaderboard.png: `python docs/leaderboard_picture.py`.

It submits the shipped baselines to a temporary leaderboard with a fixed season secret and takes a
screenshot of a board in Chromium.
"""

import argparse
import io
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright
from rich.console import Console

from leaderboard.commands.export import write_site
from leaderboard.commands.seed_baselines import submit_baselines
from leaderboard.store.database import open_database
from leaderboard.store.seasons import open_season
from leaderboard.submissions.baseline_submissions import shipped_submissions
from leaderboard.web.store_source import StoreSource

SECRET = bytes(32)
PICTURE = Path(__file__).parent / "images" / "leaderboard.png"
ENV = "Safe/DeepSeaTreasure-v0"
BOARD = "boards/Safe_DeepSeaTreasure-v0/index.html"
SIZE = {"width": 1400, "height": 860}


def main() -> None:
    """Draw the picture."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--chromium", default="/usr/bin/chromium", help="the browser")
    given = options.parse_args(sys.argv[1:])
    with tempfile.TemporaryDirectory() as folder:
        site = Path(folder) / "site"
        url = f"sqlite:///{folder}/store.sqlite"
        database = open_database(url)
        open_season(database, "picture", SECRET)
        submit_baselines(url, shipped_submissions(ENV), Console(file=io.StringIO()))
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
