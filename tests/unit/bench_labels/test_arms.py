"""Steps, features and the classifier, on what is known beforehand."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from labels.arms import ArmFailed, equal_steps, matched
from labels.classifier import Labelled, accuracies, features_of, mean_with_bounds
from labels.figures import Judged
from labels.truth import Moment, Shown


def test_equal_steps_are_the_middles_of_equal_parts() -> None:
    assert equal_steps(12, 4) == [1, 4, 7, 10]
    assert equal_steps(3, 40) == [0, 1, 2]
    steps = equal_steps(317, 40)
    assert len(set(steps)) == 40
    assert {b - a for a, b in pairwise(steps)} == {7, 8}


def test_a_picture_that_does_not_stand_there_ends_it() -> None:
    there = Moment(0, Shown("gameplay", "1"), 0b1011)
    assert matched(Judged("1", "v", 0, 0b1011, "", there)).kept
    with pytest.raises(ArmFailed, match="2 bits"):
        matched(Judged("1", "v", 0, 0b1000, "", there))


def blobs(rng: np.random.Generator, count: int, wrong: float) -> Labelled:
    """Two clouds of points that overlap a little; a share is named wrongly, all one way."""
    classes = rng.integers(0, 2, count)
    features = rng.normal(0, 1, (count, 20)).astype(np.float32)
    features[:, 0] += 4 * classes
    named = np.where((classes == 1) & (rng.random(count) < wrong), 0, classes)
    return Labelled(features, named.astype(np.int64))


def test_the_classifier_learns_and_wrong_labels_cost() -> None:
    rng = np.random.default_rng(1)
    test = blobs(rng, 1000, 0.0)
    clean = accuracies(blobs(rng, 600, 0.0), test, count=2, frames=300, seeds=5)
    dirty = accuracies(blobs(rng, 600, 0.45), test, count=2, frames=300, seeds=5)
    assert len(clean) == 5
    assert min(clean) > 0.95
    assert np.mean(clean) > np.mean(dirty) + 0.02


def test_the_bound_of_a_mean_is_students() -> None:
    mean, low, high = mean_with_bounds([0.1, 0.2, 0.3, 0.4, 0.5])
    half = 2.776 * np.sqrt(0.025) / np.sqrt(5)
    assert (mean, low, high) == pytest.approx((0.3, 0.3 - half, 0.3 + half))
    with pytest.raises(ValueError, match="five"):
        mean_with_bounds([0.1])


def test_features_tell_colours_and_edges_apart() -> None:
    flat = np.full((360, 640, 3), 90, np.uint8)
    red = flat.copy()
    red[..., 2] = 200
    striped = flat.copy()
    for column in range(0, 640, 80):
        striped[:, column : column + 40] = 250
    one, other, third = (features_of(image) for image in (flat, red, striped))
    assert one.shape == (912,)
    assert one.dtype == np.float32
    assert np.abs(one - other).max() > 0.3
    assert np.abs(one[592:] - third[592:]).max() > 0.3
