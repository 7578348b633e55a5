"""Near-copies are told on the board, on the submission's page, and in all data, for everybody."""

import csv
import dataclasses
import io
import json

import pytest

from leaderboard.scores.near_copies import CopyFindings, NearCopy, Origin
from leaderboard.web.api import submission_json
from leaderboard.web.board_table import board_csv, board_json, flags_of, stated_flags, status_of
from leaderboard.web.copy_flags import copy_flags
from leaderboard.web.page_data import BoardPage, BoardRow, SubmissionPage
from leaderboard.web.pages import render
from tests.leaderboard import page_examples
from tests.leaderboard.page_examples import CLIFF, ExampleSource

OWN = NearCopy(1, 7, 0, 0.0012, Origin.OWN)
FARTHER = NearCopy(2, 7, 1, 0.004, Origin.OWN)
NEARER = NearCopy(2, 7, 0, 0.002, Origin.OWN)
COPY = NearCopy(3, 5, 4, 0.0, Origin.COPY)
AGAIN = NearCopy(3, 6, 0, 0.003, Origin.RESUBMISSION)
EARLIER = NearCopy(0, 2, 0, 0.0, Origin.EARLIER_SEASON)


def row_with(copies):
    (row,) = page_examples.scored_rows(
        CLIFF, [(page_examples.some_metadata(env=CLIFF.env), 2000.0, 18.0)], 7
    )
    candidate = dataclasses.replace(row.ranked.candidate, copies=copies)
    return BoardRow(row.submission, dataclasses.replace(row.ranked, candidate=candidate))


@pytest.mark.parametrize(
    ("near", "names"),
    [
        ((), []),
        ((EARLIER,), ["also in an earlier season: #2"]),
        ((OWN, FARTHER, NEARER), ["2 of 5 policies are near-copies"]),
        (
            (OWN, COPY, AGAIN),
            ["2 of 5 policies are near-copies", "copy of #5", "resubmission of #6"],
        ),
    ],
)
def test_flags(near, names):
    assert [name for name, _ in copy_flags(row_with(CopyFindings(5, near)))] == names


def test_a_row_that_is_not_compared_says_so():
    row = row_with(None)
    assert [name for name, _ in copy_flags(row)] == ["not compared"]
    assert flags_of(row)[-1] == copy_flags(row)[0]
    assert "not compared" not in dict(stated_flags(row))
    assert copy_flags(BoardRow(row.submission, None)) == []


def test_a_full_row_of_near_copies_is_no_preview():
    row = row_with(CopyFindings(5, (OWN,)))
    ranked = dataclasses.replace(row.ranked, preview=True, rank=None)
    assert status_of(BoardRow(row.submission, ranked)) == "near-copies"
    fewer = row.submission.metadata.model_copy(update={"training_seeds": [1, 2]})
    submission = dataclasses.replace(row.submission, metadata=fewer)
    assert status_of(BoardRow(submission, ranked)) == "preview"


def test_all_data_have_the_near_copies():
    row = row_with(CopyFindings(5, (OWN, FARTHER, NEARER, COPY)))
    season = page_examples.a_season()
    found = submission_json(SubmissionPage(CLIFF, season, row))
    assert (found["compared"], found["near_copies"], found["distinct_trainings"]) == (True, 3, 2)
    assert found["originals"] == "5"
    assert found["near_copies_of"] == [
        {"policy": 1, "original_submission": 7, "original_policy": 0, "distance": 0.0012,
         "origin": "own"},
        {"policy": 2, "original_submission": 7, "original_policy": 0, "distance": 0.002,
         "origin": "own"},
        {"policy": 3, "original_submission": 5, "original_policy": 4, "distance": 0.0,
         "origin": "copy"},
    ]  # fmt: skip
    page = BoardPage(CLIFF, season, page_examples.Feasibility.MEAN, (row,))
    (told,) = csv.DictReader(io.StringIO(board_csv(page)))
    assert (told["near_copies"], told["originals"], told["compared"]) == ("3", "5", "True")
    (told,) = json.loads(board_json(page))["rows"]
    assert told["near_copies_of"] == found["near_copies_of"]


def test_pages_link_to_the_originals():
    row = row_with(CopyFindings(5, (NEARER, COPY)))
    source = ExampleSource({CLIFF.env: [row]})
    board = render("boards/Safe_CliffWorld-v0/index.html", source).content.decode()
    assert "2 of 5 policies are near-copies" in board
    assert 'href="../../submissions/5.html">#5</a>' in board
    page = render("submissions/7.html", source).content.decode()
    assert "policy 2 acts like policy 0 of this submission: distance 0.002" in page
    assert '<a href="../submissions/5.html">submission 5</a>: both files compute the same' in page
    assert "fewer than five training seeds" not in page
