"""Experiment protocols shared by the pages: the same small search for everyone, runs paired by seed, two-view training.

Plain module: what it does is shown on the pages that use it; nothing here is a method.
"""

import itertools
from collections.abc import Callable

import torch
from torch import Tensor


def small_search(
    run,  # the page's run: its search seeds are used, its memory keeps every trial
    key: str,  # names this search in the run's memory
    trial: Callable,  # (seed, **setting) -> a number, higher is better, measured on the validation part
    grid: dict[str, list],  # values to try for each setting; all combinations are tried
) -> tuple[dict, list[dict]]:
    """Try every combination of the grid on the search seeds: the best setting, and the table of all (mean over seeds, best first).

    Baseline and treatment get grids of the same number of combinations. The search seeds are never those of the judged runs.
    """
    rows = []
    for values in itertools.product(*grid.values()):
        setting = dict(zip(grid, values, strict=True))
        scores = [
            run.once(f"{key}/{setting}/{seed}", lambda seed=seed, setting=setting: float(trial(seed, **setting)))
            for seed in run.search_seeds
        ]
        rows.append(setting | {"score": sum(scores) / len(scores)})
    rows.sort(key=lambda row: -row["score"])
    return {name: rows[0][name] for name in grid}, rows


def by_seed(
    run,  # the page's run: one trial for each of its seeds
    key: str,  # names these trials in the run's memory
    trial: Callable,  # (seed) -> a number
) -> list[float]:
    "One result a seed, in the order of `run.seeds`; a run that resumes finds the finished ones."
    return [run.once(f"{key}/{seed}", lambda seed=seed: float(trial(seed))) for seed in run.seeds]


def pretrain(
    images: Tensor,  # (N, C, H, W) unlabelled images in [0, 1]
    objective: Callable,  # (*pairs) -> loss, such as partial(info_nce, temperature=0.2)
    *,
    run,  # the page's run: steps, batch size, device and precision come from it
    seed: int,  # initialisation, batches and views
    lr: float = 1e-3,
    batch_size: int | None = None,  # None: the run's
    steps: int | None = None,  # None: the run's
    build: Callable | None = None,  # (z1, z2) -> Pairs; None: two_views
    views: dict | None = None,  # strengths for `augment`; None: its defaults
    width: int = 16,  # channels of the first layer of the encoder
    checkpoint=None,  # where a long training saves itself
):
    """Train a convolutional encoder and its projector so that two views of an image agree, under any objective of `Pairs`.

    Returns the trained `Encoder`; `embed(encoder, x)` gives the features in front of the projector.
    """
    from contrastive_nb.encoders import Encoder, augment, conv_encoder, projector, seeded
    from contrastive_nb.pairs import two_views
    from contrastive_nb.training import fit

    build = build or two_views
    batch_size = min(batch_size or run.batch_size, len(images))
    images = images.to(run.device)
    model = seeded(seed, lambda: Encoder(conv_encoder(tuple(images.shape[1:]), width=width), projector(64)))

    def sample(generator):
        batch = images[torch.randperm(len(images), generator=generator)[:batch_size].to(images.device)]
        return augment(batch, generator, **(views or {})), augment(batch, generator, **(views or {}))

    def pair_up(model, first, second):
        z1, z2 = model(torch.cat([first, second])).chunk(2)  # one pass, so that both views share the batch statistics
        return build(z1, z2)

    fit(
        model,
        sample,
        pair_up,
        objective,
        steps=steps or run.steps,
        lr=lr,
        seed=seed,
        device=run.device,
        precision=run.precision,
        checkpoint=checkpoint,
    )
    return model
