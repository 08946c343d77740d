"""What one step of each objective holds over what was there before, for 1,200 items in ten classes: `python tests/peaks.py`.

Every row is a fresh process. The scores are there before the step; the loss, its gradient and all that lies between are counted.
The last rows search 20,000 documents for as many queries, whose score matrix would be 1.6 GB; the embeddings are there before.
"""

from contrastive_nb.timing.measure import peak

SETUP = """
import torch
from contrastive_nb.objectives import info_nce, mw, ranknet, supcon, triplet
from contrastive_nb.pairs import from_labels

def step(items):
    z = torch.randn(items, 32, generator=torch.Generator().manual_seed(0)).requires_grad_()
    pairs = from_labels(z, torch.arange(items) % 10)
    return pairs, z

small, large = step(60), step(1200)
"""
CALLS = {
    "info_nce": "info_nce(*pairs, temperature=0.1)",
    "supcon": "supcon(*pairs, temperature=0.1)",
    "mw": "mw(*pairs, temperature=0.1)",
    "ranknet": "ranknet(*pairs, temperature=0.1)",
    "triplet": "triplet(*pairs)",
    "triplet, hinge": "triplet(*pairs, margin=0.3)",
}
SEARCH = """
import torch
from functools import partial
from contrastive_nb.negatives import margin_pos, mine, simans

small, large = (torch.randn(n, 16, generator=torch.Generator().manual_seed(0)) for n in (200, 20_000))
draw = partial(simans, k=10, a=1.0, b=0.0)
"""
SEARCHES = {
    "mine": "mine({0}, {0})",
    "mine, margin": "mine({0}, {0}, partial(margin_pos, margin=0.1))",
    "mine, draws": "mine({0}, {0}, draw, generator=torch.Generator().manual_seed(0))",
}


def megabytes(call: str) -> float:
    "Peak of a call of CALLS, forwards and backwards, or of SEARCHES."
    if call in SEARCHES:
        setup, code = SEARCH, SEARCHES[call]
    else:
        setup, code = SETUP, "pairs, z = {}\n" + f"torch.autograd.grad({CALLS[call]}, z)"
    found = peak(setup, code.format("large"), warm=code.format("small"))
    assert found.bytes is not None, f"{call}: {found.failed}"
    return found.bytes / 1e6


if __name__ == "__main__":
    for name in CALLS | SEARCHES:
        print(f"{name:16}{megabytes(name):8.0f} MB")
