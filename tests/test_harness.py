"""The harness sees what it is there to see: each of these wrong losses turns it red, and a new entry gets every check."""

import dataclasses
import inspect
import math
import os
import pathlib
import subprocess
import sys
from collections.abc import Callable

import harness
import pytest
import torch
import torch.nn.functional as F
from harness import CHECKS, applicable, check_oracle, load_from_page
from oracles import ORACLES

from contrastive_nb import encoders, metrics, objective, registry
from contrastive_nb.checks import check_choice, check_count, check_list_values, check_number
from contrastive_nb.kernels import pairwise, tabulated
from contrastive_nb.negatives import asymmetric_loss, batches, feature_transform, margin_pos, mining, mochi, simans
from contrastive_nb.objectives import cacr, info_nce, mw, ranklist
from contrastive_nb.ordinal import tree_similarity
from contrastive_nb.pairs import in_batch
from contrastive_nb.registry import Method
from contrastive_nb.rows import autocast_off, list_pairs, present, widen
from contrastive_nb.selfsup import feature_groups, group_whitening
from contrastive_nb.timing.lightly_loader import load

ROOT = pathlib.Path(__file__).resolve().parents[1]
RIGHT = registry.get("info_nce")


# ---- wrong losses: what each has wrong is its name --------------------------------------------------------------------------------


def wrong_sign(scores, positives, negatives, weights=None, **keywords):
    return info_nce(-scores, positives, negatives, weights, **keywords)


def negated(scores, *rest, **keywords):
    return -info_nce(scores, *rest, **keywords)


def no_self_mask(scores, positives, negatives, weights=None, **keywords):
    return info_nce(scores, positives, ~positives, weights, **keywords)


def detached_positive(scores, positives, negatives, weights=None, **keywords):
    return info_nce(torch.where(positives, scores.detach(), scores), positives, negatives, weights, **keywords)


def detached_denominator(scores, positives, negatives, weights=None, **keywords):
    return info_nce(torch.where(positives, scores, scores.detach()), positives, negatives, weights, **keywords)


def factor_two(*arguments, **keywords):
    return 2 * info_nce(*arguments, **keywords)


def mean_over_all(*arguments, reduction="mean", **keywords):
    losses = info_nce(*arguments, reduction="none", **keywords)
    return losses.mean() if reduction == "mean" else losses if reduction == "none" else losses.sum()


def temperature_multiplied(scores, *rest, temperature, **keywords):
    return info_nce(scores, *rest, temperature=1 / temperature, **keywords)


def temperature_on_negatives_only(scores, positives, negatives, weights=None, *, temperature, **keywords):
    scores = torch.where(positives, scores * temperature, scores)
    return info_nce(scores, positives, negatives, weights, temperature=temperature, **keywords)


def others_kept_in_own(*arguments, denominator="own", **keywords):
    return info_nce(*arguments, denominator="all", **keywords)


def weights_dropped(scores, positives, negatives, weights=None, **keywords):
    return info_nce(scores, positives, negatives, **keywords)


def left_out_queries_dropped(*arguments, reduction="mean", **keywords):
    losses = info_nce(*arguments, reduction="none", **keywords)
    return losses[losses > 0] if reduction == "none" else info_nce(*arguments, reduction=reduction, **keywords)


def repaired_nan(scores, *rest, **keywords):
    return info_nce(torch.nan_to_num(scores, 0.0), *rest, **keywords)


def checks_off(*arguments, check=False, **keywords):
    return info_nce(*arguments, **keywords)


def subtracted_self_pair(scores, positives, negatives, weights=None, **keywords):
    "The mask by a large number instead of `where`: a NaN or an infinite score in neither mask comes through."
    return info_nce(scores - 1e9 * ~(positives | negatives), positives, ~positives, weights, **keywords)


def bound_in_half(scores, *rest, **keywords):
    return info_nce(scores, *rest, **keywords).to(scores.dtype)


def written_into(scores, positives, negatives, weights=None, **keywords):
    negatives &= ~positives
    positives[:, -1] = False
    return info_nce(scores, positives, negatives, weights, **keywords)


def other_bits_each_time(scores, *rest, **keywords):
    return info_nce(scores, *rest, **keywords) * (1 + 1e-13 * torch.rand(()).item())


def weights_detached(scores, positives, negatives, weights=None, **keywords):
    return info_nce(scores, positives, negatives, None if weights is None else weights.detach(), **keywords)


def averaged_in_float32(scores, positives, negatives, weights=None, *, reduction="mean", **keywords):
    "Right, but for a sum of losses that does not fit where their mean does."
    losses = info_nce(scores, positives, negatives, weights, reduction="none", **keywords)
    if reduction != "mean" or weights is not None:
        return info_nce(scores, positives, negatives, weights, reduction=reduction, **keywords)
    return losses.sum() / (positives.any(1) & negatives.any(1)).sum().clamp(min=1)


def _by(loss_of_logits, scores, positives, negatives, weights, temperature, denominator, reduction):
    "A loss of one positive a row by a formula of its logits; anything else as ours has it."
    if weights is not None or (positives.sum(1) != 1).any() or not negatives.any(1).all() or isinstance(temperature, torch.Tensor):
        return info_nce(scores, positives, negatives, weights, temperature=temperature, denominator=denominator, reduction=reduction)
    losses = loss_of_logits(scores / temperature, positives, negatives)
    return losses if reduction == "none" else losses.mean() if reduction == "mean" else losses.sum()


def by_cross_entropy(scores, positives, negatives, weights=None, *, temperature, denominator="own", reduction="mean", check=False):
    "Right in float64; in float32 it loses the digits of a positive that has won."

    def loss(logits, positives, negatives):
        return F.cross_entropy(logits.masked_fill(~(positives | negatives), -torch.inf), positives.float().argmax(1), reduction="none")

    return _by(loss, scores, positives, negatives, weights, temperature, denominator, reduction)


def by_plain_exp(scores, positives, negatives, weights=None, *, temperature, denominator="own", reduction="mean", check=False):
    "The fraction as it is written: it overflows, or divides 0 by 0, at low temperatures."

    def loss(logits, positives, negatives):
        above, below = (torch.where(mask, logits.exp(), 0.0).sum(1) for mask in (positives, positives | negatives))
        return -torch.log(above / below)

    return _by(loss, scores, positives, negatives, weights, temperature, denominator, reduction)


WRONG = [
    (wrong_sign, "loop", "monotone"),
    (negated, "loop", "monotone"),
    (no_self_mask, "loop", "ignored"),
    (detached_positive, "loop", "gradcheck"),
    (detached_denominator, "loop", "gradcheck"),
    (factor_two, "loop", "loop per query"),
    (mean_over_all, "loop", "reductions"),
    (temperature_multiplied, "loop", "scale free"),
    (temperature_on_negatives_only, "loop", "scale free"),
    (others_kept_in_own, "loop", "monotone"),
    (weights_dropped, "loop", "weights"),
    (left_out_queries_dropped, "reductions", "nan"),
    (repaired_nan, "nan", "bad input"),
    (checks_off, "bad input"),
    (subtracted_self_pair, "ignored"),
    (bound_in_half, "half precision"),
    (written_into, "same bits"),
    (other_bits_each_time, "same bits"),
    (weights_detached, "weight gradient"),
    (averaged_in_float32, "huge scores"),
    (by_cross_entropy, "float32 scores, aligned, 0.02", "float32 scores, aligned, 0.005"),
    (by_plain_exp, "float32 scores, away, 0.005", "float32 scores, aligned, 0.005"),
]


