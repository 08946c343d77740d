"""Adapters: each objective in its host has the value of the host's own loss, learns in the host's own loop, and says what it cannot take."""

import inspect
import json
import re
import subprocess
import sys
from functools import partial

import pytest
import torch
from torch import nn

from contrastive_nb import adapters, registry
from contrastive_nb.adapters import LightlyLoss, Loss
from contrastive_nb.negatives import batch_hard, perc_pos, semi_hard
from contrastive_nb.objectives import info_nce, list_mle, ranklist, supcon
from contrastive_nb.pairs import from_labels, from_relevance, in_batch, two_views
from contrastive_nb.training import Queue, fit

B, D = 12, 6
LABELS = torch.arange(B) % 4
HOSTS = {
    "ContrastiveEncoder": "sklearn",
    "LightlyLoss": "lightly",
    "MetricLearningLoss": "pytorch_metric_learning",
    "SentenceTransformerLoss": "sentence_transformers",
}


def draw(*shape, seed=0, grad=False):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return x.requires_grad_(grad)


def ours(name):
    "An adapter, or a skip that says which library is missing."
    pytest.importorskip(HOSTS[name], reason=f"{HOSTS[name]} is not installed")
    return getattr(adapters, name)


def same(one, two, *inputs, tolerance=1e-6):
    "Equal in value and in the gradient of every input."
    torch.testing.assert_close(one, two.to(one.dtype), rtol=0, atol=tolerance)
    for mine, other in zip(*(torch.autograd.grad(loss, inputs) for loss in (one, two)), strict=True):
        torch.testing.assert_close(mine, other, rtol=0, atol=tolerance)
        assert other.abs().max() > 1e-4  # else any two agree


def temperature_of(name):
    return {"temperature": 0.2} if registry.get(name).temperature else {}


OBJECTIVES = [m.name for m in registry.methods(kind="objective") if m.shape in ("pairs", "lists")]
READING_PAIRS = [m.name for m in registry.methods("pairs")]

# --- an objective as a module ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", READING_PAIRS)
def test_a_module_has_the_value_of_its_function(name):
    a, b = draw(B, D, grad=True), draw(B, D, seed=1, grad=True)
    same(Loss(name, **temperature_of(name))(*two_views(a, b)), registry.get(name)(*two_views(a, b), **temperature_of(name)), a, b)


@pytest.mark.parametrize("function, options", [(ranklist, {"form": "pairs"}), (list_mle, {})])
def test_an_objective_of_lists_reads_weights_as_grades(function, options):
    scores, grades = draw(5, 7, grad=True), torch.arange(35).view(5, 7) % 4
    mask = torch.rand(5, 7, generator=torch.Generator().manual_seed(0)) < 0.8
    same(Loss(function, **options)(*from_relevance(scores, grades, mask)), function(scores, grades, mask, **options), scores)


@pytest.mark.parametrize("name", [name for name in OBJECTIVES if registry.get(name).temperature])
def test_every_temperature_can_learn(name):
    loss = Loss(name, temperature=0.3, learned=True)
    (parameter,) = loss.parameters()
    pairs = from_labels(draw(B, D), LABELS)
    loss(*pairs).backward()
    assert parameter.grad.abs() > 1e-5 and loss.temperature == pytest.approx(0.3)
    torch.testing.assert_close(loss(*pairs), Loss(name, temperature=0.3)(*pairs), rtol=1e-5, atol=1e-6)


def test_a_temperature_learns_in_fit():
    loss, model = Loss("info_nce", temperature=0.3, learned=True), nn.Linear(D, 4)
    data = draw(64, D).float()
    fit(model, lambda g: (data[torch.randperm(64, generator=g)[:32]],), lambda m, x: two_views(m(x), m(x + 0.1)), loss, steps=20, lr=0.02)
    assert loss.temperature < 0.29 and "learned" in loss.config()


@pytest.mark.parametrize("given", [
    {"narrow": "perc_pos", "narrow_options": {"ratio": 0.5}},
    {"narrow": perc_pos, "narrow_options": {"ratio": 0.5}},
    {"narrow": partial(perc_pos, ratio=0.5)},
    {"narrow": lambda pairs: perc_pos(pairs, 0.5)},
])  # fmt: skip
def test_a_narrower_comes_by_name_or_as_a_function(given):
    pairs = from_labels(draw(B, D), LABELS)
    narrowed = info_nce(*perc_pos(pairs, 0.5), temperature=0.2)
    assert Loss("info_nce", temperature=0.2, **given)(*pairs) == narrowed != info_nce(*pairs, temperature=0.2)


def test_a_named_narrower_has_its_entrys_options():
    assert Loss("info_nce", temperature=1.0, narrow="perc_pos").config()["ratio"] == registry.get("perc_pos").options["ratio"]


