"""Near-copies are found in whatever form they come, and honest trainings are not."""

import hashlib
import json
import threading
import time
from typing import ClassVar

import gymnasium as gym
import numpy as np
import pytest
import sqlalchemy as sa

from leaderboard.boards.board import board_of
from leaderboard.evaluation import copy_check
from leaderboard.evaluation.copy_check import compare_next, compare_submission
from leaderboard.evaluation.fingerprints import AskedPolicy, random_states
from leaderboard.evaluation.worker import evaluate_next, work
from leaderboard.policy_files.canonical_form import canonical_form
from leaderboard.policy_files.state_audit import AGAIN
from leaderboard.scores.behavior import ALIKE
from leaderboard.scores.near_copies import Origin
from leaderboard.store.accounts import account_id_of
from leaderboard.store.audit import record
from leaderboard.store.board_rows import BoardRows
from leaderboard.store.copy_store import copy_findings
from leaderboard.store.database import embedded_url, open_database
from leaderboard.store.seasons import close_season, open_season
from leaderboard.store.store_errors import StoreUnavailable
from leaderboard.store.submission_store import State, keep_submission, withdraw
from leaderboard.store.tables import fingerprint, near_copy
from leaderboard.submissions.metadata import parse_metadata
from leaderboard.submissions.submission import Submission, SubmissionRefused, check_submission
from tests.leaderboard import variants
from tests.leaderboard.onnx_models import Network, network_policy
from tests.leaderboard.submissions import QUICK, a_store, fields_for
from tests.leaderboard.tabular_policies import submission_for, table_policy

SEA = "Safe/DeepSeaTreasure-v0"


@pytest.fixture
def database(tmp_path):
    opened = a_store(tmp_path / "store.sqlite")
    yield opened
    opened.close()


def fitted_network(seed, samples=64):
    """Return a network that fits the board's target on samples and from features of its own.

    All such trainings find nearly the same function, as good trainings do.
    """
    rng = np.random.default_rng(seed)
    network = Network.random(1, 24, 1, seed=seed)
    network.weights[0][:] *= 4.0
    network.biases[0][:] *= 30.0
    x = rng.uniform(-2.0, 2.0, (samples, 1))
    target = np.clip(np.sin(x) + np.sin(3 * x) + np.sin(7 * x), -1.4, 1.4)
    hidden = np.tanh(x @ network.weights[0] + network.biases[0])
    gram = hidden.T @ hidden + np.eye(24)
    network.weights[1][:] = np.linalg.solve(gram, hidden.T @ target)
    return network


def fitted(seed):
    """Return the same as a policy."""
    return network_policy(fitted_network(seed))


ORIGINAL = fitted_network(100)


def trained_table(seed, rounds, step=3.0):
    """Return the logits of a softmax policy after rounds of the natural policy gradient."""
    model = gym.make(SEA).unwrapped.tabular_model()
    states, actions = model.reward.shape
    logits = np.random.default_rng(seed).normal(size=(states, actions))
    for _ in range(rounds):
        policy = np.exp(logits - logits.max(axis=1, keepdims=True))
        policy /= policy.sum(axis=1, keepdims=True)
        onward = np.einsum("sa,sat->st", policy, model.P)
        value = np.linalg.solve(
            np.eye(states) - model.discount * onward, (policy * model.reward).sum(axis=1)
        )
        advantage = model.reward + model.discount * model.P @ value - value[:, None]
        logits += step * advantage
    return logits


def probabilities(logits):
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    return weights / weights.sum(axis=1, keepdims=True)


def sent(database, policies, account="alice", env=QUICK, **changes):
    """Keep a submission and return its number."""
    metadata = parse_metadata(json_of(fields_for(env, policies, **changes)))
    given = Submission(metadata, tuple(policies))
    check_submission(given)
    with database.writing() as connection:
        number = account_id_of(connection, account)
    return keep_submission(database, given, number, quota=False).id


def sent_tables(database, tables):
    """Keep a submission of tables and return its number."""
    given = submission_for(SEA, [table_policy(table) for table in tables])
    with database.writing() as connection:
        account = account_id_of(connection, "alice")
    return keep_submission(database, given, account, quota=False).id