def cacr_deaf_to_its_switch(*pairs, detach_weights=False, **keywords):
    return cacr(*pairs, **keywords)


def mw_without_the_weights(scores, positives, negatives, weights=None, **keywords):
    return mw(scores, positives, negatives, None if weights is None else weights.detach(), **keywords)


def deaf_to_its_denominator(*pairs, denominator="own", **keywords):
    check_choice("denominator", denominator, ("own", "all"))
    return info_nce(*pairs, **keywords)


def that_takes_any_form(*lists, form="softmax", **keywords):
    return ranklist(*lists, form=form if form == "pairs" else "softmax", **keywords)


@pytest.mark.parametrize(("name", "function", "found", "words"), [
    ("cacr", cacr_deaf_to_its_switch, "choices", "detach_weights: True and False are the same"),
    ("info_nce", deaf_to_its_denominator, "choices", "denominator: 'own' and 'all' are the same"),
    ("ranklist", that_takes_any_form, "choices", "a value that is none is answered by: nothing"),
    ("mw", mw_without_the_weights, "weight gradient", "weights: gradcheck"),
])  # fmt: skip
def test_an_option_and_a_gradient_that_are_dropped_are_found(name, function, found, words):
    right = registry.get(name)
    wrong = dataclasses.replace(right, name="wrong", function=f"{__name__}:{function.__name__}")
    CHECKS[found](right)
    with pytest.raises((AssertionError, pytest.fail.Exception), match=words):
        CHECKS[found](wrong)


def test_every_option_with_a_few_values_is_asked_for():
    asked = {m.name: harness.choices(m) for m in registry.methods() if "choices" in applicable(m)}
    assert {name: found for name, found in asked.items() if found} == {
        "info_nce": {"denominator": ("own", "all")},
        "info_nce_all": {"denominator": ("own", "all")},
        "supcon": {"form": ("out", "in")},
        "supcon_in": {"form": ("out", "in")},
        **{name: {"negative": ("hardest", "softmax")} for name in ("adaptive_nce", "adaptive_nce_softmax")},
        **{name: {"own_view": (True, False)} for name in ("mv_infonce", "mv_infonce_across")},
        "cacr": {"detach_weights": (True, False)},
        "cacr_sharp": {"detach_weights": (True, False)},
        **{name: {"detach_weight": (True, False)} for name in ("asymmetric_loss", "focal_loss")},
        **{f"ranklist{x}": {"form": ("softmax", "pairs")} for x in ("", "_skips", "_pairs", "_neighbours")},
    }


def test_every_other_option_has_values_to_be_tried():
    for method in registry.methods("pairs") + registry.methods("lists"):
        asked = {name for options in harness.variants(method) for name in options}
        there = {p.name for p in inspect.signature(method.load()).parameters.values() if p.kind is p.KEYWORD_ONLY}
        assert there - asked == {"reduction", "check"}, method.name
    assert set(harness.VALUES) <= {name for m in registry.methods() for name in inspect.signature(m.load()).parameters}


def test_a_weight_of_the_pull_that_looks_at_queries_left_out_is_found(monkeypatch):
    "The shift of the exponent taken over all queries, and a mean over none."

    def of_all(scores, positives, negatives, weights=None, sigma=0.5):
        counted = (positives.any(1) & negatives.any(1))[:, None]
        e = torch.exp((scores - scores[positives].detach().amax()) / sigma) if positives.any() else scores
        return torch.where(positives, 2 - e / (e * (positives & counted)).sum() * (positives & counted).sum(), 1.0)

    monkeypatch.setitem(harness.VALUES, "pull", (of_all,))
    with pytest.raises(AssertionError, match="not finite in float64|nothing left"):
        CHECKS["every option"](registry.get("decoupled_nce"))


def test_a_backward_pass_that_leaves_out_the_weights_is_found(monkeypatch):
    "In the functions themselves: pair by pair, and by a table, which knows nothing of weights that learn."
    pair_by_pair, plan = pairwise._gradients, tabulated._plan
    leave_out = lambda *given: pair_by_pair(*given[:-1], (*given[-1][:3], False, given[-1][4]))  # noqa: E731
    monkeypatch.setattr(pairwise, "_gradients", leave_out)
    with pytest.raises(AssertionError, match="weights: gradcheck"):
        CHECKS["weight gradient"](registry.get("mw"))
    monkeypatch.undo()
    monkeypatch.setattr(tabulated, "_plan", lambda s, p, n, weights, t: plan(s, p, n, weights.detach(), t))
    with pytest.raises(AssertionError, match="gradient: off by"):
        CHECKS["weight gradient"](registry.get("mw"))


OUTSIDE = (wrong_sign, negated, no_self_mask, detached_positive, detached_denominator, factor_two, temperature_multiplied)


def entry(function, **changes) -> Method:
    return dataclasses.replace(RIGHT, name=function.__name__, function=f"{__name__}:{function.__name__}", **changes)


def failures(method: Method) -> dict[str, str]:
    "The checks that fail, with their messages; anything raised is a failure."
    failed = {}
    for name in applicable(method):
        try:
            CHECKS[name](method)
        except Exception as error:  # pytest.skip is no Exception
            failed[name] = f"{type(error).__name__}: {error}"
        except pytest.skip.Exception:
            pass
    return failed


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: wrong[0].__name__)
def test_a_wrong_loss_turns_the_harness_red(wrong):
    function, *names = wrong
    failed = failures(entry(function))
    assert set(names) <= set(failed), f"want {names} to fail, failed: {list(failed)}"


def test_the_right_loss_passes_all():
    assert failures(RIGHT) == {}


@pytest.mark.parametrize("function", OUTSIDE, ids=lambda f: f.__name__)
def test_an_outside_implementation_sees_it_too(function):
    oracle = "lightly NTXentLoss" if function is no_self_mask else "torch cross_entropy"  # in a batch there is no self-pair
    with pytest.raises(AssertionError, match=f"against {oracle}"):
        check_oracle(entry(function), oracle)


@pytest.mark.parametrize(
    ("promise", "name"),
    [("monotone", "monotone"), ("shift-free", "shift free"), ("scale-free", "scale free"), ("permutation", "permutation")],
)
def test_a_promise_that_is_not_kept_is_found(promise, name):
    broken = {"monotone": registry.get("info_nce_all"), "permutation": entry(first_row)}.get(promise, entry(squared))
    method = dataclasses.replace(broken, promises=frozenset({promise}))
    with pytest.raises(AssertionError, match=promise):
        CHECKS[name](method)


def squared(scores, *rest, **keywords):
    return info_nce(scores.square(), *rest, **keywords)


def first_row(*arguments, reduction="mean", **keywords):
    losses = info_nce(*arguments, reduction="none", **keywords)
    return losses if reduction == "none" else losses[0]


# ---- other shapes ----------------------------------------------------------------------------------------------------------------


