"""Maps at edges against flat areas, on images whose edges are known."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import rankdata

from pipeline.audit.histograms import structure
from pipeline.figures.edges import edge_contrast

RNG = np.random.default_rng(4)


def ramps() -> NDArray[np.float64]:
    """Flat on the left, then steeper from column to column."""
    rows = np.concatenate([np.zeros(20), np.cumsum(np.arange(20.0))])
    return np.broadcast_to(rows, (3, 30, 40)) + RNG.normal(0, 0.01, (3, 30, 40))


def test_a_map_that_grows_with_the_gradient_is_larger_at_edges() -> None:
    image = ramps()
    theta = np.full(image.shape, 2.0)
    theta[:, :, 20:] += np.arange(20) / 2
    found = edge_contrast(image, theta)
    assert found.flat == 2
    assert found.ratio == pytest.approx(10 / 2, rel=0.15)
    assert found.correlation > 0.7


def test_medians_means_and_ranks_are_those_of_the_pixels() -> None:
    image, theta = RNG.uniform(0, 255, (3, 40, 50)), RNG.uniform(1, 9, (3, 40, 50))
    gradient = structure(image)[0].ravel()
    level = theta[:, 3:-3, 3:-3].mean(axis=0).ravel()
    order = np.argsort(gradient)
    tenth = len(order) // 10
    for centre, middle in (("median", np.median), ("mean", np.mean)):
        found = edge_contrast(image, theta, centre)  # type: ignore[arg-type]
        assert found.flat == pytest.approx(middle(level[order[: tenth + 1]]), rel=0.01)
        assert found.edges == pytest.approx(middle(level[order[-tenth - 1 :]]), rel=0.01)
        ranks = np.corrcoef(rankdata(gradient), rankdata(level))[0, 1]
        assert found.correlation == pytest.approx(ranks, abs=1e-9)


def test_a_constant_map_has_the_ratio_one_and_no_correlation() -> None:
    found = edge_contrast(ramps(), np.full((3, 30, 40), 4.0))
    assert found.ratio == 1 and np.isnan(found.correlation)


@pytest.mark.parametrize("shape", [(3, 6, 9), (3, 9, 8), (9, 9)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="7x7"):
        edge_contrast(np.zeros((3, 9, 9)), np.zeros(shape))
