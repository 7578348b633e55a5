"""From the full numbers of a row its episodes can be computed, from the public ones none can."""

import json

import numpy as np
import pytest

from leaderboard.boards.board import board_of
from leaderboard.scores.published import published_to_json, rounded
from leaderboard.scores.scored_episodes import ScoredEpisodes
from leaderboard.scores.scoring import score_row
from tests.leaderboard.scores.episode_solver import (
    SortedAttack,
    exact_cell,
    lattice_attack_on,
    rounded_cell,
    solved_quantiles,
    step_of,
    tenth_step,
)

CHASM, HOPPER = "Safe/CliffWorld-v0", "SafetyHopperVelocity-v1"
FALLS = [0.0, *(0.9**step for step in range(19, 2, -1))]  # discounted costs of an episode
COUNTS = np.arange(16.0)


def a_row(returns, costs):
    """Statistics of undiscounted episodes of a thousand steps."""
    lengths = np.full(returns.shape, 1000)
    return ScoredEpisodes(returns, costs[..., None], returns, costs[..., None], lengths)


def hopper_row(policies, seed=3):
    """Real-valued returns, and costs that are counts."""
    rng = np.random.default_rng(seed)
    shape = (policies, 100)
    return rng.normal(1500.0, 120.0, shape), rng.binomial(15, 0.3, shape).astype(float)


def cliff_row(policies, seed=3):
    """Returns and costs that are 0 or discounted at some step."""
    rng = np.random.default_rng(seed)
    shape = (policies, 100)
    returns = np.where(rng.random(shape) < 0.7, 0.9 ** rng.integers(3, 40, shape), 0.0)
    return returns, np.array(FALLS)[np.maximum(rng.integers(-70, len(FALLS), shape), 0)]


def public(env, returns, costs):
    """Everything public about a row's numbers, as text."""
    found = score_row(board_of(env), a_row(returns, costs))
    return json.dumps(published_to_json(rounded(board_of(env), found.statistics)))


class TestSolvers:
    def test_a_preview_in_full_gives_away_its_returns(self):
        returns, costs = hopper_row(1)
        full = score_row(board_of(HOPPER), a_row(returns, costs)).statistics
        assert solved_quantiles(full.return_quantiles) == pytest.approx(np.sort(returns[0]))
        assert solved_quantiles(full.costs[0].quantiles) == pytest.approx(np.sort(costs[0, :]))

    def test_a_rounded_preview_has_no_quantiles_to_solve(self):
        returns, costs = hopper_row(1)
        board = board_of(HOPPER)
        shown = rounded(board, score_row(board, a_row(returns, costs)).statistics)
        assert solved_quantiles(shown.return_quantiles) is None
        assert solved_quantiles(shown.costs[0].quantiles) is None

    @pytest.mark.parametrize("exact", [True, False])
    def test_order_statistics_of_real_numbers(self, exact):
        """Of a ranked row; in full, its 101 quantiles give away the first and last episode."""
        returns, costs = hopper_row(5)
        board = board_of(HOPPER)
        full = score_row(board, a_row(returns, costs)).statistics
        shown = full if exact else rounded(board, full)
        quantiles, span = full.return_quantiles, np.ptp(returns)
        attack = SortedAttack(500, returns.min() - span, returns.max() + span)
        for percent, number in enumerate(shown.return_quantiles):
            if np.isfinite(number):
                step = tenth_step(quantiles, percent, 500)
                attack.know_quantile(
                    percent, exact_cell(number) if exact else rounded_cell(number, step)
                )
        mean = full.mean_return
        step = step_of(mean.value, (mean.high - mean.low) / 8, 2 * max(full.spans.values) / 500)
        number = shown.mean_return.value
        attack.know_mean(exact_cell(number) if exact else rounded_cell(number, step))
        widths = []
        for index in (0, 49, 50, 250, 474, 499):
            low, high = attack.bounds(index)
            assert low - 1e-6 <= np.sort(returns.ravel())[index] <= high + 1e-6
            widths.append(high - low)
        if exact:
            assert min(widths[0], widths[-1]) < 1e-6 * span
        else:
            assert min(widths) > 0.03 * span

    @pytest.mark.parametrize(
        ("env", "values", "episodes"),
        [(HOPPER, COUNTS, hopper_row), (CHASM, FALLS, cliff_row)],
        ids=["counts", "discounted"],
    )
    def test_costs_that_have_few_possible_values(self, env, values, episodes):
        """An integer program finds how many episodes have each cost, if the numbers are in full."""
        returns, costs = episodes(1)
        board = board_of(env)
        full = score_row(board, a_row(returns, costs)).statistics
        true = [int(np.isclose(costs, value).sum()) for value in values]
        attack = lattice_attack_on(full, full, values, exact=True)
        assert [attack.bounds(place) for place in range(len(values))] == [(n, n) for n in true]
        attack = lattice_attack_on(full, rounded(board, full), values)
        for place, count in enumerate(true):
            low, high = attack.bounds(place)
            assert low <= count <= high
            assert high - low >= 5

    def test_costs_of_a_ranked_row_that_have_few_possible_values(self):
        returns, costs = hopper_row(5)
        board = board_of(HOPPER)
        full = score_row(board, a_row(returns, costs)).statistics
        exact = lattice_attack_on(full, full, COUNTS, exact=True)
        low, high = exact.bounds(0)
        assert high - low < 5  # with a quantile for every fifth episode
        attack = lattice_attack_on(full, rounded(board, full), COUNTS)
        for place in (0, 1, 2, 9, 10, 11):
            low, high = attack.bounds(place)
            assert low <= (costs == place).sum() <= high
            assert high - low >= 5


