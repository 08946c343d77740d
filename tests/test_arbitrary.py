"""Arbitrary pairs of classes: masks, the gated cosine without a tensor of three dimensions, partners, the gate."""

import pytest
import torch
import torch.nn.functional as F

from contrastive_nb.objective import weigh
from contrastive_nb.objectives import info_nce
from contrastive_nb.pairs import from_labels
from contrastive_nb.views import PairGate, draw_partners, from_partners


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


Z, Y = draw(12, 5), torch.arange(12) % 4
MATES, GATE = (Y + 1) % 4, draw(12, 5, seed=1).sigmoid()


def literal(z, key, gate):
    "By the (Q, K, D) tensor."
    return (F.normalize(gate * z, dim=1, eps=0)[:, None] * F.normalize(gate[:, None] * key, dim=2, eps=0)).sum(2)


@pytest.mark.parametrize("power", [1, 8, 40])
def test_the_gated_cosine_is_that_of_the_tensor_with_its_slopes(power):
    z, key, gate = (draw(*shape, seed=i).requires_grad_() for i, shape in enumerate([(12, 5), (7, 5), (12, 5)]))
    opened = gate.sigmoid() ** power
    fast = from_partners(z, Y, MATES, opened, key=key, key_labels=torch.arange(7) % 4).scores
    slow, weight = literal(z, key, opened), draw(12, 7, seed=9)
    assert (fast - slow).abs().max() < 1e-10
    for one, other in zip(*(torch.autograd.grad((s * weight).sum(), (z, key, gate), retain_graph=True) for s in (fast, slow)), strict=True):
        assert (one - other).abs().max() < 1e-10


def test_the_gate_is_the_anchors_and_its_size_does_not_count():
    scores = from_partners(Z, Y, MATES, GATE).scores
    assert not torch.allclose(scores, scores.T)
    for factor in (1e-200, 3.0, 1e150, -1.0):
        assert (from_partners(Z, Y, MATES, factor * GATE).scores - scores).abs().max() < 1e-10


def test_an_open_gate_is_none():
    open_gate, none = from_partners(Z, Y, MATES, torch.ones_like(Z)), from_partners(Z, Y, MATES)
    assert (open_gate.scores - none.scores).abs().max() < 1e-10
    raw = from_partners(Z, Y, MATES, torch.ones_like(Z), renormalise=False)
    assert (raw.scores - none.scores).abs().max() < 1e-10


def test_the_raw_form_keeps_both_lengths():
    raw, cosine = (from_partners(Z, Y, MATES, GATE, renormalise=flag).scores for flag in (False, True))
    lengths = (GATE[:, None] * F.normalize(Z, dim=1)).norm(dim=2)
    assert (raw - lengths.diagonal()[:, None] * lengths * cosine).abs().max() < 1e-10
    assert (from_partners(Z, Y, MATES, 3 * GATE, renormalise=False).scores - 9 * raw).abs().max() < 1e-10


def test_the_masks_by_loops():
    partners = draw_partners(Y, generator=torch.Generator().manual_seed(3))
    pairs = from_partners(Z, Y, partners)
    for i in range(12):
        for j in range(12):
            assert pairs.positives[i, j] == (Y[j] == partners[i] and i != j)
            assert pairs.negatives[i, j] == (Y[j] != Y[i] and Y[j] != partners[i])


def test_keys_of_their_own_may_hold_the_anchor():
    pairs = from_partners(Z, Y, Y, key=Z, key_labels=Y)
    assert pairs.positives.diagonal().all() and torch.equal(pairs.negatives, Y[:, None] != Y)


def test_the_own_class_without_a_gate_is_supervised_contrast():
    own, known = from_partners(Z, Y, Y), from_labels(Z, Y)
    assert torch.equal(own.positives, known.positives) and torch.equal(own.negatives, known.negatives)
    for temperature in (1.0, 0.05):
        assert abs(info_nce(*own, temperature=temperature) - info_nce(*known, temperature=temperature, denominator="own")) < 1e-10


def test_the_sum_over_all_pairs_is_a_weighted_mean_of_rows():
    y = torch.tensor([0] * 6 + [1] * 3 + [2] * 2 + [3])
    pairs = from_partners(Z, y, (y + 1) % 4, GATE)
    logits, total, count = pairs.scores / 0.3, 0.0, 0
    for i, j in pairs.positives.nonzero().tolist():
        rest = torch.cat([logits[i, j][None], logits[i][pairs.negatives[i]]])
        total, count = total + rest.logsumexp(0) - logits[i, j], count + 1
    each, counts = info_nce(*pairs, temperature=0.3, reduction="none"), pairs.positives.sum(1).double()
    assert abs(weigh(each, counts) - total / count) < 1e-10 and abs(weigh(each, counts) - each.mean()) > 1e-3


