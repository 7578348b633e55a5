"""Writes movies as .mp4 (H.264) and .gif files that are complete whenever they exist."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import numpy as np

from agents.atomic_files import replacing

Frames = Generator[None, np.ndarray | None, None]  # takes frames after a first None


class _Format(NamedTuple):
    """How ffmpeg writes a kind of file."""

    codec: str
    pixels: str
    options: tuple[str, ...]
    most_fps: float  # frames per second


# A GIF has 256 colors, chosen here for each frame; browsers slow down above 50 frames a second.
_PALETTE = "split[a][b];[a]palettegen=stats_mode=single[p];[b][p]paletteuse=new=1"
_FORMATS = {
    ".mp4": _Format(
        "libx264", "yuv420p", ("-f", "mp4", "-crf", "18", "-movflags", "+faststart"), math.inf
    ),
    ".gif": _Format("gif", "pal8", ("-f", "gif", "-vf", _PALETTE), 50.0),
}
SUFFIXES = tuple(_FORMATS)


class MovieFile:
    """A movie that is being written; made by `movie_file`."""

    def __init__(self, path: Path, start: Callable[[tuple[int, int]], Frames], every: int) -> None:
        self._path, self._start, self._every = path, start, every
        self._writer: Frames | None = None
        self._seen = 0
        self.frames = 0  # written

    def add(self, frame: np.ndarray) -> None:
        """Append a frame, (height, width, 3) uint8; all have one size, of even numbers.

        Raises:
            OSError: if it cannot be written, for example on a full disk.
        """
        if self._writer is None:
            height, width = frame.shape[:2]
            self._writer = self._start((width, height))
            self._writer.send(None)
        if self._seen % self._every == 0:
            try:
                self._writer.send(np.ascontiguousarray(frame))
            except OSError as error:
                raise OSError(f"ffmpeg stopped writing {self._path}; is the disk full?") from error
            self.frames += 1
        self._seen += 1

    def close(self) -> None:
        """Wait until ffmpeg has written everything."""
        if self._writer is not None:
            self._writer.close()


def check_movie_path(path: Path) -> None:
    """Raise ValueError unless a movie can be written under this name."""
    if path.suffix.lower() not in _FORMATS:
        raise ValueError(
            f"{path} ends with {path.suffix or 'no suffix'!r}; a movie is an .mp4 or a .gif file: "
            f"pass {path.with_suffix('.mp4')} or {path.with_suffix('.gif')}"
        )
    if path.is_dir():
        raise ValueError(f"{path} is a folder; pass the name of a file")


def kept_of(path: Path, fps: float) -> int:
    """Return which fraction of the frames a file keeps: every one (1), every second (2), ..."""
    return max(1, math.ceil(fps / _FORMATS[path.suffix.lower()].most_fps))


@contextmanager
def movie_file(path: Path, fps: float) -> Iterator[MovieFile]:
    """Yield a new movie; it appears under its name when the block ends without an error.

    Args:
        path: a name that `check_movie_path` accepts; its folder is made if it is missing.
        fps: frames per second of what is added.

    Raises:
        OSError: if the file cannot be written.
        ImportError: if a package is missing.
    """
    ffmpeg = _load_ffmpeg()
    form, every = _FORMATS[path.suffix.lower()], kept_of(path, fps)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as file:
        start = partial(
            ffmpeg.write_frames,
            file.name,
            fps=fps / every,
            codec=form.codec,
            pix_fmt_out=form.pixels,
            quality=None,
            macro_block_size=1,
            ffmpeg_log_level="quiet",
            output_params=list(form.options),
        )
        movie = MovieFile(path, start, every)
        try:
            yield movie
        finally:
            movie.close()
        _check_complete(path, file.name, movie.frames, ffmpeg)


def _load_ffmpeg() -> ModuleType:
    """Return imageio's ffmpeg.

    Raises:
        ImportError: if it is missing, with the pip command.
    """
    try:
        import imageio_ffmpeg
    except ImportError as error:
        raise ImportError(
            "movies need imageio-ffmpeg; install it with: pip install imageio-ffmpeg"
        ) from error
    return imageio_ffmpeg


def _check_complete(path: Path, written: str, frames: int, ffmpeg: ModuleType) -> None:
    """Raise OSError unless all frames are in the file: ffmpeg's exit code is not passed on."""
    try:
        found = ffmpeg.count_frames_and_secs(written)[0] if frames else 0
    except RuntimeError:
        found = 0
    if found != frames:
        raise OSError(
            f"{path} would hold {found} of {frames} frames; is the disk full? Nothing was kept"
        )