def listwise(scores, relevance, mask=None, *, reduction="mean", check=False):
    "A small objective of graded lists, right as far as the checks of lists go: ListNet's, over documents that are there."
    parts = {"scores": scores, "relevance": relevance, "mask": mask}
    for name, x in parts.items():
        if x is None:
            continue
        if not isinstance(x, torch.Tensor) or x.shape != scores.shape or x.dim() != 2 or x.device != scores.device:
            raise ValueError(f"{name}: got something else, want (Q, K)")
        if name != "relevance" and x.is_floating_point() == (name == "mask"):
            raise TypeError(f"{name}: got {x.dtype}")
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(f"reduction: got {reduction}")
    there = torch.ones_like(scores, dtype=torch.bool) if mask is None else mask
    if check:
        check_list_values(scores, relevance, there)
    given, scores, relevance = scores.dtype, scores.double(), relevance.double()
    counted = there.any(1)
    rows = there | ~counted[:, None]
    logits = torch.where(there, scores, torch.where(counted[:, None], -torch.inf, 0.0))
    target = torch.softmax(torch.where(rows, relevance, -torch.inf), 1)
    losses = -torch.where(there, target * torch.log_softmax(logits, 1), 0.0).sum(1)
    losses = losses if reduction == "none" else losses.sum() / (1 if reduction == "sum" else counted.sum().clamp(min=1))
    return losses.to(given if given in (torch.float32, torch.float64) else torch.float32)


def listwise_by_hand(scores, relevance, mask=None):
    losses = []
    for q, there in enumerate(torch.ones_like(scores) if mask is None else mask):
        keys = [k for k in range(len(there)) if there[k]]
        grades = sum(math.exp(relevance[q, k]) for k in keys)
        whole = sum(torch.exp(scores[q, k]) for k in keys)
        losses.append(-sum(math.exp(relevance[q, k]) / grades * torch.log(torch.exp(scores[q, k]) / whole) for k in keys) if keys else None)
    return losses


def every_pair(scores, positives, negatives, weights=None, *, temperature, reduction="mean", check=False):
    "A small pooled objective: each positive against every negative of the matrix, whatever its row."

    def formula(scores, positives, negatives, weights, temperature):
        *_, above = list_pairs(scores, present(positives, weights), temperature)
        rows, columns, below = list_pairs(scores, present(negatives, weights), temperature)
        share = torch.ones_like(below) if weights is None else weights[rows, columns]
        losses = -(F.logsigmoid(above[:, None] - below) * share).sum(1) / share.sum().clamp(min=1e-300)
        return losses, torch.full(above.shape, len(rows) > 0)

    return objective.of_pairs(formula, scores, positives, negatives, weights, temperature=temperature, reduction=reduction, check=check)


def every_pair_by_hand(scores, positives, negatives, weights=None, *, temperature):
    w = torch.ones_like(scores) if weights is None else weights
    above, below = ([(q, k) for q, k in mask.nonzero().tolist() if w[q, k] != 0] for mask in (positives, negatives))
    share = sum(w[n] for n in below)
    terms = [w[n] / share * torch.log1p(torch.exp((scores[n] - scores[p]) / temperature)) for p in above for n in below]
    return sum(terms, scores.sum() * 0) / max(len(above), 1)


def test_lists_and_pooled_objectives_get_their_checks(monkeypatch):
    where = {"notebook": RIGHT.notebook, "papers": ("S08",)}
    lists = Method("listwise", f"{__name__}:listwise", "lists", by_hand="listwise", promises={"shift-free", "permutation"}, **where)
    pooled = Method(
        "every_pair", f"{__name__}:every_pair", "pairs", by_hand="every_pair", temperature=True,
        promises={"pooled", "monotone", "scale-free", "permutation"}, **where,
    )  # fmt: skip
    assert "by_hand" in failures(lists)["loop"]  # no page has its loop
    monkeypatch.setattr(harness, "load_from_page", lambda notebook, name: globals()[f"{name}_by_hand"])
    assert failures(lists) == {}
    assert failures(pooled) == {}
    failed = failures(dataclasses.replace(pooled, promises=pooled.promises | {"shift-free"}))
    assert list(failed) == ["shift free"]


def points_that_learn(query, queue, **keywords):
    return mochi(query, queue, **keywords) + 0 * query[:, None]


def of_any_length(query, queue, **keywords):
    return mochi(query, queue, **keywords) * 1.001


def of_the_first_query(query, queue, **keywords):
    return mochi(query[:1].expand_as(query), queue, **keywords)


def with_another_generator(query, queue, generator=None, **keywords):
    return mochi(query, queue, **keywords)


def one_draw_for_ever(query, queue, generator=None, **keywords):
    return mochi(query, queue, **keywords, generator=harness.numbers())


def in_half(query, queue, **keywords):
    return mochi(query, queue, **keywords).to(query.dtype)


def reversed_shares(query, queue, *, mixed, **keywords):
    points = mochi(query, queue, mixed=mixed, **keywords)
    return torch.cat([points[:, :mixed], F.normalize(points[:, mixed:] + F.normalize(query, dim=1)[:, None], dim=-1)], 1)


MIXERS = [
    (points_that_learn, "mixer constants"), (of_any_length, "mixer constants"), (of_the_first_query, "mixer rows"),
    (with_another_generator, "mixer generator"), (one_draw_for_ever, "mixer generator"), (in_half, "mixer precision"),
    (reversed_shares, "mixer loop"),
]  # fmt: skip


@pytest.mark.parametrize(("function", "name"), MIXERS)
def test_a_wrong_mixer_turns_the_harness_red(function, name):
    right = registry.get("mochi")
    assert failures(right) == {}
    assert name in failures(dataclasses.replace(right, name="wrong", function=f"{__name__}:{function.__name__}"))


def moved_too_far(query, key, queue=None, **keywords):
    q, k, n = feature_transform(query, key, queue, **keywords)
    return 1.001 * q, k, n


def queries_that_stay(query, key, queue=None, **keywords):
    q, k, n = feature_transform(query, key, queue, **keywords)
    return q.detach(), k, n


def of_their_own_seed(query, key, queue=None, generator=None, **keywords):
    return feature_transform(query, key, queue, **keywords, generator=harness.numbers())


def with_one_direction(query, key, queue=None, **keywords):
    q, k, n = feature_transform(query, key, queue, **keywords)
    return q + 0.01 * query.mean(0), k, n


def in_half_again(query, key, queue=None, **keywords):
    return tuple(x if x is None else x.to(query.dtype) for x in feature_transform(query, key, queue, **keywords))


def of_the_plain_length(query, key, queue=None, **keywords):
    return feature_transform(query / query.norm(dim=1, keepdim=True), key, queue, **keywords)


def moved_by_anything(query, key, queue=None, *, renormalise, **keywords):
    return feature_transform(query, key, queue, renormalise=bool(renormalise), **keywords)


TRANSFORMS = [
    (moved_too_far, "transform loop"), (queries_that_stay, "transform gradient"), (of_their_own_seed, "transform generator"),
    (with_one_direction, "transform rows"), (in_half_again, "transform precision"), (of_the_plain_length, "transform edges"),
    (moved_by_anything, "transform bad input"),
]  # fmt: skip


