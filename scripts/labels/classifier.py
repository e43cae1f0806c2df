"""A small classifier, to tell what a set of labelled pictures teaches: features of OpenCV, logistic regression.

Features of a picture: its colours in 16 x 9 fields, a histogram of hue and saturation, edge directions in 8 x 5
fields. Softmax regression on standardised features, by full-batch gradient descent with momentum and L2.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Features = NDArray[np.float32]

_STEPS, _RATE, _MOMENTUM, _L2 = 150, 0.3, 0.9, 1e-3
#: Two-sided 95 % of Student's t for the mean of five (4 degrees of freedom).
T_95_OF_5 = 2.776


def features_of(image: NDArray[np.uint8]) -> Features:
    """Features of a BGR picture: float32 (912,)."""
    small = cv2.resize(image, (160, 90), interpolation=cv2.INTER_AREA)
    fields = cv2.resize(small, (16, 9), interpolation=cv2.INTER_AREA).astype(np.float32).ravel() / 255
    hue = cv2.calcHist([cv2.cvtColor(small, cv2.COLOR_BGR2HSV)], [0, 1], None, [16, 10], [0, 180, 0, 256])
    grey = cv2.cvtColor(small, cv2.COLOR_BGR2GRAY)
    dx, dy = cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1)
    strength, way = cv2.cartToPolar(dx, dy)
    bins = np.minimum((way / (2 * np.pi) * 8).astype(np.int64), 7)
    rows, columns = np.mgrid[0:90, 0:160]
    places = ((rows // 18) * 8 + columns // 20) * 8 + bins
    edges = np.sqrt(np.bincount(places.ravel(), strength.ravel(), minlength=320) / 1e4)
    return np.concatenate([fields, np.sqrt(hue.ravel() / hue.sum()), edges]).astype(np.float32)


def features_of_jpegs(jpegs: Sequence[bytes]) -> Features:
    """Features of each, a row a picture."""
    return np.array([features_of(_decoded(jpeg)) for jpeg in jpegs], np.float32)


def _decoded(jpeg: bytes) -> NDArray[np.uint8]:
    image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise ValueError("a JPEG that cannot be read")
    return np.asarray(image, np.uint8)


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """What was learnt. ``weights``: (features + 1, classes), over standardised features and a one."""

    mean: Features
    deviation: Features
    weights: Features

    def predict(self, features: Features) -> NDArray[np.int64]:
        """The class of each row."""
        classes: NDArray[np.int64] = np.argmax(self._ready(features) @ self.weights, axis=1)
        return classes

    def _ready(self, features: Features) -> Features:
        return _with_one((features - self.mean) / self.deviation)


def _with_one(features: Features) -> Features:
    return np.hstack([features, np.ones((len(features), 1), np.float32)])


def train(features: Features, classes: NDArray[np.int64], count: int) -> Model:
    """A model of ``count`` classes."""
    mean, deviation = features.mean(axis=0), features.std(axis=0) + np.float32(1e-3)
    ready = _with_one((features - mean) / deviation) / np.float32(math.sqrt(features.shape[1]))
    wanted = np.eye(count, dtype=np.float32)[classes]
    weights = np.zeros((ready.shape[1], count), np.float32)
    speed = np.zeros_like(weights)
    for _ in range(_STEPS):
        scores = ready @ weights
        chances = np.exp(scores - scores.max(axis=1, keepdims=True))
        chances /= chances.sum(axis=1, keepdims=True)
        slope = ready.T @ (chances - wanted) / np.float32(len(ready)) + np.float32(_L2) * weights
        speed = np.float32(_MOMENTUM) * speed - np.float32(_RATE) * slope
        weights = weights + speed * np.float32(10)
    return Model(mean, deviation, weights)


@dataclass(frozen=True, slots=True, eq=False)
class Labelled:
    """Pictures and what they are said to show, a row each."""

    features: Features
    classes: NDArray[np.int64]


def accuracies(taught: Labelled, test: Labelled, *, count: int, frames: int, seeds: int) -> list[float]:
    """Share of ``test`` that is named rightly by models that ``frames`` pictures of ``taught`` have taught, drawn
    anew for each seed."""
    found = []
    for seed in range(seeds):
        rows = np.random.default_rng(seed).permutation(len(taught.classes))[:frames]
        model = train(taught.features[rows], taught.classes[rows], count)
        found.append(float(np.mean(model.predict(test.features) == test.classes)))
    return found


def mean_with_bounds(values: Sequence[float]) -> tuple[float, float, float]:
    """Mean of five values, and between which bounds the true mean lies with 95 % (Student)."""
    if len(values) != 5:
        raise ValueError(f"the bound is that of five values, not of {len(values)}")
    mean, half = float(np.mean(values)), T_95_OF_5 * float(np.std(values, ddof=1)) / math.sqrt(5)
    return mean, mean - half, mean + half
