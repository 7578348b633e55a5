"""Every file that somebody thought of is refused, with the right words, before anything runs."""

import pytest

from leaderboard.policy_files import gate
from leaderboard.policy_files.gate import PolicyRefused, check_policy
from tests.leaderboard.onnx_models import ACTIONS, OBSERVATIONS
from tests.leaderboard.policy_files.hostile_content import CONTENT
from tests.leaderboard.policy_files.hostile_memory import MEMORY

HOSTILE = {**CONTENT, **MEMORY}


def test_no_file_is_listed_twice():
    assert len(HOSTILE) == len(CONTENT) + len(MEMORY) >= 170
    assert len({content for content, _ in HOSTILE.values()}) == len(HOSTILE)


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_refused_without_running_anything(name, monkeypatch):
    monkeypatch.setattr(gate, "SandboxedPolicy", None)
    content, message = HOSTILE[name]
    with pytest.raises(PolicyRefused) as refusal:
        check_policy(content, OBSERVATIONS, ACTIONS)
    said = str(refusal.value)
    assert said.isprintable()
    assert len(said) < 2000
    if message.endswith("..."):
        assert said.startswith(message[:-3])
    else:
        assert said == message
