"""Every check on every method of the registry, and every outside implementation that an entry names."""

import math

import pytest
import torch
from harness import CHECKS, applicable, call, check_oracle
from oracles import ORACLES

from contrastive_nb import registry
from contrastive_nb.pairs import from_labels, in_batch, two_views, with_queue


@pytest.mark.parametrize(("method", "check"), [pytest.param(m, c, id=f"{m.name}-{c}") for m in registry.methods() for c in applicable(m)])
def test_check(method, check):
    CHECKS[check](method)


@pytest.mark.parametrize(("method", "oracle"), [pytest.param(m, o, id=f"{m.name}-{o}") for m in registry.methods() for o in m.oracles])
def test_oracle(method, oracle):
    check_oracle(method, oracle)


def test_every_oracle_that_is_named_exists_and_every_one_is_used():
    named = {o for m in registry.methods() for o in m.oracles}
    assert named == set(ORACLES)


@pytest.mark.parametrize("temperature", [0.5, 0.05])
@pytest.mark.parametrize("n", [2, 7])
def test_equal_rows_give_the_log_of_the_number_of_candidates(n, temperature):
    z, classes = torch.ones(n, 3, dtype=torch.float64), torch.arange(2 * n) % 2
    arranged = [
        (two_views(z, z), 2 * n - 1, 2 * n - 1),
        (in_batch(z, z), n, n),
        (with_queue(z, z, z), n + 1, n + 1),
        (from_labels(torch.cat([z, z]), classes), n + 1, 2 * n - 1),  # own: the fellow positives leave the denominator
    ]
    for pairs, own, everyone in arranged:
        for name, candidates in (("info_nce", own), ("info_nce_all", everyone)):
            loss = call(registry.get(name), *pairs, temperature=temperature)
            assert loss.item() == pytest.approx(math.log(candidates), rel=1e-14)


def test_an_oracle_that_nobody_names_and_one_that_is_not_there_are_found(monkeypatch):
    check = test_every_oracle_that_is_named_exists_and_every_one_is_used
    monkeypatch.setitem(ORACLES, "nobody's", None)
    with pytest.raises(AssertionError, match="nobody's"):
        check()
    monkeypatch.undo()
    check()
    monkeypatch.delitem(ORACLES, next(iter(ORACLES)))
    with pytest.raises(AssertionError):
        check()
