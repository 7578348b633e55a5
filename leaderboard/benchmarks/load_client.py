"""Sends requests at a fixed rate, whether or not the server keeps up.

A request's latency counts from its scheduled time, so a server that stalls cannot hide the delay by
keeping the client from sending (coordinated omission).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

PATIENCE = 30.0  # [s] for an answer


@dataclass(frozen=True)
class Answers:
    """The answers to the requests, in the order they arrived."""

    latencies: tuple[float, ...]  # [s] of successful requests, from scheduled time to last byte
    errors: tuple[str, ...]  # of the other requests
    received: int  # [bytes]
    seconds: float  # [s] from the first scheduled time to the last answer


class LoadClient:
    """Sends requests to one server over persistent connections; opens more when all are busy.

    Args:
        host: of the server.
        port: of the server.
    """

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self._latencies: list[float] = []
        self._errors: list[str] = []
        self._received = 0

    async def run(self, paths: Sequence[str], rate: float) -> Answers:
        """Request each path, one every 1 / rate seconds, and return the answers."""
        start = time.perf_counter()
        tasks = []
        for index, path in enumerate(paths):
            scheduled = start + index / rate
            await asyncio.sleep(max(0.0, scheduled - time.perf_counter()))
            tasks.append(asyncio.create_task(self._measure(path, scheduled)))
        await asyncio.gather(*tasks)
        seconds = time.perf_counter() - start
        for _, writer in self._idle:
            writer.close()
        return Answers(tuple(self._latencies), tuple(self._errors), self._received, seconds)

    async def _measure(self, path: str, scheduled: float) -> None:
        try:
            status = await asyncio.wait_for(self._ask(path), PATIENCE)
        except (OSError, EOFError, asyncio.TimeoutError) as error:
            self._errors.append(f"{path}: {type(error).__name__} {error}")
            return
        if status == 200:
            self._latencies.append(time.perf_counter() - scheduled)
        else:
            self._errors.append(f"{path}: status {status}")

    async def _ask(self, path: str) -> int:
        if self._idle:
            reader, writer = self._idle.pop()
        else:
            reader, writer = await asyncio.open_connection(self._host, self._port)
        try:
            request = f"GET {path} HTTP/1.1\r\nHost: {self._host}\r\nAccept-Encoding: gzip\r\n\r\n"
            writer.write(request.encode())
            head = await reader.readuntil(b"\r\n\r\n")
            lines = head.decode("latin-1").lower().split("\r\n")
            fields = dict(line.split(": ", 1) for line in lines[1:] if line)
            self._received += len(await reader.readexactly(int(fields["content-length"])))
        except BaseException:
            writer.close()
            raise
        if fields.get("connection") == "close":
            writer.close()
        else:
            self._idle.append((reader, writer))
        return int(lines[0].split()[1])
