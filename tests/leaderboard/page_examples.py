"""Made-up boards, seasons and submissions for the tests of the pages."""

import dataclasses
from collections.abc import Iterable

import numpy as np

from leaderboard.boards.board import Board
from leaderboard.scores.near_copies import CopyFindings
from leaderboard.scores.published import exactly, published_row
from leaderboard.scores.ranked_row import Candidate, Feasibility, RankedRow, Tier
from leaderboard.scores.row_score import (
    CostStatistics,
    Interval,
    RowScore,
    RowStatistics,
    ScoreDraws,
)
from leaderboard.scores.scored_episodes import ScoredEpisodes
from leaderboard.store.seasons import SeasonState
from leaderboard.store.submission_store import State
from leaderboard.submissions.metadata import Claim, Metadata
from leaderboard.web import page_data
from leaderboard.web.page_data import BoardPage, BoardRow, ShownSeason, ShownSubmission
from safe_envs.contract.cost_signal import ConstraintSpec

SPRING = 1_772_323_200.0  # 2026-03-01
DAY = 86_400.0
SECRET = "5ec12e75" * 8


def a_board(env="Safe/CliffWorld-v0", title="Cliff world", limits=(25.0,), discount=1.0):
    names = ("speed", "height", "tilt")
    return Board(
        env=env,
        title=title,
        version=1,
        constraints=tuple(
            ConstraintSpec(name, limit, discount)
            for name, limit in zip(names, limits, strict=False)
        ),
        reward_discount=discount,
        longest_episode=1000,
        random_return=-64.7,
        reference_return=3261.87,
        reference="best published feasible return",
        source="Random: 1,000 episodes. Reference: made up.",
        cost_scales=tuple(limit or 1.0 for limit in limits),
        about="A made-up task for the tests. Its cost counts what should not happen.",
    )


CLIFF = a_board()
HOPPER = a_board("SafetyHopperVelocity-v1", "Hopper, velocity", (25.0, 0.5))
EMPTY = a_board("Safe/DeepSeaTreasure-v0", "Deep sea treasure", (0.15,), 0.9)


MANY = (CLIFF, HOPPER, EMPTY, *(
    a_board(env, title, (25.0,)) for env, title in (
        ("Safe/ConstrainedRegression-v0", "Regression inside a band"),
        ("Safe/DoubleIntegrator-v0", "Double integrator"),
        ("SafetyAntVelocity-v1", "Ant, velocity"),
        ("SafetyHalfCheetahVelocity-v1", "HalfCheetah, velocity"),
    )
))  # fmt: skip


def a_season(number=1, state=SeasonState.OPEN):
    is_open, is_revealed = state is SeasonState.OPEN, state is SeasonState.REVEALED
    return ShownSeason(
        number=number,
        state=state,
        opened_at=SPRING + 100 * DAY * number,
        closed_at=None if is_open else SPRING + 100 * DAY * (number + 1),
        secret_sha256=f"{number:064x}",
        secret=SECRET if is_revealed else None,
        seed_rule='seed i is the first 8 bytes of HMAC-SHA256(secret, "env|version|i")',
        replay_command="python -m leaderboard verify RUN_DIR... --secret SECRET",
    )


def some_metadata(**changes):
    """Unchecked metadata, so that it may contain what would be refused."""
    seeds = changes.pop("training_seeds", [0, 1, 2, 3, 4])
    fields = {
        "env": CLIFF.env,
        "algorithm": "PPO with a multiplier",
        "authors": ["Ada Lovelace", "Emmy Noether"],
        "contact": "secret-contact@example.org",
        "url": "https://example.org/paper",
        "code_url": "https://example.org/code",
        "code_revision": "ab" * 20,
        "training_seeds": seeds,
        "training_steps": 1_000_000,
        "wall_seconds": 5400.0,
        "hardware": "2 CPU cores",
        "suite_version": "0.1.0",
        "framework_versions": {"torch": "2.9.0"},
        "hyperparameters": {"learning_rate": 0.0003, "net": [64, 64]},
        "stochastic": False,
        "claim": Claim(mean_return=2000.0, mean_costs=[20.0], episodes=20),
        "sha256": [f"{seed:02x}" * 32 for seed in seeds],
        "consent": True,
        "citation": "",
    }
    return Metadata.model_construct(**fields).model_copy(update=changes)