def test_ungated_scores_cannot_do_better_than_equal_ones():
    y = torch.arange(5).repeat_interleave(3)
    bound = torch.tensor(1.0 + 3 * 3, dtype=torch.float64).log()
    for seed in range(5):
        key, anchor = draw(15, 6, seed=seed), draw(1, 6, seed=50 + seed)
        losses = [info_nce(*from_partners(anchor, y[:1], torch.tensor([b]), key=key, key_labels=y), temperature=0.5) for b in range(1, 5)]
        assert torch.stack(losses).mean() > bound
    flat = from_partners(anchor, y[:1], torch.tensor([2]), key=torch.ones(15, 6).double(), key_labels=y)
    assert abs(info_nce(*flat, temperature=0.5) - bound) < 1e-10


def test_partners_by_rule():
    generator, labels = torch.Generator().manual_seed(0), torch.arange(300) % 5
    assert torch.equal(draw_partners(labels, "identical"), labels)
    assert torch.equal(draw_partners(labels, generator=generator).sort().values, labels.sort().values)
    distinct = draw_partners(labels, "distinct", classes=5, generator=generator)
    assert (distinct != labels).all() and len({(a, b) for a, b in zip(labels.tolist(), distinct.tolist(), strict=True)}) == 20
    again = [draw_partners(labels, generator=torch.Generator().manual_seed(1)) for _ in range(2)]
    assert torch.equal(*again) and not torch.equal(again[0], labels)


def test_a_gate_is_one_for_both_orders_and_learns():
    gate = PairGate(4, 5, width=6, hidden=7)
    g = gate(Y, MATES)
    assert g.shape == (12, 5) and ((g > 0) & (g < 1)).all()
    info_nce(*from_partners(Z, Y, MATES, g), temperature=0.2).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in gate.parameters())
    assert (gate.vectors.weight.grad != 0).any()
    gate.eval()
    assert torch.equal(gate(Y, MATES), gate(MATES, Y))


def test_what_has_no_direction_scores_nothing_and_has_finite_slopes():
    z = torch.cat([Z[:5], torch.zeros(1, 5).double()]).requires_grad_()
    gate = torch.cat([torch.eye(5).double(), torch.zeros(1, 5).double()]).requires_grad_()
    key = torch.eye(5).double()
    pairs = from_partners(z, Y[:6], MATES[:6], gate, key=key, key_labels=Y[:5])
    assert (pairs.scores[5] == 0).all() and (pairs.scores[:5][~torch.eye(5, dtype=torch.bool)] == 0).all()
    assert all(g.isfinite().all() for g in torch.autograd.grad(pairs.scores.sum(), (z, gate)))


def test_keys_may_stay_without_gradient():
    z, key = Z.clone().requires_grad_(), Z.clone().requires_grad_()
    pairs = from_partners(z, Y, MATES, GATE, key=key, key_labels=Y, detach_key=True)
    assert torch.autograd.grad(pairs.scores.sum(), (z, key), allow_unused=True)[1] is None


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: from_partners(Z, Y, MATES, GATE[:, :4]), "gate"),
        (lambda: from_partners(Z, Y, MATES, GATE > 0.5), "gate"),
        (lambda: from_partners(Z, Y, MATES[:5]), "partners"),
        (lambda: from_partners(Z, Y.double(), MATES), "labels"),
        (lambda: from_partners(Z, Y, MATES, key=Z), "key_labels"),
        (lambda: from_partners(Z, Y, MATES, key_labels=Y), "key_labels"),
        (lambda: from_partners(Z, Y, MATES, key=Z[:, :4], key_labels=Y), "key"),
        (lambda: from_partners(Z, Y, MATES, renormalise=1), "renormalise"),
        (lambda: from_partners(Z, Y, MATES, detach_key="no"), "detach_key"),
        (lambda: draw_partners(Y, "other"), "rule"),
        (lambda: draw_partners(Y, "distinct"), "classes"),
        (lambda: draw_partners(Y, "distinct", classes=3), "labels"),
        (lambda: draw_partners(Y, generator=3), "generator"),
        (lambda: draw_partners(Y.tolist()), "labels"),
        (lambda: PairGate(0, 4), "classes"),
        (lambda: PairGate(3, 4, width=1.5), "width"),
        (lambda: PairGate(4, 5, width=6, hidden=7)(Y, MATES[:3]), "partners"),
    ],
)
def test_bad_input_is_refused_by_name(call, name):
    with pytest.raises((TypeError, ValueError), match=f"^{name}"):
        call()
