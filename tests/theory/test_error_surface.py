"""The two-parameter network of Pascanu et al. 2013, figure 6: its gradient, and the wall where it explodes."""

import numpy as np
import pytest

from rnnlab.theory.error_surface import steepness_at_wall, two_parameter_surface, wall


def test_its_gradient_is_that_of_finite_differences():
    w, b, step = np.array([3.0, 5.0, 6.5]), np.array([-1.0, -2.0, -3.9]), 1e-6
    found = two_parameter_surface(w, b)
    up, down = two_parameter_surface(w + step, b).error, two_parameter_surface(w - step, b).error
    np.testing.assert_allclose(found.d_w, (up - down) / (2 * step), rtol=1e-4, atol=1e-9)
    up, down = two_parameter_surface(w, b + step).error, two_parameter_surface(w, b - step).error
    np.testing.assert_allclose(found.d_b, (up - down) / (2 * step), rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize("w", [4.5, 5.5, 6.5])
def test_on_the_wall_the_gradient_is_a_geometric_series_and_beside_it_the_state_parts(w):
    b = float(wall(w))
    assert two_parameter_surface(w, b).d_b == pytest.approx(-steepness_at_wall(w), rel=1e-4)
    low, high = two_parameter_surface(w, np.array([b - 0.01, b + 0.01]), steps=500).error
    assert abs(np.sqrt(low) - np.sqrt(high)) > 0.05  # two basins, two errors


def test_a_stable_start_has_no_wall():
    assert np.isnan(wall(4.0))  # s'(.5) = .235 < 1/4
