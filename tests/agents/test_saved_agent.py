"""What a file says about an agent: all of it is checked, and none of it runs."""

import io
import json
import pickle
import random
import sys
import zipfile
from contextlib import contextmanager

import cloudpickle
import numpy as np
import pytest
import torch
from safetensors.torch import load as read_tensors
from safetensors.torch import save as tensor_bytes

import agents
from agents.named_agents import NAMED_AGENTS
from agents.saved_agent import resume_random_numbers
from agents.saving.archive import DOCUMENT, TENSORS

INTEGRATOR = "Safe/DoubleIntegrator-v0"
SMALL = {"n_steps": 32, "n_epochs": 1, "batch_size": 32, "policy_kwargs": {"net_arch": [8]}}
SAFE = {"n_steps": 20, "n_epochs": 1, "actor_steps": 1, "policy_kwargs": {"width": 4, "blocks": 1}}
VALIDATED = {"validation_states": 2, "validation_horizon": 5, "groups": 0}


def trained(name, steps=64):
    settings = {**SAFE, **VALIDATED} if name == "SCPO" else SMALL
    return getattr(agents, name)("MlpPolicy", INTEGRATOR, seed=0, **settings).learn(steps)


def saved(agent, **arguments):
    file = io.BytesIO()
    agent.save(file, **arguments)
    return file


@pytest.fixture(scope="module")
def content():
    return saved(trained("PPOALM")).getvalue()


@pytest.fixture
def parts(content):
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return json.loads(archive.read(DOCUMENT)), read_tensors(archive.read(TENSORS))


def file_of(document, tensors):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(DOCUMENT, json.dumps(document))
        whole = {name: tensor.contiguous() for name, tensor in tensors.items()}
        archive.writestr(TENSORS, tensor_bytes(whole))
    return file


def refused(parts, message, load=agents.PPOALM.load):
    with pytest.raises(agents.SavedAgentError, match=message):
        load(file_of(*parts))


class Audit:
    """Python's own record of what could run code, while a block is running."""

    CODE = (
        "compile",
        "exec",
        "import",
        "marshal.loads",
        "os.system",
        "os.exec",
        "pickle.find_class",
    )

    def __init__(self):
        self.running, self.seen = False, []
        sys.addaudithook(self)  # for good: Python cannot remove it

    def __call__(self, event, arguments):
        if self.running and event.startswith((*self.CODE, "subprocess", "socket", "ctypes.dlopen")):
            self.seen.append((event, str(arguments)[:100]))

    @contextmanager
    def block(self):
        self.seen, self.running = [], True
        try:
            yield
        finally:
            self.running = False
        assert self.seen == []


@pytest.fixture(scope="session")
def audit():
    return Audit()


def forbidden(*given, **named):
    raise AssertionError("code could run")


@pytest.mark.parametrize("name", NAMED_AGENTS)
def test_loading_calls_nothing_that_could_run_code(name, monkeypatch, audit):
    """No pickle, no cloudpickle, no torch.load, no eval, and no import of a module."""
    agent = trained(name)
    file = saved(agent)
    expected = {key: array.clone() for key, array in agent.policy.state_dict().items()}
    agents.load(file, INTEGRATOR)  # libraries import at first use
    with monkeypatch.context() as patched:
        for module, names in (
            (pickle, ("load", "loads", "Unpickler", "_Unpickler")),
            (cloudpickle, ("load", "loads")),
            (torch, ("load",)),
            (np, ("load",)),
        ):
            for one in names:
                patched.setattr(module, one, forbidden)
        for module in ("save_util", "base_class"):
            patched.setattr(f"stable_baselines3.common.{module}.load_from_zip_file", forbidden)
        with audit.block():
            loaded = [agents.load(file), getattr(agents, name).load(file, device="cpu")]
            agent.set_parameters(file)
    for one in [*loaded, agent]:
        found = one.policy.state_dict()
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[key], expected[key]) for key in expected)


def test_the_audit_sees_a_pickle(audit):
    with pytest.raises(AssertionError), audit.block():
        pickle.loads(pickle.dumps(Audit.block))


LEGACY = np.random.mtrand._rand  # NumPy's own global numbers, which libraries use


def test_loading_leaves_random_numbers_alone():
    file = saved(trained("PPOLag"))
    torch.manual_seed(5), LEGACY.seed(5), random.seed(5)
    before = [torch.get_rng_state(), LEGACY.get_state()[1].copy(), random.getstate()]
    agents.load(file, INTEGRATOR)
    after = [torch.get_rng_state(), LEGACY.get_state()[1], random.getstate()]
    assert torch.equal(before[0], after[0])
    assert np.array_equal(before[1], after[1])
    assert before[2] == after[2]