def test_what_a_caller_made_is_taken_as_it_is():
    calls = []

    def mine(scores, positives, negatives, weights=None, *, push=1.0):
        calls.append(push)
        return (scores * negatives).sum() * push - (scores * positives).sum()

    loss = Loss(mine, push=2.0)
    assert calls == []  # it is not tried: it may remember
    assert loss(*from_labels(draw(B, D), LABELS)).isfinite() and calls == [2.0]
    assert Loss(partial(supcon, temperature=0.1), form="in").config()["form"] == "in"


@pytest.mark.parametrize("given, named", [
    (dict(objective="infonce", temperature=0.1), "objective: got 'infonce', want"),
    (dict(objective=3), "objective: got int, want"),
    (dict(objective="info_nce"), "temperature: got none, want"),
    (dict(objective="info_nce", temperature=0.0), "temperature: got 0.0, want"),
    (dict(objective="info_nce", temperature=2.0, learned=True), "temperature: got 2.0, want"),
    (dict(objective="triplet", temperature=0.1), "temperature: got 0.1, want none"),
    (dict(objective="triplet", learned=True), "learned: got True, want False"),
    (dict(objective="info_nce", temprature=0.1), "temprature: got an option that info_nce does not have, want"),
    (dict(objective="info_nce", temperature=0.1, denominator="some"), "denominator: got 'some', want"),
    (dict(objective="groco", top_k=0), "top_k: got 0, want"),
    (dict(objective=registry.get("debiased_nce").load(), temperature=0.1), "prior: got none, want"),
    (dict(objective="info_nce", temperature=0.1, scores=3), "scores: got an option"),
    (dict(objective="info_nce", temperature=0.1, narrow="mochi"), "narrow: got 'mochi', want"),
    (dict(objective="info_nce", temperature=0.1, narrow="perc_pos", narrow_options={"ratio": 2.0}), "ratio: got 2.0, want"),
    (dict(objective="info_nce", temperature=0.1, narrow="perc_pos", narrow_options={"bar": 2.0}), "bar: got an option that perc_pos"),
    (dict(objective="info_nce", temperature=0.1, narrow=semi_hard), "margin: got none, want"),
    (dict(objective="info_nce", temperature=0.1, narrow_options={"k": 2}), "narrow_options: got k, want"),
    (dict(objective="info_nce", temperature=0.1, narrow_options=3), "narrow_options: got int, want"),
])  # fmt: skip
def test_what_does_not_fit_is_named_when_the_loss_is_made(given, named):
    with pytest.raises((TypeError, ValueError)) as raised:
        Loss(**given)
    assert str(raised.value).startswith(named), raised.value


def test_a_narrower_that_gives_no_pairs_is_named():
    with pytest.raises(TypeError, match="narrow: got Tensor, want"):
        Loss("info_nce", temperature=0.1, narrow=lambda pairs: pairs.scores)(*from_labels(draw(B, D), LABELS))


def test_making_a_loss_draws_no_random_number():
    before = torch.get_rng_state()
    Loss("info_nce", temperature=0.1, narrow="simans")
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("name", OBJECTIVES)
def test_config_is_json_and_papers_are_cited(name):
    loss = Loss(name, **temperature_of(name), narrow="batch_hard")
    assert json.loads(json.dumps(loss.config()))["objective"] == name
    assert len(re.findall(r"\bauthor\s*=", loss.citation)) == len(registry.get(name).papers) and loss.citation.count(
        "{"
    ) == loss.citation.count("}")


def test_the_room_needs_torch_alone():
    hosts = [*HOSTS.values(), "accelerate", "pandas", "matplotlib"]
    code = f"import sys, contrastive_nb.adapters; print(*({set(hosts)!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


@pytest.mark.parametrize("name, install", [
    ("MetricLearningLoss", "pip install pytorch-metric-learning"),
    ("SentenceTransformerLoss", 'pip install "sentence-transformers>=6.2"'),
])  # fmt: skip
def test_a_missing_host_is_named_with_what_to_install(name, install, monkeypatch):
    monkeypatch.delitem(sys.modules, f"contrastive_nb.adapters.{HOSTS[name]}", raising=False)
    for module in [module for module in sys.modules if module.split(".")[0] == HOSTS[name]] + [HOSTS[name]]:
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=install):
        getattr(adapters, name)


def test_the_room_lists_its_names():
    assert set(dir(adapters)) >= {"Loss", *HOSTS}
    with pytest.raises(AttributeError, match="no attribute 'Losses'"):
        adapters.Losses


# --- lightly --------------------------------------------------------------------------------------------------------------------


