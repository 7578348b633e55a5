"""What attackers may send to the service, and what it answers."""

import json
import random
import time

import pytest
import sqlalchemy as sa

from leaderboard.store.accounts import account_id_of
from leaderboard.store.submission_store import DAY, keep_submission
from leaderboard.store.tables import policy, submission
from leaderboard.submissions.metadata import LARGEST_METADATA
from leaderboard.web.service import create_app
from tests.leaderboard import onnx_models
from tests.leaderboard.app_client import AppClient
from tests.leaderboard.server import FILE_HEAD, LIMITS, PATH
from tests.leaderboard.submissions import (
    QUICK,
    a_form,
    a_store,
    a_submission,
    fields_for,
    header_of,
    policy_for,
)

PAGES = ("", "boards/Safe_ConstrainedRegression-v0/index.html", "submissions/1.html")


@pytest.fixture(scope="module")
def victim(tmp_path_factory):
    """A client of a service that is attacked again and again, and the header with its token."""
    database = a_store(tmp_path_factory.mktemp("victim") / "store.sqlite")
    with AppClient(create_app(database, limits=LIMITS)) as client:
        yield client, header_of(database, "eve"), database
    database.close()


def form_with(meta, *more):
    policies = [("policies", ("p.onnx", policy_for(QUICK), "application/octet-stream"))]
    return [("meta", ("meta.json", meta, "application/json")), *policies, *more]


def send(victim, form, **settings):
    client, header, _ = victim
    return client.post(PATH, files=form, headers=header | settings.pop("headers", {}), **settings)


def told(**changes):
    return json.dumps(fields_for(QUICK, [policy_for(QUICK)], **changes)).encode()


def with_text(text):
    """Return metadata whose JSON is changed as text: the algorithm's name is replaced."""
    return told(algorithm="@").replace(b'"@"', text)


METADATA = {
    "too large": (told(citation=" " * LARGEST_METADATA), "meta has 33,"),
    "too deep": (b"[" * 16_000 + b"]" * 16_000, "meta.json nests deeper than 8 levels"),
    "deep and open": (b'{"a":' * 6000, "meta.json nests deeper than 8 levels"),
    "quotes without end": (b'"' + b'\\"' * 16_000, "meta.json is not JSON: JSONDecodeError"),
    "NaN": (told(wall_seconds=0.5).replace(b"0.5", b"NaN"), "meta.json contains NaN"),
    "Infinity": (
        told(wall_seconds=0.5).replace(b"0.5", b"-Infinity"),
        "meta.json contains -Infinity",
    ),
    "1e999": (
        told(wall_seconds=0.5).replace(b"0.5", b"1e999"),
        "contains 1e999, which is too large a number",
    ),
    "digits": (told(wall_seconds=0.5).replace(b"0.5", b"9" * 5000), "meta.json is not JSON: Value"),
    "a key twice": (with_text(b'"a", "algorithm": "b"'), "meta.json repeats a key"),
    "unknown field": (told(rank=1), "rank: Extra inputs are not permitted"),
    "RTL override": (told(algorithm="\u202egnp"), "has invisible characters (U+202E); remove them"),
    "10 kB name": (told(algorithm="A" * 10_000), "algorithm: Value error, has 10000 characters"),
    "only blanks": (told(algorithm=" \u3000"), "algorithm: Value error, has 0 characters"),
    "grows by NFC": (told(algorithm="\ufb2c" * 80), "algorithm: Value error, has 240 characters"),
    "zalgo": (told(algorithm="a" + "\u0335" * 9), "puts more than three marks on a letter"),
    "javascript:": (
        told(url="javascript:alert(1)"),
        "url: Value error, is not an https:// address",
    ),
    "data:": (told(code_url="data:text/html,x"), "code_url: Value error, is not an https://"),
    "link with a quote": (
        told(url='https://a.b/ "onclick'),
        "url: Value error, is not an https://",
    ),
    "a surrogate": (with_text(b'"\\ud800"'), "has invisible characters (U+D800); remove them"),
    "null": (with_text(b'"a\\u0000b"'), "has invisible characters (U+0000); remove them"),
    "a raw null": (with_text(b'"a\x00b"'), "meta.json is not JSON: JSONDecodeError"),
    "no UTF-8": (with_text(b'"\xff\xfe"'), "meta.json is not JSON: UnicodeDecodeError"),
    "UTF-16": (told().decode().encode("utf-16"), "meta.json is not JSON: UnicodeDecodeError"),
    "empty": (b"", "meta.json is not JSON: JSONDecodeError"),
    "a list": (b"[]", "meta.json: Input should be"),
    "no consent": (told(consent=False), "consent: Input should be True"),
    "unknown board": (told(env="../../etc"), "env: '../../etc' has no board; the boards are Safe/"),
    "negative steps": (told(training_steps=-1), "training_steps: Input should be greater"),
    "another's digest": (told(sha256=["0" * 64]), "policy 0 has SHA-256"),
}  # fmt: skip


