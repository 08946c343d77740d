"""An encoder trained by contrast as an estimator of scikit-learn. Plain module: it needs scikit-learn."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d, validate_data
from torch import Tensor, nn

from contrastive_nb import checkpoints
from contrastive_nb.adapters.loss import Loss, find, keywords_of
from contrastive_nb.checks import check_choice, check_count, check_is, check_number, check_path
from contrastive_nb.devices import pick_device
from contrastive_nb.encoders import seeded
from contrastive_nb.pairs import SIMILARITIES, from_labels

__all__ = ["ContrastiveEncoder"]

_KIND = "contrastive_nb.adapters.ContrastiveEncoder 1"  # of file
_WHOLE = {"dim": 1, "hidden": 1, "steps": 0, "batch_size": 2}  # parameters that are whole numbers, and the least of each


class _Network(nn.Module):
    "Standardise, two linear layers, unit length where cosines are compared. A row is embedded whatever stands beside it."

    mean: Tensor
    scale: Tensor

    def __init__(self, features: int, hidden: int, dim: int, unit: bool):
        super().__init__()
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("scale", torch.ones(features))
        self.layers, self.unit = nn.Sequential(nn.Linear(features, hidden), nn.ReLU(), nn.Linear(hidden, dim)), unit

    def forward(self, x: Tensor) -> Tensor:
        z = self.layers((x - self.mean) / self.scale)
        return F.normalize(z, dim=1) if self.unit else z


class ContrastiveEncoder(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Rows of numbers to embeddings: `ContrastiveEncoder().fit(X, y)` pulls rows of one class together, `.fit(X)` two noisy views of a row.

    A view has noise on every feature, and some features from other rows (Bahri et al. 2022). With `y` all views of a class are
    positives. `fit` raises `TypeError` or `ValueError` naming the parameter; `save` and `load` keep it without pickle.
    """

    def __init__(
        self,
        objective: str | Callable | None = None,  # a name of the registry, or a function; None: "supcon" with y, "info_nce" without
        *,
        temperature: float | None = None,  # above 0; None: 0.1, for an objective that has one
        learned: bool = False,  # let the temperature learn
        narrow: str | Callable | None = None,  # a narrower, such as "batch_hard"
        options: Mapping | None = None,  # of the objective
        dim: int = 32,  # numbers an embedding
        hidden: int = 128,  # units of the hidden layer
        steps: int = 300,  # batches
        batch_size: int = 128,  # rows, each of which is seen twice
        lr: float = 3e-3,  # of AdamW, above 0; it falls to 0 along a cosine
        weight_decay: float = 1e-4,  # at least 0
        noise: float = 0.3,  # at least 0: its deviation over that of the feature
        swap: float = 0.2,  # in [0, 1]: the share of features that come from another row
        similarity: str = "cosine",  # "cosine", "dot" or "neg_euclidean"
        random_state=None,  # a number, numpy's RandomState, or None
        device: str = "cpu",  # "cpu", "cuda", "auto"
    ):
        self.objective, self.temperature, self.learned, self.narrow, self.options = objective, temperature, learned, narrow, options
        self.dim, self.hidden, self.steps, self.batch_size = dim, hidden, steps, batch_size
        self.lr, self.weight_decay, self.noise, self.swap, self.similarity = lr, weight_decay, noise, swap, similarity
        self.random_state, self.device = random_state, device

    def __sklearn_tags__(self):
        "Embeddings come in the precision of the rows."
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        tags.non_deterministic = False
        return tags

    def _check(self) -> None:
        for name, least in _WHOLE.items():
            check_count(name, getattr(self, name), least)
        check_number("lr", self.lr, 0, open_low=True), check_number("weight_decay", self.weight_decay, 0)
        check_number("noise", self.noise, 0), check_number("swap", self.swap, 0, 1)
        check_choice("similarity", self.similarity, SIMILARITIES)

    def _loss(self, labelled: bool) -> Loss:
        wanted = ("supcon" if labelled else "info_nce") if self.objective is None else self.objective
        known = keywords_of(find("objective", wanted, "objective").function)
        asks = self.temperature is None and not self.learned and known is not None and "temperature" in known
        options = check_is("options", {} if self.options is None else self.options, Mapping, "a dict of keyword arguments")
        temperature = 0.1 if asks else self.temperature
        return Loss(wanted, temperature=temperature, learned=self.learned, narrow=self.narrow, **options)

    def fit(self, X, y=None):
        "Train on the rows of X, (N, features); y: the class of each, of any type, or None."
        self._check()
        X = validate_data(self, X, dtype=[np.float64, np.float32], ensure_min_samples=2)
        if y is not None:
            y = column_or_1d(y, warn=True)
            check_classification_targets(y)
            y = np.unique(y, return_inverse=True)[1]
            if len(y) != len(X):
                raise ValueError(f"y: got {len(y)} classes, want {len(X)}: one a row of X")
        item = torch.arange(len(X)) if y is None else torch.from_numpy(y)
        self._train(torch.from_numpy(np.array(X, dtype=np.float32)), item, self._loss(y is not None))
        return self

    def _empty(self) -> _Network:
        return _Network(self.n_features_in_, self.hidden, self.dim, self.similarity == "cosine")

    def _train(self, x: Tensor, item: Tensor, objective: Loss) -> None:
        seed = int(check_random_state(self.random_state).randint(2**31))
        generator, device = torch.Generator().manual_seed(seed), pick_device(self.device)
        network: Any = seeded(seed, self._empty)
        spread = x.std(0)
        network.mean.copy_(x.mean(0)), network.scale.copy_(torch.where(spread > 0, spread, 1.0))
        network, objective = network.to(device), objective.to(device)
        parameters = [*network.parameters(), *objective.parameters()]
        optimizer = torch.optim.AdamW(parameters, self.lr, weight_decay=self.weight_decay)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(self.steps, 1))
        losses = []
        for _ in range(self.steps):
            rows = torch.randperm(len(x), generator=generator)[: self.batch_size]
            seen = torch.cat([self._view(x, rows, network.scale.cpu(), generator) for _ in range(2)])
            loss = objective(*from_labels(network(seen.to(device)), item[rows].repeat(2).to(device), similarity=self.similarity))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            losses.append(loss.detach())
        self.losses_ = torch.stack(losses).tolist() if losses else []
        self.network_, self._n_features_out = network.cpu().double().eval(), self.dim  # float64: a row alone has the bits that count

    def _view(self, x: Tensor, rows: Tensor, scale: Tensor, generator: torch.Generator) -> Tensor:
        "Some rows, with noise, and some of their features from other rows."
        shape = (len(rows), x.shape[1])
        others = x.gather(0, torch.randint(len(x), shape, generator=generator))
        seen = torch.where(torch.rand(shape, generator=generator) < self.swap, others, x[rows])
        return seen + self.noise * scale * torch.randn(shape, generator=generator)

    def transform(self, X):
        "The embeddings (N, dim) of the rows of X."
        check_is_fitted(self)
        X = validate_data(self, X, dtype=[np.float64, np.float32], reset=False)
        with torch.no_grad():
            z = self.network_(torch.from_numpy(np.array(X, dtype=np.float64)))  # a copy: theirs may be locked
        return z.numpy().astype(X.dtype)

    def save(self, path) -> None:
        "Write parameters, weights and what `fit` learned of the features to a file; functions cannot be written, names can."
        check_is_fitted(self)
        where = check_path("path", path)
        try:
            parameters = json.dumps(self.get_params())
        except TypeError:
            wrong = next(name for name, value in self.get_params().items() if not _is_plain(value))
            got = type(getattr(self, wrong)).__name__
            raise TypeError(f"{wrong}: got {got}, which a file cannot hold, want a name, a number or None") from None
        names = [str(name) for name in getattr(self, "feature_names_in_", [])]
        fitted = {"n_features_in_": self.n_features_in_, "feature_names_in_": names, "losses_": self.losses_}
        checkpoints.write(where, {"kind": _KIND, "parameters": parameters, "fitted": fitted, "weights": self.network_.state_dict()})

    @classmethod
    def load(cls, path) -> "ContrastiveEncoder":
        "What `save` wrote. Raises `ValueError` for a file that is not there, is damaged, or holds something else."
        where = check_path("path", path)
        saved = checkpoints.read(where)
        if not isinstance(saved, dict) or saved.get("kind") != _KIND:
            raise ValueError(f"path: got {Path(where).name}, want a file that ContrastiveEncoder.save wrote")
        encoder = cls(**json.loads(saved["parameters"]))
        encoder.n_features_in_, encoder.losses_ = saved["fitted"]["n_features_in_"], saved["fitted"]["losses_"]
        if saved["fitted"]["feature_names_in_"]:
            encoder.feature_names_in_ = np.array(saved["fitted"]["feature_names_in_"], dtype=object)
        encoder.network_ = encoder._empty().double()
        encoder.network_.load_state_dict(saved["weights"])
        encoder.network_.eval()
        encoder._n_features_out = encoder.dim
        return encoder


def _is_plain(value) -> bool:
    try:
        json.dumps(value)
    except TypeError:
        return False
    return True
