"""Numbers of the report: scikit-learn's, and a calibration error that means what it says."""

import numpy as np
import pytest
from sklearn import metrics

from edgecnn.train.evaluate import calibration_error, class_scores, cost, evaluate_classes, worst_mistakes


@pytest.fixture
def answers():
    rng = np.random.default_rng(0)
    scores = rng.dirichlet((1, 1, 1), 200)
    return scores, rng.integers(0, 3, 200)


def test_classes_are_scored_as_scikit_learn_scores_them(answers):
    scores, truth = answers
    got = evaluate_classes(scores, truth, ("a", "b", "c"))
    report = metrics.classification_report(truth, scores.argmax(1), target_names=("a", "b", "c"), output_dict=True)
    assert got["accuracy"] == report["accuracy"]
    for label in "abc":
        assert got["per_class"][label]["f1"] == pytest.approx(report[label]["f1-score"])
        assert got["per_class"][label]["support"] == report[label]["support"]
    assert got["confusion"] == metrics.confusion_matrix(truth, scores.argmax(1)).tolist()


def test_a_missing_class_in_validation_is_no_error():
    got = evaluate_classes(np.array([[0.9, 0.1], [0.2, 0.8]]), np.array([0, 0]), ("a", "b"))
    assert got["per_class"]["b"]["support"] == 0
    assert got["balanced_accuracy"] == 0.5
    assert "roc_auc" not in got


def test_calibration_error_is_the_distance_of_confidence_and_accuracy():
    truth = np.array([0] * 7 + [1] * 3)
    assert calibration_error(np.tile([0.7, 0.3], (10, 1)), truth) == pytest.approx(0)
    assert calibration_error(np.tile([1.0, 0.0], (10, 1)), truth) == pytest.approx(0.3)


def test_one_sigmoid_output_becomes_two_columns():
    assert class_scores(np.array([[0.25]])).tolist() == [[0.75, 0.25]]


def test_the_most_confident_mistake_comes_first():
    scores = np.array([[0.6, 0.4], [0.9, 0.1], [0.1, 0.9]])
    assert worst_mistakes(scores, np.array([1, 1, 1]), 5) == [1, 0]


def test_cost_counts_multiply_adds():
    keras = pytest.importorskip("keras")
    x = inputs = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3, padding="same", strides=2)(x)
    model = keras.Model(inputs, keras.layers.Dense(5)(keras.layers.Flatten()(x)))
    multiply_adds = 16 * 27 * 4 + 64 * 5
    expected = {"parameters": 3 * 9 * 4 + 4 + 64 * 5 + 5, "multiply_adds": multiply_adds, "flops": 2 * multiply_adds}
    assert cost(model) == expected