@pytest.mark.parametrize(("function", "name"), TRANSFORMS)
def test_a_wrong_transform_turns_the_harness_red(function, name):
    right = registry.get("feature_transform_unit")
    assert failures(right) == {} and {name for _, name in TRANSFORMS} == set(applicable(right))
    assert name in failures(dataclasses.replace(right, name="wrong", function=f"{__name__}:{function.__name__}"))


# ---- embeddings: one right and two wrong objectives of each signature ---------------------------------------------------------------


def _mean_square(z, centre, counted=None, reduction="mean"):
    "The squared distance of each row from its centre, float32 at least."
    with autocast_off(z):
        losses = (widen(z) - widen(centre)).square().sum(1)
    return objective.reduce(losses, torch.ones(len(z), dtype=torch.bool), reduction)


def of_views(zs, *, reduction="mean"):
    return _mean_square(zs[0], torch.stack([widen(z) for z in zs]).mean(0), reduction=reduction)


def of_views_by_hand(zs):
    return [sum((zs[0][i] - sum(z[i] for z in zs) / len(zs)) ** 2) for i in range(len(zs[0]))]


def of_labelled(z, y, *, reduction="mean"):
    fellows = (y[:, None] == y[None, :]).to(widen(z).dtype)
    return _mean_square(z, (fellows[:, :, None] * widen(z)).sum(1) / fellows.sum(1, keepdim=True), reduction=reduction)


def of_labelled_by_hand(z, y):
    groups = [[j for j in range(len(z)) if y[j] == y[i]] for i in range(len(z))]
    return [sum((z[i] - sum(z[j] for j in group) / len(group)) ** 2) for i, group in enumerate(groups)]


def of_prototypes(z, c, *, reduction="mean"):
    return _mean_square(z, widen(c).mean(0), reduction=reduction)


def of_prototypes_by_hand(z, c):
    return [sum((z[i] - sum(c) / len(c)) ** 2) for i in range(len(z))]


def of_maps(zs, places, *, reduction="mean"):
    first, second = (widen(z).mean((2, 3)) * widen(p).mean((1, 2, 3))[:, None] for z, p in zip(zs, places, strict=True))
    return _mean_square(first, second, reduction=reduction)


def of_maps_by_hand(zs, places):
    cells = [(h, w) for h in range(zs[0].shape[2]) for w in range(zs[0].shape[3])]
    mean = lambda z, p, i: sum(z[i, :, h, w] for h, w in cells) / len(cells) * sum(sum(p[i, h, w]) for h, w in cells) / (2 * len(cells))  # noqa: E731
    return [sum((mean(zs[0], places[0], i) - mean(zs[1], places[1], i)) ** 2) for i in range(len(zs[0]))]


def detached_views(zs, **keywords):
    return of_views([zs[0], *(z.detach() for z in zs[1:])], **keywords)


def coarse_views(zs, **keywords):
    return of_views([z if z.dtype == torch.float64 else z.bfloat16().to(z.dtype) + 1e-3 * z for z in zs], **keywords)


OF_EMBEDDINGS = {
    shape: Method(f"of_{shape}", f"{__name__}:of_{shape}", shape, ("X01",), RIGHT.notebook, f"of_{shape}") for shape in harness.EMBEDDINGS
}


@pytest.mark.parametrize("shape", OF_EMBEDDINGS)
def test_an_objective_of_embeddings_gets_its_checks(shape, monkeypatch):
    monkeypatch.setattr(harness, "load_from_page", lambda notebook, name: globals()[f"{name}_by_hand"])
    assert failures(OF_EMBEDDINGS[shape]) == {}
    assert {"loop", "gradcheck", "every input", "embedding precision"} <= set(applicable(OF_EMBEDDINGS[shape]))


# ---- narrowers and weighers: what each has wrong is its name -----------------------------------------------------------------------


def adding(pairs, *, by=None, **keywords):
    return margin_pos(pairs, by=by, **keywords)._replace(negatives=~pairs.positives)


def keeping_weight_0(pairs, *, by=None, **keywords):
    return margin_pos(pairs._replace(weights=None), by=by, **keywords)._replace(weights=pairs.weights)


def by_the_students_scores(pairs, *, by=None, **keywords):
    return margin_pos(pairs, **keywords)


def with_the_teachers_scores(pairs, *, by=None, **keywords):
    return margin_pos(pairs, by=by, **keywords)._replace(scores=pairs.scores if by is None else by)


def by_the_batch(pairs, *, margin, by=None):
    score = pairs.scores if by is None else by
    return pairs._replace(negatives=pairs.negatives & (score < score.mean()))


def hiding_nan(pairs, *, by=None, **keywords):
    return margin_pos(pairs, by=by, **keywords)._replace(negatives=margin_pos(pairs, by=by, **keywords).negatives & ~pairs.scores.isnan())


def above_the_bar(pairs, *, by=None, **keywords):
    kept = margin_pos(pairs, by=by, **keywords).negatives
    return pairs._replace(negatives=pairs.negatives & ~kept)


def turned_in_half(pairs, *, by=None, **keywords):
    scores = pairs.scores if by is None else by
    return margin_pos(pairs, by=-scores if scores.dtype == torch.float16 else scores, **keywords)


def of_any_margin(pairs, *, margin, by=None):
    return margin_pos(pairs, float(margin) if margin == margin else 0.0, by=by)


def with_dice_of_its_own(pairs, *, generator=None, **keywords):
    return simans(pairs, **keywords)


NARROWERS = [
    (adding, "narrower only narrows"), (keeping_weight_0, "narrower only narrows"), (by_the_students_scores, "narrower loop"),
    (with_the_teachers_scores, "narrower by"), (by_the_batch, "narrower rows"), (hiding_nan, "narrower nan"), (above_the_bar, "narrower safe"),
    (turned_in_half, "narrower precision"), (of_any_margin, "narrower bad input"),
]  # fmt: skip


@pytest.mark.parametrize(("function", "name"), NARROWERS)
def test_a_wrong_narrower_turns_the_harness_red(function, name):
    right = registry.get("margin_pos")
    CHECKS[name](right)
    wrong = dataclasses.replace(right, name="wrong", function=f"{__name__}:{function.__name__}")
    with pytest.raises(AssertionError):
        CHECKS[name](wrong)


def by_closeness(pairs, *, sharpness, by=None):
    "A weigher: a pair weighs the more, the nearer its score is to 0."
    by, _, _ = mining._decide(pairs, by)
    factor = torch.exp(-check_number("sharpness", sharpness, 0) * by.double() ** 2)
    return pairs._replace(weights=factor if pairs.weights is None else pairs.weights * factor)


def by_closeness_by_hand(pairs, by=None, *, sharpness):
    by = pairs.scores if by is None else by
    factor = torch.tensor([[math.exp(-sharpness * s**2) for s in row] for row in by.tolist()], dtype=torch.float64).reshape(by.shape)
    return pairs._replace(weights=factor if pairs.weights is None else pairs.weights * factor)


def below_0(pairs, **keywords):
    weighed = by_closeness(pairs, **keywords)
    return weighed._replace(weights=weighed.weights - 0.5)


WEIGHER = Method("by_closeness", f"{__name__}:by_closeness", "", (), RIGHT.notebook, "by_closeness", "weigher", {"sharpness": 0.5})