def lightly(module="ntx_ent_loss", name="NTXentLoss"):
    pytest.importorskip("lightly", reason="lightly is not installed")
    from contrastive_nb.timing.lightly_loader import load

    return load(f"lightly.loss.{module}", name)


@pytest.mark.parametrize("host, objective", [
    (("ntx_ent_loss", "NTXentLoss"), "info_nce"),
    (("dcl_loss", "DCLLoss"), "decoupled_nce"),
])  # fmt: skip
def test_lightly_equals_its_own_loss(host, objective):
    a, b = draw(B, D, grad=True), draw(B, D, seed=1, grad=True)
    same(LightlyLoss(objective, temperature=0.2)(a, b), lightly(*host)(0.2)(a, b), a, b)


def test_a_queue_is_lightlys_memory_bank():
    theirs, queue = lightly()(0.2, memory_bank_size=(8, D)), Queue(8, D).double()
    loss = LightlyLoss("info_nce", temperature=0.2, queue=queue)
    queue.push(draw(8, D, seed=5))
    theirs.memory_bank.bank = nn.functional.normalize(queue.keys())  # theirs starts full of random keys
    for step in range(3):
        a, b = draw(4, D, seed=10 + step, grad=True), draw(4, D, seed=20 + step)
        same(loss(a, b), theirs(a, b), a)
    assert int(queue.pushed) == 8 + 12


def test_a_queue_takes_in_what_is_trained_on_alone():
    queue = Queue(8, D)
    LightlyLoss("info_nce", temperature=0.2, queue=queue)(draw(4, D).float(), draw(4, D).float())
    assert int(queue.pushed) == 0


def test_lightly_gathers_both_views(monkeypatch):
    from contrastive_nb.adapters import lightly as module

    monkeypatch.setattr(module, "gather_with_grad", lambda x: torch.cat([x, x + 1]))
    a, b = draw(4, D), draw(4, D, seed=1)
    wanted = info_nce(*two_views(torch.cat([a, a + 1]), torch.cat([b, b + 1])), temperature=0.2)
    assert LightlyLoss("info_nce", temperature=0.2, gather_distributed=True)(a, b) == wanted


def lightly_example(x, net, optimizer):
    criterion = LightlyLoss("debiased_nce", prior=0.05, temperature=0.5)
    for _ in range(20):
        loss = criterion(net(x + 0.1 * torch.randn_like(x)), net(x + 0.1 * torch.randn_like(x)))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        yield loss.item()


def learns(example):
    net, x = nn.Sequential(nn.Linear(D, 16), nn.ReLU(), nn.Linear(16, 8)), draw(B, D).float()
    losses = list(example(x, net, torch.optim.SGD(net.parameters(), lr=0.5)))
    return sum(losses[-3:]) < 0.9 * sum(losses[:3])


def test_lightlys_loop_trains():
    assert learns(lightly_example)


# --- pytorch-metric-learning ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pml():
    "Their losses, and with a name their distances, miners, reducers, regularizers."
    import importlib

    name = "pytorch_metric_learning"
    pytest.importorskip(name, reason=f"{name} is not installed")
    return lambda room="losses": importlib.import_module(f"{name}.{room}")


THEIRS = {"info_nce": "NTXentLoss", "supcon": "SupConLoss"}


@pytest.fixture(params=THEIRS)
def both(request, pml):
    "Our loss and theirs, made with the same keyword arguments."
    make = ours("MetricLearningLoss")

    def made(**given):
        return make(request.param, temperature=0.2, **given), getattr(pml(), THEIRS[request.param])(temperature=0.2, **given)

    return made


def test_metric_learning_equals_its_own_loss(both):
    z = draw(B, D, grad=True)
    mine, theirs = both()
    same(mine(z, LABELS), theirs(z, LABELS), z)


def test_metric_learning_is_from_labels():
    z = draw(B, D, grad=True)
    for name in OBJECTIVES:
        loss = ours("MetricLearningLoss")(name, **temperature_of(name))
        same(loss(z, LABELS), Loss(name, **temperature_of(name))(*from_labels(z, LABELS)), z)


def test_the_queries_that_an_objective_leaves_out_do_not_count():
    z, labels = draw(B, D, grad=True), torch.tensor([0, 0, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8])
    for name in ("info_nce", "supcon", "asymmetric_loss"):
        same(ours("MetricLearningLoss")(name, temperature=0.2)(z, labels), Loss(name, temperature=0.2)(*from_labels(z, labels)), z)