class TestMetadata:
    @pytest.mark.parametrize("name", METADATA)
    def test_bad_metadata_is_refused_quickly(self, victim, name):
        content, message = METADATA[name]
        start = time.process_time()
        answer = send(victim, form_with(content))
        assert time.process_time() - start < 1.0
        assert answer.status_code == 422
        assert message in answer.json()["detail"]
        assert len(answer.text) < 1000

    def test_what_looks_like_an_attack_may_be_a_name(self, store):
        names = [
            "<script>alert(1)</script>", "'; drop table submission; --", '" onmouseover="x',
            "=cmd|' /C calc'!A1", "{{ 7 * 7 }}", "</script><svg/onload=x>", "%s%n", "../../x",
        ]  # fmt: skip
        with store.writing() as connection:
            owner = account_id_of(connection, "eve")
        for number, name in enumerate(names):
            given = a_submission(
                first_seed=number, algorithm=name, authors=[name], organisation=name,
                hardware=name, citation=name, hyperparameters={name: [name, {name: name}]},
                framework_versions={name: name}, family=name, code_licence=name,
            )  # fmt: skip
            keep_submission(store, given, owner, quota=False)
        with AppClient(create_app(store, limits=LIMITS)) as client:
            pages = [client.get(f"/submissions/{n + 1}.html").text for n in range(len(names))]
            pages += [client.get(f"/{page}").text for page in PAGES]
            told = client.get(f"{PATH}/2").json()["metadata"]["algorithm"]
            table = client.get("/boards/Safe_ConstrainedRegression-v0/board.csv").text
        for page in pages:
            for evil in ("<script>alert", "<svg", '" onmouseover="x"', ">49<"):
                assert evil not in page
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in pages[0]
        assert told == names[1]
        assert "'=cmd|' /C calc'!A1" in table
        assert ",=cmd" not in table
        with store.reading() as connection:
            kept = connection.execute(sa.select(submission.c.meta)).scalars().all()
        assert [json.loads(meta)["algorithm"] for meta in kept] == names

    def test_one_bad_submission_does_not_take_the_pages_with_it(self, victim):
        client, _, _ = victim
        extreme = told(
            wall_seconds=1.7e308, training_steps=10**15, training_seeds=[2**63 - 1],
            hyperparameters={"x": 1.7e308, "y": int("9" * 4000), "z": -0.0},
            claim={"mean_return": 1.7e308, "mean_costs": [-1.7e308], "episodes": 10**7},
            cost_limits=[-1.7e308], citation="a\u2028b\n\n\x0cc", algorithm="\ufb2c" * 26,
        )  # fmt: skip
        answer = send(victim, form_with(extreme))
        assert answer.status_code == 202
        for path in (*PAGES, f"submissions/{answer.json()['id']}.html"):
            assert client.get(f"/{path}").status_code == 200
        assert client.get(answer.json()["status"]).status_code == 200


PART = ("policies", ("p.onnx", b"x", "application/octet-stream"))
FORMS = {
    "no meta": ([PART], 422, "the form has 0 parts named 'meta'; send one"),
    "two metas": (
        form_with(told(), ("meta", ("m", told(), "text/plain"))),
        422,
        "the form has 2 parts named 'meta'",
    ),
    "no policies": (
        form_with(told())[:1], 422,
        "there are 0 policy files but the metadata lists 1",
    ),
    "too many files": (form_with(told(), *[PART] * 20), 400, "Too many files"),
    "too many fields": (
        [(f"f{n}", (None, b"x")) for n in range(9)], 400, "Too many fields. Maximum number of"
    ),
    "an unknown part": (
        form_with(told(), ("<b>", ("x", b"x", "text/plain"))), 422, 'the form has parts ["<b>"]'
    ),
    "a large field": ([("meta", (None, b" " * 40_000))], 400, "Part exceeded maximum size of 32KB"),
    "bad curves": (form_with(told(), ("curves", ("c", b"{", "a/b"))), 422, "curves.json is not a"),
    "large curves": (
        form_with(told(), ("curves", ("c", b" " * 600_000, "a/b"))), 422, "curves has 600,000 bytes"
    ),
}  # fmt: skip


