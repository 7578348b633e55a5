"""What is wrong with a training, in plain words, with the evidence and what to change.

Each rule looks for one fault in the second half of a training and returns a finding or nothing.
Causes come before what they cause: `findings` keeps the rules' order. The thresholds lie between
what trainings with a planted fault and sound ones measure, see
`python -m baselines.experiments.planted_faults`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from baselines.diagnostics.measured_files import STEPS
from baselines.diagnostics.measured_run import MeasuredRun

HELD = 0.5  # share of updates without a finished episode
CLIPPED, FLAT = 0.002, 0.25  # shares of observations at their clip, and of flattened numbers
STOPPED = 0.8  # share of updates that the KL bound stops in their first pass
STILL, WILD = 1e-5, 0.1  # approximate divergence of a step: hardly any, and much too much
UNFITTED = 0.05  # explained variance of critics
NARROW = 0.45  # effective rank of the actor's Jacobian, as a share of the highest possible
PASSED = 0.85  # directions that a layer passes on, as a share of those of a projection
NOISE, TOLD = 2.0, 2.0  # noise scale in rollouts, and errors by which a signal stands out
LEFT = 0.8  # share of a violation that is left after a quarter of the training
ALWAYS = 0.9  # share of updates above a limit that is never met
WEAK, DOMINANT = 0.2, 1.2  # what a price weighs beside the reward
SHORTER = 0.5  # length of episodes, as a share of the longest before
FADED, GROWN = 0.05, 3.0  # deviation of the actions' noise, as a multiple of that at first
FEWEST = 4  # updates that can be judged


class Diagnosis(NamedTuple):
    """What is wrong, how one sees it, and what to change."""

    name: str
    what: str
    evidence: str
    advice: str


Rule = Callable[[MeasuredRun], Diagnosis | None]


def findings(run: MeasuredRun) -> list[Diagnosis]:
    """Return what is wrong with a training, causes first; empty if nothing is found.

    Raises:
        ValueError: if the training has too few updates to be judged.
    """
    updates = max(len(run.all("train/n_updates")), len(run.measures.get(STEPS, ())))
    if updates < FEWEST:
        raise ValueError(
            f"{run.name} has {updates} logged updates; at least {FEWEST} are needed to judge it"
        )
    return [found for rule in RULES if (found := rule(run)) is not None]


def clipped_observations(run: MeasuredRun) -> Diagnosis | None:
    """Observations with rare, large numbers: standardized ones sit at their clip."""
    share, flat = _mean(run.late("observation/clipped")), _mean(run.late("observation/flat"))
    if not (share > CLIPPED or flat > FLAT):
        return None
    return Diagnosis(
        "observations at their clip",
        "Some observations are so large that they are cut off, and the networks cannot tell them "
        "apart.",
        f"{share:.2%} of the standardized observations are at the clip of 10 (usual: below 0.1%), "
        f"and {flat:.0%} of the numbers in it hardly differ in between",
        "bound or transform the observation in the environment (a logarithm, tanh, or a scale), or "
        "pass normalize_observation=False and scale it yourself",
    )


def no_episode_ends(run: MeasuredRun) -> Diagnosis | None:
    """No cost is measured, so prices are held."""
    held = run.all("constraint/held")
    if not len(held) or not held.mean() > HELD:
        return None
    return Diagnosis(
        "prices held because no episode ends",
        "In most updates no episode had ended, so no cost was measured and the prices stood still.",
        f"{held.mean():.0%} of {len(held)} updates had no finished episode",
        f"raise n_steps (now {run.settings.get('n_steps', 'unknown')}) above the length of an "
        "episode, or give the environment a time limit",
    )


def nothing_to_learn(run: MeasuredRun) -> Diagnosis | None:
    """The reward is the same whatever the agent does."""
    errors = run.all("rollout/ep_rew_mean")
    if len(errors) < FEWEST or not float(np.ptp(errors)) <= 1e-9 * max(1.0, abs(errors[0])):
        return None
    return Diagnosis(
        "the reward never varies",
        "All episodes had the same return: there is nothing to improve.",
        f"the mean return was {errors[0]:.6g} at every update",
        "check the environment's reward, and wrappers that change it",
    )


def divergence_stops(run: MeasuredRun) -> Diagnosis | None:
    """The bound on the divergence ends nearly every update at once."""
    passes, wanted = run.late("train/n_epochs"), run.settings.get("n_epochs")
    bound = run.settings.get("target_kl")
    if bound is None or not wanted or wanted < 2 or not len(passes):
        return None
    share = float((passes <= 1).mean())
    if share < STOPPED:
        return None
    return Diagnosis(
        "the KL bound always stops",
        "Nearly every update is stopped in its first pass, before the policy has moved.",
        f"{share:.0%} of the last updates made one pass of {wanted}, with target_kl={bound:g}",
        "raise target_kl (0.01 to 0.05 is usual), or lower learning_rate",
    )


def wild_steps(run: MeasuredRun) -> Diagnosis | None:
    """Updates change the policy so much that what they were computed from is no longer true."""
    quarters = np.array_split(run.all("train/approx_kl"), 4)
    divergence = max((_median(one) for one in quarters if len(one)), default=0.0)
    if not divergence > WILD:
        return None
    clipped = _median(run.all("train/clip_fraction"))
    told = "" if np.isnan(clipped) else f", and {clipped:.0%} of the steps were clipped"
    return Diagnosis(
        "updates too large",
        "Each update changes the policy far more than a rollout can justify.",
        f"in a quarter of the training the median divergence of an update was {divergence:.3g} "
        f"(usual: 0.002 to 0.05){told}",
        f"lower learning_rate (now {run.settings.get('learning_rate', 'unknown')}) by 3 to 10, or "
        "pass target_kl=0.02",
    )


def hardly_moves(run: MeasuredRun) -> Diagnosis | None:
    """Updates do not change the policy, though nothing stops them."""
    divergence = _median(run.all("train/approx_kl"))
    if np.isnan(divergence) or not abs(divergence) < STILL:
        return None
    return Diagnosis(
        "the policy hardly moves",
        "Updates leave the policy as it is.",
        f"the median divergence of an update was {divergence:.2g} (usual: 0.002 to 0.05)",
        f"raise learning_rate (now {run.settings.get('learning_rate', 'unknown')}) or n_epochs",
    )


def narrow_network(run: MeasuredRun) -> Diagnosis | None:
    """The actor's outputs depend on the observation in far fewer directions than they could."""
    ranks, full = run.late("rank/effective"), run.late("rank/full")
    if not len(ranks) or not len(full) or full[0] < 2.0:
        return None
    rank = float(ranks.mean())
    lowest = max(1.05, NARROW * full[0])
    if rank > lowest:
        return None
    return Diagnosis(
        "collapsed rank",
        "All actions move along one direction of the observation: units of the network are "
        "saturated, dead or too few.",
        f"the effective rank of d action / d observation is {rank:.2f} of {full[0]:.0f} possible",
        "widen the network (net_arch), lower learning_rate, or check that observations are "
        "standardized and not constant",
    )


