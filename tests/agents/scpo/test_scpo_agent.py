import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecNormalize

from agents import SCPO, make_vec_env
from agents.actor_critic import MlpPolicy
from agents.flat_parameters import flat_values
from agents.non_finite_loss import NonFiniteLossError
from agents.scpo import InfeasibleStartError, SeededEpisodes, StateRollouts
from safe_envs.control.constrained_regression import target
from safe_envs.control.double_integrator_reference import (
    BOX,
    malicious_expert,
    next_states,
    safe_controller,
)
from safe_envs.control.double_integrator_sampling import sample_safe_states

REGRESSION = "Safe/ConstrainedRegression-v0"
INTEGRATOR = "Safe/DoubleIntegrator-v0"
SAME_STEP = {"autoreset_mode": gym.vector.AutoresetMode.SAME_STEP}
GRID = np.linspace(-3.0, 3.0, 64)[:, None]
STATES = sample_safe_states(np.random.default_rng(3), 40)


class EveryPolicy(BaseCallback):
    """Records a function of the policy before every rollout."""

    def __init__(self, measure):
        super().__init__()
        self.measure, self.seen = measure, []

    def _on_rollout_start(self):
        self.seen.append(self.measure(self.model))

    def _on_step(self):
        return True


class MaliciousExpert:
    def predict(self, observation, state=None, episode_start=None, deterministic=False):
        return malicious_expert(np.asarray(observation, dtype=np.float64))[:, None], state


def regression_agent(**settings):
    usual = {"measure": "margins", "validation_states": GRID, "n_envs": 64, "n_steps": 4}
    return SCPO("MlpPolicy", REGRESSION, seed=0, **{**usual, "n_epochs": 1, **settings})


def integrator_agent(**settings):
    usual = {"validation_states": STATES, "n_envs": 8, "n_steps": 150, "n_epochs": 1, "groups": 4}
    policy = {"log_std_init": -2.0}
    return SCPO("MlpPolicy", INTEGRATOR, policy_kwargs=policy, seed=0, **{**usual, **settings})


def answers(model):
    """The mean answers on the grid, by the parameters alone; the network's range is -4 to 4."""
    policy, inputs = model.policy, model.policy.normalizer
    x = ((torch.as_tensor(GRID) - inputs.shift) / inputs.scale).clamp(-10, 10).float()
    hidden = policy.mlp_extractor.hidden
    h = torch.nn.functional.silu(x @ hidden.first.weight.T + hidden.first.bias)
    for block in hidden.blocks:
        h = h + torch.nn.functional.silu(h @ block.weight.T + block.bias)
    last = policy.action_net.last
    return 4.0 * (h @ last.weight.T + last.bias).detach().numpy()[:, 0]


def worst_by_equations(act, steps=150):
    """The largest margin of closed-loop rollouts, by the equations of motion."""
    x, worst = STATES.copy(), (np.abs(STATES) - BOX).max()
    for _ in range(steps):
        x = next_states(x, act(x))
        worst = max(worst, (np.abs(x) - BOX).max())
    return worst


def worst_margin(model):
    return worst_by_equations(
        lambda x: model.policy.predict(x, deterministic=True)[0][:, 0].astype(np.float64)
    )


def test_first_policy_is_the_safe_controller():
    model = integrator_agent()
    actions, _ = model.predict(STATES, deterministic=True)
    np.testing.assert_allclose(actions[:, 0], safe_controller(STATES), atol=1e-5)
    np.testing.assert_array_equal(answers(regression_agent()), np.zeros(64))


def test_every_policy_answers_within_the_band_and_the_loss_falls():
    model = regression_agent(policy_kwargs={"log_std_init": -2.4})
    kept = EveryPolicy(lambda m: np.abs(answers(m)).max() - 1.4)
    model.learn(15_000, callback=kept)
    assert len(kept.seen) > 10
    assert max(kept.seen) <= 1e-6  # the validation clips and rounds to float32
    assert max(kept.seen) > -0.5  # it did move
    weight = np.exp(-0.5 * GRID[:, 0] ** 2)
    before = np.average(target(GRID[:, 0]) ** 2, weights=weight)
    after = np.average((target(GRID[:, 0]) - answers(model)) ** 2, weights=weight)
    assert after < 0.8 * before


def test_imitating_an_expert_that_leaves_the_box_never_leaves_it():
    model = integrator_agent(objective="imitation", expert=MaliciousExpert(), actor_steps=3)
    kept = EveryPolicy(worst_margin)
    distances = EveryPolicy(lambda m: imitation_loss(m))
    model.learn(40_000, callback=[kept, distances])
    assert max(kept.seen) <= 1e-5
    assert distances.seen[-1] < 0.9 * distances.seen[0]
    assert worst_by_equations(malicious_expert) > 0.1  # the expert itself does leave


