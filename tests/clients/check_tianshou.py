"""tianshou: a collector with a policy of its own, in tianshou's vector environments."""

from __future__ import annotations

from functools import partial

import numpy as np
from environments import ENVIRONMENTS, costs_of
from harness import Case, names_of, report

NUM_ENVS = 4
STEPS = 1000
ARRIVES = "`buffer.info.cost`"


def collector(page, env_id, num_envs, arguments):
    buffer = page["collect"](env_id, num_envs, STEPS, **arguments)
    policy = page["policy_for"](page["gym"].make(env_id, **arguments))
    truth = 0.0
    for copy, of_copy in enumerate(buffer.buffers):
        actions = policy.map_action(np.array(of_copy.act[: len(of_copy)]))
        truth += costs_of(env_id, actions, seeds=[copy, None], **arguments)
    return len(buffer), buffer.info.cost.sum(), truth


def cases():
    page = names_of("tianshou")
    for env_id, arguments in ENVIRONMENTS.items():
        for form, num_envs in (("single", 1), ("vector of single envs", NUM_ENVS)):
            run = partial(collector, page, env_id, num_envs, arguments)
            yield Case(env_id, form, ARRIVES, run)


if __name__ == "__main__":
    report("tianshou", cases())