def collapsed_layer(run: MeasuredRun) -> Diagnosis | None:
    """A constraint layer passes on far fewer directions than a projection would."""
    rank, projection = run.late("layer_rank/effective"), run.late("layer_rank/of_a_projection")
    if not len(rank) or not len(projection):
        return None
    left = float(rank.mean()) / max(float(projection.mean()), 1.0)
    if left > PASSED:
        return None
    raw = run.late("layer/raw_violation")
    return Diagnosis(
        "the layer's gradient collapses",
        "The raw outputs have drifted far from the feasible set, and gradients lose the rows that "
        "were active anywhere on the way back.",
        f"the layer passes on {rank.mean():.2f} directions where a projection would pass on "
        f"{projection.mean():.2f}; the raw violation is {_mean(raw):.3g}",
        "add a penalty on the raw outputs (raw_weight=1), or train without the layer first "
        "(soft_steps)",
    )


def unfitted_critics(run: MeasuredRun) -> Diagnosis | None:
    """The critics predict no better than their mean would."""
    parts = [("the reward", "train/explained_variance")]
    for name, column in run.per_constraint("train/cost_explained_variance"):
        parts.append((name or "the cost", column))
    worst = [(_median(run.late(column)), part) for part, column in parts]
    fits = [value for value, _ in worst if np.isfinite(value)]
    if not fits or not max(fits) < UNFITTED:
        return None
    told = ", ".join(f"{value:.2f} for {part}" for value, part in worst if np.isfinite(value))
    return Diagnosis(
        "critics do not fit",
        "The critics predict no better than a constant, so advantages are mostly noise.",
        f"explained variance in the second half: {told} (usual: above 0.3)",
        "check that the observation tells how an episode goes on (time left included), raise "
        "learning_rate or n_epochs, or take longer rollouts (n_steps)",
    )


