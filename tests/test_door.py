"""Mistakes that everyone makes once: the error, or the warning, says what to write instead. Through the doors that users take."""

import inspect
import pickle
import warnings
from functools import partial

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from contrastive_nb import registry
from contrastive_nb.objectives import info_nce, triplet
from contrastive_nb.pairs import Pairs, from_labels, in_batch, two_views
from contrastive_nb.training import alternate, fit

Z, OTHER = (torch.randn(6, 4, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1))
ON_PAIRS = registry.methods("pairs")
WARM = {True: {"temperature": 0.1}, False: {}}


@pytest.fixture(params=ON_PAIRS, ids=lambda method: method.name)
def call(request):
    "Each objective on pairs, as a user calls it."
    return partial(request.param, **WARM[request.param.temperature])


def test_a_forgotten_star_is_told(call):
    with pytest.raises(TypeError, match=r"scores: got Pairs, .*f\(\*pairs, \.\.\.\)"):
        call(two_views(Z, OTHER))


def test_raw_embeddings_are_sent_to_a_builder(call):
    with pytest.raises(TypeError, match=r"positives: got torch.float32, want a bool tensor.*f\(\*in_batch\(query, key\), \.\.\.\)"):
        call(Z, OTHER)


def test_labels_are_sent_to_a_builder(call):
    with pytest.raises(TypeError, match=r"positives: got torch.int64, .*f\(\*from_labels\(z, labels\), \.\.\.\)"):
        call(Z, torch.arange(6))


def test_embeddings_with_the_masks_of_their_pairs_are_sent_to_a_builder(call):
    _, positives, negatives, _ = in_batch(Z, OTHER)
    with pytest.raises(ValueError, match=r"positives: got shape \(6, 6\), want \(6, 4\), .*f\(\*in_batch\(query, key\), \.\.\.\)"):
        call(Z, positives, negatives)


def test_whole_numbers_as_scores_are_told_to_become_floats(call):
    scores, positives, negatives, _ = in_batch(Z, OTHER)
    with pytest.raises(TypeError, match=r"scores: got dtype torch.int64, .*write scores.float\(\)"):
        call(scores.long(), positives, negatives)


def test_scores_alone_are_told_what_else_there_is(call):
    scores, positives, _, _ = in_batch(Z, OTHER)
    for given, name in (((scores,), "positives"), ((scores, positives), "negatives")):
        with pytest.raises(TypeError, match=rf"{name}: got NoneType, .*takes scores, positives and negatives"):
            call(*given)


def test_a_mask_of_other_queries_gets_no_advice_about_embeddings():
    scores, positives, negatives, _ = in_batch(Z, OTHER)
    with pytest.raises(ValueError, match="the shape of scores$"):
        info_nce(scores, positives[:3], negatives, temperature=0.1)


def test_the_helped_objectives_keep_their_signature_and_can_be_sent_to_other_processes():
    parameters = inspect.signature(info_nce).parameters
    assert all(parameters[name].default is inspect.Parameter.empty for name in ("scores", "positives", "negatives", "temperature"))
    assert parameters["weights"].default is None and pickle.loads(pickle.dumps(info_nce)) is info_nce


# --- the trainer -----------------------------------------------------------------------------------------------------------------


LOSS = partial(info_nce, temperature=0.1)


def train(build, objective=LOSS, model=None, sample=lambda generator: (Z, OTHER), **options):
    return fit(nn.Linear(4, 3) if model is None else model, sample, build, objective, steps=3, **options)


def test_a_build_that_gives_embeddings_is_told_so_by_the_trainer():
    with pytest.raises(TypeError, match=r"f\(\*in_batch\(query, key\), \.\.\.\)"):
        train(lambda model, a, b: (model(a), model(b)))


def alone(model, a, b):
    "Each item is a class of its own, with no other view of it: no query has a positive."
    return from_labels(model(a), torch.arange(len(a)))


@pytest.mark.parametrize("objective", [LOSS, triplet], ids=["info_nce", "triplet"])
def test_a_first_batch_in_which_no_query_counts_warns_once(objective):
    with pytest.warns(UserWarning, match="loss is exactly 0 in the first step: no query of the batch counts") as told:
        history = train(alone, objective)
    assert history.losses == [0.0] * 3 and len([one for one in told if "exactly 0" in str(one.message)]) == 1


def test_the_warning_says_which_of_several_trainings():
    trainings = {
        name: dict(model=nn.Linear(4, 3), sample=lambda generator: (Z, OTHER), build=build, objective=LOSS, steps=1)
        for name, build in (("good", lambda model, a, b: two_views(model(a), model(b))), ("bad", alone))
    }
    with pytest.warns(UserWarning, match="fit: bad/loss is exactly 0") as told:
        alternate(trainings, rounds=2)
    assert len([one for one in told if "exactly 0" in str(one.message)]) == 1


def test_a_batch_that_counts_does_not_warn_and_one_that_stops_counting_later_does_not_either():
    batches = iter([True, False, False])

    def build(model, a, b):
        pairs = two_views(model(a), model(b))
        return pairs if next(batches) else Pairs(pairs.scores, torch.zeros_like(pairs.positives), pairs.negatives)

    heard = []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        history = train(build, tracker=lambda values, step: heard.append(values["loss"]))
    assert history.losses[0] > 0 and history.losses[1:] == [0.0, 0.0] == heard[1:]


def test_a_last_batch_of_one_item_under_batch_norm_says_which_argument_drops_it():
    model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))
    loader = iter(DataLoader(TensorDataset(torch.cat([Z, OTHER])[:9], torch.cat([OTHER, Z])[:9]), batch_size=4))
    with pytest.raises(ValueError, match=r"sample: gave a batch of one item, .*drop_last=True.*Expected more than 1 value"):
        train(lambda model, a, b: two_views(model(a), model(b)), model=model, sample=lambda generator: tuple(next(loader)))


def test_other_errors_of_a_build_come_as_they_are():
    def build(model, a, b):
        raise ValueError("my own")

    with pytest.raises(ValueError, match="^my own$"):
        train(build)
