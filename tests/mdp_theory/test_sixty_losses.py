"""Thirty faithful losses and thirty with one fault: the audit's verdicts against those written down before."""

import sys
from functools import cache
from pathlib import Path

import pytest

from mdp_theory.audit.loss import live_loss
from mdp_theory.audit.probes import lay
from mdp_theory.audit.recover import audit_loss

sys.path.insert(0, str(Path(__file__).parent / "losses"))
from sixty import FAITHFUL, FAULTY

MAY_BE_SET = {"ddof", "advantage_eps", "keep"}


@cache
def audited(name):
    function, _ = (FAITHFUL | FAULTY)[name]
    return audit_loss(live_loss(function, lay()))


@pytest.mark.parametrize("name", FAITHFUL)
def test_a_faithful_loss_is_its_method_in_whatever_style(name):
    report = audited(name)
    assert report.nearest.method == FAITHFUL[name][1]["method"]
    assert report.nearest.residual < 1e-6
    assert report.nearest.dials.keys() <= MAY_BE_SET
    assert {finding.name for finding in report.findings} <= {"ratio", "clip", "sparse group ids"}
    assert not report.sign_errors
    assert report.outcome_driven


@pytest.mark.parametrize("name", FAULTY)
def test_a_subtle_fault_is_told(name):
    report, expected = audited(name), FAULTY[name][1]
    answers = report.to_json()
    told = {
        "departure": answers["departures"],
        "pool": [answers["credit_pool"]],
        "sign": answers["sign_errors"],
        "ignored": answers["ignored"],
        "ratio": [answers["ratio_exponent"]],
        "clip": [answers["clip"] and answers["clip"]["kind"]],
        "shape": [answers["advantage_shape"] and answers["advantage_shape"]["kind"]],
    }
    for field, value in expected.items():
        assert value in told[field], answers


def test_there_are_sixty():
    assert (len(FAITHFUL), len(FAULTY)) == (30, 30)
