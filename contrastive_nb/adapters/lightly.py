"""An objective as one of lightly's losses: two batches of embeddings in, a number out. Plain module: it needs torch alone."""

from collections.abc import Callable

from torch import Tensor, nn

from contrastive_nb.adapters.loss import Loss
from contrastive_nb.checks import check_choice, check_flag, check_is
from contrastive_nb.pairs import SIMILARITIES, two_views, with_queue
from contrastive_nb.scaling import gather_with_grad
from contrastive_nb.training import Queue

__all__ = ["LightlyLoss"]


class LightlyLoss(nn.Module):
    """An objective in place of lightly's `NTXentLoss`: `LightlyLoss("info_nce", temperature=0.5)(z0, z1)` has its value.

    Without a queue both views are queries and all other rows their keys; with one the first view is the query, the second its
    positive, and the queue holds the negatives and takes the second view in when gradients are asked for.
    Raises `TypeError` or `ValueError` naming the argument.
    """

    def __init__(
        self,
        objective: str | Callable,  # a name of the registry, such as "info_nce", or a function of unpacked Pairs
        *,
        queue: Queue | None = None,  # keys of earlier batches, as in MoCo; lightly's `memory_bank_size`
        gather_distributed: bool = False,  # let the rows of all processes be keys
        similarity: str = "cosine",  # "cosine", "dot" or "neg_euclidean"
        **options,  # temperature, learned, narrow, narrow_options and the objective's own, as `Loss` takes them
    ):
        super().__init__()
        check_choice("similarity", similarity, SIMILARITIES)
        check_choice("reduction", options.get("reduction", "mean"), ("mean", "sum"))
        self.queue = check_is("queue", queue, (Queue, type(None)), "a training.Queue, or None")
        self.gather, self.similarity = check_flag("gather_distributed", gather_distributed), similarity
        self.objective = Loss(objective, **options)

    def forward(self, z0: Tensor, z1: Tensor) -> Tensor:
        "The loss of two views of one batch, (N, D) each."
        if self.gather:
            z0, z1 = gather_with_grad(z0), gather_with_grad(z1)
        if self.queue is None:
            return self.objective(*two_views(z0, z1, similarity=self.similarity))
        pairs = with_queue(z0, z1, self.queue.keys().to(z0), similarity=self.similarity)
        if z0.requires_grad:
            self.queue.push(z1)
        return self.objective(*pairs)