class TestForms:
    @pytest.mark.parametrize("name", FORMS)
    def test_bad_forms_are_refused(self, victim, name):
        form, status, message = FORMS[name]
        answer = send(victim, form)
        assert (answer.status_code, message in answer.json()["detail"]) == (status, True)

    @pytest.mark.parametrize(
        ("kind", "status", "message"),
        [
            ("application/json", 415, "send a form, Content-Type: multipart/form-data"),
            ("application/x-www-form-urlencoded", 415, "send a form"),
            ("text/plain; boundary=xyz", 415, "send a form"),
            ("", 415, "send a form"),
            ("multipart/form-data", 400, "Missing boundary in multipart."),
            ("multipart/form-data; boundary=other", 400, "Invalid multipart data."),
            (f"multipart/form-data; boundary={'x' * 5000}", 400, "Invalid multipart data."),
        ],
    )
    def test_other_kinds_of_content_are_refused(self, victim, kind, status, message):
        client, header, _ = victim
        sent = client.post(PATH, content=FILE_HEAD, headers=header | {"Content-Type": kind})
        assert sent.status_code == status
        assert message in sent.json()["detail"]

    @pytest.mark.parametrize("charset", ["unicode_escape", "idna", "punycode", "utf-7", "hex", "x"])
    def test_character_sets_do_not_bypass_the_checks(self, victim, charset):
        client, header, _ = victim
        kind = f"multipart/form-data; boundary=xyz; charset={charset}"
        for value in (b"\\ud800", b"xn--\xff", b"\x00", b"-" * 5000):
            field = b'--xyz\r\nContent-Disposition: form-data; name="meta"\r\n\r\n'
            content = field + value + b"\r\n--xyz--\r\n"
            sent = client.post(PATH, content=content, headers=header | {"Content-Type": kind})
            assert sent.status_code in (400, 422), (charset, value)

    @pytest.mark.parametrize(
        "part",
        [
            b"Content-Disposition: form-data\r\n\r\nx",
            b"X: y\r\n\r\nx",
            b'Content-Disposition: form-data; name="meta\r\n\r\nx',
            b"Content-Disposition: form-data; name*=utf-8''%ff\r\n\r\nx",
            b'Content-Disposition: form-data; name="meta"\r\nX: ' + b"y" * 100_000 + b"\r\n\r\nx",
            b'Content-Disposition: form-data; name="meta"\r\n' + b"X: y\r\n" * 1000 + b"\r\nx",
            b"\x00\xff\r\n\r\nx",
            b"",
        ],
    )
    def test_broken_parts_are_refused(self, victim, part):
        client, header, _ = victim
        kind = {"Content-Type": "multipart/form-data; boundary=xyz"}
        content = b"--xyz\r\n" + part + b"\r\n--xyz--\r\n"
        sent = client.post(PATH, content=content, headers=header | kind)
        assert sent.status_code in (400, 422)
        assert isinstance(sent.json()["detail"], str)

    def test_the_names_of_files_are_ignored(self, victim):
        names = ["../../../etc/cron.d/x", "C:\\x", "a\x00b", "x" * 3000, "<script>", ""]
        for number, name in enumerate(names[:5]):
            given = a_submission(first_seed=100 + number)
            form = [(part, (name, content, kind)) for part, (_, content, kind) in a_form(given)]
            answer = send((victim[0], header_of(victim[2], f"n{number}"), None), form)
            assert answer.status_code == 202
            with victim[2].reading() as connection:
                kept = sa.select(policy.c.content).filter_by(submission_id=answer.json()["id"])
                assert connection.execute(kept).scalar_one() == given.policies[0]


def spoiled_policies():
    """Return files that are not policies, by what is wrong with them."""
    good = policy_for(QUICK)
    rng = random.Random(3)
    found = {
        "empty": b"",
        "garbage": rng.randbytes(5000),
        "zeros": bytes(5000),
        "truncated": good[: len(good) // 2],
        "pickle": onnx_models.pickled(),
        "zip": b"PK\x03\x04" + bytes(100),
        "external data": onnx_models.external_data("/etc/passwd"),
        "loop": onnx_models.endless_loop(),
        "huge constant": onnx_models.constant_of_shape(),
        "another domain": onnx_models.custom_domain(),
    }
    return found


class TestPolicies:
    @pytest.mark.parametrize("name", spoiled_policies())
    def test_no_policy_no_submission(self, victim, name):
        answer = self.submit(victim, spoiled_policies()[name])
        assert answer.status_code == 422
        assert answer.json()["detail"].startswith("policy 0: ")
        assert len(answer.text) < 2000

    def test_flipped_bits_are_refused_or_accepted_and_nothing_breaks(self, victim):
        good, rng = policy_for(QUICK, seed=50), random.Random(5)
        _, _, database = victim
        statuses = []
        for number in range(60):
            spoiled = bytearray(good)
            spoiled[rng.randrange(len(good))] ^= 1 << rng.randrange(8)
            if number % 5 == 0:
                with database.writing() as connection:
                    old = {"submitted_at": time.time() - DAY - 1}
                    connection.execute(sa.update(submission).values(**old))
            statuses.append(self.submit(victim, bytes(spoiled)).status_code)
        assert set(statuses) <= {202, 409, 422, 429}
        assert statuses.count(422) > 5
        assert victim[0].get("/health").status_code == 200

    @staticmethod
    def submit(victim, content):
        meta = json.dumps(fields_for(QUICK, [content])).encode()
        form = [("meta", ("m", meta, "a/b")), ("policies", ("p", content, "a/b"))]
        return send(victim, form)