@pytest.mark.parametrize(
    "name, options", [("MultiSimilarityMiner", {"epsilon": 0.3}), ("TripletMarginMiner", {"margin": 0.4}), ("BatchHardMiner", {})]
)
def test_metric_learning_takes_miners(both, pml, name, options):
    convert_to_pairs = pml("utils.loss_and_miner_utils").convert_to_pairs
    z = draw(B, D, grad=True)
    mined = getattr(pml("miners"), name)(**options)(z.detach(), LABELS)
    anchor, positive, other, negative = convert_to_pairs(mined, LABELS)
    once = *torch.stack([anchor, positive]).unique(dim=1), *torch.stack([other, negative]).unique(dim=1)  # a pair may be in many triplets
    mine, theirs = both()
    same(mine(z, LABELS, mined), theirs(z, LABELS, once), z)
    same(mine(z, None, mined), theirs(z, LABELS, once), z)  # the miner knew the labels


@pytest.mark.parametrize("objective, options, counts", [
    ("info_nce", {"denominator": "all"}, True), (info_nce, {"denominator": "all"}, True), (partial(info_nce, denominator="all"), {}, True),
    ("info_nce", {}, False), (info_nce, {}, False), ("info_nce_all", {}, True), ("info_nce_all", {"denominator": "own"}, False),
])  # fmt: skip
def test_what_a_query_needs_is_that_of_the_variant(objective, options, counts):
    z, labels = draw(B, D, grad=True), torch.zeros(B).long()
    loss = ours("MetricLearningLoss")(objective, temperature=0.2, **options)(z, labels)
    assert (loss > 1) == counts
    torch.testing.assert_close(loss, Loss(objective, temperature=0.2, **options)(*from_labels(z, labels)))


def test_hardest_triplets_are_the_narrowers(pml):
    z = draw(B, D, grad=True)
    distance = pml("distances").LpDistance(normalize_embeddings=False)
    theirs = pml().TripletMarginLoss(margin=1.0, distance=distance, reducer=pml("reducers").MeanReducer())
    mine = ours("MetricLearningLoss")("triplet", margin=1.0, distance=distance, narrow=batch_hard)
    same(mine(z, LABELS), theirs(z, LABELS, pml("miners").BatchHardMiner(distance=distance)(z, LABELS)), z)


@pytest.mark.parametrize(
    "name, options", [("LpDistance", {}), ("DotProductSimilarity", {"normalize_embeddings": False}), ("SNRDistance", {})]
)
def test_metric_learning_takes_distances(both, pml, name, options):
    z = draw(B, D, grad=True)
    mine, theirs = both(distance=getattr(pml("distances"), name)(**options))
    same(mine(z, LABELS), theirs(z, LABELS), z)


@pytest.mark.parametrize("name, options", [
    ("MeanReducer", {}), ("SumReducer", {}), ("ThresholdReducer", {"low": 2.0}), ("AvgNonZeroReducer", {}),
    ("ClassWeightedReducer", {"weights": torch.tensor([0.1, 0.2, 0.3, 0.4])}),
])  # fmt: skip
def test_metric_learning_takes_reducers(pml, name, options):
    z, reducer = draw(B, D, grad=True), getattr(pml("reducers"), name)(**options)
    theirs = pml().SupConLoss(temperature=0.2, reducer=reducer)
    same(ours("MetricLearningLoss")("supcon", temperature=0.2, reducer=reducer)(z, LABELS), theirs(z, LABELS), z)


def test_a_pooled_objective_gives_its_reducer_positives(pml):
    z, weights = draw(B, D, grad=True), torch.tensor([1.0, 0.0, 0.0, 0.0])
    reducer = pml("reducers").ClassWeightedReducer(weights)
    loss = ours("MetricLearningLoss")("mw", temperature=0.2, reducer=reducer)(z, LABELS)
    pairs = from_labels(z, LABELS)
    each = registry.get("mw")(*pairs, temperature=0.2, reduction="none")
    same(loss, (each * weights[LABELS[pairs.positives.nonzero()[:, 0]]]).mean(), z)


def test_metric_learning_takes_a_regularizer(both, pml):
    z = draw(B, D, grad=True)
    mine, theirs = both(embedding_regularizer=pml("regularizers").LpRegularizer(), embedding_reg_weight=0.3)
    same(mine(z, LABELS), theirs(z, LABELS), z)
    assert mine.sub_loss_names() == theirs.sub_loss_names() == ["loss", "embedding_reg_loss"]


def test_metric_learning_compares_with_a_reference(both):
    z, ref, labels = draw(B, D, grad=True), draw(8, D, seed=1, grad=True), torch.arange(8) % 4
    mine, theirs = both()
    same(mine(z, LABELS, ref_emb=ref, ref_labels=labels), theirs(z, LABELS, ref_emb=ref, ref_labels=labels), z, ref)


