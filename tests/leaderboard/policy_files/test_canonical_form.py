"""One function has one digest, in whatever form its file is; another function has another."""

import numpy as np
import pytest
from onnx import TensorProto, helper

from leaderboard.policy_files.canonical_form import canonical_digest, canonical_form
from leaderboard.policy_files.policy_refused import PolicyRefused
from tests.leaderboard import variants
from tests.leaderboard.onnx_models import (
    Network,
    box_policy,
    changed,
    gaussian_policy,
    model,
    network_policy,
)

FORMS = [
    variants.renamed,
    variants.reordered,
    variants.with_dead_code,
    variants.with_constant_nodes,
    variants.with_listed_numbers,
    variants.with_written_defaults,
    lambda content: variants.renamed(variants.reordered(variants.with_constant_nodes(content))),
]


@pytest.mark.parametrize("form", FORMS)
def test_another_form_of_the_same_function_has_the_same_digest(form):
    content = box_policy()
    other = form(content)
    assert other != content
    assert canonical_digest(other) == canonical_digest(content)


@pytest.mark.parametrize("form", [variants.renamed, variants.reordered, variants.with_dead_code])
def test_several_outputs_are_told_apart_by_name(form):
    content = gaussian_policy()
    assert canonical_digest(form(content)) == canonical_digest(content)

    def swap(found):
        for node in found.graph.node:
            for names in (node.input, node.output):
                told = [{"mean": "log_std", "log_std": "mean"}.get(name, name) for name in names]
                del names[:]
                names.extend(told)

    assert canonical_digest(changed(content, swap)) != canonical_digest(content)


def test_order_of_operands_matters_only_where_it_does():
    def policy(operator, *inputs):
        nodes = [
            helper.make_node("MatMul", ["x", "first_two"], ["a"]),
            helper.make_node("Tanh", ["a"], ["b"]),
            helper.make_node(operator, inputs, ["action"]),
        ]
        return model(nodes, {"first_two": np.eye(4, 2, dtype=np.float32)}).SerializeToString()

    assert canonical_digest(policy("Add", "a", "b")) == canonical_digest(policy("Add", "b", "a"))
    assert canonical_digest(policy("Sub", "a", "b")) != canonical_digest(policy("Sub", "b", "a"))
    assert canonical_digest(policy("Add", "a", "b")) != canonical_digest(policy("Mul", "a", "b"))


def test_negative_zero_is_zero():
    def policy(zero):
        network = Network.random(4, 3, 2)
        network.biases[0][:] = zero
        return network_policy(network)

    assert policy(-0.0) != policy(0.0)
    assert canonical_digest(policy(-0.0)) == canonical_digest(policy(0.0))


@pytest.mark.parametrize("size", [1e-6, 1e-3])
def test_other_weights_have_another_digest(size):
    content = box_policy()
    other = variants.noisy(content, size, relative=True)
    assert canonical_digest(other) != canonical_digest(content)


def test_an_attribute_other_than_the_default_counts():
    content = box_policy()

    def halve(found):
        found.graph.node[0].attribute.append(helper.make_attribute("alpha", 0.5))

    assert canonical_digest(changed(content, halve)) != canonical_digest(content)


def test_a_cycle_is_refused():
    nodes = [
        helper.make_node("Add", ["x", "b"], ["a"]),
        helper.make_node("Add", ["x", "a"], ["b"]),
        helper.make_node("Tanh", ["b"], ["action"]),
    ]
    outputs = {"action": (TensorProto.FLOAT, ["batch", 4])}
    with pytest.raises(PolicyRefused) as refused:
        canonical_digest(model(nodes, {}, outputs).SerializeToString())
    assert str(refused.value) == (
        "the output 'action' depends on a value that nothing computes; export a complete graph "
        "without cycles"
    )


@pytest.mark.parametrize("form", FORMS)
def test_weights_are_sampled_in_a_fixed_order(form):
    content = box_policy()
    one, other = canonical_form(content), canonical_form(form(content))
    assert (one.digest, one.skeleton) == (other.digest, other.skeleton)
    np.testing.assert_array_equal(one.weights, other.weights)


def test_the_skeleton_leaves_out_the_numbers_of_weights_only():
    content = box_policy()
    one, other = canonical_form(content), canonical_form(box_policy(seed=1))
    assert one.skeleton == other.skeleton
    assert one.digest != other.digest
    entries = np.concatenate([w.ravel() for w in Network.random(4, 8, 2).weights])
    assert set(one.weights) == set(entries.astype(np.float32))  # 48 entries, all are in the sample
    assert canonical_form(box_policy(hidden=9)).skeleton != one.skeleton
