"""The tests of the differences on made-up runs with known p values, and a short run of it all."""

import io
import json

import numpy as np
import pytest

from safe_envs.contract.vector_env import AutoresetMode

for package in ("tyro", "rich", "matplotlib", "torch"):
    pytest.importorskip(package)
if AutoresetMode is None:
    pytest.skip("native vector environments need Gymnasium 1.1", allow_module_level=True)

from rich.console import Console  # noqa: E402

from baselines.experiments.backends.differences import (  # noqa: E402
    NUMBERS,
    TrainedCase,
    all_differences,
    smallest_p_value,
    verdict,
)
from baselines.experiments.backends.first_update import (  # noqa: E402
    FirstUpdate,
    compared_parameters,
)
from baselines.experiments.update_backends import (  # noqa: E402
    SEA,
    BackendArguments,
    run,
    table,
)

CASE = TrainedCase(SEA, "PPOLag")


def text_of(shown):
    printed = io.StringIO()
    Console(file=printed, width=150).print(shown)
    return printed.getvalue()


def made_up_runs(seeds):
    """Return runs whose return is always higher with NumPy, and whose cost is the same."""
    torch = np.zeros((seeds, len(NUMBERS)))
    torch[:, 0] = np.arange(seeds)
    torch[:, 1] = 3.0
    torch[:, 2] = torch[:, 3] = np.arange(seeds) % 3
    numpy = torch.copy()
    numpy[:, 0] += 10.0
    return {CASE: {"torch": torch, "numpy": numpy}}


def test_a_clear_difference_is_found_among_others():
    differences = all_differences(made_up_runs(5))
    assert [one.number for one in differences] == list(NUMBERS)
    assert [one.p_value for one in differences] == pytest.approx([2 / 252, 1.0, 1.0, 1.0])
    assert [one.adjusted for one in differences] == pytest.approx([4 * 2 / 252, 1.0, 1.0, 1.0])
    assert [one.is_significant for one in differences] == [True, False, False, False]
    shown = text_of(table(SEA, differences))
    assert "2.0000 +- 0.7071" in shown  # sqrt(2.5 / 5)
    assert "+10.0000 +- 1.0000" in shown
    assert "p 0.008, Holm 0.032 *" in shown
    told = verdict(differences, 0.5, 5)
    assert f"over 4 comparisons: PPOLag on {SEA}, return\n" in told
    assert "p <= 0.05 without the correction: 1 of 4" in told
    assert "at least" not in told  # 5 seeds are enough


def test_too_few_seeds_are_told():
    differences = all_differences(made_up_runs(4))
    assert smallest_p_value(4) == differences[0].p_value == pytest.approx(2 / 70)
    told = verdict(differences, 0.5, 4)
    assert "comparisons: none" in told
    assert "With 4 seeds no p value is below 0.029; Holm's first threshold is 0.013" in told
    assert "takes at least 5 seeds" in told


def test_parameters_are_compared_within_their_tensors():
    before = [np.array([1.0, 2.0]), np.array([100.0])]
    torch = [np.array([1.5, 2.0]), np.array([101.0])]
    numpy = [np.array([1.5, 2.25]), np.array([101.0])]
    assert compared_parameters(before, torch, numpy) == FirstUpdate(0.25 / 2.0, 0.25 / 0.5)
    assert compared_parameters(before, torch, torch) == FirstUpdate(0.0, 0.0)


def test_trains_with_both_backends_once(tmp_path):
    arguments = BackendArguments(("PPOLag",), 500, 0, 2, 1, tmp_path)
    printed = io.StringIO()
    assert run(arguments, Console(file=printed, width=150)) == 0
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert [one["number"] for one in summary["differences"]] == list(NUMBERS)
    for backend in ("torch", "numpy"):
        for seed in (0, 1):
            (file,) = (tmp_path / backend).glob(f"*/PPOLag/seed_{seed}/result.json")
            result = json.loads(file.read_text())
            assert result["update_backend"] == backend
            returns = summary["differences"][0][backend]
            assert returns[seed] == result["stochastic"]["exact"]["value"]
    (first,) = summary["first_updates"]
    assert 0.0 < first["of_parameters"] <= 1e-5  # other arithmetic, the same update
    assert "numpy - torch" in printed.getvalue()
    again = io.StringIO()
    assert run(arguments, Console(file=again, width=150)) == 0
    assert "4 trainings, 0 of them missing" in again.getvalue()
    assert again.getvalue().splitlines()[1:] == printed.getvalue().splitlines()[5:]
    assert json.loads((tmp_path / "summary.json").read_text()) == summary


def test_what_cannot_be_compared_is_refused(tmp_path):
    console = Console(file=io.StringIO())
    with pytest.raises(ValueError, match="seeds is 1; pass a whole number >= 2"):
        run(BackendArguments(seeds=1, folder=tmp_path), console)
    with pytest.raises(ValueError, match="pass steps for at least one"):
        run(BackendArguments(timesteps_sea=0, timesteps_hopper=0, folder=tmp_path), console)