def json_of(fields):
    return json.dumps(fields).encode()


def findings(database, number):
    compare_submission(database, number)
    return copy_findings(database)[number]


def copies(kind):
    """Return three files of one policy."""
    content = network_policy(ORIGINAL)
    if kind == "permuted hidden units":
        return [content, *(variants.permuted(ORIGINAL, "action", seed) for seed in range(2))]
    relative, size = kind
    noisy = [variants.noisy(content, size, relative=relative, seed=seed) for seed in range(2)]
    return [content, *noisy]


FORMS = [lambda c: c, variants.renamed, variants.with_reordered_nodes, variants.with_constant_nodes,
         variants.with_listed_numbers]  # fmt: skip


def test_one_policy_under_five_seeds_in_five_forms_is_refused():
    policies = [form(network_policy(ORIGINAL)) for form in FORMS]
    assert len({hashlib.sha256(content).digest() for content in policies}) == 5
    metadata = parse_metadata(json_of(fields_for(QUICK, policies)))
    with pytest.raises(SubmissionRefused) as refused:
        check_submission(Submission(metadata, tuple(policies)))
    assert str(refused.value) == (
        "policies 0 and 1 are the same but for names, comments or the order of their parts; send "
        "one policy per training seed, each once"
    )


def test_the_same_set_in_another_form_is_the_same_submission(database):
    policies = [fitted(seed) for seed in range(5)]
    first = sent(database, policies)
    assert sent(database, [variants.renamed(each) for each in policies[::-1]], "bob") == first


@pytest.mark.parametrize(
    "kind", ["permuted hidden units", (True, 1e-6), (True, 1e-3), (False, 1e-6), (False, 1e-3)]
)
def test_near_copies_are_found(database, kind):
    found = findings(database, sent(database, copies(kind)))
    assert (found.policies, found.copied, found.distinct) == (3, 2, 1)
    pairs = {(near.position, near.original) for near in found.near_copies}
    assert {(1, 0), (2, 0)} <= pairs  # the later one is the copy
    assert pairs <= {(1, 0), (2, 0), (2, 1)}  # two copies differ by the noise of both
    assert {near.origin for near in found.near_copies} == {Origin.OWN}
    assert all(near.distance < ALIKE for near in found.near_copies)


def test_honest_policies_are_not_found(database):
    """Random ones, and trainings that all find nearly the same function."""
    for policies in (
        [network_policy(Network.random(1, 16, 1, seed=seed)) for seed in range(5)],
        [fitted(seed) for seed in range(5)],
    ):
        assert findings(database, sent(database, policies)).near_copies == ()


@pytest.mark.parametrize("rounds", [1, 300])
def test_honest_tables_are_not_found_even_at_the_same_optimum(database, rounds):
    tables = [probabilities(trained_table(seed, rounds, step=20.0)) for seed in range(5)]
    if rounds == 300:  # nearly deterministic, and nearly all agree
        assert min(np.median(table.max(axis=1)) for table in tables) > 0.9999
        choices = np.array([table.argmax(axis=1) for table in tables])
        assert np.mean(choices == choices[0]) > 0.9
    assert findings(database, sent_tables(database, tables)).near_copies == ()


def test_scaled_logits_of_a_nearly_deterministic_policy_are_near_copies(database):
    logits = np.clip(trained_table(0, 100), -5.0, 5.0)
    tables = [probabilities(scale * logits) for scale in (1.0, 1.1, 1.2)]
    assert findings(database, sent_tables(database, tables)).copied == 2


def test_a_copy_of_another_row_names_it_whoever_is_compared_first(database):
    originals = [fitted(seed) for seed in range(5)]
    first = sent(database, originals)
    mixed = [variants.noisy(originals[3], 1e-4, relative=True), fitted(50), fitted(51)]
    second = sent(database, mixed, "bob")
    compare_submission(database, second)
    assert copy_findings(database)[second].near_copies == ()
    compare_submission(database, first)
    found = copy_findings(database)
    assert found[first].near_copies == ()  # it came first, though it was compared second
    (near,) = found[second].near_copies
    assert (near.position, near.submission, near.original) == (0, first, 3)
    assert (near.origin, found[second].distinct) == (Origin.COPY, 2)