def test_a_weigher_gets_its_checks(monkeypatch):
    monkeypatch.setattr(harness, "load_from_page", lambda notebook, name: globals()[f"{name}_by_hand"])
    assert failures(WEIGHER) == {}
    wrong = dataclasses.replace(WEIGHER, name="wrong", function=f"{__name__}:below_0")
    assert {"weigher only weighs", "narrower loop"} <= set(failures(wrong))


# ---- batches, heads, builders, metrics: what each has wrong is its name --------------------------------------------------------------


class Wrong(batches.Composer):
    "What `by_cluster` deals, spoilt by one method."

    def __init__(self, y, size):
        super().__init__(len(y) // size, size)
        self.right = batches.by_cluster(y, size)

    def deals(self, generator):
        return self.right.deals(generator)


class Twice(Wrong):
    def deals(self, generator):
        return super().deals(generator)[:1].expand(len(self), -1)


class SameForEver(Wrong):
    def deals(self, generator):
        return super().deals(numbers(0))


class Forgetful(Wrong):
    def __init__(self, y, size):
        super().__init__(y, size)
        self.at = 0

    def forward(self, generator):
        self.place.fill_(self.at % (len(self) + 1) if self.at else len(self))
        out = super().forward(generator)
        self.at = int(self.place)
        return out


class Shared(Wrong):
    def forward(self, generator):
        super().forward(generator)
        return self.deal[int(self.place) - 1]


class AnySize(Wrong):
    def __init__(self, y, size):
        super().__init__(y, min(int(size), 24))


def numbers(seed):
    return torch.Generator().manual_seed(seed)


class Unseeded(torch.nn.Linear):
    def __init__(self, dim, hidden=1, out=4):
        super().__init__(dim, out)
        with torch.no_grad():
            self.weight.normal_(generator=torch.Generator().manual_seed(torch.Generator().seed() % 2**40))


class Stopped(torch.nn.Linear):
    def __init__(self, dim, hidden=1, out=4):
        super().__init__(dim, out)

    def forward(self, h):
        return super().forward(h.detach())


class OfTheBatch(Stopped):
    def forward(self, h):
        return torch.nn.Linear.forward(self, h - h.mean(0))


class Unsaved(Stopped):
    def __init__(self, dim, hidden=1, out=4):
        super().__init__(dim, out=out)
        self.turn = torch.randn(4, 4)

    def forward(self, h):
        return torch.nn.Linear.forward(self, h) @ self.turn


def by_size(dim, hidden=1, out=4):
    return encoders.projector(int(dim) or 1, abs(int(hidden)) or 1, abs(int(out)) or 1)


def overlapping(query, key, hard=None, **keywords):
    return in_batch(query, key, hard, **keywords)._replace(negatives=in_batch(query, key, hard, **keywords).positives)


def of_products(query, key, hard=None, *, similarity="dot", **keywords):
    return in_batch(query, key, hard, similarity=similarity, **keywords)


def never_detached(query, key, hard=None, *, detach_key=False, **keywords):
    return in_batch(query, key, hard, **keywords)


def scores_in_half(query, key, hard=None, **keywords):
    pairs = in_batch(query, key, hard, **keywords)
    return pairs._replace(scores=pairs.scores.to(query.dtype))


def writing(query, key, hard=None, **keywords):
    pairs = in_batch(query, key, hard, **keywords)
    query.mul_(1.5)
    return pairs


def taking_lists(query, key, hard=None, **keywords):
    return in_batch(*(torch.as_tensor(x, dtype=torch.float64) for x in (query, key, hard)), **keywords)


def as_a_tensor(z):
    return torch.tensor(metrics.rankme(z))


def of_the_first_rows(z):
    return metrics.rankme(z[:6])


def in_lower_bits(z):
    return metrics.rankme(z if z.dtype == torch.float64 else z.to(torch.bfloat16) * 1.01 + 0.01)


def one_for_all(z):
    return 1.0


def of_anything(z):
    return metrics.rankme(torch.nan_to_num(torch.as_tensor(z).double().reshape(-1, 5)))


def no_gradient(z, **options):
    return group_whitening(z.detach(), **options) + 0 * z


def row_by_row(z, **options):
    return z / z.norm(dim=1, keepdim=True)


def as_it_came(z, **options):
    return group_whitening(z, **options).to(z.dtype)


def over_nothing(z, **options):
    return (z - z.mean(0)) / z.std(0)


def of_any_matrix(z, **options):
    return torch.zeros(2, 2)


def twice_over(trees, **options):
    return 2 * tree_similarity(trees)


def of_small_letters(trees, **options):
    return tree_similarity([[tuple(x if x and x.islower() else None for x in path) for path in tree] for tree in trees])


def of_the_crowd(trees, **options):
    return tree_similarity(trees) * len(trees) / 7


def turning(trees, **options):
    found = tree_similarity(trees)
    for tree in trees:
        tree.append(("one", "more"))
    return found


def of_any_trees(trees, **options):
    return torch.eye(3)


def of_lengths(z, count, **options):
    return z.norm(dim=1).argsort().argsort() * count // len(z)


def of_now_alone(z, count, *, within=None, **options):
    return feature_groups(z, count, **options)


def of_torch_dice(z, count, *, within=None, seed=0):
    return feature_groups(z, count, within=within, seed=seed + int(torch.randint(99, ())))


def in_half_alone(z, count, **options):
    return feature_groups(z, count, **options) * (z.dtype != torch.float16)


def of_any_count(z, count, **options):
    return feature_groups(z, max(1, int(count)), **options)


OF_KINDS = [
    ("feature_groups", of_lengths, "groups found"), ("feature_groups", of_now_alone, "groups within"),
    ("feature_groups", of_torch_dice, "groups seed"), ("feature_groups", in_half_alone, "groups precision"),
    ("feature_groups", of_any_count, "groups bad input"),
    ("group_whitening", no_gradient, "layer gradient"), ("group_whitening", row_by_row, "layer rows"),
    ("group_whitening", as_it_came, "layer precision"), ("group_whitening", over_nothing, "layer flat"),
    ("group_whitening", of_any_matrix, "layer bad input"),
    ("tree_similarity", twice_over, "targets range"), ("tree_similarity", of_small_letters, "targets names"),
    ("tree_similarity", of_the_crowd, "targets alone"), ("tree_similarity", turning, "targets same bits"),
    ("tree_similarity", of_any_trees, "targets bad input"),
    ("by_cluster", Twice, "batches once"), ("by_cluster", SameForEver, "batches generator"), ("by_cluster", Forgetful, "batches state"),
    ("by_cluster", Forgetful, "batches resume"), ("by_cluster", Shared, "batches own copy"), ("by_cluster", AnySize, "batches bad input"),
    ("projector", Unseeded, "head seed"), ("projector", Stopped, "head gradient"), ("projector", OfTheBatch, "head rows"),
    ("projector", Unsaved, "head state"), ("projector", by_size, "head bad input"),
    ("in_batch", overlapping, "builder masks"), ("in_batch", of_products, "builder turns"), ("in_batch", never_detached, "builder detach"),
    ("in_batch", scores_in_half, "builder precision"), ("in_batch", writing, "builder same bits"), ("in_batch", taking_lists, "builder bad input"),
    ("rankme", as_a_tensor, "metric number"), ("rankme", of_the_first_rows, "metric order"), ("rankme", in_lower_bits, "metric precision"),
    ("rankme", one_for_all, "metric sees"), ("rankme", of_anything, "metric bad input"),
]  # fmt: skip


@pytest.mark.parametrize(("right", "function", "name"), OF_KINDS)
def test_a_wrong_method_of_another_kind_turns_the_harness_red(right, function, name, monkeypatch):
    right = registry.get(right)
    CHECKS[name](right)
    monkeypatch.setattr(Method, "load", lambda self: function)
    with pytest.raises((AssertionError, ValueError, pytest.fail.Exception)):
        CHECKS[name](right)


# ---- decoders and estimators: no page has one yet, so that small ones stand for them; what each wrong one has wrong is its name ---------


def drawn(scores, prefix, length, *, heat, generator=None):
    "A decoder: draws each token from the softmax of the scores divided by `heat`."
    check_count("length", length)
    if not isinstance(prefix, torch.Tensor) or prefix.dtype != torch.long or prefix.dim() != 2 or not prefix.numel():
        raise TypeError(f"prefix: got {prefix!r}, want a table of tokens")
    for _ in range(length):
        chances = torch.softmax(scores(prefix) / check_number("heat", heat, 0, open_low=True), dim=1)
        prefix = torch.cat([prefix, torch.multinomial(chances, 1, generator=generator)], dim=1)
    return prefix


def without_the_prefix(scores, prefix, length, **keywords):
    return drawn(scores, prefix, length, **keywords)[:, prefix.shape[1] :]


def of_any_seed(scores, prefix, length, *, heat, generator=None):
    return drawn(scores, prefix, length, heat=heat)


def boiling(scores, prefix, length, *, heat, generator=None):
    return drawn(scores, prefix, length, heat=1e4, generator=generator)


def led_by_the_first(scores, prefix, length, **keywords):
    return drawn(lambda tokens: scores(tokens[:1]).expand(len(tokens), -1), prefix, length, **keywords)


def of_what_cannot_come(scores, prefix, length, **keywords):
    return drawn(lambda tokens: scores(tokens).clamp(min=-1.0), prefix, length, **keywords)


def of_any_length(scores, prefix, length, **keywords):
    return drawn(scores, torch.as_tensor(prefix).long().reshape(-1, 3), max(1, int(length)), **keywords)


def two_sided(f, x, draws, *, sigma, generator=None):
    "An estimator: differences of values on both sides of the point, along random directions."
    check_count("draws", draws)
    if not isinstance(x, torch.Tensor) or not x.is_floating_point() or not x.isfinite().all():
        raise TypeError(f"x: got {x!r}, want a point of finite numbers")
    x = x.detach()
    steps = sigma * torch.randn(draws, len(x), generator=generator, dtype=torch.float64).to(x.dtype)
    return ((f(x + steps) - f(x - steps))[:, None] * steps).mean(0) / (2 * sigma**2)


def with_a_graph(f, x, draws, **keywords):
    return two_sided(f, x, draws, **keywords) * torch.ones(4, requires_grad=True).to(torch.float64)


def of_one_seed(f, x, draws, *, sigma, generator=None):
    return two_sided(f, x, draws, sigma=sigma, generator=harness.numbers(7))


def downhill(*arguments, **keywords):
    return -two_sided(*arguments, **keywords)


def of_two_draws(f, x, draws, **keywords):
    return two_sided(f, x, min(check_count("draws", draws), 2), **keywords)


def exact(f, x, draws, *, sigma, generator=None):
    return torch.autograd.functional.jacobian(lambda point: point @ harness.SLOPE, f(x[None]) * 0 + x)


def of_any_point(f, x, draws, **keywords):
    return two_sided(f, torch.nan_to_num(torch.as_tensor(x).double()), max(1, int(draws)), **keywords)


DECODER = Method("drawn", f"{__name__}:drawn", kind="decoder", notebook=RIGHT.notebook, options={"heat": 0.7})
ESTIMATOR = Method("two_sided", f"{__name__}:two_sided", kind="estimator", notebook=RIGHT.notebook, options={"sigma": 0.1})
OF_NO_PAGE = [
    (DECODER, without_the_prefix, "decoder tokens"), (DECODER, of_any_seed, "decoder generator"), (DECODER, boiling, "decoder certain"),
    (DECODER, led_by_the_first, "decoder rows"), (DECODER, of_what_cannot_come, "decoder impossible"),
    (DECODER, of_any_length, "decoder bad input"),
    (ESTIMATOR, with_a_graph, "estimator gradient"), (ESTIMATOR, of_one_seed, "estimator generator"),
    (ESTIMATOR, downhill, "estimator direction"), (ESTIMATOR, of_two_draws, "estimator draws"), (ESTIMATOR, exact, "estimator values alone"),
    (ESTIMATOR, of_any_point, "estimator bad input"),
]  # fmt: skip


@pytest.mark.parametrize("right", [DECODER, ESTIMATOR], ids=lambda method: method.kind)
def test_a_decoder_and_an_estimator_get_their_checks(right):
    registry.register(right)
    try:
        assert registry.methods(kind=right.kind)[-1] is right
    finally:
        registry._added.remove(right)
    assert len(applicable(right)) >= 5 and failures(right) == {}
    assert {name for given, _, name in OF_NO_PAGE if given is right} == set(applicable(right))


@pytest.mark.parametrize(("right", "function", "name"), OF_NO_PAGE, ids=lambda part: getattr(part, "__name__", None))
def test_a_wrong_decoder_or_estimator_turns_the_harness_red(right, function, name):
    with pytest.raises((AssertionError, TypeError, ValueError, pytest.fail.Exception)):
        CHECKS[name](dataclasses.replace(right, name="wrong", function=f"{__name__}:{function.__name__}"))


# ---- the registry and the page --------------------------------------------------------------------------------------------------


def test_a_new_entry_gets_every_check():
    of_lists = {"bad lists", "edge lists", "kinds of grades", *(name for name in CHECKS if name.startswith("float32 lists"))}
    of_embeddings = {"every input", "embedding precision"}
    of_kinds = {kind: {name for name in CHECKS if name.startswith(kind)} for kind in registry.KINDS}
    assert set(applicable(RIGHT)) == set(CHECKS) - of_lists - of_embeddings - set().union(*of_kinds.values())
    assert set(applicable(registry.get("mochi"))) == of_kinds["mixer"]
    assert set(applicable(registry.get("margin_pos"))) == of_kinds["narrower"]


def test_every_kind_and_shape_that_has_an_entry_is_asked_five_things_or_more():
    assert {m.kind for m in registry.methods()} >= {"objective", "mixer", "narrower", "builder", "batches", "metric", "head"}
    asked = {m.signature: len(applicable(m)) for m in (*registry.methods(), *OF_EMBEDDINGS.values(), WEIGHER, DECODER, ESTIMATOR)}
    assert min(asked.values()) >= 5, asked
    assert set(asked) == set(registry.SHAPES) | set(registry.KINDS) - {"objective"}


def test_a_wrong_entry_turns_the_command_red(tmp_path):
    (tmp_path / "wrong_entry.py").write_text(
        "import dataclasses\n"
        "from contrastive_nb import registry\n"
        "from contrastive_nb.objectives import info_nce\n"
        "def positive_weighs_less(scores, positives, *rest, **keywords):\n"
        "    return info_nce(scores - 0.1 * positives, positives, *rest, **keywords)\n"
        "right = registry.get('info_nce')\n"
        "registry.register(dataclasses.replace(right, name='wrong', function='wrong_entry:positive_weighs_less'))\n"
    )
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, "-m", "pytest", "-q", "-p", "wrong_entry", "-p", "no:cacheprovider", "tests/test_methods.py"]
    command += ["-k", "wrong and (loop or cross_entropy or monotone)"]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True, timeout=300)
    assert done.returncode == 1, done.stdout + done.stderr
    for name in ("test_check[wrong-loop]", "test_check[wrong-loop per query]", "test_oracle[wrong-torch cross_entropy]"):
        assert f"FAILED tests/test_methods.py::{name}" in done.stdout
    assert "FAILED tests/test_methods.py::test_check[wrong-monotone]" not in done.stdout  # it is wrong, yet monotone