def test_one_tensor_of_labels_for_both_sides_takes_no_pair_out(pml):
    q, k, rows = draw(B, D), draw(B, D, seed=1), torch.arange(B)
    loss = ours("MetricLearningLoss")("info_nce", temperature=0.2)(q, rows, ref_emb=k, ref_labels=rows)
    torch.testing.assert_close(loss, info_nce(*in_batch(q, k), temperature=0.2))
    assert pml().NTXentLoss(temperature=0.2)(q, rows, ref_emb=k, ref_labels=rows) == 0  # theirs does, and is 0


def test_without_a_pair_the_loss_is_nothing_with_a_gradient():
    for name in ("info_nce", "supcon", "mw"):
        z = draw(B, D, grad=True)
        loss = ours("MetricLearningLoss")(name, temperature=0.2)(z, torch.zeros(B).long() if name != "supcon" else torch.arange(B))
        loss.backward()
        assert loss == 0 and z.grad.abs().max() == 0


def test_self_supervised_loss_takes_it(both, pml):
    a, b = draw(B, D, grad=True), draw(B, D, seed=1, grad=True)
    mine, theirs = map(pml().SelfSupervisedLoss, both())
    same(mine(a, b), theirs(a, b), a, b)


def test_cross_batch_memory_takes_it(both, pml):
    mine, theirs = (pml().CrossBatchMemory(loss, D, memory_size=20) for loss in both())
    for step in range(4):
        z = draw(B, D, seed=step, grad=True)
        same(mine(z, LABELS), theirs(z, LABELS), z)
    assert mine.has_been_filled
    with pytest.raises(Exception, match="not supported for Linear"):
        pml().CrossBatchMemory(nn.Linear(2, 2), D)  # nobody else is let in


def test_a_reduction_is_refused():
    with pytest.raises(ValueError, match="reduction: got 'sum', want none"):
        ours("MetricLearningLoss")("info_nce", temperature=0.1, reduction="sum")


def metric_learning_example(x, net, optimizer):
    from pytorch_metric_learning import losses, miners

    memory = losses.CrossBatchMemory(adapters.MetricLearningLoss("mw", temperature=0.5), 8, 36, miner=miners.MultiSimilarityMiner(0.5))
    for _ in range(20):
        loss = memory(net(x), LABELS)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        yield loss.item()


def test_metric_learnings_loop_trains(pml):
    assert learns(metric_learning_example)


# --- sentence-transformers ------------------------------------------------------------------------------------------------------

WORDS = ["red", "green", "blue", "cat", "dog", "bird", "runs", "sleeps", "sings", "here", "there", "now"]
TEXTS = [f"{colour} {animal} {what}" for colour in WORDS[:3] for animal in WORDS[3:6] for what in WORDS[6:9]]
COLUMNS = {
    "anchor": TEXTS[:24],
    "positive": [f"{text.split()[1]} {text.split()[2]} now" for text in TEXTS[:24]],
    "negative": [f"{text.split()[0]} here there" for text in TEXTS[:24]],
}


@pytest.fixture(scope="module")
def st():
    return pytest.importorskip("sentence_transformers", reason="sentence_transformers is not installed")


@pytest.fixture
def model(st):
    "Embedded words, averaged: made here, nothing is loaded."
    modules = pytest.importorskip("sentence_transformers.sentence_transformer.modules")
    from sentence_transformers.sentence_transformer.modules.tokenizer import WhitespaceTokenizer

    words = modules.WordEmbeddings(WhitespaceTokenizer(WORDS, stop_words=[]), draw(len(WORDS), 8).float().numpy(), update_embeddings=True)
    return st.SentenceTransformer(modules=[words, modules.Pooling(8)], device="cpu")


@pytest.fixture
def losses(st):
    from sentence_transformers.sentence_transformer import losses

    return losses


def features(model, *columns):
    return [model.preprocess(COLUMNS[name][:B]) for name in columns or COLUMNS]


def gradients(model, loss):
    "Of a loss on the model's words, and the loss."
    model.zero_grad()
    loss.backward()
    return next(model.parameters()).grad.clone(), loss.detach()


def agree(model, mine, theirs, *columns):
    for one, two in zip(*(gradients(model, loss(features(model, *columns), None)) for loss in (mine, theirs)), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-6, atol=1e-6)
        assert two.abs().max() > 1e-3


@pytest.mark.parametrize("columns", [("anchor", "positive"), ("anchor", "positive", "negative")])
def test_sentence_transformers_equals_its_own_loss(model, losses, columns):
    agree(model, ours("SentenceTransformerLoss")(model, "info_nce", temperature=0.05), losses.MultipleNegativesRankingLoss(model), *columns)


def test_the_symmetric_form_is_theirs(model, losses):
    mine = ours("SentenceTransformerLoss")(model, "info_nce", temperature=0.05, symmetric=True)
    both_ways = dict(directions=("query_to_doc", "doc_to_query"), partition_mode="per_direction")
    theirs = losses.MultipleNegativesRankingLoss(model, **both_ways)
    agree(model, mine, theirs, "anchor", "positive")