def some_episodes(board, seed, mean_return, mean_cost, policies=5, episodes=100):
    rng = np.random.default_rng(seed)
    shape = (policies, episodes)
    by_seed = rng.normal(1.0, 0.1, (policies, 1))
    returns = mean_return * by_seed + abs(mean_return) * rng.normal(0.0, 0.1, shape)
    scale = np.array(board.cost_scales) * mean_cost / board.cost_scales[0]
    costs = rng.gamma(2.0, 0.5, (*shape, 1)) * by_seed[..., None] * scale
    costs[rng.random(shape) < 0.2] = 0.0
    return ScoredEpisodes(
        returns=returns,
        costs=costs,
        plain_returns=returns if board.reward_discount == 1 else 1.5 * returns,
        plain_costs=costs if board.reward_discount == 1 else 1.5 * costs,
        lengths=rng.integers(500, 1000, shape),
    )


def an_interval(value, width):
    return Interval(float(value), float(value - width), float(value + width))


def a_score(board, episodes, seed=0):
    """Plausible numbers; how they are computed is tested elsewhere."""
    policies, count = episodes.returns.shape
    costs = []
    for index, constraint in enumerate(board.constraints):
        values = episodes.costs[..., index]
        flat = np.sort(values.ravel())
        mean, p95 = flat.mean(), np.quantile(flat, 0.95)
        scale = board.cost_scales[index]
        costs.append(
            CostStatistics(
                name=constraint.name,
                limit=constraint.limit,
                mean=an_interval(mean, 0.06 * mean),
                upper_bound=1.05 * mean,
                p90=an_interval(np.quantile(flat, 0.9), 0.1 * p95),
                p95=an_interval(p95, 0.1 * p95),
                p95_upper_bound=1.1 * p95,
                worst=float(flat[-1]),
                cvar=an_interval(flat[int(0.95 * len(flat)) :].mean(), 0.1 * p95),
                violation_probability=an_interval((flat > constraint.limit).mean(), 0.01),
                excess=(mean - constraint.limit) / scale,
                excess_p95=max(0.0, p95 - constraint.limit) / scale,
                plain_mean=float(episodes.plain_costs[..., index].mean()),
                seed_means=tuple(values.mean(axis=1)),
                quantiles=tuple(np.quantile(flat, np.linspace(0, 1, 101))),
            )
        )
    returns = episodes.returns.mean(axis=1)
    score = board.normalized(returns.mean())
    rng = np.random.default_rng(seed)
    return RowScore(
        RowStatistics(
            policies=policies,
            episodes=count,
            score=an_interval(score, 0.05),
            mean_return=an_interval(returns.mean(), 100.0),
            plain_mean_return=float(episodes.plain_returns.mean()),
            mean_length=float(episodes.lengths.mean()),
            seed_returns=tuple(returns),
            seed_lengths=tuple(episodes.lengths.mean(axis=1)),
            return_quantiles=tuple(np.quantile(episodes.returns, np.linspace(0, 1, 101))),
            costs=tuple(costs),
        ),
        ScoreDraws(score + 0.02 * rng.standard_normal(50), np.zeros(50), np.zeros(50)),
    )


def tier_of(score):
    costs = score.statistics.costs
    if all(cost.upper_bound <= cost.limit for cost in costs):
        return Tier.SAFE
    is_feasible = all(cost.mean.value <= cost.limit for cost in costs)
    return Tier.FEASIBLE if is_feasible else Tier.VIOLATING


def scored_rows(board, specs: Iterable[tuple], first_id=1, season=1, policies=5):
    """Rows in the order given: (metadata, mean return, mean cost)."""
    rows = []
    for index, (metadata, mean_return, mean_cost) in enumerate(specs):
        number = first_id + index
        episodes = some_episodes(board, number, mean_return, mean_cost, policies=policies)
        score = a_score(board, episodes, number)
        at = SPRING + DAY * number
        submission = ShownSubmission(number, season, metadata, at, State.SCORED)
        compared = CopyFindings(len(metadata.training_seeds))
        candidate = Candidate(number, score, metadata.training_steps, at, copies=compared)
        rank = index + 1
        interval = (max(1, rank - 1), rank + 1)
        ranked = RankedRow(candidate, tier_of(score), False, rank, interval)
        rows.append(BoardRow(submission, published_row(ranked, exactly(score.statistics))))
    return rows