def test_own_resubmissions_count_in_the_same_season_only_and_withdrawn_ones_too(database):
    originals = [fitted(seed) for seed in range(2)]

    def again(seed):
        return [variants.noisy(each, 1e-4, relative=True, seed=seed) for each in originals]

    first = sent(database, originals)
    findings(database, first)
    withdraw(database, first, "alice")
    second = sent(database, again(1))
    assert {near.origin for near in findings(database, second).near_copies} == {Origin.RESUBMISSION}
    close_season(database, "admin")
    open_season(database, "admin")
    third = findings(database, sent(database, again(2)))
    assert {near.origin for near in third.near_copies} == {Origin.EARLIER_SEASON}
    assert (third.copied, third.originals(Origin.EARLIER_SEASON)) == (0, [first, second])


def test_an_evaluation_compares_and_an_idle_worker_does_so_for_rows_of_an_older_store(database):
    """Until then they are shown as not compared."""
    number = sent(database, copies("permuted hidden units")[:2])
    assert evaluate_next(database, "worker") == (number, State.SCORED)
    rows = BoardRows(database)
    assert rows.row(number).ranked.candidate.copies.copied == 1
    with database.writing() as connection:
        connection.execute(sa.delete(near_copy))
        connection.execute(sa.delete(fingerprint))
        record(connection, "test", "forget", "")
    assert rows.row(number).ranked.candidate.copies is None
    stop = threading.Event()
    worker = threading.Thread(target=work, args=(database, stop, lambda text: None))
    worker.start()
    try:
        for _ in range(600):
            if rows.row(number).ranked.candidate.copies is not None:
                break
            time.sleep(0.05)
    finally:
        stop.set()
        worker.join()
    assert rows.row(number).ranked.candidate.copies.copied == 1
    assert compare_next(database, "worker", set()) is None


def test_a_submission_is_compared_later_if_the_store_takes_no_changes_now(database, monkeypatch):
    number = sent(database, [fitted(1)])
    assert evaluate_next(database, "worker") == (number, State.SCORED)
    with database.writing() as connection:
        connection.execute(sa.delete(fingerprint))

    def unavailable(*args):
        raise StoreUnavailable("the store is locked")

    left_out = set()
    with monkeypatch.context() as patch:
        patch.setattr(copy_check, "keep_comparison", unavailable)
        with pytest.raises(StoreUnavailable):
            compare_next(database, "worker", left_out)
    assert left_out == set()
    assert compare_next(database, "worker", left_out) == number


def test_no_call_is_longer_than_those_of_an_evaluation_however_many_policies_there_are():
    """Else a slow policy would be invalid on a board with many others, and only there."""

    class Process:
        sizes: ClassVar[list[int]] = []

        def outputs(self, observations):
            self.sizes.append(len(observations))
            return {"action": observations[:, :1].astype(np.float64)}

    policy = AskedPolicy(1, canonical_form(fitted(1)), Process(), board_of(QUICK), False)
    states = np.linspace(-2.0, 2.0, 1000, dtype=np.float32)[:, None]
    assert policy.answers(np.concatenate([states, states])).shape == (2000, 1)
    assert sum(Process.sizes) == 1000
    assert max(Process.sizes) <= AGAIN


def test_a_store_of_the_first_release_gets_the_tables(tmp_path):
    from alembic import command
    from alembic.config import Config

    import leaderboard.store.database as module

    url = embedded_url(tmp_path / "old.sqlite")
    database = open_database(url)
    config = Config()
    place = module.Path(module.__file__).parent / "migrations"
    config.set_main_option("script_location", str(place))
    with database.engine.connect() as plain:
        config.attributes["connection"] = plain.execution_options(writes=True)
        command.downgrade(config, "0001")
    assert "fingerprint" not in sa.inspect(database.engine).get_table_names()
    database.close()
    database = open_database(url)
    assert {"fingerprint", "near_copy"} <= set(sa.inspect(database.engine).get_table_names())
    database.close()


def test_random_states_are_the_same_in_every_process():
    board = board_of(SEA)
    first = random_states(board)
    random_states.cache_clear()
    np.testing.assert_array_equal(random_states(board), first)
    assert len(np.unique(first, axis=0)) > 5
