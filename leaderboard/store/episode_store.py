"""Keeps every evaluated episode exactly once."""

from __future__ import annotations

import json
from collections.abc import Mapping

import sqlalchemy as sa

from leaderboard.scores.scored_episodes import EpisodeSums, ScoredEpisodes, episodes_of
from leaderboard.store.tables import episode, policy


def keep_episodes(
    connection: sa.Connection, policy_id: int, split: str, episodes: Mapping[int, EpisodeSums]
) -> None:
    """Keep episodes by seed index; one that is already kept is the same and stays."""
    present = kept_indices(connection, policy_id, split)
    rows = [
        {
            "policy_id": policy_id,
            "split": split,
            "seed_index": index,
            "total_return": sums.total_return,
            "plain_return": sums.plain_return,
            "costs": json.dumps(sums.costs, allow_nan=False),
            "plain_costs": json.dumps(sums.plain_costs, allow_nan=False),
            "length": sums.length,
        }
        for index, sums in episodes.items()
        if index not in present
    ]
    if rows:
        connection.execute(sa.insert(episode), rows)


def keep_cpu_seconds(connection: sa.Connection, policy_id: int, seconds: float) -> None:
    """Keep the processor time that a policy has used for its kept episodes."""
    this = policy.c.id == policy_id
    connection.execute(sa.update(policy).where(this).values(cpu_seconds=seconds))


def drop_episodes(connection: sa.Connection, submission_id: int) -> None:
    """Forget a submission's episodes and what its policies used for them."""
    this = policy.c.submission_id == submission_id
    policies = sa.select(policy.c.id).where(this)
    connection.execute(sa.delete(episode).where(episode.c.policy_id.in_(policies)))
    connection.execute(sa.update(policy).where(this).values(cpu_seconds=0.0))


def kept_indices(connection: sa.Connection, policy_id: int, split: str) -> set[int]:
    """Return the seed indices of the kept episodes."""
    query = sa.select(episode.c.seed_index).where(
        episode.c.policy_id == policy_id, episode.c.split == split
    )
    return set(connection.execute(query).scalars())


def count_episodes(connection: sa.Connection, submission_id: int, split: str) -> int:
    """Return the number of kept episodes of a submission."""
    query = (
        sa.select(sa.func.count())
        .select_from(episode.join(policy))
        .where(policy.c.submission_id == submission_id, episode.c.split == split)
    )
    return int(connection.execute(query).scalar_one())


def scored_episodes(connection: sa.Connection, submission_id: int, split: str) -> ScoredEpisodes:
    """Return all episodes of a submission, ordered by policy and seed index."""
    query = (
        sa.select(policy.c.position, episode)
        .join(policy)
        .where(policy.c.submission_id == submission_id, episode.c.split == split)
        .order_by(policy.c.position, episode.c.seed_index)
    )
    rows = connection.execute(query).all()
    policies = len({row.position for row in rows})
    return episodes_of(
        (
            EpisodeSums(
                row.total_return,
                tuple(json.loads(row.costs)),
                row.plain_return,
                tuple(json.loads(row.plain_costs)),
                row.length,
            )
            for row in rows
        ),
        policies,
    )