def unranked_rows(board, first_id, season=1):
    """A preview, an invalid, a withdrawn, a running and a queued submission."""
    short = some_metadata(algorithm="Two seeds only", training_seeds=[0, 1], env=board.env)
    (preview,) = scored_rows(board, [(short, 1500.0, 20.0)], first_id, season, policies=2)
    preview = dataclasses.replace(
        preview,
        ranked=dataclasses.replace(preview.ranked, preview=True, rank=None, rank_interval=None),
    )
    (gone,) = scored_rows(
        board, [(some_metadata(algorithm="Taken back", env=board.env), 900.0, 12.0)],
        first_id + 2, season,
    )  # fmt: skip
    gone = BoardRow(
        dataclasses.replace(gone.submission, state=State.WITHDRAWN),
        dataclasses.replace(gone.ranked, rank=None, rank_interval=None),
    )
    at = SPRING + 50 * DAY
    broken = ShownSubmission(
        first_id + 1, season, some_metadata(algorithm="Diverged", env=board.env), at,
        State.INVALID, reason="policy 2 gave an action that is not finite in episode 17",
    )  # fmt: skip
    invalid = BoardRow(
        broken,
        RankedRow(Candidate(broken.id, None, 1000, at), Tier.INVALID, False, None, None),
    )
    running = ShownSubmission(
        first_id + 3, season, some_metadata(algorithm="Still playing", env=board.env), at,
        State.RUNNING, episodes_done=137, episodes_total=500,
    )  # fmt: skip
    queued = ShownSubmission(
        first_id + 4, season, some_metadata(algorithm="In line", env=board.env), at, State.QUEUED
    )
    return [preview, invalid, gone, BoardRow(running, None), BoardRow(queued, None)]


def some_curves(seed, policies=5, constraints=1, points=120):
    rng = np.random.default_rng(seed)
    steps = np.linspace(2048, 1_000_000, points)
    curves = []
    for policy in range(policies):
        rise = 1 - np.exp(-steps / rng.uniform(1.5e5, 3e5))
        noise = rng.normal(0.0, 0.03, points)
        cost = 60 * np.exp(-steps / 2e5) + 20 * (1 + noise)
        curves.append(
            page_data.Curve(
                policy, tuple(steps), tuple(2000 * (rise + noise)), (tuple(cost),) * constraints
            )
        )
    return tuple(curves)


def cliff_rows():
    specs = [
        ("PPO with a multiplier", 2100.0, 18.0, {}),
        ("Filtered PPO", 1900.0, 4.0, {"uses_safety_filter": True, "uses_model": True}),
        ("CPO", 1700.0, 20.0, {"training_steps": 10_000_000}),
        ("Demonstrated", 2300.0, 24.4, {"uses_demonstrations": True, "stochastic": True}),
        ("PPO that ignores the cost", 3300.0, 160.0, {"claim": None}),
    ]
    return scored_rows(
        CLIFF, [(some_metadata(algorithm=name, **more), r, c) for name, r, c, more in specs]
    ) + unranked_rows(CLIFF, 101)


def crowded_source():
    """Sixty rows with long names, all flags, equal scores, extreme numbers, on a real-size site."""
    everything = {
        "uses_safety_filter": True,
        "uses_model": True,
        "uses_demonstrations": True,
        "uses_preprocessing": True,
        "stochastic": True,
    }
    specs = []
    for index in range(60):
        name = f"Constrained policy optimization with a very long name, variant {index}"
        cost = 0.05 * 1.2**index
        more = everything if index % 7 == 0 else {}
        metadata = some_metadata(algorithm=name, training_steps=10**9, **more)
        specs.append((metadata, -112_700.0 if index % 5 == 0 else 2000.0, cost))
    return ExampleSource(rows={CLIFF.env: scored_rows(CLIFF, specs)}, boards=MANY)


