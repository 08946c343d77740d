"""Words: padding changes no point, a wording changes no meaning, and what a sentence means is what it says."""

from functools import partial

import pytest
import torch
from scipy import stats
from sklearn.feature_extraction.text import CountVectorizer

from contrastive_nb import words
from contrastive_nb.encoders import seeded as built
from contrastive_nb.words import PAD, UNKNOWN, Tokens, delete_words, grammar, token_encoder

KINDS, POOLINGS = ("bag", "gru", "transformer"), ("mean", "max", "last")


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


# --- tokens ----------------------------------------------------------------------------------------------------------------------------

TEXTS = ["A red cell, a RED star!", "A star.", "Ünïcode words: naïve café 42", "", "…"]


def test_vocabulary_and_counts_are_those_of_scikit_learn():
    tokens = Tokens.fit(TEXTS)
    judge = CountVectorizer(token_pattern=r"\w+|[^\w\s]")
    wanted = torch.from_numpy(judge.fit_transform(TEXTS).toarray())
    assert sorted(tokens.words) == sorted(judge.vocabulary_)
    ids = tokens(TEXTS).ids
    counted = torch.stack([(ids == tokens.number[word]).sum(1) for word in judge.get_feature_names_out()], 1)
    assert torch.equal(counted, wanted)


def test_the_commonest_words_come_first_and_the_alphabet_decides():
    assert Tokens.fit(["b a b", "c a b"]).words == ("b", "a", "c")
    assert Tokens.fit(["d c", "b a"]).words == ("a", "b", "c", "d")
    assert Tokens.fit(["b a b", "c a b"], size=4).words == ("b", "a") and len(Tokens.fit(["b a b", "c a b"], size=4)) == 4
    assert Tokens.fit(["b a b", "c a b"], least=2).words == ("b", "a")


def test_padding_unknown_words_and_cuts():
    tokens = Tokens.fit(["one two three four"], length=3)
    ids, mask = tokens(["two nobody one four", "", "four"])
    number = tokens.number
    assert ids.tolist() == [[number["two"], UNKNOWN, number["one"]], [UNKNOWN, PAD, PAD], [number["four"], PAD, PAD]]
    assert mask.tolist() == [[True, True, True], [True, False, False], [True, False, False]] and ids.dtype == torch.int64
    assert tokens.decode(ids) == ["two ? one", "?", "four"] and tokens([]).ids.shape == (0, 1)
    assert min(number.values()) == 2 and len(tokens) == 6


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda: Tokens.fit("one text"), TypeError, "texts: got str, want a list of texts"),
        (lambda: Tokens.fit([b"bytes"]), TypeError, "texts: got list"),
        (lambda: Tokens.fit(["a"])("a"), TypeError, "texts: got str"),
        (lambda: Tokens.fit(["a"], size=2), ValueError, "size: got 2"),
        (lambda: Tokens.fit(["a"], least=0), ValueError, "least: got 0"),
        (lambda: Tokens.fit(["a"], length=0), ValueError, "length: got 0"),
    ],
)
def test_a_vocabulary_that_cannot_be_is_refused_by_name(call, error, message):
    with pytest.raises(error, match=message):
        call()


# --- encoders of tokens ------------------------------------------------------------------------------------------------------------------


def batch():
    ids = torch.randint(1, 20, (6, 7), generator=seeded())
    for row, length in enumerate((7, 1, 3, 5, 7, 2)):
        ids[row, length:] = PAD
    return ids


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("kind", KINDS)
def test_padding_and_company_change_no_point(kind, pooling):
    encoder, ids = built(0, partial(token_encoder, 20, 5, kind=kind, pooling=pooling, layers=2)).eval(), batch()
    with torch.no_grad():
        encoder.embedding.weight[PAD] = 7.0  # whatever stands at the padding
    points = encoder(ids)
    assert points.shape == (6, 5) and torch.isfinite(points).all()
    torch.testing.assert_close(encoder(torch.nn.functional.pad(ids, (0, 4), value=PAD)), points)
    for row in ids:
        alone = row[row != PAD][None]
        torch.testing.assert_close(encoder(alone), points[(ids == row).all(1)][:1])
    torch.testing.assert_close(encoder(ids, ids != PAD), points)