def mostly_noise(run: MeasuredRun) -> Diagnosis | None:
    """The rollouts are too small for the reward's gradient to be told from noise, from the start.

    At the end of a training there is little signal left, so its first half is judged.
    """
    signal, noise = run.all("noise_signal/reward"), run.all("noise_noise/reward")
    size = _median(run.all("batch/steps"))
    if len(signal) < 2 * FEWEST or not np.isfinite(size):
        return None
    signal, noise = signal[: len(signal) // 2], noise[: len(noise) // 2]
    mean, error = float(signal.mean()), float(signal.std(ddof=1)) / len(signal) ** 0.5
    scale = float(noise.mean()) / mean if mean > 0.0 else np.inf
    if not scale > NOISE * size or mean > TOLD * error:
        return None
    told = "cannot be told from infinite" if np.isinf(scale) else f"is about {scale:,.0f} steps"
    return Diagnosis(
        "gradients are mostly noise",
        "A rollout is far smaller than the batch at which the gradient stands out of its noise.",
        f"the noise scale {told}, and a rollout has {size:,.0f}",
        f"raise n_steps (now {run.settings.get('n_steps', 'unknown')}) or the number of copies, or "
        "lower the variance of the reward",
    )


def price_without_effect(run: MeasuredRun) -> Diagnosis | None:
    """The price outweighs the reward and grows, and the cost does not fall."""
    for name, column in run.per_constraint("constraint/violation"):
        early, late, share = _above(run, name, column)
        is_above = (run.late(column) > 0.0).mean() > ALWAYS
        if not is_above or not share > DOMINANT or not late > LEFT * early:
            continue
        return Diagnosis(
            "the price grows without effect",
            f"The price of {name or 'the cost'} outweighs the reward, and the cost does not fall: "
            "the limit may be out of reach.",
            f"violation {early:.4g} in the third quarter and {late:.4g} in the last; the price "
            f"weighs {share:.2g} times the reward",
            "check by hand that some policy meets the limit, raise cost_limit, or let the policy "
            "explore more",
        )
    return None


def price_too_weak(run: MeasuredRun) -> Diagnosis | None:
    """The limit is broken to the end, and the price weighs little beside the reward."""
    if not any(run.all(own).any() for _, own in run.per_constraint("constraint/weight")):
        return None
    for name, column in run.per_constraint("constraint/violation"):
        early, late, share = _above(run, name, column)
        if not (run.late(column) > 0.0).mean() > ALWAYS or not share < WEAK:
            continue
        return Diagnosis(
            "the price is too small",
            f"The limit of {name or 'the cost'} is broken to the end, and its price weighs too "
            "little to matter.",
            f"violation {early:.4g} in the third quarter and {late:.4g} in the last; the price "
            f"weighs {share:.2g} of the reward",
            "raise multiplier_lr (or penalty), or train longer",
        )
    return None


def ends_early(run: MeasuredRun) -> Diagnosis | None:
    """Episodes become short, which is a cheap way to stay within a limit."""
    lengths = run.all("rollout/ep_len_mean")
    if len(lengths) < 2 * FEWEST:
        return None
    last = float(lengths[-FEWEST:].mean())
    longest = float(np.max(np.convolve(lengths, np.ones(FEWEST) / FEWEST, "valid")))
    returns = run.all("rollout/ep_rew_mean")
    fallen = len(returns) >= FEWEST and returns[-FEWEST:].mean() < returns.max()
    if not last < SHORTER * longest or not fallen:
        return None
    return Diagnosis(
        "episodes end early",
        "Episodes have become much shorter, and the return with them: ending early is a cheap way "
        "to cost little.",
        f"{last:.0f} steps at the end, after {longest:.0f} at best",
        "make the end of an episode cost something, pass a larger gamma and cost_gamma, or slow "
        "the price (multiplier_lr, penalty)",
    )


def noise_runs_away(run: MeasuredRun) -> Diagnosis | None:
    """The actions' noise has grown or vanished."""
    deviations = run.all("train/std")
    if len(deviations) < FEWEST:
        return None
    ratio = float(deviations[-1] / deviations[0])
    if FADED < ratio < GROWN:
        return None
    is_gone = ratio <= FADED
    return Diagnosis(
        "exploration is gone" if is_gone else "exploration grows",
        "The policy has stopped trying anything." if is_gone else "Noise drowns the actions.",
        f"the deviation of the actions went from {deviations[0]:.3g} to {deviations[-1]:.3g}",
        "pass a small ent_coef, or a lower learning_rate"
        if is_gone
        else "lower ent_coef, or pass a smaller log_std_init in policy_kwargs",
    )


RULES: tuple[Rule, ...] = (
    clipped_observations,
    no_episode_ends,
    nothing_to_learn,
    divergence_stops,
    wild_steps,
    hardly_moves,
    noise_runs_away,
    narrow_network,
    collapsed_layer,
    price_without_effect,
    price_too_weak,
    unfitted_critics,
    mostly_noise,
    ends_early,
)


def _above(run: MeasuredRun, name: str, column: str) -> tuple[float, float, float]:
    """Return a constraint's violation in the last two quarters, and its price's weight."""
    late = run.late(column, 0.25)
    before = run.late(column)[: -len(late) or None]
    shares = [run.late(own, 0.25) for other, own in run.per_constraint("price_share")]
    names = [other for other, _ in run.per_constraint("price_share")]
    chosen = shares[0] if len(shares) == 1 else np.empty(0)
    if name in names:
        chosen = shares[names.index(name)]
    return _mean(before), _mean(late), _mean(chosen)


def _mean(numbers: np.ndarray) -> float:
    return float(numbers.mean()) if len(numbers) else float("nan")


def _median(numbers: np.ndarray) -> float:
    return float(np.median(numbers)) if len(numbers) else float("nan")
