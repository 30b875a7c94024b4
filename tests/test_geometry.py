"""The closed forms against finite differences, the laws of the loss, and the panels of figure 2."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sstutils import geometry

EPS = 1e-6
LOSSES = [geometry.sst, geometry.triplet]
numbers = st.floats(-3, 3, allow_nan=False)


def points(size):
    return st.lists(numbers, min_size=size, max_size=size)


def finite_difference(loss, triple, which):
    gradient = np.zeros_like(triple[which])
    for i in range(len(gradient)):
        ends = []
        for step in (EPS, -EPS):
            moved = [x.copy() for x in triple]
            moved[which][i] += step
            ends.append(loss(*moved)[0])
        gradient[i] = (ends[0] - ends[1]) / (2 * EPS)
    return gradient


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("dimension", [1, 2, 5])
def test_gradients_equal_finite_differences(loss, dimension):
    rng = np.random.default_rng(dimension)
    for _ in range(20):
        triple = list(rng.normal(size=(3, dimension)))
        for which, gradient in enumerate(loss(*triple)[1]):
            np.testing.assert_allclose(gradient, finite_difference(loss, triple, which), atol=1e-7)


def test_values_by_hand():
    # a = 0, p = 1, n = 3 on a line: z = 1 - (9 + 4) / 2 = -5.5
    assert geometry.sst_logit([0], [1], [3]) == -5.5
    assert geometry.sst([0], [1], [3])[0] == pytest.approx(math.log1p(math.exp(-5.5)))
    assert geometry.triplet([0], [1], [3], margin=9)[0] == 1
    value, gradients = geometry.triplet([0], [1], [3], margin=8)  # on the edge: not active
    assert value == 0
    assert not np.any(gradients)
    np.testing.assert_array_equal(geometry.triplet([0.0], [1.0], [3.0], margin=9)[1], [[4], [2], [-6]])


def test_collapse_costs_log_2_and_pushes_nowhere():
    value, gradients = geometry.sst([1, 2], [1, 2], [1, 2])
    assert value == pytest.approx(math.log(2))
    assert not np.any(gradients)


@given(points(3), points(3), points(3))
def test_the_pair_is_symmetric_and_forces_balance(a, p, n):
    value, (da, dp, dn) = geometry.sst(a, p, n)
    swapped, (dp2, da2, dn2) = geometry.sst(p, a, n)
    assert value == pytest.approx(swapped)
    for one, other in ((da, da2), (dp, dp2), (dn, dn2)):
        np.testing.assert_allclose(one, other, atol=1e-12)
    np.testing.assert_allclose(da + dp + dn, 0, atol=1e-12)
    np.testing.assert_allclose(sum(geometry.triplet(a, p, n)[1]), 0, atol=1e-12)


def test_triplet_is_not_symmetric():
    assert geometry.triplet([0], [1], [3])[0] != geometry.triplet([1], [0], [1.5])[0]
    assert geometry.triplet([0], [1], [1.5])[0] != geometry.triplet([1], [0], [1.5])[0]


@given(points(2), points(2), points(2))
def test_negative_is_pushed_away_from_the_midpoint(a, p, n):
    _, (_, _, dn) = geometry.sst(a, p, n)
    s = 1 / (1 + math.exp(-geometry.sst_logit(a, p, n)))
    np.testing.assert_allclose(dn, -2 * s * (np.array(n) - (np.array(a) + p) / 2), atol=1e-12)


@given(points(3), points(3), points(3))
def test_sphere_is_where_z_vanishes(a, p, direction):
    centre, radius = geometry.sphere(a, p)
    length = np.linalg.norm(direction)
    if length < 1e-3:
        return
    on_it = centre + radius * np.array(direction) / length
    assert geometry.sst_logit(a, p, on_it) == pytest.approx(0, abs=1e-10)
    z = 0.75 * np.sum((np.array(a) - p) ** 2) - np.sum((direction - centre) ** 2)
    assert geometry.sst_logit(a, p, direction) == pytest.approx(z, abs=1e-10)


@pytest.mark.parametrize("z", [1e6, -1e6, 1e12, -1e12])
def test_no_overflow(z):
    a, p, n = ([0.0], [math.sqrt(z)], [math.sqrt(z) / 2]) if z > 0 else ([0.0], [0.0], [math.sqrt(-z)])
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        value, gradients = geometry.sst(a, p, n)
    assert value == pytest.approx(geometry.sst_logit(a, p, n) if z > 0 else 0)
    assert np.all(np.isfinite(gradients))


def test_small_slopes_keep_their_digits():
    _, (_, _, dn) = geometry.sst([0.0], [0.0], [10.0])  # z = -100
    assert dn[0] == pytest.approx(-20 * math.exp(-100), rel=1e-12)


def test_leading_axes_broadcast():
    rng = np.random.default_rng(0)
    a, p, n = rng.normal(size=(4, 1, 3)), rng.normal(size=(5, 3)), rng.normal(size=3)
    for loss in LOSSES:
        value, gradients = loss(a, p, n)
        assert value.shape == (4, 5)
        assert all(gradient.shape == (4, 5, 3) for gradient in gradients)
        one, one_gradients = loss(a[2, 0], p[3], n)
        assert value[2, 3] == pytest.approx(one)
        np.testing.assert_allclose([gradient[2, 3] for gradient in gradients], one_gradients)
    centre, radius = geometry.sphere(a, p)
    assert (centre.shape, radius.shape) == ((4, 5, 3), (4, 5))


def test_arguments_stay_as_they_are():
    triple = np.arange(6.0).reshape(3, 2)
    before = triple.copy()
    geometry.sst(*triple)
    geometry.triplet(*triple)
    np.testing.assert_array_equal(triple, before)


@pytest.mark.parametrize("loss", [*LOSSES, geometry.sst_logit])
def test_points_of_different_dimensions(loss):
    with pytest.raises(ValueError, match=r"\(1,\), \(2,\), \(2,\)"):
        loss([1], [1, 2], [1, 2])


# Figure 2


@pytest.mark.parametrize("resolution", [1, 2, 30])
def test_ternary_grid(resolution):
    grid = np.stack(geometry.ternary_coordinates(resolution), axis=1)
    assert len(np.unique(grid, axis=0)) == len(grid) == (resolution + 1) * (resolution + 2) // 2
    assert grid.min() == 0
    np.testing.assert_allclose(grid.sum(axis=1), 1)
    assert all(vertex in grid.tolist() for vertex in np.eye(3).tolist())
    np.testing.assert_allclose((-2 + 6 * grid).sum(axis=1), 0, atol=1e-12)


@pytest.mark.parametrize("margin", [0.0, 1.0])
def test_panels_equal_the_formulas(margin):
    b, r, l, panels = geometry.ternary_field("sst", 24)  # noqa: E741
    u, v, w = -2 + 6 * b, -2 + 6 * r, -2 + 6 * l
    s = 1 / (1 + np.exp(-(u**2 - (v**2 + w**2) / 2)))
    np.testing.assert_allclose(panels, [s * (v - u), s * (u - w), s * (w - v)], atol=1e-12)
    panels = geometry.ternary_field("triplet", 24, margin).panels
    gap = u**2 + margin - w**2
    clear = np.abs(gap) > 1e-9  # on the edge itself rounding decides
    expected = np.where(gap > 0, [2 * v, 2 * u, 2 * w], 0)
    np.testing.assert_allclose(panels[:, clear], expected[:, clear], atol=1e-12)
    assert 0 < (panels == 0).all(axis=0).sum() < len(u)


@pytest.mark.parametrize(("vertex", "uvw"), [(0, (4, -2, -2)), (1, (-2, 4, -2)), (2, (-2, -2, 4))])
def test_vertices(vertex, uvw):
    field = geometry.ternary_field("triplet", 6)
    (at,) = np.flatnonzero(np.array(field[:3])[vertex] == 1)
    u, v, w = uvw
    active = u**2 + 1 - w**2 > 0
    np.testing.assert_allclose(field.panels[:, at], [2 * v * active, 2 * u * active, 2 * w * active])


@given(numbers, numbers, st.sampled_from(["sst", "triplet"]))
def test_scalar_field_is_the_gradient_of_numbers(u, v, loss):
    _, gradients = getattr(geometry, loss)([u], [0], [-v])
    np.testing.assert_array_equal(geometry.scalar_field(loss, u, v), -np.ravel(gradients))


def test_unknown_loss_and_empty_grid():
    with pytest.raises(ValueError, match="loss must be one of 'sst', 'triplet', got 'contrastive'"):
        geometry.ternary_field("contrastive")
    for wrong, found in ((0, "at least 1, got 0"), (2.5, "an integer, got 2.5")):
        with pytest.raises(ValueError, match=f"^resolution must be {found}$"):
            geometry.ternary_coordinates(wrong)


POINTS = [1.0, 2], [3.0, 4], [5.0, 7]
CALLS = {
    "sst": lambda *points: [geometry.sst(*points)[0], *geometry.sst(*points)[1]],
    "triplet": lambda *points: [geometry.triplet(*points)[0], *geometry.triplet(*points)[1]],
    "sst_logit": lambda *points: [geometry.sst_logit(*points)],
    "sphere": lambda a, p, n: [*geometry.sphere(a, p), *geometry.sphere(p, n)],
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_points_of_any_kind(call):
    for kind in (np.float16, torch.tensor, lambda x: torch.tensor(x, dtype=torch.bfloat16, requires_grad=True)):
        for found, wanted in zip(call(*map(kind, POINTS)), call(*POINTS), strict=True):
            np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (math.nan, "finite numbers below 1e150, got nan"),
        (math.inf, "finite numbers below 1e150, got inf"),
        (-1e200, r"finite numbers below 1e150, got 1e\+200"),
        ("cat", "real numbers, got 'cat'"),
        ([[1.0], [1.0, 2.0]], "real numbers, got"),
    ],
)
def test_what_is_no_point(call, wrong, says):
    for place in range(3):
        points = [wrong if place == i else [0.0] for i in range(3)]
        with pytest.raises(ValueError, match=f"^points must be {says}"):
            call(*points)


def test_margin_is_a_number():
    for wrong in ("1", math.nan, None):
        with pytest.raises(ValueError, match=r"^margin must be a finite number, got"):
            geometry.triplet([0], [1], [2], margin=wrong)
