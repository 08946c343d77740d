"""Contrastive learning and learning to rank: every method derived, tested and put to the test in a notebook

Modules:

- `contrastive_nb.bench`: What a step costs: seconds of the processor and memory, measured so that contestants can be compared. Plain module: machinery.
- `contrastive_nb.contestants`: Who takes part in the benchmark: for each value the ways to it, ours and others', from embeddings to their gradients. Plain module.
- `contrastive_nb.fingerprint`: Fingerprints: a hash of the code that made an output or a record. Plain module: it is machinery, not a lesson.
- `contrastive_nb.kernels.pairwise`: Every positive against every negative, one link a pair: within the rows of a matrix, or across all of it.
- `contrastive_nb.runner`: Runs notebooks: each in its own processes, with limits, progress, memory and a verdict. Plain module: machinery.
- `contrastive_nb.worker`: Runs one notebook with papermill, in a process of its own that the runner can end. Plain module: machinery."""

__version__ = "0.1.0"
