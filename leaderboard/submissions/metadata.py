"""The metadata of a submission: the only free text that others can put on a page."""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, ValidationError

from leaderboard.boards.board import MOST_POLICIES, boards

LARGEST_METADATA = 32 * 1024  # [bytes]
DEEPEST_JSON = 8
SHA256 = r"^[0-9a-f]{64}$"
# A string without an end is matched up to the end of the text: otherwise the search would start
# again at each of its quotes and take seconds.
_STRING = re.compile(r'"(?:[^"\\]|\\.)*(?:"|\\?\Z)', re.DOTALL)
_INVISIBLE = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}  # controls, overrides, surrogates


class MetadataRefused(ValueError):
    """The metadata is not accepted; the message names the field."""


def plain_text(text: str) -> str:
    """Return the text in normal form; refuse characters that change how other text is shown."""
    normal = unicodedata.normalize("NFC", text).strip()
    bad = sorted({f"U+{ord(c):04X}" for c in normal if unicodedata.category(c) in _INVISIBLE})
    if bad:
        raise ValueError(f"has invisible characters ({', '.join(bad[:5])}); remove them")
    marks = 0
    for character in normal:
        marks = marks + 1 if unicodedata.combining(character) else 0
        if marks > 3:
            raise ValueError("puts more than three marks on a letter; remove them")
    return normal


def _link(text: str) -> str:
    if text and not re.fullmatch(r"https://[A-Za-z0-9.-]+(:\d+)?(/[!-~]*)?", text):
        raise ValueError("is not an https:// address; pass one or leave it empty")
    return text


def _multiline(text: str) -> str:
    return "\n".join(plain_text(line) for line in text.splitlines())


@dataclass(frozen=True)
class _Kept:
    """Returns a text in the normal form in which it is kept, after checking its length.

    The normal form may be three times as long as the text, or empty.
    """

    longest: int
    shortest: int = 0
    form: Callable[[str], str] = plain_text

    def __call__(self, text: str) -> str:
        normal = self.form(text)
        if not self.shortest <= len(normal) <= self.longest:
            raise ValueError(
                f"has {len(normal)} characters; allowed: {self.shortest} to {self.longest}"
            )
        return normal


def _plain_json(value: Any) -> Any:
    """Return JSON data with all of its text in plain form."""
    if isinstance(value, str):
        return _multiline(value)
    if isinstance(value, list):
        return [_plain_json(entry) for entry in value]
    if isinstance(value, dict):
        return {plain_text(key): _plain_json(entry) for key, entry in value.items()}
    return value


Link = Annotated[str, Field(max_length=300), AfterValidator(_link)]
Name = Annotated[str, AfterValidator(_Kept(80, shortest=1))]
Text = Annotated[str, AfterValidator(_Kept(200))]
Finite = Annotated[float, Field(allow_inf_nan=False)]


class Claim(BaseModel):
    """What the submitter measured; shown next to the leaderboard's measurements."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    mean_return: Finite
    mean_costs: Annotated[list[Finite], Field(min_length=1, max_length=20)]
    episodes: Annotated[int, Field(ge=1, le=10**7)]  # of each policy
    exact: bool = False  # the numbers are from the environment's tabular model, not from episodes


class Metadata(BaseModel):
    """meta.json, schema 1; unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Literal[1] = 1
    env: Annotated[str, Field(max_length=100)]
    algorithm: Name
    family: Text = ""  # such as "PPO, augmented Lagrangian"
    authors: Annotated[list[Name], Field(min_length=1, max_length=30)]
    organisation: Text = ""
    contact: Text = ""  # not shown
    url: Link = ""
    citation: Annotated[str, AfterValidator(_Kept(2000, form=_multiline))] = ""
    code_url: Link = ""
    code_revision: Annotated[str, Field(pattern=r"^([0-9a-f]{40})?$")] = ""
    code_licence: Text = ""
    training_seeds: Annotated[
        list[Annotated[int, Field(ge=0, lt=2**63)]], Field(min_length=1, max_length=MOST_POLICIES)
    ]
    training_steps: Annotated[int, Field(ge=0, le=10**15)]  # of each policy
    wall_seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0  # of each policy
    hardware: Text = ""
    cost_limits: Annotated[list[Finite], Field(max_length=20)] = []  # trained for
    suite_version: Annotated[str, AfterValidator(_Kept(40))] = ""
    framework_versions: dict[Name, Text] = {}
    hyperparameters: Annotated[dict[Name, JsonValue], AfterValidator(_plain_json)] = {}
    uses_safety_filter: bool = False
    uses_model: bool = False  # used the environment's equations or tables
    uses_demonstrations: bool = False
    uses_preprocessing: bool = False  # of observations or actions, inside the file
    stochastic: bool  # actions are sampled from logits, or from mean and log_std
    claim: Claim | None = None
    sha256: Annotated[
        list[Annotated[str, Field(pattern=SHA256)]], Field(min_length=1, max_length=MOST_POLICIES)
    ]
    consent: Literal[True]  # to publish this, the scores and, after the season, the episodes