def test_a_column_with_labels_is_paired_by_them(model, losses):
    mine = ours("SentenceTransformerLoss")(model, "triplet", margin=5.0, narrow="batch_hard", similarity="neg_euclidean")
    theirs, (column,) = losses.BatchHardTripletLoss(model, margin=5.0), features(model, "anchor")
    for one, two in zip(*(gradients(model, loss([dict(column)], LABELS)) for loss in (mine, theirs)), strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_every_objective_has_a_gradient_there(name, model):
    gradient, loss = gradients(model, ours("SentenceTransformerLoss")(model, name, **temperature_of(name))(features(model), None))
    assert loss.isfinite() and gradient.abs().max() > 1e-5


@pytest.mark.parametrize("name", ["info_nce", "mw"])
def test_the_cached_form_has_the_same_gradient(name, model):
    make = partial(ours("SentenceTransformerLoss"), model, name, temperature=0.05)
    agree(model, make(mini_batch=5), make())


@pytest.mark.parametrize("given", [{}, {"mini_batch": 5}])
def test_it_stands_inside_the_matryoshka_loss(given, model, losses):
    mine = ours("SentenceTransformerLoss")(model, "info_nce", temperature=0.05, **given)
    dims, weights = [8, 4, 2], [1.0, 0.5, 2.0]
    agree(
        model,
        losses.MatryoshkaLoss(model, mine, dims, weights),
        losses.MatryoshkaLoss(model, losses.MultipleNegativesRankingLoss(model), dims, weights),
    )


def test_sentence_transformers_gathers_keys(model, monkeypatch):
    from contrastive_nb.adapters import sentence_transformers as module

    make = ours("SentenceTransformerLoss")
    monkeypatch.setattr(module, "gather_with_grad", lambda x: torch.cat([x + 1, x]))
    monkeypatch.setattr(module, "own_rows", lambda x: torch.arange(len(x)) + len(x))
    q, k, n = (draw(4, D, seed=seed) for seed in range(3))
    loss = make(model, "info_nce", temperature=0.2, gather_across_devices=True, symmetric=True)
    forth = in_batch(q, torch.cat([k + 1, k]), torch.cat([n + 1, n]), target=torch.arange(4, 8))
    back = in_batch(k, torch.cat([q + 1, q]), target=torch.arange(4, 8))
    wanted = sum(info_nce(*pairs, temperature=0.2) for pairs in (forth, back)) / 2
    torch.testing.assert_close(loss.compute_loss_from_embeddings([q, k, n]), wanted)
    labelled = info_nce(*from_labels(torch.cat([q + 1, q]), torch.tensor([1, 2, 1, 2, 0, 1, 0, 1])), temperature=0.2)
    assert loss.compute_loss_from_embeddings([q], torch.tensor([0, 1, 0, 1])) == labelled


def test_columns_that_fit_no_form_are_named(model):
    loss = ours("SentenceTransformerLoss")(model, "info_nce", temperature=0.05)
    with pytest.raises(ValueError, match="embeddings: got 1 column and no labels, want"):
        loss.compute_loss_from_embeddings([draw(4, D)])
    with pytest.raises(ValueError, match="labels: got labels beside 2 columns, want none"):
        loss.compute_loss_from_embeddings([draw(4, D), draw(4, D)], torch.zeros(4))


def test_what_cannot_be_cached_is_named(model, st):
    make = ours("SentenceTransformerLoss")
    with pytest.raises(ValueError, match="mini_batch: got a number and an objective that learns"):
        make(model, "info_nce", temperature=0.05, learned=True, mini_batch=4)
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding

    tokenizers = pytest.importorskip("tokenizers")
    static = StaticEmbedding(tokenizers.Tokenizer(tokenizers.models.WordLevel({"a": 0}, unk_token="a")), embedding_dim=4)
    with pytest.raises(ValueError, match="mini_batch: got a number, want None"):
        make(st.SentenceTransformer(modules=[static], device="cpu"), "info_nce", temperature=0.05, mini_batch=4)


@pytest.fixture
def trained(st, tmp_path, monkeypatch):
    "A function that trains by the real trainer, and leaves nothing of accelerate's behind."
    datasets = pytest.importorskip("datasets", reason="datasets is not installed, which the trainer needs")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("WANDB_DISABLED", "true")
    datasets.disable_progress_bars()

    def train(model, loss, columns=COLUMNS, steps=6):
        settings = dict(output_dir=str(tmp_path / "trainer"), max_steps=steps, per_device_train_batch_size=8, learning_rate=0.05)
        settings |= dict(report_to=[], save_strategy="no", use_cpu=True, disable_tqdm=True, seed=3)
        arguments = st.SentenceTransformerTrainingArguments(**settings)
        trainer = st.SentenceTransformerTrainer(model=model, args=arguments, train_dataset=datasets.Dataset.from_dict(columns), loss=loss)
        trainer.train()
        return next(model.parameters()).detach().clone()

    yield train
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.mark.parametrize("given", [{}, {"mini_batch": 3}])
def test_the_trainer_ends_where_it_ends_with_its_own_loss(given, model, losses, trained):
    start, words = {name: x.clone() for name, x in model.state_dict().items()}, next(model.parameters()).detach().clone()
    mine = trained(model, ours("SentenceTransformerLoss")(model, "info_nce", temperature=0.05, **given))
    model.load_state_dict(start)
    theirs = trained(model, losses.MultipleNegativesRankingLoss(model))
    torch.testing.assert_close(mine, theirs, rtol=0, atol=2e-5)
    assert (theirs - words).abs().max() > 0.05


def test_the_trainer_moves_a_learned_temperature(model, trained):
    loss = ours("SentenceTransformerLoss")(model, "info_nce", temperature=0.3, learned=True)
    trained(model, loss)
    assert abs(loss.objective.temperature - 0.3) > 0.02


def test_the_card_says_what_was_trained(model, trained, losses):
    loss = ours("SentenceTransformerLoss")(model, "info_nce", temperature=0.05, narrow="perc_pos")
    trained(model, losses.MatryoshkaLoss(model, loss, [8, 4]), steps=1)
    trained(model, loss, steps=1)
    (dataset,) = model.model_card_data.train_datasets
    told = json.loads(dataset["loss"]["config_code"].replace("```json", "").replace("```", ""))
    assert told == loss.get_config_dict() and told["objective"] == "info_nce" and told["ratio"] == 0.95
    assert "van den Oord" in str(model.model_card_data.citations)


def sentence_transformers_example(model, train_dataset, arguments):
    from sentence_transformers import SentenceTransformerTrainer

    loss = adapters.SentenceTransformerLoss(model, "decoupled_nce", temperature=0.1, narrow="margin_pos")
    trainer = SentenceTransformerTrainer(model=model, args=arguments, train_dataset=train_dataset, loss=loss)
    trainer.train()
    return trainer


def test_sentence_transformers_loop_trains(model, st, trained, tmp_path):
    from datasets import Dataset

    settings = dict(output_dir=str(tmp_path), num_train_epochs=4, per_device_train_batch_size=8, learning_rate=0.1, logging_steps=3)
    arguments = st.SentenceTransformerTrainingArguments(**settings, report_to=[], save_strategy="no", use_cpu=True, disable_tqdm=True)
    trainer = sentence_transformers_example(model, Dataset.from_dict(COLUMNS), arguments)
    history = [row["loss"] for row in trainer.state.log_history if "loss" in row]
    assert len(history) == 4 and history[-1] < 0.9 * history[0]


# --- scikit-learn ---------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def digits():
    "Scaled digits, half to learn from: X, y, held X, held y."
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split
    from sklearn.preprocessing import StandardScaler

    x, held, y, held_y = train_test_split(*load_digits(return_X_y=True), test_size=0.5, random_state=0)
    scaler = StandardScaler().fit(x)
    return scaler.transform(x), y, scaler.transform(held), held_y


def small(**given):
    return ours("ContrastiveEncoder")(**{"steps": 20, "hidden": 16, "dim": 4, "random_state": 0, **given})


def scikit_learn_example(x, y, held, held_y, labelled):
    from sklearn.neighbors import KNeighborsClassifier

    encoder = adapters.ContrastiveEncoder().fit(x, y if labelled else None)
    return KNeighborsClassifier(5).fit(encoder.transform(x), y).score(encoder.transform(held), held_y)


@pytest.mark.parametrize("labelled", [True, False])
def test_neighbours_of_embedded_digits_are_alike(labelled, digits):
    assert scikit_learn_example(*digits, labelled) > 0.9


EXPECTED = {}  # check -> why it fails: none does


def test_it_is_an_estimator():
    from sklearn.utils.estimator_checks import check_estimator

    found = check_estimator(small(), on_fail=None, on_skip=None)
    failed = {check["check_name"]: check["exception"] for check in found if check["status"] == "failed"}
    assert failed.keys() == EXPECTED.keys(), failed
    assert sum(check["status"] == "passed" for check in found) >= 40


def test_it_stands_in_a_pipeline_and_a_grid_search(digits):
    from sklearn.model_selection import GridSearchCV
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    pipeline = make_pipeline(StandardScaler(), small(steps=80, dim=8), KNeighborsClassifier(5))
    search = GridSearchCV(pipeline, {"contrastiveencoder__objective": ["supcon"], "contrastiveencoder__dim": [1, 8]}, cv=2).fit(
        digits[0], digits[1]
    )
    assert search.best_params_["contrastiveencoder__dim"] == 8 and search.score(digits[2], digits[3]) > 0.85


@pytest.mark.parametrize("name", OBJECTIVES)
def test_every_objective_trains_it(name, digits):
    from sklearn.base import clone

    encoder = small(objective=name, steps=3, batch_size=8)
    labelled, pairs = clone(encoder).fit(digits[0], digits[1]), encoder.fit(digits[0])
    assert all(x.transform(digits[2]).std() > 0 and len(x.losses_) == 3 for x in (labelled, pairs))


def test_a_seed_gives_the_same_embeddings_and_draws_nothing_of_torchs(digits):
    import numpy as np

    before = torch.get_rng_state()
    one, two, other = (small(random_state=seed).fit(digits[0]).transform(digits[2]) for seed in (0, 0, 1))
    assert np.array_equal(one, two) and not np.array_equal(one, other) and torch.equal(before, torch.get_rng_state())


def test_classes_may_be_words(digits):
    import numpy as np

    words = np.array(list("abcdefghij"))[digits[1]]
    assert np.array_equal(small().fit(digits[0], words).transform(digits[2]), small().fit(digits[0], digits[1]).transform(digits[2]))


def test_it_comes_back_from_a_file_without_pickle(digits, tmp_path):
    import numpy as np

    frame = pytest.importorskip("pandas").DataFrame(digits[0], columns=[f"pixel {i}" for i in range(64)])
    encoder = small(objective="info_nce", learned=True, narrow="perc_pos", options={"denominator": "all"}).fit(frame, digits[1])
    encoder.save(tmp_path / "encoder.pt")
    back = ours("ContrastiveEncoder").load(str(tmp_path / "encoder.pt"))
    assert back.get_params() == encoder.get_params() and back.losses_ == encoder.losses_
    assert list(back.feature_names_in_) == list(frame.columns) and list(back.get_feature_names_out()) == list(
        encoder.get_feature_names_out()
    )
    assert np.array_equal(back.transform(frame), encoder.transform(frame))
    torch.load(tmp_path / "encoder.pt", weights_only=True)  # nothing in it but tensors and plain values


def test_a_file_that_is_none_of_its_own_is_named(digits, tmp_path):
    from contrastive_nb import checkpoints

    load = ours("ContrastiveEncoder").load
    with pytest.raises(ValueError, match="path: got nothing.pt, want"):
        load(tmp_path / "nothing.pt")
    checkpoints.write(tmp_path / "other.pt", {"weights": {}})
    with pytest.raises(ValueError, match="path: got other.pt, want"):
        load(tmp_path / "other.pt")
    small().fit(digits[0]).save(tmp_path / "whole.pt")
    (tmp_path / "half.pt").write_bytes((tmp_path / "whole.pt").read_bytes()[:-9])
    with pytest.raises(ValueError, match="half.pt"):
        load(tmp_path / "half.pt")
    with pytest.raises(TypeError, match="objective: got function, which a file cannot hold, want"):
        small(objective=info_nce).fit(digits[0]).save(tmp_path / "function.pt")


@pytest.mark.parametrize("given, named", [
    ({"dim": 0}, "dim: got 0, want"), ({"steps": 2.5}, "steps: got float, want"), ({"lr": 0}, "lr: got 0, want"),
    ({"noise": -1}, "noise: got -1, want"), ({"swap": 1.5}, "swap: got 1.5, want"), ({"similarity": "angle"}, "similarity: got 'angle', want"),
    ({"objective": "mochi"}, "objective: got 'mochi', want"), ({"options": 3}, "options: got int, want"),
    ({"objective": "triplet", "temperature": 0.1}, "temperature: got 0.1, want none"), ({"batch_size": 1}, "batch_size: got 1, want"),
])  # fmt: skip
def test_a_parameter_that_does_not_fit_is_named(given, named, digits):
    with pytest.raises((TypeError, ValueError)) as raised:
        small(**given).fit(digits[0])
    assert str(raised.value).startswith(named), raised.value


def test_a_number_to_predict_is_no_class(digits):
    with pytest.raises(ValueError, match="continuous"):
        small().fit(digits[0], digits[1] + 0.5)


# --- what a user types ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("example", [lightly_example, metric_learning_example, sentence_transformers_example, scikit_learn_example])
def test_ten_lines_are_enough(example):
    body = [line for line in inspect.getsource(example).splitlines()[1:] if line.strip()]
    assert len(body) <= 10 and any("adapters." in line or "LightlyLoss" in line for line in body)