@pytest.mark.parametrize("kind", KINDS)
def test_a_text_without_tokens_is_pooled_to_zero_and_has_a_gradient(kind):
    for pooling in POOLINGS:
        encoder = built(0, partial(token_encoder, 20, 5, kind=kind, pooling=pooling))
        ids = batch()
        ids[2] = PAD
        points = encoder(ids)
        torch.testing.assert_close(points[2], encoder.out.bias)
        points.square().sum().backward()
        assert all(torch.isfinite(p.grad).all() for p in encoder.parameters() if p.grad is not None)
        assert not encoder.embedding.weight.grad[PAD].any()


def test_the_bag_forgets_the_order_and_the_others_do_not():
    ids = torch.tensor([[3, 4, 5, 6], [6, 4, 5, 3]])
    for kind in KINDS:
        one, other = built(1, partial(token_encoder, 20, kind=kind)).eval()(ids)
        assert torch.allclose(one, other, atol=1e-5) == (kind == "bag")


def test_the_bag_is_the_mean_of_its_words():
    encoder, ids = built(0, partial(token_encoder, 20, 5)).eval(), batch()
    want = torch.stack([encoder.out(encoder.embedding.weight[row[row != PAD]].mean(0)) for row in ids])
    torch.testing.assert_close(encoder(ids), want)


@pytest.mark.parametrize("kind", KINDS)
def test_dropout_makes_twins_in_training_alone(kind):
    encoder, ids = built(0, partial(token_encoder, 20, kind=kind)), batch()
    assert not torch.equal(encoder(ids), encoder(ids))
    encoder.eval()
    assert torch.equal(encoder(ids), encoder(ids))
    still = built(0, partial(token_encoder, 20, kind=kind, dropout=0.0)).train()
    torch.testing.assert_close(still(ids), still(ids))


def test_a_vocabulary_sets_the_sizes():
    tokens = Tokens.fit(["one two"], length=9)
    encoder = token_encoder(tokens, kind="transformer")
    assert encoder.embedding.num_embeddings == 4 and encoder.position.shape == (9, 64)


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        (dict(vocabulary=1), ValueError, "vocabulary: got 1"),
        (dict(dim=0), ValueError, "dim: got 0"),
        (dict(kind="lstm"), ValueError, "kind: got 'lstm'"),
        (dict(pooling="sum"), ValueError, "pooling: got 'sum'"),
        (dict(dropout=1.0), ValueError, "dropout: got 1"),
        (dict(width=0), ValueError, "width: got 0"),
        (dict(layers=0), ValueError, "layers: got 0"),
        (dict(length=0), ValueError, "length: got 0"),
        (dict(kind="transformer", heads=5), ValueError, "heads: got 5, want a number that divides the width of 64"),
    ],
)
def test_an_encoder_that_cannot_be_is_refused_by_name(arguments, error, message):
    with pytest.raises(error, match=message):
        token_encoder(**dict(vocabulary=20) | arguments)


@pytest.mark.parametrize(
    "kind, ids, mask, error, message",
    [
        ("bag", ["a text"], None, TypeError, "ids: got list, want int64 token numbers"),
        ("bag", torch.zeros(2, 3), None, TypeError, r"ids: got torch.float32 \(2, 3\)"),
        ("bag", torch.zeros(3, dtype=torch.long), None, TypeError, "ids: got"),
        ("bag", torch.zeros(2, 0, dtype=torch.long), None, TypeError, "ids: got"),
        ("transformer", torch.ones(2, 9, dtype=torch.long), None, ValueError, "ids: got texts of 9 tokens, want at most 8"),
        ("bag", torch.ones(2, 3, dtype=torch.long), torch.ones(2, 2).bool(), ValueError, r"mask: got shape \(2, 2\)"),
        ("bag", torch.ones(2, 3, dtype=torch.long), torch.ones(2, 3), TypeError, "mask: got torch.float32"),
        ("gru", torch.ones(1, 3, dtype=torch.long), torch.tensor([[True, False, True]]), ValueError, "mask: got a gap"),
    ],
)
def test_tokens_that_are_none_are_refused_by_name(kind, ids, mask, error, message):
    with pytest.raises(error, match=message):
        token_encoder(20, kind=kind, length=8)(ids, mask)


