"""The values of a policy's graph: each is made once, before it is used.

ONNX demands this, ONNX Runtime does not check all of it. A value made twice, or one that is a
weight and a result at once, could be a place to keep something from one observation to the next.
"""

from __future__ import annotations

from onnx import GraphProto

from leaderboard.policy_files.policy_refused import PolicyRefused, shortened


def check_values(graph: GraphProto) -> None:
    """Check that values are made once and before they are used, and outputs by a node.

    Raises:
        PolicyRefused: naming the first value that is not.
    """
    known: set[str] = set()
    for value in graph.input:
        _add(value.name, known, "an input")
    for tensor in graph.initializer:
        _add(tensor.name, known, "an initializer")
    given = set(known)
    for position, node in enumerate(graph.node):
        for name in node.input:
            if name and name not in known:
                raise PolicyRefused(
                    f"node {position} uses {shortened(name)!r}, which nothing before it makes; "
                    "allowed: the input, initializers and outputs of earlier nodes; export it again"
                )
        for name in node.output:
            _add(name, known, f"an output of node {position}")
    for value in graph.output:
        if value.name in given or value.name not in known:
            raise PolicyRefused(
                f"the output {shortened(value.name)!r} is not made by a node; allowed: outputs of "
                "nodes; add an Identity"
            )


def _add(name: str, known: set[str], what: str) -> None:
    if not name or name in known:
        fault = f"is named {shortened(name)!r} like another value" if name else "has no name"
        raise PolicyRefused(f"{what} {fault}; allowed: a name of its own for each; rename it")
    known.add(name)
