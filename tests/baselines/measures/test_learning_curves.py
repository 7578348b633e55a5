"""Reading progress files, and what the drawn lines, bands, limits and labels are."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from baselines.measures.learning_curve import (
    FinalPolicy,
    LearningCurve,
    cost_columns,
    read_learning_curve,
    seed_band,
)
from baselines.report.learning_curve_plots import draw_learning_curves
from baselines.report.pareto_plot import draw_pareto
from baselines.report.style import AGENT_STYLES, cost_ticks, place_labels, styles_of

PLAIN = (
    "rollout/ep_cost_value_mean,rollout/ep_len_mean,rollout/ep_value_mean,time/total_timesteps,"
    "rollout/episodes\n"
)


def write(tmp_path, text):
    path = tmp_path / "progress.csv"
    path.write_text(text)
    return path


def straight(agent, seed, offset, costs=(1.0,), end=1000.0, moments=11):
    """A run whose return is offset + timesteps / 100, with constant costs."""
    timesteps = np.linspace(0.0, end, moments)
    return LearningCurve(
        agent,
        seed,
        timesteps,
        offset + timesteps / 100,
        np.tile(np.array(costs), (moments, 1)),
        np.full(moments, 200.0),
    )


def line(axes, label):
    return next(drawn for drawn in axes.get_lines() if drawn.get_label() == label)


def test_columns_are_found_by_name(tmp_path):
    curve = read_learning_curve(
        write(tmp_path, PLAIN + "3.5,100,-7.25,2048,2\n0,90,1e3,4096,9\n"), "CPO", 2, ["speed"]
    )
    assert (curve.agent, curve.seed) == ("CPO", 2)
    np.testing.assert_array_equal(curve.timesteps, [2048, 4096])
    np.testing.assert_array_equal(curve.episode_return, [-7.25, 1000])
    np.testing.assert_array_equal(curve.episode_cost, [[3.5], [0]])
    np.testing.assert_array_equal(curve.episode_length, [100, 90])
    np.testing.assert_array_equal(curve.episodes, [2, 9])


def test_rows_in_which_no_episode_ended_are_left_out(tmp_path):
    text = PLAIN + ",,,100,\nnan,nan,nan,200,\n,10,5,300\n1,2,3,400,1\n,,,500,7\n4,5,6,600,1\n"
    curve = read_learning_curve(write(tmp_path, text), "CPO", 0, ["speed"])
    np.testing.assert_array_equal(curve.timesteps, [400, 600])
    np.testing.assert_array_equal(curve.episode_cost[:, 0], [1, 4])


def test_several_costs_keep_the_order_of_their_names(tmp_path):
    header = (
        "time/total_timesteps,rollout/ep_cost_value_mean/tilt,rollout/ep_value_mean,"
        "rollout/ep_len_mean,rollout/ep_cost_value_mean/speed,rollout/episodes\n"
    )
    curve = read_learning_curve(
        write(tmp_path, header + "10,1,2,3,4,5\n"), "CPO", 0, ["speed", "tilt"]
    )
    np.testing.assert_array_equal(curve.episode_cost, [[4.0, 1.0]])


def test_refused_files(tmp_path):
    missing = write(
        tmp_path, "time/total_timesteps,rollout/ep_value_mean,rollout/episodes\n1,2,3\n"
    )
    with pytest.raises(
        ValueError,
        match=r"no column rollout/ep_len_mean, rollout/ep_cost_value_mean; its columns are time/",
    ):
        read_learning_curve(missing, "CPO", 0, ["cost"])
    with pytest.raises(ValueError, match=r"its columns are none; pass"):
        read_learning_curve(write(tmp_path, ""), "CPO", 0, ["cost"])
    with pytest.raises(ValueError, match=r"has 2 rows, none with all of .*; train until"):
        read_learning_curve(write(tmp_path, PLAIN + ",,,1,\n,,,2,\n"), "CPO", 0, ["cost"])
    with pytest.raises(ValueError, match=r"row 2 of .* has rollout/ep_cost_value_mean = 'nan'; e"):
        read_learning_curve(write(tmp_path, PLAIN + "1,1,1,1,3\nnan,1,1,2,3\n"), "CPO", 0, ["c"])
    with pytest.raises(ValueError, match=r"row 1 of .* rollout/ep_value_mean = '1;5'; every"):
        read_learning_curve(write(tmp_path, PLAIN + "1,1,1;5,1,3\n"), "CPO", 0, ["c"])
    with pytest.raises(
        ValueError, match=r"timesteps has 2 entries and must be strictly increasing"
    ):
        read_learning_curve(write(tmp_path, PLAIN + "1,1,1,5,3\n1,1,1,5,3\n"), "CPO", 0, ["c"])
    with pytest.raises(ValueError, match=r"constraint_names is empty; .* pass"):
        cost_columns([])


@pytest.mark.parametrize("cost", [np.zeros(3), np.zeros((2, 1)), np.zeros((3, 1, 1))])
def test_arrays_must_fit_together(cost):
    with pytest.raises(ValueError, match=r"beside 3 timesteps; allowed: \(k,\), \(k, m\)"):
        LearningCurve("CPO", 0, np.arange(3.0), np.zeros(3), cost, np.zeros(3))


def test_band_of_straight_lines_is_exact():
    """Interpolation is exact on straight lines, whatever the moments of each seed."""
    first, second = np.array([0.0, 10.0, 40.0]), np.array([5.0, 7.0, 50.0])
    band = seed_band([first, second], [2 * first, 4 * second], points=8)
    np.testing.assert_allclose(band.timesteps, [5, 10, 15, 20, 25, 30, 35, 40])
    np.testing.assert_allclose(band.mean, 3 * band.timesteps)
    np.testing.assert_allclose(band.lowest, 2 * band.timesteps)
    np.testing.assert_allclose(band.highest, 4 * band.timesteps)
    with pytest.raises(ValueError, match=r"starts at timestep 60, after another ended at 40"):
        seed_band([first, first + 60], [first, first])


def test_lines_and_bands_are_those_of_the_data(tmp_path):
    curves = [straight("CPO", s, s) for s in range(3)] + [straight("PPOALM", 0, 50.0)]
    figure = draw_learning_curves("title", curves, [25.0], tmp_path / "curves")
    returns, costs, lengths, *_ = figure.axes
    titles = [axes.get_title("left") for axes in figure.axes]
    assert titles == ["episode return", "episode cost", "episode length"]
    x, y = line(returns, "CPO").get_data()
    np.testing.assert_allclose(y, 1.0 + x / 100)
    x, y = line(returns, "PPOALM").get_data()
    np.testing.assert_allclose(y, 50.0 + x / 100)
    band = next(c for c in returns.collections if c.get_label() == "CPO band")
    corners = band.get_paths()[0].vertices
    at_end = corners[corners[:, 0] == 1000.0, 1]
    assert (at_end.min(), at_end.max()) == (10.0, 12.0)
    assert set(line(costs, "CPO").get_ydata()) == {1.0}
    assert set(line(lengths, "CPO").get_ydata()) == {200.0}
    thin = [drawn for drawn in returns.get_lines() if drawn.get_linewidth() < 1]
    assert len(thin) == 3  # a single seed is its own mean
    assert all((tmp_path / f"curves.{kind}").stat().st_size > 10_000 for kind in ("png", "svg"))


def test_each_cost_has_its_limit_drawn_named_and_shaded(tmp_path):
    curves = [straight("CPO", s, 0.0, costs=(20.0 + s, 3.0)) for s in range(2)]
    figure = draw_learning_curves("t", curves, [25.0, 2.5], tmp_path / "two", ["speed", "tilt"])
    assert len(figure.axes) == 4
    for axes, limit, name in zip(figure.axes[1:3], (25.0, 2.5), ("speed", "tilt"), strict=True):
        assert axes.get_title("left") == f"episode cost: {name}"
        assert set(line(axes, "limit").get_ydata()) == {limit}
        assert f"limit {limit:g}" in [text.get_text() for text in axes.texts]
        assert axes.get_yscale() == "linear"
        shade = axes.patches[0].get_extents().transformed(axes.transData.inverted())
        assert shade.ymin == pytest.approx(limit)
        assert shade.ymax == pytest.approx(axes.get_ylim()[1])
    assert all("limit" not in t.get_text() for i in (0, 3) for t in figure.axes[i].texts)


def test_curves_end_in_the_final_policies_and_sums_are_named(tmp_path):
    """Large dots at the means over the seeds of what was measured; labels are beside them."""
    finals = [
        FinalPolicy(1000.0, 30.0 + s, np.array([2.0 * s]), 150.0, 0.0, np.zeros(1), is_exact=True)
        for s in range(3)
    ]
    curves = [
        replace(straight("CPO", s, 0.0, costs=(9.0,)), discounts=(0.9, 0.8), final=final)
        for s, final in enumerate(finals)
    ]
    figure = draw_learning_curves("t", curves, [2.5], tmp_path / "ends")
    returns, costs, lengths, *_ = figure.axes
    assert returns.get_title("left") == "episode return, discount 0.9"
    assert costs.get_title("left") == "episode cost, discount 0.8"
    for axes, mean in ((returns, 31.0), (costs, 2.0), (lengths, 150.0)):
        assert np.ravel(line(axes, "CPO final").get_data()).tolist() == [1000.0, mean]
    assert "the final policy as evaluated, exactly, mean" in figure.texts[1].get_text()
    sampled = [replace(curves[0], final=replace(finals[0], is_exact=False)), *curves[1:]]
    figure = draw_learning_curves("t", sampled, [2.5], tmp_path / "ends")
    assert "as evaluated, mean" in figure.texts[1].get_text()
    with pytest.raises(ValueError, match=r"different discounts, .* draw one chart for each"):
        draw_learning_curves("t", [*curves, straight("PPO", 0, 0.0)], [2.5], tmp_path / "x")
    with pytest.raises(ValueError, match="discounts has 2 entries; pass one for the return and"):
        replace(straight("CPO", 0, 0.0, costs=(1.0, 2.0)), discounts=(0.9, 0.8))


def test_costs_far_above_the_limit_get_a_logarithmic_scale(tmp_path):
    curves = [straight("PPO", 0, 0.0, costs=(700.0,)), straight("CPO", 0, 0.0, costs=(20.0,))]
    axes = draw_learning_curves("t", curves, [25.0], tmp_path / "far").axes[1]
    assert axes.get_yscale() == "symlog"
    assert "log above limit" in axes.get_title("left")
    to_axes = axes.transAxes.inverted()
    heights = [to_axes.transform(axes.transData.transform((0.0, y)))[1] for y in (20.0, 25.0)]
    assert heights[1] - heights[0] > 0.05  # with a linear axis they would share 0.6 %
    np.testing.assert_allclose(axes.get_yticks(), [0, 10, 25, 50, 100, 200, 500])


@pytest.mark.parametrize("cost", [0.0, 1.0])
def test_a_limit_of_zero_is_drawn(tmp_path, cost):
    curves = [straight("CPO", 0, 0.0, costs=(cost,))]
    axes = draw_learning_curves("t", curves, [0.0], tmp_path / "zero").axes[1]
    assert set(line(axes, "limit").get_ydata()) == {0.0}
    assert axes.get_ylim()[1] >= 1.0


def test_ticks_of_other_limits():
    assert cost_ticks(40.0, 300.0) == [0.0, 20.0, 40.0, 100.0, 200.0]
    assert cost_ticks(0.1, 1.0) == [0.0, 0.05, 0.1, 0.2, 0.5, 1.0]


def test_the_same_curves_give_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        draw_learning_curves("t", [straight("CPO", 0, 0.0)], [2.0], tmp_path / name)
    for kind in ("png", "svg"):
        assert (tmp_path / f"a.{kind}").read_bytes() == (tmp_path / f"b.{kind}").read_bytes()


def test_limits_must_match_the_costs(tmp_path):
    with pytest.raises(ValueError, match=r"2 limits and 2 names for 1 curves with \[1\] costs"):
        draw_learning_curves("t", [straight("CPO", 0, 0.0)], [1.0, 2.0], tmp_path / "x")
    with pytest.raises(ValueError, match=r"1 limits and 1 names for 0 curves with \[\] costs"):
        draw_learning_curves("t", [], [1.0], tmp_path / "x")
    with pytest.raises(ValueError, match=r"1 limits and 2 names for 1 curves"):
        draw_learning_curves("t", [straight("CPO", 0, 0.0)], [1.0], tmp_path / "x", ["a", "b"])


def test_pareto_shows_every_seed_every_mean_and_the_feasible_side(tmp_path):
    points = {"CPO": np.array([[20.0, 100.0], [30.0, 300.0]]), "PPOALM": np.array([[24.0, 250.0]])}
    figure = draw_pareto("t", points, 25.0, tmp_path / "pareto")
    axes = figure.axes[0]
    seeds, mean = (c.get_offsets() for c in axes.collections[:2])
    np.testing.assert_array_equal(seeds, points["CPO"])
    np.testing.assert_array_equal(mean, [[25.0, 200.0]])
    assert set(line(axes, "limit").get_xdata()) == {25.0}
    shade = axes.patches[0].get_extents().transformed(axes.transData.inverted())
    assert shade.xmin == pytest.approx(25.0)
    words = [text.get_text() for text in axes.texts]
    assert {"feasible", "above limit 25", "CPO", "PPOALM"} <= set(words)
    assert (tmp_path / "pareto.svg").is_file()


def test_pareto_labels_do_not_cover_each_other(tmp_path):
    rng = np.random.default_rng(5)
    points = {agent: rng.normal([25, 1600], [4, 60], size=(5, 2)) for agent in AGENT_STYLES}
    figure = draw_pareto("t", points, 25.0, tmp_path / "pareto")
    FigureCanvasAgg(figure).draw()
    boxes = [t.get_window_extent() for t in figure.axes[0].texts if t.get_text() in points]
    assert len(boxes) == len(points)
    assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))


def test_pareto_refuses_other_shapes(tmp_path):
    with pytest.raises(ValueError, match=r"'CPO: \(3,\)'.*; each agent needs \(seeds, 2\)"):
        draw_pareto("t", {"CPO": np.zeros(3)}, 1.0, tmp_path / "x")
    with pytest.raises(ValueError, match="of no agent"):
        draw_pareto("t", {}, 1.0, tmp_path / "x")
    with pytest.raises(ValueError, match=r"NaN or infinite entries; all must be finite"):
        draw_pareto("t", {"CPO": np.array([[1.0, np.nan]])}, 1.0, tmp_path / "x")


@pytest.mark.parametrize("size", [-1.7e5, 9e7])
def test_large_numbers_fit_beside_the_axis(tmp_path, size):
    curves = [straight("CPO", 0, size), straight("PPO", 0, 0.8 * size)]
    panels = draw_learning_curves("t", curves, [25.0], tmp_path / "large")
    points = {"CPO": np.array([[20.0, size], [30.0, 0.7 * size]])}
    for figure in (panels, draw_pareto("t", points, 25.0, tmp_path / "pareto")):
        FigureCanvasAgg(figure).draw()
        axes = figure.axes[0]
        shown = [*axes.get_yticklabels(), axes.yaxis.label]
        assert min(text.get_window_extent().x0 for text in shown if text.get_text()) > 0.0


def test_labels_take_the_nearest_free_place():
    anchors = np.array([[50.0, 50.0], [50.0, 50.0]])
    sizes = np.full((2, 2), 10.0)
    centers = place_labels(anchors, sizes, np.zeros((0, 4)), (0, 0, 100, 100), gap=4.0)
    np.testing.assert_array_equal(centers, [[59.0, 50.0], [41.0, 50.0]])
    right_wall = place_labels(anchors[:1], sizes[:1], np.zeros((0, 4)), (0, 0, 60, 100), gap=4.0)
    np.testing.assert_array_equal(right_wall, [[41.0, 50.0]])
    blocked = place_labels(
        anchors[:1], sizes[:1], np.array([[30.0, 40.0, 70.0, 55.0]]), (0, 0, 100, 100), gap=6.0
    )
    np.testing.assert_array_equal(blocked, [[50.0, 61.0]])


def test_every_agent_can_be_told_apart():
    styles = list(AGENT_STYLES.values())
    assert len({(style.color, style.dashes) for style in styles}) == len(styles)
    assert len({(style.color, style.marker) for style in styles}) == len(styles)
    names = ["agents_mine.py:Sub", "CPO", "stable_baselines3:PPO", "pol", *map(str, range(130))]
    found = styles_of(names)
    assert found["CPO"] == AGENT_STYLES["CPO"]
    assert len({*styles, *found.values()}) == len(styles) + len(names) - 1
    others = [found[name] for name in names if name != "CPO"]
    assert not {style.color for style in others} & {style.color for style in styles}
    first = others[:20]
    assert len({(style.color, style.dashes) for style in first}) == len(first)
    assert len({(style.color, style.marker) for style in others[:35]}) == 35


@pytest.mark.parametrize("constraints", [1, 2])
def test_long_names_beside_panels_stay_clear_of_everything(tmp_path, constraints):
    costs = (20.0,) * constraints
    names = ("agents_mine.py:MyPPO", "stable_baselines3:PPO", "CPO")
    curves = [straight(name, 0, 9.0 * i, costs=costs) for i, name in enumerate(names)]
    figure = draw_learning_curves("t", curves, [25.0] * constraints, tmp_path / "long")
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    beside = [t.get_window_extent() for axes in figure.axes for t in axes.texts]
    ticks = [t.get_window_extent() for axes in figure.axes for t in axes.get_yticklabels()]
    assert max(box.x1 for box in beside) < figure.bbox.width
    assert not any(box.overlaps(other) for box in beside for other in ticks)
    inner = [axes.get_window_extent() for axes in figure.axes]
    assert not any(box.overlaps(other) for box in beside for other in inner)
    assert len(inner) == 2 + constraints