class ExampleSource:
    """A PageSource in memory.

    Args:
        rows: by environment id.
        boards: all of them.
        seasons: oldest first; rows belong to the last one.
        revealed: show single episodes.
    """

    def __init__(self, rows=None, boards=(CLIFF, HOPPER, EMPTY), seasons=None, revealed=False):
        state = SeasonState.REVEALED if revealed else SeasonState.OPEN
        self._seasons = [a_season(1, state)] if seasons is None else seasons
        self._boards = boards
        self._revealed = revealed
        names = ["SPMA", "CPO", "PPO with a multiplier"]
        both = Claim(mean_return=2000.0, mean_costs=[20.0, 0.4], episodes=20)
        hopper = [
            (some_metadata(algorithm=name, env=HOPPER.env, claim=both), 2000.0 - 100 * i, 15.0)
            for i, name in enumerate(names)
        ]
        default = {CLIFF.env: cliff_rows(), HOPPER.env: scored_rows(HOPPER, hopper, 201)}
        self.rows = default if rows is None else rows

    def boards(self):
        return self._boards

    def seasons(self):
        return self._seasons

    def board_page(self, env, season, feasibility):
        board = next(board for board in self._boards if board.env == env)
        rows = self.rows.get(env, []) if season == self._seasons[-1].number else []
        if feasibility is Feasibility.P95:
            ranked = [row for row in rows if row.ranked and row.ranked.rank]
            rows = [*reversed(ranked), *rows[len(ranked) :]]
        return BoardPage(board, self._seasons[season - 1], feasibility, tuple(rows))

    def submission_ids(self):
        return [row.submission.id for rows in self.rows.values() for row in rows]

    def submission_page(self, submission_id):
        for board in self._boards:
            for row in self.rows.get(board.env, []):
                if row.submission.id == submission_id:
                    return self._page(board, row)
        return None

    def _page(self, board, row):
        number = row.submission.id
        curves = self.curves([number]).get(number, ())
        if not self._revealed or row.ranked is None or row.ranked.candidate.score is None:
            return page_data.SubmissionPage(board, self._seasons[-1], row, curves)
        found = row.ranked.candidate.score.statistics
        episodes = some_episodes(board, number, 2100.0, 18.0, found.policies)
        seeds = tuple(2**63 + 17 * i for i in range(episodes.returns.size))
        return page_data.SubmissionPage(board, self._seasons[-1], row, curves, episodes, seeds)

    def curves(self, submission_ids):
        constraints = {
            row.submission.id: len(board.constraints)
            for board in self._boards
            for row in self.rows.get(board.env, [])
        }
        return {
            number: some_curves(number, constraints=constraints[number])
            for number in submission_ids
            if number % 2 == 1 and number in constraints
        }

    def score_difference(self, first, second):
        rows = [self.submission_page(number).row.ranked for number in (first, second)]
        if not all(row and row.candidate.score for row in rows):
            return None
        one, two = (row.candidate.score.statistics.score for row in rows)
        return two.low - one.high, two.high - one.low

    def aggregate_page(self, season):
        found = {}
        for board in self._boards:
            for row in self.rows.get(board.env, []):
                if row.ranked and row.ranked.rank:
                    found.setdefault(row.submission.metadata.algorithm, {})[board.env] = row
        lines = []
        for rank, (algorithm, rows) in enumerate(found.items(), start=1):
            cells = {
                env: page_data.AggregateCell(
                    row.submission.id,
                    row.ranked.candidate.score.statistics.score.value,
                    row.ranked.tier is not Tier.VIOLATING,
                )
                for env, row in rows.items()
            }
            feasible = [cell.score for cell in cells.values() if cell.feasible]
            score = an_interval(sum(feasible) / len(self._boards), 0.03)
            authors = tuple(next(iter(rows.values())).submission.metadata.authors)
            lines.append(
                page_data.AggregateRow(algorithm, authors, rank, (rank, rank + 1), score, cells)
            )
        return page_data.AggregatePage(self._seasons[season - 1], self._boards, tuple(lines))

    def submission_rules(self):
        return page_data.SubmissionRules(
            policies_for_a_rank=5,
            most_policies=10,
            largest_policy=5 * 2**20,
            largest_submission=32 * 2**20,
            per_day=5,
            per_season=50,
            operators=("Add", "Clip", "Gemm", "MatMul", "Relu", "Tanh"),
        )
