"""What every objective does around its formula: checks, float32 inside, autocast off, one reduction. Plain module: shown at work on the page about pairs."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from contrastive_nb.checks import (
    REDUCTIONS,
    check_choice,
    check_flag,
    check_floating,
    check_like,
    check_list_values,
    check_lists,
    check_pairs,
    check_temperature,
    check_values,
)
from contrastive_nb.rows import autocast_off, to_float64, widen

ABSENT = object()  # the temperature of an objective that has none; None is a mistake and is refused


def reduce(
    losses: Tensor,  # (Q,) a loss a query; values at queries left out do not matter
    counted: Tensor | bool,  # (Q,) bool: the queries that contribute; True for all
    reduction: str,  # "none", "mean" or "sum"
) -> Tensor:
    "Sum or average the losses of the queries that count; 0, with a gradient path, where none does."
    if isinstance(counted, Tensor):
        losses = torch.where(counted, losses, 0.0)
    if reduction == "none":
        return losses
    total = losses.sum()
    if reduction == "sum":
        return total
    return total / (counted.sum().clamp(min=1) if isinstance(counted, Tensor) else max(1, len(losses)))


def weigh(
    losses: Tensor,  # (Q,) of an objective with reduction="none"; of `mw`: one a positive
    weights: Tensor,  # (Q,) >= 0: how much each counts; 0: not at all, whatever its loss is
    *,
    normalise: bool = True,  # divide by the sum of the weights; otherwise by their number
    check: bool = False,  # look at the values of the weights; waits for the device
) -> Tensor:
    """The weighted mean of single losses; 0, with a gradient path, where every weight is 0. Gradients flow through the weights too.

    A query that the objective left out has loss 0 and counts with its weight: give it 0 to keep it out of the mean.
    Raises `TypeError` or `ValueError` naming the argument, also where the lengths differ.
    """
    normalise, check = check_flag("normalise", normalise), check_flag("check", check)
    check_floating("losses", losses, (1,))
    check_floating("weights", weights, (1,))
    if weights.shape != losses.shape:
        raise ValueError(f"weights: got {len(weights)}, want {len(losses)}: one a loss (mw has one loss a positive)")
    check_like("weights", weights, "losses", losses, dtype=False)
    if check and not (torch.isfinite(weights) & (weights >= 0)).all():
        raise ValueError("weights: got a negative or non-finite weight, want weights >= 0")
    with autocast_off(losses):
        losses, weights = widen(losses), widen(weights)
        share = to_float64(weights)
        total = (torch.where(weights != 0, to_float64(losses), 0.0) * share).sum()
        whole = share.sum() if normalise else share.new_tensor(float(max(len(losses), 1)))
        return (total / torch.where(whole != 0, whole, 1.0)).to(losses.dtype)


def of_pairs(
    formula: Callable,  # (scores, positives, negatives, weights, temperature, **options) -> losses (Q,), counted (Q,) bool
    scores: Tensor,
    positives: Tensor,
    negatives: Tensor,
    weights: Tensor | None,
    *,
    temperature=ABSENT,  # left out by an objective that has none
    reduction: str = "mean",
    check: bool = False,
    **options,
) -> Tensor:
    """Run an objective's formula with what every objective shares: checks, float32 inside, autocast off, one reduction.

    Raises `TypeError` or `ValueError` naming the argument; with `check` also for values inside the tensors.
    """
    check = check_flag("check", check)
    check_pairs(scores, positives, negatives, weights)
    check_choice("reduction", reduction, REDUCTIONS)
    if temperature is ABSENT:
        temperature = None
    else:
        temperature = check_temperature(temperature, scores, check=check)
    if check:
        check_values(scores, positives, negatives, weights)
    with autocast_off(scores):
        scores, weights, temperature = widen(scores), widen(weights), widen(temperature)
        losses, counted = formula(scores, positives, negatives, weights, temperature, **options)
        return reduce(to_float64(losses), counted, reduction).to(scores.dtype)  # a sum may not fit where its mean does


def of_lists(
    formula: Callable,  # (scores, relevance, there, **options) -> losses (Q,), counted (Q,) bool; scores and grades in float64
    scores: Tensor,
    relevance: Tensor,
    mask: Tensor | None,
    *,
    temperature=ABSENT,  # left out by an objective that has none
    name: str = "relevance",  # what the objective calls the grades
    lowest: float = -math.inf,  # grades below it are found by `check`
    reduction: str = "mean",
    check: bool = False,
    **options,
) -> Tensor:
    """The same for graded lists; what stands at padding is replaced by 0 before the formula sees it.

    A grade in use that is NaN makes its list's loss NaN. Raises as `objective` does.
    """
    check = check_flag("check", check)
    check_lists(scores, relevance, mask, name)
    check_choice("reduction", reduction, REDUCTIONS)
    there = torch.ones_like(scores, dtype=torch.bool) if mask is None else mask
    if temperature is not ABSENT:
        options["temperature"] = widen(check_temperature(temperature, scores, check=check))
    if check:
        check_list_values(scores, relevance, there, name, lowest)
    with autocast_off(scores):
        scores = widen(scores)
        if scores.shape[1] == 0:
            return reduce(scores.sum(1), there.any(1), reduction)
        grades = to_float64(torch.where(there, relevance, torch.zeros_like(relevance)))
        losses, counted = formula(to_float64(torch.where(there, scores, 0.0)), grades, there, **options)
        unknown = (there & relevance.isnan()).any(1)
        losses = torch.where(unknown, losses.new_tensor(math.nan), losses)
        return reduce(to_float64(losses), counted | unknown, reduction).to(scores.dtype)
