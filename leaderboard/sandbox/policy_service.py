"""Runs a model and answers requests for its outputs by the protocol of `sandbox_protocol`.

For the process in the sandbox only: the model may be anything, and importing this file loads ONNX
Runtime.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import BinaryIO

import numpy as np

from baselines.onnx_runtime import GraphOptimizationLevel, InferenceSession, SessionOptions
from leaderboard.sandbox.policy_signature import PolicyOutput
from leaderboard.sandbox.sandbox_protocol import Answer, Settings

ALIGNMENT = 64  # [bytes], of the largest vectors
_WHOLE = (np.dtype(np.int64), np.dtype(np.int32))
_FLOATS = (np.dtype(np.float32), np.dtype(np.float64))


class WrongOutput(Exception):
    """An output has the wrong type or shape."""

    def __init__(self, answer: Answer, position: int) -> None:
        super().__init__(answer, position)
        self.answer = answer
        self.position = position


class SingleRowPolicy:
    """A loaded model; rows are run one by one, so that no row affects another's answer.

    Graph optimizations are off: they compute constants while loading, and answers should depend on
    the file alone, not on what some version of the runtime fuses. This costs networks of the usual
    size a tenth of their speed.

    Every row is copied to the same place: sums round differently where the numbers lie differently
    in the processor's vectors, so an answer would depend on the row's place in the batch.

    Args:
        content: the model, which may be anything.
        outputs: that it has to have.
        observation_size: numbers in a row.
    """

    def __init__(
        self, content: bytes, outputs: Sequence[PolicyOutput], observation_size: int
    ) -> None:
        options = SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.graph_optimization_level = GraphOptimizationLevel.ORT_DISABLE_ALL
        options.enable_cpu_mem_arena = False  # memory comes from the C library, which fills it
        options.log_severity_level = 4
        self._session = InferenceSession(content, options, providers=["CPUExecutionProvider"])
        self._outputs = outputs
        self._names = [output.name for output in outputs]
        self._input = self._session.get_inputs()[0].name
        self._row = _aligned_row(observation_size)

    def answers(self, observations: np.ndarray) -> bytes:
        """Return the outputs of each row of (rows, n), as float64 one after the other.

        Raises:
            WrongOutput: if an output has the wrong type or shape.
        """
        width = sum(output.width for output in self._outputs)
        answers = np.empty((len(observations), width), dtype="<f8")
        for row in range(len(observations)):
            self._row[0] = observations[row]
            values = self._session.run(self._names, {self._input: self._row})
            start = 0
            for position, (value, output) in enumerate(zip(values, self._outputs, strict=True)):
                end = start + output.width
                answers[row, start:end] = _checked(value, output, position)
                start = end
        return answers.tobytes()


def serve(settings: Settings, requests: BinaryIO, answers: BinaryIO) -> None:
    """Load the model that arrives first, then answer batches until one fails.

    Raises:
        EOFError: when there are no more requests.
        BrokenPipeError: when the parent no longer reads the answers.
    """
    (length,) = struct.unpack("<Q", _read(requests, 8))
    content = _read(requests, length)
    try:
        outputs = [PolicyOutput(**each) for each in settings["outputs"]]
        policy = SingleRowPolicy(content, outputs, settings["observation_size"])
    except Exception as error:
        _send(answers, _failure(error, Answer.NOT_LOADED))
        return
    _send(answers, bytes([Answer.OK, 0]))
    size = settings["observation_size"]
    while True:
        (rows,) = struct.unpack("<I", _read(requests, 4))
        content = _read(requests, rows * size * 4)
        try:
            found = policy.answers(np.frombuffer(content, "<f4").reshape(rows, size))
        except Exception as error:
            _send(answers, _failure(error, Answer.FAILED))
            return
        _send(answers, bytes([Answer.OK, 0]) + found)


def _aligned_row(size: int) -> np.ndarray:
    """Return an array (1, size) that starts at a multiple of `ALIGNMENT` bytes."""
    spare = ALIGNMENT // 4
    row = np.zeros(size + spare, dtype=np.float32)
    address, _ = row.__array_interface__["data"]
    start = -address % ALIGNMENT // 4
    return row[start : start + size].reshape(1, size)


def _checked(value: np.ndarray, output: PolicyOutput, position: int) -> np.ndarray:
    if value.dtype not in (_WHOLE if output.whole else _FLOATS):
        raise WrongOutput(Answer.WRONG_TYPE, position)
    if value.shape != (1, output.width) and not (output.may_be_flat and value.shape == (1,)):
        raise WrongOutput(Answer.WRONG_SHAPE, position)
    return value


def _failure(error: Exception, otherwise: Answer) -> bytes:
    """Return the code of an error; the parent never sees its text."""
    if isinstance(error, WrongOutput):
        return bytes([error.answer, error.position])
    if isinstance(error, MemoryError) or "alloc" in str(error):  # std::bad_alloc, "allocate"
        return bytes([Answer.OUT_OF_MEMORY, 0])
    return bytes([otherwise, 0])


def _read(requests: BinaryIO, size: int) -> bytes:
    content = requests.read(size)
    if len(content) < size:
        raise EOFError("the parent hung up")
    return content


def _send(answers: BinaryIO, content: bytes) -> None:
    answers.write(content)
    answers.flush()