def test_random_numbers_can_go_on_where_they_were():
    agent = trained("PPOLag")
    file = saved(agent)
    draws = [torch.rand(3).tolist(), LEGACY.rand(3).tolist(), random.random()]
    torch.manual_seed(5), LEGACY.seed(5), random.seed(5)
    resume_random_numbers(file)
    assert draws == [torch.rand(3).tolist(), LEGACY.rand(3).tolist(), random.random()]
    with pytest.raises(agents.SavedAgentError, match="'random_states' in the file is a NoneType"):
        resume_random_numbers(saved(agent, exclude=["random_states"]))


def test_what_can_be_left_out():
    agent = trained("PPOLag")
    assert agent.policy.optimizer.state_dict()["state"]
    small, whole = saved(agent, exclude=["optimizer"]), saved(agent)
    assert len(small.getvalue()) < len(whole.getvalue())
    assert agents.load(small).policy.optimizer.state_dict()["state"] == {}
    assert agents.load(saved(agent, exclude=["seed"])).seed is None
    assert agents.load(saved(agent, exclude=["seed"], include=["seed"])).seed == 0
    saved(agent, exclude=["env", "logger"])  # never in a file, and named by habit
    with pytest.raises(ValueError, match="exclude has 'gamma'; an agent cannot be made without"):
        saved(agent, exclude=["gamma"])
    with pytest.raises(ValueError, match="include has 'env'; files hold data only"):
        saved(agent, include=["env"])


def places_of(document, prefix=()):
    """The places of all values in a document, but random numbers, which loading does not use."""
    for name, one in document.items() if isinstance(document, dict) else enumerate(document):
        if (*prefix, name) in (("random_states",), ("packages",)):
            continue
        yield (*prefix, name)
        if isinstance(one, dict | list):
            yield from places_of(one, (*prefix, name))


def changed(document, place, value):
    document = json.loads(json.dumps(document))
    inner = document
    for name in place[:-1]:
        inner = inner[name]
    if value is KeyError:
        del inner[place[-1]]
    else:
        inner[place[-1]] = value
    return document


STRANGE = [KeyError, None, "x", -1, 10**30, [], {}, True, 1.5, {"$": "x"}]


@pytest.mark.filterwarnings("ignore")  # of libraries, about strange values
@pytest.mark.parametrize("number", range(len(STRANGE)))
def test_a_changed_document_is_refused_or_loads(parts, number):
    """Whatever stands at a place of the document, the outcome is an agent or a SavedAgentError.

    Every value is tried at every tenth place; all at all places take a minute.
    """
    document, tensors = parts
    value, places = STRANGE[number], list(places_of(document))
    assert len(places) > 200
    for place in places[number :: len(STRANGE)]:
        try:
            loaded = agents.PPOALM.load(file_of(changed(document, place, value), tensors))
        except agents.SavedAgentError:
            continue
        loaded.predict(loaded.observation_space.sample())


def test_tensors_that_are_missing_or_too_many(parts):
    document, tensors = parts
    for name in tensors:
        less = {key: one for key, one in tensors.items() if key != name}
        refused((document, less), f"the tensor '{name}' is missing in the file")
    refused((document, {**tensors, "more": torch.zeros(1)}), "the tensor 'more', which belongs to")
    more = changed(document, ("parameters", "more"), {"$": "tensor", "tensor": "more"})
    refused((more, {**tensors, "more": torch.zeros(1)}), "'more' is in the file, but has no place")
    less = changed(document, ("parameters", "action_net.bias"), KeyError)
    left = {key: one for key, one in tensors.items() if key != "parameters/action_net.bias"}
    refused((less, left), "'action_net.bias' is missing in the file")


WEIGHT = "parameters/action_net.weight"


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        (WEIGHT, lambda t: t.double(), "torch.float64 in the file, but the settings lead to"),
        (WEIGHT, lambda t: t.half(), "torch.float16 in the file"),
        (WEIGHT, lambda t: t[:, :-1], r"has shape \(1, 7\) .* but the settings lead to \(1, 8\)"),
        (WEIGHT, lambda t: t.T, r"has shape \(8, 1\)"),
        (WEIGHT, lambda t: t * torch.nan, "holds NaN or infinite numbers; the training diverged"),
        (WEIGHT, lambda t: t * torch.inf, "holds NaN or infinite numbers"),
        (
            "parameters/normalizer.mean",
            lambda t: torch.full_like(t, torch.nan),
            "'normalizer.mean' holds NaN",
        ),
        ("parameters/value_net.mean", lambda t: t * torch.nan, "'value_net.mean' holds NaN"),
        ("update/dual/_multiplier", lambda t: t.repeat(2), r"not an array of float64 and shape"),
        ("update/dual/_multiplier", lambda t: t.float(), r"numbers of float32"),
        ("update/dual/_multiplier", lambda t: t * torch.nan, "holds NaN"),
        ("update/dual/_weights", lambda t: -1.0 - t, r"weight.* is \[-1.*\]; prices are >= 0"),
    ],
)
def test_numbers_that_cannot_be(parts, name, change, message):
    document, tensors = parts
    refused((document, {**tensors, name: change(tensors[name])}), message)


