"""The evaluator's intervals cover the exact value of a policy as often as documented."""

import numpy as np
import pytest

from agents.tabular import linear_program
from baselines.names.environments import parse_environment_name, tabular_model_of
from leaderboard.boards.board import EPISODES_PER_POLICY, RANKED_POLICIES, board_of
from leaderboard.evaluation.episodes import EpisodePlayer
from leaderboard.scores.scoring import score_row
from leaderboard.store.episode_store import episodes_of
from leaderboard.store.seasons import episode_seeds

REPETITIONS = 100
SEASON_SECRETS = [bytes([number] * 32) for number in range(REPETITIONS)]


class Table:
    """Answers with the logits of a table (S, A)."""

    def __init__(self, probabilities):
        self.logits = np.log(probabilities + 1e-30)

    def outputs(self, observations):
        return {"logits": observations @ self.logits}


@pytest.mark.slow
def test_the_exact_optimum_lies_within_its_interval_in_at_least_89_of_100_seasons():
    """The optimum of the linear program: its exact return is the board's reference."""
    board = board_of("Safe/DeepSeaTreasure-v0")
    model = tabular_model_of(parse_environment_name(board.env))
    optimum = linear_program(model)
    count = EPISODES_PER_POLICY * RANKED_POLICIES
    inside = np.zeros(3)
    with EpisodePlayer(board, count) as player:
        for secret in SEASON_SECRETS:
            seeds = episode_seeds(secret, board, range(count))
            episodes = player.play(Table(optimum.policy), True, seeds)
            found = score_row(board, episodes_of(episodes, RANKED_POLICIES)).statistics
            (cost,) = found.costs
            expected = (board.reference_return, 1.0, float(optimum.costs[0]))
            intervals = (found.mean_return, found.score, cost.mean)
            inside += [
                interval.low <= value <= interval.high
                for interval, value in zip(intervals, expected, strict=True)
            ]
    assert (inside >= 89).all(), inside
