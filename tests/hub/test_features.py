"""The page of the hub's features: what it claims is proven by marked tests."""

import pytest

from .features import KINDS, PAGE, Feature, read, render


@pytest.mark.parametrize("feature", read(), ids=lambda row: row.feature[:40])
def test_each_feature_that_is_served_has_tests(feature: Feature) -> None:
    assert feature.cloud in KINDS
    assert bool(feature.tests) is (feature.cloud != "not served")
    assert feature.cloud != "with a difference" or feature.remark


def test_the_page_shows_the_rows_as_they_are() -> None:
    assert render(read()) == PAGE.read_text(), "run: python -m tests.hub.features"
