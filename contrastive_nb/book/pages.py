"""What several pages do to show a method at work: ask for its complaint, its gradient, or pairs to try it on. Plain module."""

from collections.abc import Callable

import torch

from contrastive_nb.pairs import Pairs


def complaint(call: Callable, /, *arguments, **options) -> str | None:
    "What a call says of a wrong argument; None where it accepts all."
    try:
        call(*arguments, **options)
    except (RuntimeError, TypeError, ValueError) as error:
        return str(error)
    return None


def value_and_gradient(
    loss: Callable,  # of the unpacked pairs
    pairs: Pairs,
    dtype: torch.dtype | None = None,  # that the scores are rounded to first; None: theirs
    **options,  # of the loss
):  # the value and the (Q, K) gradient by the scores, in float64 where a dtype was asked for
    "A loss and its gradient by the scores."
    scores = pairs.scores.detach().clone().to(dtype or pairs.scores.dtype).requires_grad_()
    value = loss(scores, *pairs[1:], **options)
    (gradient,) = torch.autograd.grad(value, scores)
    return (value.detach(), gradient) if dtype is None else (value.detach().double(), gradient.double())


def gradient(loss: Callable, pairs: Pairs) -> torch.Tensor:
    "The (Q, K) gradient of a loss by the scores."
    return value_and_gradient(loss, pairs)[1]


def random_pairs(queries: int, keys: int, generator: torch.Generator) -> Pairs:
    "Pairs in float64 with ragged masks and weights: a third positive, a third negative, a third neither."
    scores = torch.rand(queries, keys, generator=generator, dtype=torch.float64) * 2 - 1
    kind = torch.randint(0, 3, (queries, keys), generator=generator)
    weights = torch.rand(queries, keys, generator=generator, dtype=torch.float64) + 0.1
    return Pairs(scores, kind == 0, kind == 1, weights)
