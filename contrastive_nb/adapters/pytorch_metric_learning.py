"""An objective as one of pytorch-metric-learning's losses. Plain module: it needs pytorch-metric-learning."""

from collections.abc import Callable

import torch
from pytorch_metric_learning.distances import BaseDistance, CosineSimilarity
from pytorch_metric_learning.losses import BaseMetricLossFunction, CrossBatchMemory, SelfSupervisedLoss
from pytorch_metric_learning.reducers import BaseReducer
from pytorch_metric_learning.regularizers import BaseRegularizer
from pytorch_metric_learning.utils import common_functions, loss_and_miner_utils
from torch import Tensor

from contrastive_nb.adapters.loss import Loss
from contrastive_nb.checks import check_is, check_number
from contrastive_nb.pairs import Pairs

__all__ = ["MetricLearningLoss"]


class MetricLearningLoss(BaseMetricLossFunction):
    """An objective in place of that library's losses: `MetricLearningLoss("supcon", temperature=0.1)(embeddings, labels)`.

    Same label is positive, as in `from_labels`; a miner's pairs or triplets, if they come, are the pairs instead: what an anchor
    is paired with by any of them is its key once. The reducer gets one loss an anchor that has what the objective needs, of `mw`
    one a positive. Self-pairs leave only where `ref_emb` is not given. Raises `TypeError` or `ValueError` naming the argument.
    """

    def __init__(
        self,
        objective: str | Callable,  # a name of the registry, such as "supcon", or a function of unpacked Pairs
        *,
        distance=None,  # one of pytorch_metric_learning.distances, also of an actual distance; None: cosine similarity
        reducer=None,  # one of pytorch_metric_learning.reducers; None: the mean
        embedding_regularizer=None,  # one of pytorch_metric_learning.regularizers
        embedding_reg_weight: float = 1.0,  # at least 0: of the regularizer
        **options,  # temperature, learned, narrow, narrow_options and the objective's own, as `Loss` takes them
    ):
        if "reduction" in options:
            raise ValueError(f"reduction: got {options['reduction']!r}, want none: reducer= takes its place here")
        for name, given, kind in (("distance", distance, BaseDistance), ("reducer", reducer, BaseReducer)):
            check_is(name, given, (kind, type(None)), f"one of pytorch_metric_learning's {name}s, or None")
        check_is(
            "embedding_regularizer", embedding_regularizer, (BaseRegularizer, type(None)), "one of that library's regularizers, or None"
        )
        check_number("embedding_reg_weight", embedding_reg_weight, 0)
        super().__init__(
            distance=distance,
            reducer=reducer,
            embedding_regularizer=embedding_regularizer,
            embedding_reg_weight=embedding_reg_weight,
        )
        self.objective = Loss(objective, **options)

    def get_default_distance(self):
        "Cosine similarity, as the objectives of this library have it."
        return CosineSimilarity()

    def pairs(self, embeddings: Tensor, labels, indices_tuple, ref_emb: Tensor, ref_labels) -> Pairs:
        "The score matrix with its masks: of the labels, or of what a miner found."
        scores = self.distance(embeddings, ref_emb)
        scores = scores if self.distance.is_inverted else -scores
        if indices_tuple is None:
            same = labels[:, None] == ref_labels[None]
            itself = torch.eye(len(same), dtype=torch.bool, device=same.device) if ref_emb is embeddings else torch.zeros_like(same)
            return Pairs(scores, same & ~itself, ~same)
        anchor, positive, other, negative = loss_and_miner_utils.convert_to_pairs(indices_tuple, labels, ref_labels)
        positives, negatives = (torch.zeros(scores.shape, dtype=torch.bool, device=scores.device) for _ in range(2))
        positives[anchor.long(), positive.long()] = True  # of an empty list a miner makes numbers of any kind
        negatives[other.long(), negative.long()] = True
        return Pairs(scores, positives, negatives)

    def compute_loss(self, embeddings, labels, indices_tuple, ref_emb, ref_labels):
        "The losses with their places, for the reducer."
        common_functions.labels_or_indices_tuple_required(labels, indices_tuple)
        losses, places = self.objective.each(self.pairs(embeddings, labels, indices_tuple, ref_emb, ref_labels))
        if len(places) == 0:
            return self.zero_losses()
        pooled = places.dim() == 2
        kind, indices = ("pos_pair", (places[:, 0], places[:, 1])) if pooled else ("element", places)
        return {"loss": {"losses": losses, "indices": indices, "reduction_type": kind}}


def _welcome(wrapper) -> None:
    "That library's wrappers know the losses that they take by the names of their classes: ours is one more."
    names = wrapper.supported_losses()
    if MetricLearningLoss.__name__ not in names:
        wrapper.supported_losses = staticmethod(lambda: [*names, MetricLearningLoss.__name__])


_welcome(CrossBatchMemory)
_welcome(SelfSupervisedLoss)
