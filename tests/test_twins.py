"Sentences without labels: what is learned from is not in the test, the arms learn, the half of MiniLM has its dropout, what is missing is named."

import functools

import pytest
import torch

from contrastive_nb import data
from contrastive_nb.lab import entailed, minilm, open_run, twins
from contrastive_nb.objectives import info_nce

RUN = functools.partial(open_run, "0_foundations/10_protocols", "ci", seed=0)


@pytest.fixture(params=twins.ARMS)
def world(request):
    if missing := twins.installed(request.param):
        pytest.skip(f"{missing} missing here")
    return twins.world(request.param, share=0.02)


def test_no_sentence_of_the_test_is_learned_from(world):
    tested = {world.texts[i] for i in torch.cat([world.one, world.other])}
    assert len(set(world.texts)) == len(world.texts) and not tested & {world.texts[i] for i in world.train}
    assert len(world.one) == len(world.other) == len(world.grade) == len(world.overlap)
    assert len(world.train) == 256 and len(world.texts) == 256 + len(tested)


def test_a_seed_gives_one_encoder_and_reading_has_no_dropout(world):
    objective = functools.partial(info_nce, temperature=0.05)
    one, again, other = (twins.train(world, seed, objective, run=RUN(), batch=16, steps=2) for seed in (0, 0, 1))
    z, same, another = (twins.embedded(model, world) for model in (one, again, other))
    assert torch.equal(z, same) and not torch.equal(z, another) and torch.equal(z, twins.embedded(one, world))
    assert torch.allclose(z.norm(dim=1), torch.ones(len(z)), atol=1e-5)
    found = twins.quality(z, world)
    assert all(-1 <= value <= 1 for value in found.values()) and len(set(found.values())) == 3


def test_grades_as_embeddings_score_one(world):
    "Pairs whose cosine is their grade are read out as a perfect order."
    angle = torch.acos(world.grade.double() / 5)
    z = torch.zeros(len(world.texts), 2 * len(world.one), dtype=torch.double)
    for i, (a, b) in enumerate(zip(world.one, world.other, strict=True)):
        z[a] = z[b] = 0  # the last pair of a text wins; pairs that share a text are left out below
        z[a, 2 * i], z[b, 2 * i], z[b, 2 * i + 1] = 1, angle[i].cos(), angle[i].sin()
    sides = torch.cat([world.one, world.other])
    alone = torch.tensor([(sides == a).sum() == 1 and (sides == b).sum() == 1 for a, b in zip(world.one, world.other, strict=True)])
    rows = world._replace(one=world.one[alone], other=world.other[alone], grade=world.grade[alone], overlap=world.overlap[alone])
    assert alone.sum() > 10 and twins.quality(z, rows) == pytest.approx({"all": 1, "few common words": 1, "many common words": 1})


def test_what_was_trained_is_asked_on_a_second_set(world):
    "The same weights read SICK: the columns of `quality` as they were, and one more."
    if not data.available("sick2014"):
        pytest.skip("the set sick2014 missing here")
    model = twins.train(world, 0, functools.partial(info_nce, temperature=0.05), run=RUN(), batch=16, steps=2)
    found, there = twins.asked(model, world.arm, 0.02), twins.elsewhere(world.arm, 0.02)
    assert {name: found[name] for name in list(found)[:3]} == twins.quality(twins.embedded(model, world), world)
    assert len(there.one) == 20 and len(set(there.texts)) == len(there.texts) and not len(there.train)
    moved = there.encoder()
    assert found["SICK"] != twins.quality(twins.embedded(moved, there), there)["all"]  # of the trained one, not of a new one
    moved.load_state_dict(model.state_dict())
    assert found["SICK"] == twins.quality(twins.embedded(moved, there), there)["all"]


def test_floors_of_both_sets_are_those_of_each(world):
    if not data.available("sick2014"):
        pytest.skip("the set sick2014 missing here")
    both, one = twins.floors_of_both(world.arm, 0.02), twins.floors(world)
    assert {name: {k: v for k, v in row.items() if k != "SICK"} for name, row in both.items()} == one
    assert all(-1 <= row["SICK"] <= 1 for row in both.values())


def test_dropout_of_the_half_makes_twins_and_without_it_there_are_none():
    if missing := twins.installed("minilm"):
        pytest.skip(f"{missing} missing here")
    read = minilm.read(["a dog runs", "a cat sleeps on the mat"])
    wet, dry, numbers = minilm.Half(read, 0.1).train(), minilm.Half(read).train(), torch.arange(2)
    assert not torch.equal(wet(numbers), wet(numbers)) and torch.equal(dry(numbers), dry(numbers))
    assert torch.equal(wet.eval()(numbers), dry(numbers))
    assert torch.equal(dry(numbers.view(1, 2)), dry(numbers)[None])


def test_what_is_missing_is_named(monkeypatch, tmp_path):
    with pytest.raises(ValueError, match="arm"):
        twins.world("bert")
    monkeypatch.setattr(entailed, "MODEL_IN", "no_such_package")
    assert "the extra text" in twins.installed("minilm") and "text" not in twins.installed("tokens")
    monkeypatch.setattr(data, "available", lambda name: False)
    assert twins.installed("tokens") == "the set stsb"


def test_another_setting_is_refused(world):
    with pytest.raises(TypeError, match="settings: got temperature"):
        twins.train(world, 0, info_nce, run=RUN(), temperature=1.0)