def test_register_and_get():
    before = registry.methods()
    added = registry.register(dataclasses.replace(RIGHT, name="for_this_test"))
    try:
        assert registry.get("for_this_test") is added and registry.methods() == (*before, added)
        assert added not in registry.methods("lists") and added in registry.methods("pairs")
        with pytest.raises(ValueError, match="name: got 'for_this_test'.*not taken"):
            registry.register(added)
    finally:
        registry._added.remove(added)
    with pytest.raises(ValueError, match="info_nce"):
        registry.register(RIGHT)
    with pytest.raises(TypeError, match="method: got str"):
        registry.register("info_nce")
    with pytest.raises(KeyError, match="want one of .*info_nce, info_nce_all"):
        registry.get("infonce")
    with pytest.raises(ValueError, match="shape: got 'pair'"):
        registry.methods("pair")
    with pytest.raises(ValueError, match="kind: got 'loss', want one of objective"):
        registry.methods(kind="loss")
    assert {m.name for m in registry.methods(kind="mixer")} == {"mochi"}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"name": "Info NCE"}, "name: got 'Info NCE'"),
        ({"function": "contrastive_nb.objectives.info_nce"}, "function: got .*module:function"),
        ({"shape": "pair"}, "shape: got 'pair', want one of pairs"),
        ({"promises": {"monotonic"}}, "promises: got monotonic, want some of monotone"),
        ({"kind": "loss"}, "kind: got 'loss', want one of objective"),
        ({"kind": "narrower"}, "shape: got 'pairs', want none: a narrower is Pairs"),
        ({"shape": ""}, "shape: got '', want one of pairs"),
        ({"kind": "mixer", "shape": "", "by_hand": ""}, "by_hand: got nothing, want the loops"),
    ],
    ids=lambda x: next(iter(x)) if isinstance(x, dict) else "",
)
def test_an_entry_that_does_not_fit_is_refused(change, words):
    with pytest.raises(ValueError, match=words):
        dataclasses.replace(RIGHT, **change)