class TestOtherEpisodesLookTheSame:
    """For every episode there are rows in which it is another and everything public is equal."""

    @pytest.mark.parametrize(
        ("env", "episodes", "policies", "every"),
        [(HOPPER, hopper_row, 1, 5), (CHASM, cliff_row, 1, 5), (CHASM, cliff_row, 5, 50)],
        ids=["counts", "discounted", "ranked"],
    )
    def test_with_another_value(self, env, episodes, policies, every):
        """Even somebody who knew all other episodes but one could not tell the last ones."""
        rows = episodes(policies)
        shown = public(env, *rows)
        for place in range(0, 100 * policies, every):
            where = divmod(place, 100)
            for kind in (0, 1):
                assert self._has_other_value(env, rows, kind, where, shown), (kind, where)

    def _has_other_value(self, env, rows, kind, where, shown):
        numbers = rows[kind][where[0]]
        others = [
            v for v in np.unique(numbers) if abs(v - rows[kind][where]) > 0.02 * np.ptp(numbers)
        ]
        nearest = sorted(others, key=lambda value: abs(value - rows[kind][where]))[:6]
        for value in nearest:
            changed = [row.copy() for row in rows]
            changed[kind][where] = value
            if public(env, *changed) == shown:
                return True
        return self._has_other_pair(env, rows, kind, where, nearest, shown)

    def _has_other_pair(self, env, rows, kind, where, values, shown):
        """The same if a second episode of the policy changes in the opposite direction."""
        policy, mine = where
        numbers = rows[kind][policy]
        known = np.unique(numbers)
        for value in values:
            wanted = numbers - (value - numbers[mine])  # of each partner, to keep the sum
            closest = known[np.abs(known[:, None] - wanted).argmin(axis=0)]
            missed = np.abs(closest - wanted)
            missed[mine] = np.inf
            for partner in missed.argsort()[:6]:
                changed = [row.copy() for row in rows]
                changed[kind][policy, [mine, partner]] = value, closest[partner]
                if public(env, *changed) == shown:
                    return True
        return False

    def test_with_another_order(self):
        """Which episode was which is not public: episodes of a policy exchanged look the same."""
        rows = cliff_row(1)
        shown = public(CHASM, *rows)
        rng = np.random.default_rng(0)
        for place in range(0, 100, 4):
            for kind in (0, 1):
                others = np.flatnonzero(rows[kind][0] != rows[kind][0, place])
                assert any(
                    self._exchanged(CHASM, rows, kind, place, other) == shown
                    for other in rng.permutation(others)[:10]
                )

    def _exchanged(self, env, rows, kind, one, other):
        changed = [row.copy() for row in rows]
        changed[kind][0, [one, other]] = changed[kind][0, [other, one]]
        return public(env, *changed)
