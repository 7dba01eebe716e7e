"""Which versions of lm-eval the plugin supports."""

from __future__ import annotations

import pytest

from mergekit_calib import versions


@pytest.mark.parametrize(
    ("installed", "supported"),
    [
        ("0.4.13", True),
        ("0.5.0.dev1", True),
        ("0.5.9", True),
        ("0.6.0.dev1", False),
        ("0.10.0", False),
        ("1.0rc1", False),
    ],
)
def test_lm_eval_is_supported_below_0_6_without_its_pre_releases(monkeypatch, installed, supported):
    monkeypatch.setattr(versions, "installed_version", lambda package: installed)
    problem = versions.version_problem("lm-eval")
    assert (problem is None) == supported
    if problem is not None:
        assert installed in problem
        assert "lm-eval<0.6" in problem


def test_the_installed_versions_are_supported():
    assert versions.version_problem("lm-eval") is None
    assert versions.version_problem("mergekit") is None


def test_a_result_records_the_versions_of_installed_packages_only():
    recorded = versions.versions()
    assert recorded["lm-eval"] == versions.installed_version("lm-eval")
    assert None not in recorded.values()
    assert versions.installed_version("no-such-package-at-all") is None
