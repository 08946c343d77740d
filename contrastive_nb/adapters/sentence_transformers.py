"""An objective as one of sentence-transformers' losses, in its trainer and inside its modifiers. Plain module: it needs sentence-transformers."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from sentence_transformers.base.losses.gradcache import CachedLossMixin, has_static_embedding_input
from torch import Tensor, nn

from contrastive_nb.adapters.loss import Loss
from contrastive_nb.checks import check_choice, check_count, check_flag, check_module
from contrastive_nb.pairs import SIMILARITIES, from_labels, in_batch
from contrastive_nb.scaling import gather_with_grad, own_rows

__all__ = ["SentenceTransformerLoss"]


class SentenceTransformerLoss(CachedLossMixin, nn.Module):
    """An objective in place of `MultipleNegativesRankingLoss`: `SentenceTransformerLoss(model, "info_nce", temperature=0.05)` is it.

    Columns are (anchor, positive, negative, ...): every anchor meets all positives and all negatives of the batch. One column with
    labels is paired by them. With `mini_batch` the gradient of the whole batch is had with the activations of a mini-batch.
    Raises `TypeError` or `ValueError` naming the argument. (The cached form: Gao et al. 2021.)
    """

    def __init__(
        self,
        model: nn.Module,  # a SentenceTransformer
        objective: str | Callable,  # a name of the registry, such as "info_nce", or a function of unpacked Pairs
        *,
        mini_batch: int | None = None,  # texts whose activations are in memory at one time; None: all
        symmetric: bool = False,  # the mean with the other direction, positives looking for their anchors
        gather_across_devices: bool = False,  # let the texts of all processes be keys
        similarity: str = "cosine",  # "cosine", "dot" or "neg_euclidean"
        **options,  # temperature, learned, narrow, narrow_options and the objective's own, as `Loss` takes them
    ):
        check_flag("symmetric", symmetric), check_flag("gather_across_devices", gather_across_devices)
        super().__init__()
        self.model: Any = check_module("model", model)  # under this name the trainer puts what wraps it
        check_choice("similarity", similarity, SIMILARITIES)
        check_choice("reduction", options.get("reduction", "mean"), ("mean", "sum"))
        self.symmetric, self.similarity = symmetric, similarity
        self.gather = gather_across_devices
        self.objective = Loss(objective, **options)
        self.uses_gradient_cache = mini_batch is not None
        if mini_batch is not None:
            self.mini_batch_size = check_count("mini_batch", mini_batch)
            self._check_cached()

    def _check_cached(self) -> None:
        if isinstance(self.model, nn.Sequential) and has_static_embedding_input(self.model):
            raise ValueError("mini_batch: got a number, want None: the inputs of a StaticEmbedding cannot be split")
        if any(parameter.requires_grad for parameter in self.objective.parameters()):
            raise ValueError("mini_batch: got a number and an objective that learns, want None, or learned=False")

    def forward(self, sentence_features: Iterable[dict[str, Tensor]], labels: Tensor | None = None) -> Tensor:
        "The loss of a batch: one dict of features a column."
        if self.uses_gradient_cache:
            return CachedLossMixin.forward_cached(self, sentence_features, labels)
        return self.compute_loss_from_embeddings([self.model(column)["sentence_embedding"] for column in sentence_features], labels)

    def calculate_loss(self, reps: list[list[Tensor]], labels: Tensor | None = None, *, with_backward: bool = False) -> Tensor:
        "The same of embeddings that came in mini-batches, with their gradients at once."
        check_flag("with_backward", with_backward)
        loss = self.compute_loss_from_embeddings([torch.cat(column) for column in reps], labels)
        if not with_backward:
            return loss
        loss.backward()
        return loss.detach()

    def compute_loss_from_embeddings(self, embeddings: list[Tensor], labels: Tensor | None = None) -> Tensor:
        "The loss of embedded columns, (N, D) each. Raises `ValueError` where columns and labels are not one of the two forms."
        if len(embeddings) == 1 and labels is not None:
            z, labels = (gather_with_grad(x) if self.gather else x for x in (embeddings[0], labels))
            return self.objective(*from_labels(z, labels, similarity=self.similarity))
        if len(embeddings) < 2:
            raise ValueError(f"embeddings: got {len(embeddings)} column and no labels, want two columns or more, or one with labels")
        if labels is not None:
            raise ValueError(f"labels: got labels beside {len(embeddings)} columns, want none: labels pair the texts of one column")
        return self._of_columns(*embeddings)

    def _of_columns(self, query: Tensor, key: Tensor, *negatives: Tensor) -> Tensor:
        target = own_rows(query) if self.gather else None
        keys = [gather_with_grad(x) if self.gather else x for x in (key, *negatives)]
        hard = torch.cat(keys[1:]) if negatives else None
        loss = self.objective(*in_batch(query, keys[0], hard, target=target, similarity=self.similarity))
        if not self.symmetric:
            return loss
        queries = gather_with_grad(query) if self.gather else query
        return (loss + self.objective(*in_batch(key, queries, target=target, similarity=self.similarity))) / 2

    def get_config_dict(self) -> dict[str, Any]:
        "What it was made of, for the model card."
        made = {"similarity": self.similarity, "symmetric": self.symmetric, "gather_across_devices": self.gather}
        return self.objective.config() | made | ({"mini_batch": self.mini_batch_size} if self.uses_gradient_cache else {})

    @property
    def citation(self) -> str:
        "BibTeX of the objective's papers, for the model card."
        return self.objective.citation