# --- deleted words ------------------------------------------------------------------------------------------------------------------------


def test_deleting_keeps_the_order_and_one_word_at_least():
    ids = batch()
    for rate in (0.0, 0.3, 0.9):
        left = delete_words(ids, rate, seeded(3))
        for before, after in zip(ids.tolist(), left.tolist(), strict=True):
            kept = [i for i in after if i != PAD]
            assert kept and after == kept + [PAD] * (len(after) - len(kept))
            it = iter(i for i in before if i != PAD)
            assert all(i in it for i in kept)  # a subsequence
        if rate == 0:
            assert torch.equal(left, ids)
    assert not delete_words(torch.zeros(2, 3, dtype=torch.long), 0.5, seeded()).any()


def test_words_go_at_the_given_rate():
    ids = torch.ones(400, 50, dtype=torch.long)
    gone = (delete_words(ids, 0.2, seeded()) == PAD).sum().item()
    low, high = stats.binom.interval(1 - 1e-5, ids.numel(), 0.2)
    assert low <= gone <= high
    with pytest.raises(ValueError, match="rate: got 1"):
        delete_words(ids, 1.0, seeded())


# --- the grammar --------------------------------------------------------------------------------------------------------------------------


def parse(text, world):
    "The meaning of a sentence, read from its words alone."
    said = text.split()
    for opening in words._OPENINGS[1:]:
        if said[: len(opening.split())] == opening.split():
            said = said[len(opening.split()) :]
            break
    noun = {name: number for number, names in enumerate(world.lexicon.nouns) for name in names}
    first, rest = said[:3], said[3:]
    last, middle = rest[-3:], rest[:-3]
    passive = "by" in middle
    verb = [base for base in words._VERBS if any(word in (base, base + "ed", base + "d") for word in middle)]
    doer, patient = (last, first) if passive else (first, last)
    ends = noun[doer[2]], noun[patient[2]]
    looks = words._ATTRIBUTES.index(doer[1]), words._ATTRIBUTES.index(patient[1])
    return [ends[0], words._VERBS.index(verb[0]), ends[1], *looks, int("will" in middle), int("not" in middle)]


def test_a_sentence_says_its_meaning_and_nothing_else():
    world = grammar(1, number=400)
    assert [parse(text, world) for text in world.texts] == world.meaning.tolist()
    again = world.paraphrase(seeded())
    assert torch.equal(again.meaning, world.meaning) and again.texts != world.texts
    assert [parse(text, again) for text in again.texts] == world.meaning.tolist()


def test_the_leaves_of_a_tree_are_the_sentence():
    def leaves(tree):
        return [tree] if isinstance(tree, str) else [leaf for part in tree[1:] for leaf in leaves(part)]

    world = grammar(2, number=50)
    for tree, text in zip(world.trees, world.texts, strict=True):
        assert tree[0] == "S" and " ".join(leaves(tree)) == text
        assert [part[0] for part in tree[1:]][-2:] == ["NP", "VP"]


def test_every_noun_has_names_of_its_own():
    names = [name for noun in grammar(3).lexicon.nouns for name in noun]
    assert len(names) == len(set(names)) == 720
    spoken = set(" ".join(words._OPENINGS + words._VERBS + words._ATTRIBUTES).split()) | {"the", "was", "will", "did", "not", "be", "by"}
    assert not spoken & set(names)


def test_nouns_follow_zipf():
    world = grammar(4, number=6000, types=1, nouns=8, zipf=1.0, known=0.0)
    law = torch.arange(1, 9).double() ** -1
    for column in (0, 2):
        seen = world.meaning[:, column].bincount(minlength=8).numpy()
        assert stats.chisquare(seen, (law / law.sum() * 6000).numpy()).pvalue > 1e-4


