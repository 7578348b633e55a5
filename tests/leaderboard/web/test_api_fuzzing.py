"""Random requests against the API's own description, and random bytes against its parsers."""

import json

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance

from leaderboard.store.request_limits import Limits
from leaderboard.store.submission_store import withdraw
from leaderboard.submissions.metadata import Metadata, MetadataRefused, parse_metadata
from leaderboard.submissions.submission import SubmissionRefused, curves_json, parse_curves
from leaderboard.web.service import create_app
from tests.leaderboard.app_client import AppClient
from tests.leaderboard.submissions import (
    QUICK,
    a_form,
    a_store,
    a_submission,
    fields_for,
    header_of,
    policy_for,
)

LIMITS = Limits(reads=10**6, writes=10**6, wrong_tokens=10**6)
REPEATABLE = settings(
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
EXCLUDED = [positive_data_acceptance]  # files of the right form need not be policies
GOOD = fields_for(QUICK, [policy_for(QUICK)])


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    """A store with a submission, so that there is something to read."""
    store = a_store(tmp_path_factory.mktemp("fuzzing") / "store.sqlite")
    with AppClient(create_app(store, limits=LIMITS)) as client:
        header = header_of(store, "ada")
        form = a_form(a_submission())
        assert client.post("/api/v1/submissions", files=form, headers=header).status_code == 202
    withdraw(store, 1, "test")
    yield store
    store.close()


@pytest.fixture(scope="module")
def api(database):
    return schemathesis.openapi.from_asgi("/openapi.json", create_app(database, limits=LIMITS))


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
@pytest.mark.parametrize("has_token", [False, True], ids=["stranger", "token"])
def test_every_answer_is_as_described(api, database, mode, has_token):
    """Requests that fit the description, and some that do not, get only answers that it lists."""
    headers = header_of(database, "eve") if has_token else {}
    operations = [found.ok() for found in api.get_all_operations()]
    assert len(operations) == 5
    statuses = set()
    for operation in operations:
        if mode is GenerationMode.NEGATIVE and not (operation.path_parameters or operation.body):
            continue  # there is nothing to get wrong

        @settings(REPEATABLE, max_examples=10)
        @given(case=operation.as_strategy(generation_mode=mode))
        def check(case):
            answer = case.call(headers=headers)
            case.validate_response(answer, excluded_checks=EXCLUDED)
            statuses.add(answer.status_code)

        check()
    assert statuses & {200, 404, 422}
    assert has_token or 401 in statuses


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=12,
)
NAMES = st.sampled_from([*Metadata.model_fields, "other"])


def kept_as_it_is_read(content: bytes) -> None:
    """Check that metadata is either refused or kept and read back from the store."""
    try:
        metadata = parse_metadata(content)
    except MetadataRefused:
        return
    stored = metadata.model_dump_json()
    again = Metadata.model_validate_json(stored)
    assert again.model_dump_json() == stored
    assert json.loads(json.dumps(metadata.model_dump(mode="json"), allow_nan=False)) is not None


@settings(REPEATABLE, max_examples=100)
@given(st.binary(max_size=200))
@example(b"\xef\xbb\xbf{}")
@example(b'"' + b'\\"' * 16_000)
@example(b"[" * 30_000)
def test_bytes_as_metadata(content):
    kept_as_it_is_read(content)


@settings(REPEATABLE, max_examples=80)
@given(st.dictionaries(NAMES, JSON, max_size=6))
def test_json_as_metadata(changes):
    kept_as_it_is_read(json.dumps(GOOD | changes).encode())


@settings(REPEATABLE, max_examples=80)
@given(
    st.fixed_dictionaries(
        {},
        optional={
            "algorithm": st.text(max_size=90),
            "authors": st.lists(st.text(max_size=90), min_size=1, max_size=3),
            "citation": st.text(alphabet=st.characters(), max_size=60),
            "hyperparameters": st.dictionaries(st.text(min_size=1, max_size=5), JSON, max_size=3),
            "wall_seconds": st.floats(min_value=0) | st.integers(min_value=0),
            "url": st.from_regex(r"https://[!-~]{0,20}", fullmatch=True),
            "training_seeds": st.lists(st.integers(), min_size=1, max_size=1),
        },
    )
)
@example({"algorithm": " "})
@example({"algorithm": "\ufb2c" * 80})
@example({"hyperparameters": {" ": 1}})
@example({"citation": "\ufb2c" * 1999})
def test_plausible_metadata_is_kept_so_that_it_can_be_read(changes):
    kept_as_it_is_read(json.dumps(GOOD | changes).encode())


def curves_or_refusal(content: bytes) -> None:
    try:
        found = parse_curves(content)
    except SubmissionRefused:
        return
    assert parse_curves(curves_json(found)) == found


@settings(REPEATABLE, max_examples=100)
@given(st.binary(max_size=200))
@example(b"[" * 100_000)
@example(b"[{" * 100_000)
@example(b"9" * 10_000)
def test_bytes_as_curves(content):
    curves_or_refusal(content)


NUMBERS = st.lists(st.integers() | st.floats(), max_size=3) | JSON


@settings(REPEATABLE, max_examples=100)
@given(
    JSON
    | st.lists(
        st.fixed_dictionaries(
            {"steps": NUMBERS, "returns": NUMBERS, "costs": st.lists(NUMBERS, max_size=2)}
        ),
        max_size=2,
    )
)
@example([{"steps": [10**400], "returns": [0], "costs": [[0]]}])
@example([{"steps": [True], "returns": [0], "costs": [[0]]}])
def test_json_as_curves(data):
    curves_or_refusal(json.dumps(data).encode())
