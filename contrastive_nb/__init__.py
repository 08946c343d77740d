"""Contrastive learning and learning to rank: every method derived, tested and put to the test in a notebook.

What a user imports:

    from contrastive_nb.pairs import two_views, in_batch, with_queue, from_labels     embeddings -> Pairs: scores, two masks, weights
    from contrastive_nb.objectives import info_nce, supcon, decoupled_nce, mw, ...     Pairs -> loss: info_nce(*two_views(z1, z2), temperature=0.5)
    from contrastive_nb.negatives import hard_nce, mochi, batch_hard                   harder negatives: weighed, mixed, mined
    from contrastive_nb.debiasing import debiased_nce                                  negatives that are in truth positives, corrected for
    from contrastive_nb.scaling import streaming_info_nce, gather_with_grad, cached    batches larger than memory, several GPUs
    from contrastive_nb.training import fit, alternate, Momentum, Clock                a loop that stops clearly and resumes exactly; what it remembers
    from contrastive_nb.metrics import recall_at, ndcg_at, auc, linear_probe, ...      what an embedding is worth
    from contrastive_nb import data, encoders                                          small data sets and encoders
    from contrastive_nb.adapters import SentenceTransformerLoss, Loss, ...             the same inside other libraries, as modules, as an estimator
    from contrastive_nb.lab import Claim, judge, record, open_run                      claims, judged and recorded

Rooms: the library (all of the above but the last line), `lab` (runs and judges), `book` (shows), `timing` (measures seconds and
bytes). `contrastive-nb --help` lists the commands.
"""

__version__ = "0.2.0"

from contrastive_nb._moved import install

install()
del install