def test_an_optimizer_that_does_not_fit(parts):
    document, tensors = parts
    name = next(one for one in tensors if one.startswith("optimizer/") and one.endswith("exp_avg"))
    for change, message in (
        (torch.zeros(99), r"optimizer's exp_avg has shape \(99,\) for a parameter"),
        (tensors[name] * torch.nan, "optimizer's exp_avg holds NaN"),
    ):
        refused((document, {**tensors, name: change}), message)
    for place, value in (
        (("optimizer", "groups"), []),
        (("optimizer", "memory", "items", 0, 0), 99),
    ):
        refused((changed(document, place, value), tensors), "optimizer's memory cannot be used")


@pytest.mark.parametrize(
    "net_arch", [[10**6, 10**6], [10**5] * 3, [10**9], [4] * 100_000, {"pi": [10**7], "vf": []}]
)
def test_networks_that_would_fill_the_memory(parts, net_arch):
    document, tensors = parts
    document["policy_kwargs"]["net_arch"] = net_arch
    refused((document, tensors), "much larger than its weights|nested")


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (("arguments", "n_steps"), -1, "settings in the file cannot be used: n_steps is -1; pass"),
        (("arguments", "gamma"), 2.0, "gamma is 2.0; pass a number >= 0 and <= 1"),
        (("arguments", "clip_range"), "x", "clip_range is 'x'"),
        (("arguments", "more"), 1, "holds the argument 'more', which PPOALM does not have"),
        (("policy",), "NoPolicy", "Policy NoPolicy unknown"),
        (("policy",), {"$": "class", "name": "torch.nn.Tanh"}, "is the class Tanh"),
        (("policy_kwargs", "num_costs"), 3, "has shape"),
        (("policy_kwargs", "activation_fn"), {"$": "class", "name": "torch.nn.Linear"}, "cannot"),
        (("policy_kwargs", "more"), 1, "unexpected keyword argument 'more'"),
        (("constraints",), [["mines", -1.0, 2.0]], "constraints in the file are not valid"),
        (("constraints",), [["mines", 0.1, 0.9]] * 2, "not an array|named"),
        (("constraints",), [1], "constraints in the file are not valid"),
        (("counters", "num_timesteps"), -5, "counters in the file are not whole numbers"),
        (("counters", "more"), 5, "counters in the file are not whole numbers"),
        (("progress",), 1.5, "progress in the file is 1.5"),
        (("n_envs",), 0, "n_envs in the file is 0"),
        (("reward_discount",), 0.0, "reward_discount in the file is 0.0"),
        (("observation_space",), 3, "'observation_space/high', which belongs to nothing"),
        (("class", "name"), "NoAgent", "was saved by NoAgent, not by PPOALM"),
        (("reward_discount",), "x", "'reward_discount' in the file is a str"),
        (("class",), "PPOALM", "was saved by None, not by PPOALM"),
        (("constraints", 0, 0), {"a": 1}, "constraints in the file are not valid: a name is no"),
        (("n_envs",), 10**12, "n_envs in the file is 1000000000000"),
        (("arguments", "n_steps"), 10**12, "rollout of .* needs about .* GiB"),
        (("arguments", "seed"), "x", "seed is 'x'"),
        (("arguments", "verbose"), [], r"verbose is \[\]"),
        (("arguments", "tensorboard_log"), 3, "tensorboard_log is 3; pass the path of a folder"),
        (("update", "units", "updates"), {"$": "float", "value": "inf"}, "agent remembers cannot"),
        (("policy",), "CnnPolicy", "settings in the file cannot be used"),
    ],
)
def test_settings_that_cannot_be(parts, place, value, message):
    document, tensors = parts
    refused((changed(document, place, value), tensors), message)


def test_a_file_does_not_decide_on_thousands_of_environments(parts):
    document, tensors = parts
    document["n_envs"] = 5000
    with pytest.raises(agents.SavedAgentError, match="asks for 5,000 copies of Safe/.*; pass n_en"):
        agents.load(file_of(document, tensors), env="Safe/CliffWorld-v0")


def test_classes_that_are_not_known(parts):
    document, tensors = parts
    document["class"] = {"name": "PPOLagg", "module": "somewhere"}
    message = (
        r"saved by the class PPOLagg of somewhere, which is none of PPO, .*did you mean 'PPOLag'"
    )
    refused((document, tensors), message, agents.load)