@pytest.mark.parametrize("known", [0.0, 1.0])
def test_truth_is_the_fact_said_or_the_other_denied(known):
    world = grammar(5, known=known)
    for (agent, verb, patient, *_, negated), true in zip(world.meaning.tolist(), world.true.tolist(), strict=True):
        assert true == ((world.facts[agent, verb].item() == patient) != bool(negated))
    assert torch.equal(world.negate().true, ~world.true)
    if known == 1:
        assert torch.equal(world.true, ~world.meaning[:, -1].bool())


def test_a_negation_is_one_part_of_the_meaning():
    world = grammar(6)
    other = world.negate()
    assert ((other.meaning != world.meaning).sum(1) == 1).all() and torch.equal(other.wording, world.wording)
    assert all(("not" in a.split()) != ("not" in b.split()) for a, b in zip(world.texts, other.texts, strict=True))
    torch.testing.assert_close(words.meaning_similarity(world, other), torch.full((1000,), 6 / 7))


@pytest.mark.parametrize("swap", [0.0, 0.5, 1.0])
def test_a_variation_keeps_verb_and_types_and_some_nouns(swap):
    world = grammar(7, number=4000, nouns=100, zipf=0.0)
    other = world.vary(seeded(), swap)
    assert torch.equal(other.kinds, world.kinds) and torch.equal(other.meaning[:, 1], world.meaning[:, 1])
    kept = (other.meaning[:, [0, 2]] == world.meaning[:, [0, 2]]).double().mean().item()
    assert abs(kept - (1 - swap + swap / 100)) < 0.02
    assert 0.4 < (other.meaning[:, -1] == world.meaning[:, -1]).double().mean() < 0.6


def test_kinds_are_ordered_pairs_of_types():
    world = grammar(8, types=3, nouns=5)
    want = [(a // 5) * 3 + o // 5 for a, _, o, *_ in world.meaning.tolist()]
    assert world.kinds.tolist() == want and set(want) == set(range(9))


def test_similarity_of_meaning_counts_parts():
    world = grammar(9, number=2, types=2, nouns=4)
    one = world._replace(meaning=torch.tensor([[0, 1, 5, 2, 3, 0, 1], [0, 1, 5, 2, 3, 0, 1]]))
    other = world._replace(meaning=torch.tensor([[1, 1, 5, 2, 3, 0, 1], [4, 0, 5, 2, 4, 0, 1]]))
    torch.testing.assert_close(words.meaning_similarity(one, other), torch.tensor([6.5 / 7, 4 / 7]))
    with pytest.raises(ValueError, match="other: got 1 sentences, want 2"):
        words.meaning_similarity(one, other.take(torch.tensor([0])))


def test_word_overlap_is_jaccard():
    got = words.word_overlap(["a b c", "a a", ""], ["b c d", "a", ""])
    torch.testing.assert_close(got, torch.tensor([0.5, 1.0, 0.0]))


def test_a_seed_is_a_language():
    one, again, other = grammar(1, number=20), grammar(1, number=20), grammar(2, number=20)
    assert one.texts == again.texts != other.texts
    assert grammar(1, number=30).lexicon.nouns == one.lexicon.nouns  # more sentences, the same language
    state = torch.get_rng_state()
    grammar(3), one.paraphrase(seeded()), one.vary(seeded())
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        (dict(number=0), ValueError, "number: got 0"),
        (dict(types=0), ValueError, "types: got 0"),
        (dict(nouns=2000), ValueError, r"types \* nouns \* synonyms: got 24000 words, want at most 4900"),
        (dict(synonyms=0), ValueError, "synonyms: got 0"),
        (dict(verbs=7), ValueError, "verbs: got 7"),
        (dict(attributes=17), ValueError, "attributes: got 17"),
        (dict(zipf=-1.0), ValueError, "zipf: got -1"),
        (dict(known=1.1), ValueError, "known: got 1.1"),
        (dict(seed=-1), ValueError, "seed: got -1"),
    ],
)
def test_a_language_that_cannot_be_is_refused_by_name(arguments, error, message):
    with pytest.raises(error, match=message):
        grammar(**arguments)


def test_a_variation_by_no_chance_is_refused():
    with pytest.raises(ValueError, match="swap: got 2"):
        grammar(number=2).vary(seeded(), 2.0)