def imitation_loss(model):
    actions = model.predict(STATES, deterministic=True)[0][:, 0]
    return float(((actions - malicious_expert(STATES)) ** 2).mean())


def test_validation_steps_count_as_environment_steps():
    counted = StateRollouts(INTEGRATOR, STATES[:10], horizon=20)
    model = integrator_agent(validation=counted, n_steps=20)
    rollouts = EveryPolicy(lambda m: 1)
    model.learn(3000, callback=rollouts)
    assert counted.steps % 200 == 0
    assert counted.steps > 0
    assert model.num_timesteps == counted.steps + 160 * len(rollouts.seen)


def test_same_seed_same_parameters_and_loading_goes_on_alike(tmp_path):
    first, second = integrator_agent(n_steps=30), integrator_agent(n_steps=30)
    first.learn(10_000)
    second.learn(10_000)
    theta = flat_values(list(first.policy.parameters()))
    assert torch.equal(theta, flat_values(list(second.policy.parameters())))
    first.save(tmp_path / "model")
    loaded = SCPO.load(tmp_path / "model", env=INTEGRATOR)
    np.testing.assert_array_equal(
        loaded.predict(STATES, deterministic=True)[0], first.predict(STATES, deterministic=True)[0]
    )
    kept = EveryPolicy(worst_margin)
    loaded.learn(25_000, callback=kept)
    assert max(kept.seen) <= 1e-5
    assert not torch.equal(theta, flat_values(list(loaded.policy.parameters())))


def expert_actions(observations):
    return malicious_expert(observations)[:, None]


def sides(x):
    """Signed distances beyond the box, (n, 4): right, left, above, below."""
    return np.stack([x[:, 0], -x[:, 0], x[:, 1], -x[:, 1]], axis=1) - BOX


def test_margins_of_rollouts_by_the_equations_of_motion():
    measured = StateRollouts(INTEGRATOR, STATES, horizon=30)
    x, worst = STATES.copy(), sides(STATES)
    for _ in range(30):
        x = next_states(x, malicious_expert(x))
        worst = np.maximum(worst, sides(x))
    np.testing.assert_allclose(measured(expert_actions), worst.ravel(), atol=1e-5)
    np.testing.assert_array_equal(measured(expert_actions), measured(expert_actions))


def test_margins_with_a_wrapper_in_the_way_of_the_vector_form():
    """Copies of a wrapped environment measure what the native form does."""
    env = gym.wrappers.TimeAwareObservation(gym.make(INTEGRATOR, disable_env_checker=True))
    wrapped = StateRollouts(env.spec, STATES[:5], horizon=20)
    native = StateRollouts(INTEGRATOR, STATES[:5], horizon=20)
    by_state = wrapped(lambda seen: expert_actions(seen[:, :2]).astype(np.float32))
    np.testing.assert_allclose(by_state, native(expert_actions), atol=1e-5)


def test_costs_of_seeded_episodes_by_the_equations_of_motion():
    measured = SeededEpisodes(INTEGRATOR, [2.0], [0.9], episodes=60, seed=5)
    venv = gym.make_vec(INTEGRATOR, num_envs=60)
    x = venv.reset(seed=5)[0]
    total = np.zeros(60)
    for t in range(150):
        x = next_states(x, malicious_expert(x))
        total += 0.9**t * (np.abs(x) > BOX).any(axis=1)
    assert total.max() > 0.05  # one of them leaves the box for some steps
    np.testing.assert_allclose(measured(expert_actions), (total - 2.0) / 2.0, atol=1e-6)
    strict = SeededEpisodes(INTEGRATOR, [0.0], [0.9], episodes=60, seed=5)
    np.testing.assert_allclose(strict(expert_actions), total, atol=1e-6)


def test_episode_costs_stay_within_the_limit_on_a_robot():
    """From a controller that costs 15 to 17 an episode; costs are recounted by hand."""
    measured = {"measure": "costs", "validation_states": 3, "validation_horizon": 60}
    model = SCPO(
        "MlpPolicy",
        "SafetyHopperVelocity-v1",
        cost_limit=18.0,
        safe_policy=lambda x: np.full((*np.shape(x)[:-1], 3), 0.3),
        n_envs=2,
        n_steps=100,
        actor_learning_rate=1e-2,
        groups=2,
        n_epochs=1,
        seed=0,
        **measured,
    )
    upright = np.zeros(model.observation_space.shape)
    kept = EveryPolicy(lambda m: (robot_costs(m), *m.predict(upright, deterministic=True)[0]))
    model.learn(3000, callback=kept)
    assert len(kept.seen) > 3
    assert max(cost for cost, *_ in kept.seen) <= 18.0
    first, *_, last = np.array(kept.seen)[:, 1:]
    assert np.abs(last - first).max() > 1e-3  # it did move; costs are whole numbers and may not


