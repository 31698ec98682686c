"""Measures of verification and open-set identification, against closed forms and other ways to work them out."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from artistid.errors import ArtistidError
from artistid.evaluation import verification
from artistid.evaluation.verification import DetectionCost, ErrorRates, Measures, Trials, interval, measure


def trials_of(true: np.ndarray, false: np.ndarray) -> Trials:
    """Songs of one enrolled artist, and of one who is not."""
    score = np.concatenate([true, false])[:, None]
    return Trials(score, np.repeat([0, 1], [len(true), len(false)]), np.array([0]))


@pytest.fixture(scope="module")
def gaussian() -> Trials:
    """Scores that are log-likelihood ratios: of mean ± d² / 2 and variance d² for d = 2."""
    draw = np.random.default_rng(0)
    return trials_of(draw.normal(2, 2, 40_000), draw.normal(-2, 2, 40_000))


def test_gaussian_scores_have_the_error_that_theory_says(gaussian: Trials) -> None:
    found = Measures(gaussian, DetectionCost(prior=0.3, miss=2, false_alarm=1))()
    assert found["eer"] == pytest.approx(norm.cdf(-1), abs=0.003)
    # The least cost is where the likelihood ratio equals false_alarm (1 - prior) / (miss prior), which is 7 / 6.
    threshold = np.log(7 / 6)
    miss, false_alarm = norm.cdf(threshold, 2, 2), norm.sf(threshold, -2, 2)
    assert found["min_dcf"] == pytest.approx((0.6 * miss + 0.7 * false_alarm) / 0.6, abs=0.01)
    llr = np.linspace(-20, 20, 20_001)
    bits = np.trapezoid(norm.pdf(llr, 2, 2) * np.logaddexp(0, -llr), llr) / np.log(2)
    assert found["cllr"] == pytest.approx(bits, abs=0.005)
    assert found["min_cllr"] == pytest.approx(bits, abs=0.005)
    assert found["min_cllr"] <= found["cllr"]


def test_any_rising_map_changes_the_calibration_alone(gaussian: Trials) -> None:
    shifted = Trials(np.exp(gaussian.score / 4) + 3, gaussian.maker, gaussian.enrolled)
    before, after = Measures(gaussian)(), Measures(shifted)()
    assert after["cllr"] > before["cllr"] + 0.5
    for name in set(before) - {"cllr"}:
        assert after[name] == pytest.approx(before[name])


def test_pool_adjacent_violators_by_hand() -> None:
    """Scores 1 to 4 of false, true, false, true: the middle two are pooled, and cost a bit each."""
    found = Measures(trials_of(np.array([2.0, 4]), np.array([1.0, 3])))()
    assert found["min_cllr"] == pytest.approx((1 / 2 + 1 / 2) / 2)
    assert found["eer"] == pytest.approx(0.5)


def test_what_says_nothing_costs_all() -> None:
    found = Measures(trials_of(np.zeros(5), np.zeros(9)))()
    assert found["eer"] == found["auroc"] == 0.5
    assert found["cllr"] == found["min_cllr"] == found["min_dcf"] == 1


def test_equal_error_rate_between_two_thresholds() -> None:
    rates = ErrorRates(np.array([0, 0.1, 0.4, 1]), np.array([1, 0.3, 0.2, 0]))
    assert rates.equal == pytest.approx(0.1 + 0.3 * 0.2 / 0.4)


@pytest.fixture(scope="module")
def identified() -> Trials:
    """Ten enrolled artists and five others, four songs each."""
    draw = np.random.default_rng(3)
    maker = np.repeat(np.arange(15), 4)
    score = draw.normal(size=(60, 10)).round(1)  # rounded: there are ties
    score[np.arange(40), maker[:40]] += 1.5
    return Trials(score, maker, np.arange(10))


def test_open_set_identification_by_counting(identified: Trials) -> None:
    found = Measures(identified)()
    top, named = identified.score.max(axis=1), identified.score.argmax(axis=1)
    known = identified.maker < 10
    assert found["auroc"] == pytest.approx(roc_auc_score(known, top))
    thresholds = [*np.unique(top), np.inf]
    accepted = [(np.mean(top[known] >= each), np.mean(top[~known] >= each)) for each in thresholds]
    assert found["fpr95"] == pytest.approx(min(false for true, false in accepted if true >= 0.95))
    right = known & (named == identified.maker)
    for rate in (0.01, 0.05):
        allowed = [each for each, (_, false) in zip(thresholds, accepted, strict=True) if false <= rate]
        expected = max(np.mean(right[known] & (top[known] >= each)) for each in allowed)
        assert found[f"dir{100 * rate:g}"] == pytest.approx(expected)


def test_a_weight_counts_as_often_as_the_songs_do(identified: Trials) -> None:
    """An artist outside who weighs three is one whose songs are there three times."""
    weight = np.where(identified.artists == 12, 3.0, 1)
    copies = np.repeat(np.arange(60), np.where(identified.maker == 12, 3, 1))
    assert Measures(identified)(weight) == pytest.approx(Measures(identified.select(copies))())


def test_of_many_false_claims_some_stand_for_all(identified: Trials, monkeypatch: pytest.MonkeyPatch) -> None:
    many = identified.select(np.repeat(np.arange(60), 50))
    everything = Measures(many)()
    monkeypatch.setattr(verification, "MOST_FALSE", 10_000)
    some = Measures(many)
    assert some.n_trials == pytest.approx(40 * 50 + 10_000, rel=0.05)
    assert some() == pytest.approx(everything, abs=0.02)


def test_intervals_are_over_artists(identified: Trials) -> None:
    found = measure(identified, draws=100)
    for name, estimate in found.items():
        low, high = interval(name, estimate)
        assert low < estimate.value < high
        assert len(estimate.draws) == 100
    # Ten copies of every song tell no more of artists.
    tenfold = measure(identified.select(np.repeat(np.arange(60), 10)), draws=100)
    assert interval("eer", tenfold["eer"]) == pytest.approx(interval("eer", found["eer"]), abs=0.02)


def test_there_must_be_true_and_false_claims(identified: Trials) -> None:
    with pytest.raises(ArtistidError, match="two artists"):
        measure(identified.select(identified.maker == 0, [0]))
    with pytest.raises(ArtistidError, match="enrolled"):
        measure(identified.select(identified.maker > 9))


@pytest.mark.parametrize(("name", "value"), [("prior", 0), ("prior", 1), ("miss", 0), ("false_alarm", -1)])
def test_costs_out_of_range(name: str, value: float) -> None:
    with pytest.raises(ArtistidError, match=rf"cost\.{name}="):
        DetectionCost(**{name: value})