def parse_metadata(content: bytes) -> Metadata:
    """Return the metadata in a meta.json.

    Raises:
        MetadataRefused: if it is too large or too deep, is not JSON, or a field is wrong.
    """
    if len(content) > LARGEST_METADATA:
        raise MetadataRefused(
            f"meta.json has {len(content):,} bytes; the limit is {LARGEST_METADATA:,}; shorten it"
        )
    try:
        metadata = Metadata.model_validate(_parse_json(content))
    except ValidationError as error:
        lines = [
            f"{'.'.join(map(str, item['loc'])) or 'meta.json'}: {item['msg']}"
            for item in error.errors(include_url=False, include_input=False)[:5]
        ]
        raise MetadataRefused("; ".join(lines)) from None
    _check_board(metadata)
    return metadata


def _check_board(metadata: Metadata) -> None:
    """Raise MetadataRefused unless there is a board, and the lists have the right entries."""
    if metadata.env not in boards():
        raise MetadataRefused(
            f"env: {metadata.env!r} has no board; the boards are {', '.join(boards())}"
        )
    if len(metadata.sha256) != len(metadata.training_seeds):
        raise MetadataRefused(
            f"training_seeds has {len(metadata.training_seeds)} entries and sha256 "
            f"{len(metadata.sha256)}; give one of each for every policy file"
        )
    seeds = metadata.training_seeds
    repeated = sorted({seed for seed in seeds if seeds.count(seed) > 1})
    if repeated:
        raise MetadataRefused(
            f"training_seeds repeats {', '.join(map(str, repeated))}; each policy is a training of "
            "its own, from a seed of its own"
        )
    constraints = len(boards()[metadata.env].constraints)
    counts = {"cost_limits": len(metadata.cost_limits)} if metadata.cost_limits else {}
    if metadata.claim:
        counts["claim.mean_costs"] = len(metadata.claim.mean_costs)
    for name, count in counts.items():
        if count != constraints:
            raise MetadataRefused(
                f"{name} has {count} entries but {metadata.env} has {constraints} "
                f"constraint{'s' * (constraints > 1)}; pass one entry for each"
            )


def _parse_json(content: bytes) -> Any:
    """Return JSON data, after checking for finite numbers, unique keys and limited depth."""
    try:
        text = content.decode("utf-8")
        if _depth(text) > DEEPEST_JSON:
            raise MetadataRefused(f"meta.json nests deeper than {DEEPEST_JSON} levels; flatten it")
        return json.loads(
            text, parse_constant=_no_constant, parse_float=_finite, object_pairs_hook=_no_repeats
        )
    except MetadataRefused:
        raise
    except (ValueError, RecursionError) as error:
        raise MetadataRefused(f"meta.json is not JSON: {type(error).__name__}: {error}") from None


def _depth(text: str) -> int:
    """Return how deeply brackets nest; at least the depth of the JSON."""
    deepest = level = 0
    for character in _STRING.sub("", text):
        level += (character in "[{") - (character in "]}")
        deepest = max(deepest, level)
    return deepest


def _no_constant(name: str) -> float:
    raise MetadataRefused(f"meta.json contains {name}; JSON numbers are finite")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise MetadataRefused(f"meta.json contains {text[:40]}, which is too large a number")
    return value


def _no_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({key for key, _ in pairs}) < len(pairs):
        raise MetadataRefused("meta.json repeats a key; give each once")
    return dict(pairs)