@pytest.mark.parametrize("papers", ["X01", ("X01", 2), None])
def test_papers_that_are_no_tuple_of_ids_are_refused(papers):
    with pytest.raises(TypeError, match="papers: got"):
        dataclasses.replace(RIGHT, papers=papers)


PAGE = "# AUTOGENERATED! DO NOT EDIT! File to edit: ../nbs/0_x/01_y.ipynb.\n"
ENTRY = "_METHODS = [\n" + repr({f.name: getattr(RIGHT, f.name) for f in dataclasses.fields(Method)[:4]} | {"by_hand": "loop"}) + "]\n"


@pytest.mark.parametrize(("text", "words"), [
    (ENTRY, "got a plain module"),
    (PAGE + ENTRY.replace("by_hand", "by_heart"), "by_heart"),
    (PAGE + ENTRY.replace("'loop'", "loop"), "malformed"),
])  # fmt: skip
def test_entries_that_cannot_be_read_are_refused_with_their_module(text, words, tmp_path):
    module = tmp_path / "planted.py"
    module.write_text(f'"""A module."""\n\n{PAGE}{ENTRY}')
    (method,) = registry.collect(tmp_path)
    assert method.name == RIGHT.name and method.notebook == "0_x/01_y"
    registry.collect.cache_clear()
    module.write_text(f'"""A module."""\n\n{text}')
    with pytest.raises(ValueError, match=rf"planted\.py: _METHODS: .*{words}"):
        registry.collect(tmp_path)


def test_an_entry_cannot_be_changed_and_calls_with_its_options():
    with pytest.raises(dataclasses.FrozenInstanceError):
        RIGHT.name = "other"
    with pytest.raises(TypeError):
        RIGHT.options["denominator"] = "all"
    assert hash(RIGHT) == hash(registry.get("info_nce"))
    scores, positives = torch.randn(2, 4, generator=torch.Generator().manual_seed(0)), torch.tensor([[True, True, False, False]] * 2)
    every = registry.get("info_nce_all")(scores, positives, ~positives, temperature=0.5)
    assert every == info_nce(scores, positives, ~positives, temperature=0.5, denominator="all")
    assert every == RIGHT(scores, positives, ~positives, temperature=0.5, denominator="all")
    assert every != RIGHT(scores, positives, ~positives, temperature=0.5)


@pytest.mark.parametrize("method", registry.methods(), ids=lambda m: m.name)
def test_every_entry_points_at_what_there_is(method):
    assert callable(method.load()) and method.load().__doc__
    assert not method.by_hand or callable(load_from_page(method.notebook, method.by_hand))


def test_lightly_leaves_nothing_behind():
    if ORACLES["lightly NTXentLoss"].missing:
        pytest.skip(ORACLES["lightly NTXentLoss"].missing)
    loss = load()
    left = [name for name in sys.modules if name.startswith(("torchvision", "lightly.loss", "lightly.models"))]
    assert left == [] and loss.__name__ == "NTXentLoss"


# ---- one wrong entry a check ------------------------------------------------------------------------------------------------------


def cut_off_when_nothing_is_left(scores, positives, *rest, **keywords):
    loss = info_nce(scores, positives, *rest, **keywords)
    return loss if positives.any() else loss.detach()


def one_temperature_for_all(*pairs, temperature, **keywords):
    return info_nce(*pairs, temperature=temperature.mean() if isinstance(temperature, torch.Tensor) else temperature, **keywords)


def divided_by_the_queries_left(scores, positives, negatives, *rest, denominator="own", **keywords):
    "Only with one value of an option, and only the gradient: 0 / 0 behind a `where`."
    loss = info_nce(scores, positives, negatives, *rest, denominator=denominator, **keywords)
    left = (positives.any(1) & negatives.any(1)).sum()
    return loss if denominator == "own" else loss + torch.where(left > 0, (0 * scores).sum() / left, 0.0)


def of_two_negatives(scores, positives, negatives, *rest, **keywords):
    return info_nce(scores, positives, negatives & (negatives.sum(1, keepdim=True) > 1), *rest, **keywords)


