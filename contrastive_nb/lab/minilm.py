"""MiniLM with all frozen but the feed-forward half of its last layer: what that half reads of a text is worked out once, a row a token."""

# A training step then costs two matrix products. Plain module, used by `twins`. The model comes as the bench `entailed` reads it. That bench
# keeps its own half: every record on a bench depends on that class, as it stands, and would have to be made again.

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from contrastive_nb.lab.entailed import STATES
from contrastive_nb.lab.entailed import installed as installed
from contrastive_nb.lab.entailed import minilm as _minilm


class Read(NamedTuple):
    "Texts as the trained half reads them."

    tokens: Tensor  # (tokens of all texts, 384) float32
    begins: Tensor  # (N,) int64 row where a text begins
    number: Tensor  # (N,) int64 tokens it has


@torch.no_grad()
def read(texts: Sequence[str]) -> Read:
    "Texts through all that stays frozen. Raises `DataUnavailable` where the model is not installed."
    model, tokenizer = _minilm()
    layer = model.encoder.layer[-1]
    rows: dict[int, Tensor] = {}
    coded = [tokenizer(text)["input_ids"] for text in texts]
    by_length = sorted(range(len(coded)), key=lambda i: len(coded[i]))
    for some in (by_length[i : i + 64] for i in range(0, len(coded), 64)):
        padded = tokenizer.pad({"input_ids": [coded[i] for i in some]}, return_tensors="pt")
        below = model(**padded, output_hidden_states=True).hidden_states[-2]
        seen = padded["attention_mask"].bool()
        attended = layer.attention(below, attention_mask=seen[:, None, None, :])[0]
        rows |= {i: states[there] for i, states, there in zip(some, attended, seen, strict=True)}
    number = torch.tensor([len(ids) for ids in coded])
    return Read(torch.cat([rows[i] for i in range(len(coded))]), number.cumsum(0) - number, number)


class Half(nn.Module):
    "The feed-forward half of the last layer as it was pretrained, and the mean over tokens: numbers of texts -> (..., 384) of length 1."

    tokens: Tensor
    begins: Tensor
    number: Tensor

    def __init__(
        self,
        read: Read,
        dropout: float = 0.0,  # share of the numbers set to 0 in training, where the layer has its dropout
    ):
        super().__init__()
        layer = _minilm()[0].encoder.layer[-1]
        self.wide, self.back, self.norm = nn.Linear(STATES, 4 * STATES), nn.Linear(4 * STATES, STATES), nn.LayerNorm(STATES, eps=1e-12)
        for mine, theirs in ((self.wide, layer.intermediate.dense), (self.back, layer.output.dense), (self.norm, layer.output.LayerNorm)):
            mine.load_state_dict(theirs.state_dict())
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()
        for name, values in zip(Read._fields, read, strict=True):
            self.register_buffer(name, values, persistent=False)

    def forward(self, texts: Tensor) -> Tensor:
        "Numbers of texts, of any shape, to points of length 1."
        flat = texts.flatten()
        number = self.number[flat]
        owner = torch.arange(len(flat), device=flat.device).repeat_interleave(number)
        place = torch.arange(len(owner), device=flat.device) - (number.cumsum(0) - number)[owner]
        x = self.dropout(self.tokens[self.begins[flat][owner] + place])
        h = self.norm(self.dropout(self.back(F.gelu(self.wide(x)))) + x)
        pooled = torch.zeros(len(flat), STATES, device=h.device, dtype=h.dtype).index_add(0, owner, h)
        return F.normalize(pooled, dim=1).view(*texts.shape, STATES)