def robot_costs(model):
    venv = gym.make_vec("SafetyHopperVelocity-v1", num_envs=3)
    obs, _ = venv.reset(seed=0)
    total, running = np.zeros(3), np.ones(3, dtype=bool)
    for _ in range(60):
        obs, _, ended, _, info = venv.step(model.predict(obs, deterministic=True)[0])
        total += info["cost"] * running
        running &= ~ended
    return total.max()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"env": "SafetyHopperVelocity-v1"}, "offers no backup_policy"),
        ({"objective": "imitation"}, "expert is None"),
        ({"objective": "imitate"}, r"'imitate'; did you mean 'imitation'\? pass one of 'ppo'"),
        ({"safe_policy": 3}, "the safe policy is 3"),
        ({"measure": "cost"}, "measure is 'cost'"),
        ({"measure": "costs", "validation_states": STATES}, "an array of 40 states"),
        ({"bank_size": 0}, "bank_size is 0"),
    ],
)
def test_bad_settings(settings, message):
    env = settings.pop("env", INTEGRATOR)
    with pytest.raises((ValueError, TypeError), match=message):
        SCPO("MlpPolicy", env, **settings)


def test_an_unsafe_controller_is_refused_before_learning():
    model = integrator_agent(safe_policy=lambda x: malicious_expert(x)[:, None])
    before = flat_values(list(model.policy.parameters()))
    with pytest.raises(InfeasibleStartError, match="are positive"):
        model.learn(1000)
    assert torch.equal(before, flat_values(list(model.policy.parameters())))


@pytest.mark.parametrize("training", [True, False])
def test_observations_that_are_standardized_elsewhere_are_refused(training):
    """A frozen VecNormalize as well: the safe controller would get its numbers."""
    venv = VecNormalize(make_vec_env(INTEGRATOR, 2), training=training)
    with pytest.raises(ValueError, match="norm_obs=False"):
        SCPO("MlpPolicy", venv)
    SCPO("MlpPolicy", VecNormalize(make_vec_env(INTEGRATOR, 2), norm_obs=False))
    with pytest.raises(ValueError, match="normalize_observation is True, .* leave it False"):
        SCPO("MlpPolicy", INTEGRATOR, normalize_observation=True)


def test_a_policy_without_a_controller_is_refused():
    with pytest.raises(TypeError, match="policy is MlpPolicy; .* subclass of agents.scpo"):
        SCPO(MlpPolicy, INTEGRATOR)


@pytest.mark.filterwarnings("ignore::agents.training_warnings.TrainingWarning")  # unseeded
def test_new_environments_are_validated_on_their_own_copies():
    model = integrator_agent(n_steps=20, validation_horizon=20, n_envs=2)
    model.learn(3000)
    model.set_env(gym.make_vec(INTEGRATOR, num_envs=2, reward="imitation", **SAME_STEP))
    model.learn(2000)


def test_a_network_that_overflows_says_what_to_lower():
    model = integrator_agent(n_steps=20, validation_horizon=20, actor_learning_rate=1e15)
    with pytest.raises(NonFiniteLossError, match=r"after \d+ of 20 steps on one batch; lower"):
        model.learn(4000)
    assert all(part.isfinite().all() for part in model.policy.actor_parameters())


def test_the_quadrotor_starts_from_its_filtered_controller_and_stays_clear_of_spheres():
    settings = {"validation_states": 4, "validation_horizon": 60, "n_envs": 4, "n_steps": 30}
    settings |= {"actor_learning_rate": 3e-2, "policy_kwargs": {"log_std_init": -3.0, "blocks": 1}}
    model = SCPO("MlpPolicy", "Safe/Quadrotor-v0", seed=0, n_epochs=1, **settings)
    env = gym.make("Safe/Quadrotor-v0")
    backup, seen = env.unwrapped.backup_policy(), env.reset(seed=3)[0]
    np.testing.assert_allclose(model.predict(seen, deterministic=True)[0], backup(seen), atol=1e-6)
    measured = []

    def measure(trained):
        flights = StateRollouts("Safe/Quadrotor-v0", 4, 60)
        measured.append(flights(lambda x: trained.policy.predict(x, deterministic=True)[0]).max())
        return flat_values(trained.policy.mlp_extractor.hidden.parameters()).numpy().copy()

    policies = EveryPolicy(measure)
    model.learn(2000, callback=policies)
    assert not np.array_equal(policies.seen[0], policies.seen[-1])
    assert max(measured) <= 0.0
    assert measured[0] > -0.2  # and near them