def far_scores_count_more(scores, *rest, **keywords):
    return info_nce(scores + scores**2, *rest, **keywords)


def by_place(scores, *rest, **keywords):
    return info_nce(scores + torch.arange(scores.shape[1]) / 100, *rest, **keywords)


def as_a_product(scores, *rest, **keywords):
    "A product of matrices is what autocast computes in half precision."
    return info_nce(scores @ torch.eye(scores.shape[1], dtype=scores.dtype), *rest, **keywords)


def with_a_look_at_a_number(scores, *rest, **keywords):
    return info_nce(scores if scores.sum() > 0 else 1 * scores, *rest, **keywords)


def coarse(scores):
    "Eighths in float32, with the gradient of the scores themselves."
    return scores if scores.dtype == torch.float64 else scores + ((8 * scores).round() / 8 - scores).detach()


def coarse_in_float32(scores, *rest, **keywords):
    return info_nce(coarse(scores), *rest, **keywords)


def coarse_lists_in_float32(scores, *rest, **keywords):
    return listwise(coarse(scores), *rest, **keywords)


def grades_by_their_spread(scores, relevance, mask=None, **keywords):
    return listwise(scores, relevance / relevance.std(), mask, **keywords)


def grades_turned_twice(scores, relevance, mask=None, **keywords):
    return listwise(scores, -(-relevance).double(), mask, **keywords)


def lists_with_checks_off(scores, relevance, mask=None, *, check=False, **keywords):
    return listwise(scores, relevance, mask, **keywords)


def mixed_by_anything(query, queue, *, mixed, **keywords):
    return mochi(query, queue, mixed=int(mixed), **keywords)


def mixed_without_a_direction(query, queue, **keywords):
    return mochi(query / query.norm(dim=1, keepdim=True), queue, **keywords)


LISTS = Method("listwise", f"{__name__}:listwise", "lists", papers=("S08",), notebook=RIGHT.notebook, by_hand="listwise")
PLANTED = {  # check: the right entry, the wrong function, and how the check must say what is wrong
    "nothing left": (RIGHT, cut_off_when_nothing_is_left, "the loss has no gradient path"),
    "needs": (RIGHT, of_two_negatives, "^1 positives and 1 negatives in a query: got"),
    "temperature shapes": (RIGHT, one_temperature_for_all, "^a temperature a row: got"),
    "shift free": (RIGHT, far_scores_count_more, "^shift-free .*: got"),
    "permutation": (RIGHT, by_place, "^permutation .*: got"),
    "half embeddings": (RIGHT, coarse_in_float32, "^gradient: off by"),
    "autocast": (RIGHT, as_a_product, "^value or gradient under autocast: got"),
    "edges": (RIGHT, by_plain_exp, "^not finite: far apart"),
    "func": (RIGHT, with_a_look_at_a_number, RuntimeError, "data-dependent control flow"),  # torch's own words
    "float32 embeddings, mixed, 0.1": (RIGHT, coarse_in_float32, "^value: off by"),
    "float32 lists, mixed, 0.1": (LISTS, coarse_lists_in_float32, "^value: off by"),
    "edge lists": (LISTS, grades_by_their_spread, "^not finite: one document"),
    "kinds of grades": (LISTS, grades_turned_twice, "^relevance of dtype torch.uint8: got"),
    "bad lists": (LISTS, lists_with_checks_off, pytest.fail.Exception, "DID NOT RAISE"),
    "every option": (RIGHT, divided_by_the_queries_left, "nothing left .* denominator all: got|denominator all: not finite"),
    "mixer edges": (registry.get("mochi"), mixed_without_a_direction, "^zeros: not finite"),
    "mixer bad input": (registry.get("mochi"), mixed_by_anything, "^mixed: 2.0 was accepted"),
    "narrower generator": (registry.get("simans"), with_dice_of_its_own, "^generator: was given, and torch's own was used"),
    "every input": (OF_EMBEDDINGS["views"], detached_views, "^gradient by argument 1 against the double loop .*: got 0,"),
    "embedding precision": (OF_EMBEDDINGS["views"], coarse_views, "^torch.float32 against float64, .*: got"),
}


def finds(name: str, right: Method, function: Callable, *raised) -> None:
    "The check passes the right entry, and of the wrong one it says what is wrong; by an AssertionError, if nothing else is named."
    *kind, words = raised
    CHECKS[name](right)
    assert name in applicable(right)
    with pytest.raises(kind[0] if kind else AssertionError, match=words) as caught:
        CHECKS[name](dataclasses.replace(right, name="wrong", function=f"{__name__}:{function.__name__}"))
    assert type(caught.value) is (kind[0] if kind else AssertionError)


@pytest.mark.parametrize("name", PLANTED)
def test_a_check_finds_its_fault(name, monkeypatch):
    if PLANTED[name][0] is LISTS or PLANTED[name][0] in OF_EMBEDDINGS.values():
        monkeypatch.setattr(harness, "load_from_page", lambda notebook, name: globals()[f"{name}_by_hand"])
    finds(name, *PLANTED[name])


def only_with_a_positive(scores, positives, negatives, *rest, **keywords):
    return asymmetric_loss(scores, positives, negatives & positives.any(1, keepdim=True), *rest, **keywords)


def with_shared_weights(scores, positives, negatives, weights=None, **keywords):
    if weights is not None:
        there = positives & (weights != 0)
        weights = torch.where(there, weights / ((weights * there).sum(1, keepdim=True) / there.sum(1, keepdim=True)), weights)
    return asymmetric_loss(scores, positives, negatives, weights, **keywords)


def with_something_left(scores, positives, negatives, weights=None, **keywords):
    return asymmetric_loss(scores, positives, negatives, weights, **keywords) + 1e-3 * (scores * ~(positives | negatives)).sum(1).mean()


@pytest.mark.parametrize(
    ("name", "function", "words"),
    [
        ("needs", only_with_a_positive, "^0 positives and 1 negatives in a query: got"),
        ("weights", with_shared_weights, "^a positive of weight 2: got"),
        ("nothing left", with_something_left, "^nothing left .all ignored.: got"),
    ],
)
def test_where_each_pair_stands_alone_a_check_finds_its_fault(name, function, words):
    finds(name, registry.get("asymmetric_loss"), function, words)


def of_another_signature(scores):
    return scores.sum()


@pytest.mark.parametrize("name", [name for name in PLANTED if PLANTED[name][0] is RIGHT])
def test_a_plant_that_cannot_be_called_is_no_finding(name):
    with pytest.raises((TypeError, AssertionError)) as caught:
        finds(name, RIGHT, of_another_signature, *PLANTED[name][2:])
    assert isinstance(caught.value, TypeError) or "Regex pattern did not match" in str(caught.value)


def test_every_check_has_a_wrong_entry():
    found = {
        *PLANTED,
        *(name for _, name in MIXERS + NARROWERS + TRANSFORMS),
        *(name for *_, name in OF_KINDS + OF_NO_PAGE),
        "weigher only weighs",
        *(name for _, *names in WRONG for name in names),
        "choices",
    }
    family = lambda names: {name.partition(",")[0] for name in names}  # noqa: E731
    assert family(found) == family(CHECKS)
