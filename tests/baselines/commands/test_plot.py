"""Learning curves: what is drawn is what stands in progress.csv."""

import csv
import json
import shutil

import numpy as np
import pytest
from PIL import Image

from baselines.__main__ import main
from baselines.jobs.found_run import find_run
from baselines.report.run_curves import draw_run_curves, labels_of, read_run_curve

LOGGED = (  # of an environment whose reward and cost are discounted
    "rollout/ep_value_mean",
    "rollout/ep_cost_value_mean",
    "rollout/ep_len_mean",
)


@pytest.fixture
def runs(sea):
    return [sea / "Safe_DeepSeaTreasure-v0" / "PPOLag" / f"seed_{seed}" for seed in (0, 1)]


def columns_of(folder):
    rows = list(csv.DictReader((folder / "progress.csv").read_text().splitlines()))
    names = ("time/total_timesteps", "time/iterations", *LOGGED)
    return {name: [float(row[name]) for row in rows] for name in names}


def lines_of(panel):
    return {line.get_label(): line.get_xydata().T for line in panel.lines}


def changed(folder, copy, **settings):
    shutil.copytree(folder, copy)
    for name in ("result.json", "model.zip", "policy.onnx"):
        (copy / name).unlink(missing_ok=True)
    config = json.loads((copy / "config.json").read_text())
    config["hyperparameters"].update(settings)
    (copy / "config.json").write_text(json.dumps(config))
    return copy


@pytest.mark.parametrize(
    ("x", "column"), [("timesteps", "time/total_timesteps"), ("updates", "time/iterations")]
)
def test_lines_are_the_columns_of_the_log(runs, x, column):
    figure = draw_run_curves([read_run_curve(find_run(one), x) for one in runs], x)
    titles = [panel.get_title("left") for panel in figure.axes]
    assert titles == [
        "episode return, discount 0.9",
        "episode cost: mines, discount 0.9",
        "episode length",
    ]
    logs = [columns_of(one) for one in runs]
    for panel, name in zip(figure.axes, LOGGED, strict=True):
        assert panel.get_xlabel() == x
        thin = [line.get_xydata().T for line in panel.lines if line.get_linewidth() == 0.5]
        for (steps, values), log in zip(thin, logs, strict=True):
            assert steps.tolist() == log[column]
            assert values.tolist() == log[name]
        steps, mean = lines_of(panel)["PPOLag"]
        assert mean[[0, -1]] == pytest.approx(
            np.mean([np.array(log[name])[[0, -1]] for log in logs], axis=0)
        )
    limits = [line.get_ydata()[0] for line in figure.axes[1].lines if line.get_label() == "limit"]
    assert limits == [0.15]


def test_a_run_in_progress_is_drawn_as_far_as_it_is(runs, tmp_path):
    copy = changed(runs[0], tmp_path / "run")
    whole = (copy / "progress.csv").read_text().splitlines(keepends=True)
    (copy / "progress.csv").write_text("".join(whole[:3]))
    shown = read_run_curve(find_run(copy))
    assert (shown.limits, shown.discounts) == ((0.15,), (0.9, 0.9))
    assert shown.curve.timesteps.tolist() == columns_of(runs[0])["time/total_timesteps"][:2]


def test_runs_with_other_settings_are_not_averaged(runs, tmp_path):
    other = changed(runs[0], tmp_path / "run", cost_limit=0.5, n_steps=4)
    curves = [read_run_curve(find_run(one)) for one in (*runs, other)]
    labels = labels_of(curves)
    assert labels.names == ["PPOLag a", "PPOLag a", "PPOLag b"]
    assert labels.key == (
        "PPOLag a: cost_limit=None, n_steps=8; PPOLag b: cost_limit=0.5, n_steps=4"
    )
    cost = draw_run_curves(curves).axes[1]
    drawn = lines_of(cost)
    np.testing.assert_allclose(drawn["PPOLag b"][1][0], columns_of(other)[LOGGED[1]][0])
    limits = [line.get_ydata()[0] for line in cost.lines if line.get_label() == "limit"]
    assert sorted(limits) == [0.15, 0.5]
    assert cost.get_ylim()[1] > 0.5


def test_seeds_without_a_common_timestep_are_drawn_apart(runs, tmp_path):
    late = changed(runs[1], tmp_path / "run")
    text = (late / "progress.csv").read_text().splitlines()
    head = text[0].split(",").index("time/total_timesteps")
    shifted = [row.split(",") for row in text[1:]]
    for row in shifted:
        row[head] = str(int(row[head]) + 10**6)
    (late / "progress.csv").write_text("\n".join([text[0], *map(",".join, shifted)]) + "\n")
    curves = [read_run_curve(find_run(one)) for one in (runs[0], late)]
    assert labels_of(curves).names == ["PPOLag, seed 0", "PPOLag, seed 1"]
    draw_run_curves(curves)


def test_environments_have_a_row_each(runs, tmp_path):
    copy = changed(runs[0], tmp_path / "run")
    config = json.loads((copy / "config.json").read_text())
    config["env"] = {"id": "Safe/CliffWorld-v0", "kwargs": {}}
    (copy / "config.json").write_text(json.dumps(config))
    figure = draw_run_curves([read_run_curve(find_run(one)) for one in (runs[0], copy)])
    assert [panel.get_title("left").split(",")[0] for panel in figure.axes] == [
        *("episode return", "episode cost: mines", "episode length"),
        *("episode return", "episode cost: chasm", "episode length"),
    ]
    assert {"Safe/DeepSeaTreasure-v0", "Safe/CliffWorld-v0"} < {t.get_text() for t in figure.texts}


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf"])
def test_a_comparison_is_plotted_whole(sea, tmp_path, capsys, suffix):
    out = tmp_path / "new" / f"curves{suffix}"
    assert main(["plot", str(sea), "--out", str(out)]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "2 curves" in text
    assert "pqa_alm does not train in episodes" in text
    assert [file.name for file in out.parent.iterdir()] == [out.name]
    if suffix == ".png":
        with Image.open(out) as picture:
            assert picture.size[0] > 1000
    start = {".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF"}[suffix]
    assert out.read_bytes().startswith(start)


def test_what_has_no_curve_is_refused_by_name(sea, tmp_path, capsys):
    solver = sea / "Safe_DeepSeaTreasure-v0" / "pqa_alm" / "seed_0"
    started = changed(sea / "Safe_DeepSeaTreasure-v0" / "PPOLag" / "seed_0", tmp_path / "run")
    (started / "progress.csv").write_text("time/total_timesteps,time/fps\n64,9\n")
    for words, message in (
        ([str(solver)], "pqa_alm does not train in episodes"),
        ([str(started)], "no episode has ended"),
        ([str(tmp_path / "none")], "is not a folder"),
        ([str(solver), "--out", "x.jpg"], "ends with one of .png, .svg, .pdf"),
    ):
        assert main(["plot", *words]) == 2
        text = " ".join(capsys.readouterr().out.split())
        assert message in text
        assert words[0] in text.replace(" ", "") or "--out" in words


def test_a_run_without_a_curve_is_left_out_and_named(sea, tmp_path, capsys):
    folder = sea / "Safe_DeepSeaTreasure-v0"
    solver, learned = folder / "pqa_alm" / "seed_0", folder / "PPOLag" / "seed_1"
    out = tmp_path / "x.svg"
    assert main(["plot", str(solver), str(learned), str(solver), "--out", str(out)]) == 0
    text = capsys.readouterr().out
    assert text.count(f"left out {solver} has no learning curve: pqa_alm does not train") == 1
    assert "1 curve: " in text
    assert out.exists()
