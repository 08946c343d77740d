"""Mining: what the harness does not ask of narrowers, and the search of a whole corpus."""

import math
import sys
from functools import partial
from types import ModuleType, SimpleNamespace

import peaks
import pytest
import torch
from harness import narrow
from hypothesis import given, settings
from hypothesis import strategies as st

from contrastive_nb import registry
from contrastive_nb.negatives import batch_hard, margin_pos, mine, mining, perc_pos, simans, top_k_abs, top_k_shifted
from contrastive_nb.pairs import Pairs, similarity_matrix

NARROWERS = registry.methods(kind="narrower")


def numbers(seed=0):
    return torch.Generator().manual_seed(seed)


def whole(*shape, seed=0):
    "Whole numbers, whose products are exact in any order, so that ties are ties."
    return torch.randint(-2, 3, shape, generator=numbers(seed)).float()


QUERY, CORPUS = whole(11, 4), whole(50, 4, seed=1)
SEARCH = {"similarity": "dot", "k": 6, "chunk": 4}


# ---- narrowers -------------------------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_no_narrower_adds_a_pair(data):
    method = data.draw(st.sampled_from(NARROWERS))
    queries, keys = data.draw(st.integers(0, 4)), data.draw(st.integers(0, 6))
    draw = lambda values: torch.tensor(data.draw(st.lists(values, min_size=queries * keys, max_size=queries * keys))).reshape(queries, keys)  # noqa: E731
    kind = draw(st.integers(0, 2)).long()
    scores = draw(st.floats(-2, 2, width=32) | st.just(math.nan) | st.just(math.inf) | st.just(-math.inf)).float()
    weights = draw(st.sampled_from([0.0, 1.0, 2.0])).float() if data.draw(st.booleans()) else None
    by = draw(st.floats(-2, 2, width=32)).float() if data.draw(st.booleans()) else None
    got = narrow(method, Pairs(scores, kind == 0, kind == 1, weights), by=by)
    assert not (got.positives & (kind != 0)).any() and not (got.negatives & (kind != 1)).any()


def test_a_narrower_that_adds_a_pair_is_found(monkeypatch):
    wrong = lambda pairs, **_: pairs._replace(negatives=~pairs.positives)  # noqa: E731
    monkeypatch.setattr("test_mining.narrow", lambda method, pairs, by=None: wrong(pairs))
    with pytest.raises(AssertionError):
        test_no_narrower_adds_a_pair()


def row(*scores, positive=1):
    marked = torch.arange(len(scores))[None] < positive
    return Pairs(torch.tensor([scores]), marked, ~marked)


def kept(pairs):
    return pairs.negatives[0].nonzero()[:, 0].tolist()


def test_each_rule_on_one_query():
    pairs = row(0.8, 0.9, 0.8, 0.75, 0.7, 0.2)
    assert kept(top_k_shifted(pairs, 2, 1)) == [2, 3] and kept(top_k_shifted(pairs, 9, 4)) == [5] and kept(top_k_shifted(pairs, 2, 9)) == []
    assert kept(top_k_abs(pairs, 2, 0.8)) == [3, 4] and kept(top_k_abs(pairs, 9, 0.1)) == []
    assert kept(margin_pos(pairs, 0.0)) == [3, 4, 5] and kept(margin_pos(pairs, 0.07)) == [4, 5] and kept(margin_pos(pairs, 0.0, 1)) == [3]
    assert kept(perc_pos(pairs, 1.0)) == [3, 4, 5] and kept(perc_pos(pairs, 0.9)) == [4, 5] and kept(perc_pos(pairs, 0.9, 1)) == [4]
    assert kept(perc_pos(row(-0.5, -0.47, 0.1), 0.9)) == [1]  # below 0 the bar lies over the positive, as the docstring says


def test_the_lowest_of_several_positives_is_the_bar():
    pairs = row(0.9, 0.5, 0.7, 0.4, positive=2)
    assert kept(margin_pos(pairs, 0.05)) == [3] and kept(perc_pos(pairs, 0.9)) == [3]


def test_the_first_of_those_that_tie_and_the_teacher_decides():
    pairs = row(0.8, 0.5, 0.5, 0.5, 0.4)
    assert kept(top_k_shifted(pairs, 1, 1)) == [2] and kept(batch_hard(pairs)) == [1]
    teacher = torch.tensor([[0.9, 0.95, 0.1, 0.2, 0.3]])
    assert kept(margin_pos(pairs, 0.1, 2, by=teacher)) == [3, 4] and kept(top_k_abs(pairs, 1, 0.9, by=teacher)) == [4]


@pytest.mark.parametrize("form", ["paper", "code"])
@pytest.mark.parametrize("peak", [0.0, 0.4])
def test_draws_follow_the_density(form, peak):
    scores = torch.linspace(-1, 1, 12, dtype=torch.float64)[None].expand(40_000, -1)
    marked = torch.arange(12) == 7
    pairs = Pairs(scores, marked.expand(scores.shape), (~marked).expand(scores.shape))
    counts = simans(pairs, 1, 3.0, peak, form=form, candidates=9, generator=numbers()).negatives.sum(0)
    away = scores[0] - scores[0, 7] - (peak if form == "paper" else -peak)
    chance = torch.exp(-3.0 * away**2)
    chance[:2] = chance[7] = 0  # the nine hardest of eleven negatives
    expected = len(scores) * chance / chance.sum()
    assert (counts[chance == 0] == 0).all() and counts.sum() == len(scores)
    statistic = ((counts - expected) ** 2 / expected.clamp(min=1e-9))[chance > 0].sum()
    assert statistic < 27  # 8 degrees of freedom: above it once in a thousand times
    assert ((counts - expected.flip(0)) ** 2 / expected.flip(0).clamp(min=1e-9))[chance > 0].sum() > 100  # the test can fail


def test_draws_without_a_positive_are_even_and_without_replacement():
    pairs = Pairs(torch.linspace(-1, 1, 6).expand(30_000, -1), *(torch.full((30_000, 6), x) for x in (False, True)))
    drawn = simans(pairs, 2, 50.0, 0.0, candidates=4, generator=numbers()).negatives
    assert (drawn.sum(1) == 2).all() and (drawn[:, :2] == 0).all()
    assert (drawn[:, 2:].float().mean(0) - 0.5).abs().max() < 0.015


@pytest.mark.parametrize(("call", "words"), [
    (partial(margin_pos, margin=-0.1), "margin: got -0.1"), (partial(perc_pos, ratio=0), "ratio: got 0, want a number in \\(0, 1\\]"),
    (partial(perc_pos, ratio=95), "ratio: got 95"), (partial(perc_pos, ratio=0.9, k=0), "k: got 0"), (partial(top_k_abs, k=0, threshold=0.7), "k: got 0"),
    (partial(top_k_shifted, k=1, shift=-1), "shift: got -1"), (partial(simans, k=5, a=1.0, b=0.0, candidates=4), "candidates: got 4, want 5 or more"),
    (partial(simans, k=1, a=-1.0, b=0.0), "a: got -1.0"), (partial(simans, k=1, a=1.0, b=math.inf), "b: got inf"),
    (partial(simans, k=1, a=1.0, b=0.0, form="both"), "form: got 'both', want one of 'paper', 'code'"),
])  # fmt: skip
def test_wrong_settings_are_refused_by_name(call, words):
    with pytest.raises(ValueError, match=words):
        call(row(0.8, 0.5))


# ---- the search ------------------------------------------------------------------------------------------------------------------


def at_once(rule=lambda pairs: pairs, k=6, positives=None, ignore=None):
    "The same search with the whole matrix, by Python's sort."
    scores = similarity_matrix(QUERY, CORPUS, "dot")
    marked = torch.arange(50) == torch.arange(11)[:, None] if positives is None else positives
    neither = torch.zeros_like(marked) if ignore is None else ignore
    left = rule(Pairs(scores, marked & ~neither, ~marked & ~neither)).negatives
    found = [sorted(x.nonzero()[:, 0].tolist(), key=lambda j, s=s: -s[j].item())[:k] for x, s in zip(left, scores, strict=True)]
    return torch.tensor([x + [-1] * (k - len(x)) for x in found])


@pytest.mark.parametrize("chunk", [1, 4, 11, 100])
@pytest.mark.parametrize("rule", [
    None, partial(margin_pos, margin=1.0), partial(perc_pos, ratio=0.5), partial(top_k_shifted, k=4, shift=3), partial(top_k_abs, k=60, threshold=-3.0),
], ids=["none", "margin", "percentage", "shifted", "absolute"])  # fmt: skip
def test_the_same_rows_as_with_the_whole_matrix(rule, chunk):
    got = mine(QUERY, CORPUS, rule, **SEARCH | {"chunk": chunk})
    want = at_once() if rule is None else at_once(rule)
    assert torch.equal(got, want)
    assert len({len(set(x)) for x in similarity_matrix(QUERY, CORPUS, "dot").tolist()} & {50}) == 0  # every query has ties
    assert (got[:, 4:] == -1).all() == (rule is not None and rule.func is top_k_shifted)


@pytest.mark.parametrize("similarity", ["cosine", "dot", "neg_euclidean"])
def test_never_more_than_a_chunk_of_scores(similarity, monkeypatch):
    seen = []

    def watched(query, key, similarity):
        seen.append((len(query), len(key)))
        return similarity_matrix(query, key, similarity)

    monkeypatch.setattr(mining, "similarity_matrix", watched)
    got = mine(QUERY, CORPUS, k=3, chunk=4, similarity=similarity)
    assert seen == [(4, 50), (4, 50), (3, 50)]
    scores = similarity_matrix(QUERY, CORPUS, similarity).masked_fill(torch.arange(50) == torch.arange(11)[:, None], -math.inf)
    torch.testing.assert_close(scores.gather(1, got), scores.topk(3, dim=1).values)


def test_positives_and_what_is_ignored():
    positives, ignore = torch.randint(-1, 50, (11, 3), generator=numbers(3)), torch.randint(-1, 50, (11, 2), generator=numbers(4))
    masks = [torch.tensor([[j in x for j in range(50)] for x in rows.tolist()]) for rows in (positives, ignore)]
    rule = partial(margin_pos, margin=1.0)
    got = mine(QUERY, CORPUS, rule, **SEARCH, positives=positives, ignore=ignore)
    assert torch.equal(got, at_once(rule, positives=masks[0], ignore=masks[1]))
    nobody = mine(QUERY, CORPUS, rule, **SEARCH, positives=torch.empty(11, 0, dtype=torch.long))
    assert torch.equal(nobody, at_once(positives=torch.zeros(11, 50, dtype=torch.bool)))
    assert torch.equal(mine(QUERY, CORPUS, positives=torch.arange(11), **SEARCH), mine(QUERY, CORPUS, **SEARCH))


def test_a_teacher_decides_who_stays_and_who_is_hardest():
    teacher = whole(11, 3, seed=7), whole(50, 3, seed=8)
    rule = partial(margin_pos, margin=1.0)
    assert torch.equal(mine(QUERY, CORPUS, rule, **SEARCH, teacher=teacher), mine(*teacher, rule, **SEARCH))


def mined_by_sentence_transformers(monkeypatch, query, corpus, **rule):
    "Rows of its negatives, -1 where there are fewer than five; its datasets are dictionaries here, and texts are row numbers."
    util = pytest.importorskip("sentence_transformers.util")

    class Columns(dict):
        column_names = property(lambda self: list(self))
        from_dict = classmethod(lambda cls, columns: cls(columns))

        def to_pandas(self):
            return pytest.importorskip("pandas").DataFrame(dict(self))

    module = ModuleType("datasets")
    module.Dataset = Columns
    monkeypatch.setitem(sys.modules, "datasets", module)
    monkeypatch.setattr(sys.modules[util.mine_hard_negatives.__module__], "is_datasets_available", lambda: True)
    texts = [str(j) for j in range(len(corpus))]
    model = SimpleNamespace(
        device="cpu",
        encode_query=lambda names, **_: query[[int(name) for name in names]].numpy(),
        encode_document=lambda names, **_: corpus[[int(name) for name in names]].numpy(),
        similarity=lambda a, b: torch.as_tensor(a) @ torch.as_tensor(b).T,
        similarity_pairwise=lambda a, b: (torch.as_tensor(a) * torch.as_tensor(b)).sum(1),
    )
    rows = Columns({"query": texts[: len(query)], "document": texts[: len(query)]})
    options = {"num_negatives": 5, "range_max": len(corpus) - 1, "output_format": "labeled-pair", "verbose": False} | rule
    found = util.mine_hard_negatives(rows, model, corpus=texts, **options)
    kept = [[] for _ in query]
    for q, j, label in zip(found["query"], found["document"], found["label"], strict=True):
        kept[int(q)] += [int(j)] * (label == 0)
    return torch.tensor([row + [-1] * (5 - len(row)) for row in kept])


@pytest.mark.parametrize(("rule", "theirs"), [
    (None, {}), (partial(top_k_shifted, k=5, shift=3), {"range_min": 3}), (partial(top_k_abs, k=5, threshold=0.3), {"max_score": 0.3}),
    (partial(margin_pos, margin=0.1), {"absolute_margin": 0.1}), (partial(perc_pos, ratio=0.7), {"relative_margin": 0.3}),
], ids=["none", "shifted", "absolute", "margin", "percentage"])  # fmt: skip
def test_the_same_negatives_as_sentence_transformers(rule, theirs, monkeypatch):
    corpus = torch.nn.functional.normalize(torch.randn(60, 6, generator=numbers(8)), dim=1)
    query = torch.nn.functional.normalize(corpus[:20] + 0.3 * torch.randn(20, 6, generator=numbers(9)), dim=1)
    assert ((query * corpus[:20]).sum(1) > 0).all()  # below 0 the two read a ratio differently
    ours = mine(query, corpus, rule, k=5)
    assert torch.equal(ours, mined_by_sentence_transformers(monkeypatch, query, corpus, **theirs))
    assert torch.equal(ours, mine(query, corpus, k=5)) == (rule is None)  # each rule has something to do


class Stopped(Exception):
    pass


@pytest.mark.parametrize("draws", [False, True])
def test_a_search_that_was_stopped_goes_on_and_ends_in_the_same_rows(tmp_path, draws):
    rule = partial(simans, k=6, a=0.1, b=0.0) if draws else partial(top_k_shifted, k=6, shift=2)
    calls = []

    def counted(pairs, **keywords):
        calls.append(len(pairs.scores))
        return rule(pairs, **keywords)

    def failing(pairs, **keywords):
        if len(calls) == 3:
            raise Stopped
        return counted(pairs, **keywords)

    counted.__qualname__ = failing.__qualname__ = "the same rule"
    search = partial(mine, QUERY, CORPUS, similarity="dot", k=6, chunk=2, save_every=1)
    dice = lambda: {"generator": numbers(5)} if draws else {}  # noqa: E731
    unbroken, path = search(rule, **dice()), tmp_path / "mined.pt"
    with pytest.raises(Stopped):
        search(failing, checkpoint=path, **dice())
    calls.clear()
    assert torch.equal(search(counted, checkpoint=path, **dice()), unbroken)
    assert calls == [2, 2, 1]  # three of six blocks were there
    assert torch.equal(search(counted, checkpoint=path, **dice()), unbroken) and len(calls) == 3  # a search that is done is read


def test_a_checkpoint_of_another_search_is_refused(tmp_path):
    path, rule = tmp_path / "mined.pt", partial(margin_pos, margin=1.0)
    mine(QUERY, CORPUS, rule, **SEARCH, checkpoint=path)
    others = {
        "k": lambda: mine(QUERY, CORPUS, rule, **SEARCH | {"k": 5}, checkpoint=path),
        "rule": lambda: mine(QUERY, CORPUS, partial(margin_pos, margin=2.0), **SEARCH, checkpoint=path),
        "similarity": lambda: mine(QUERY, CORPUS, rule, **SEARCH | {"similarity": "cosine"}, checkpoint=path),
        "data": lambda: mine(QUERY, CORPUS + 1, rule, **SEARCH, checkpoint=path),
    }
    for name, call in others.items():
        with pytest.raises(ValueError, match=f"checkpoint: .*another search: .*{name}"):
            call()


@pytest.mark.parametrize(("change", "exception", "words"), [
    ({"query": [1]}, TypeError, "query: got list"), ({"corpus": CORPUS[:, 1:]}, ValueError, "corpus: got 3 features, want 4"),
    ({"query": QUERY * math.nan}, ValueError, "query: got a value that is not finite, first in row 0"), ({"corpus": CORPUS.double()}, TypeError, "corpus: got dtype"),
    ({"k": 0}, ValueError, "k: got 0"), ({"chunk": 0}, ValueError, "chunk: got 0"), ({"similarity": "l2"}, ValueError, "similarity: got 'l2'"),
    ({"positives": torch.zeros(11)}, TypeError, "positives: got torch.float32"), ({"positives": torch.arange(10)}, ValueError, r"positives: got shape \(10, 1\)"),
    ({"positives": torch.arange(11) + 40}, ValueError, "positives: got rows from 40 to 50, want 0 to 49"), ({"ignore": torch.full((11,), -2)}, ValueError, "ignore: got rows"),
    ({"corpus": CORPUS[:5]}, ValueError, "positives: got rows from 0 to 10, want 0 to 4"), ({"teacher": QUERY}, TypeError, "teacher: got Tensor"),
    ({"teacher": (QUERY, CORPUS[1:])}, ValueError, "teacher: got 11 and 49 rows, want 11 and 50"), ({"rule": lambda pairs: pairs.scores}, TypeError, "rule: got Tensor"),
    ({"rule": lambda pairs: pairs._replace(negatives=~pairs.negatives)}, ValueError, "rule: got negatives that it was not given"),
    ({"checkpoint": 3}, TypeError, "checkpoint: got int"), ({"save_every": 0}, ValueError, "save_every: got 0"),
])  # fmt: skip
def test_wrong_arguments_of_a_search_are_refused_by_name(change, exception, words):
    with pytest.raises(exception, match=words):
        mine(**({"query": QUERY, "corpus": CORPUS} | change))


@pytest.mark.parametrize("call", [pytest.param(name, marks=[] if name == "mine, margin" else pytest.mark.slow) for name in peaks.SEARCHES])
def test_peak_memory_of_a_search(call):
    "The whole matrix of 20,000 queries and as many documents would be 1,600 MB."
    assert peaks.megabytes(call) < 200


LONG = {  # the upper end of a list of 3,000 decides; the absolute bar leaves few, and the last rule fewer than k
    "none": None,
    "margin": partial(margin_pos, margin=0.05),
    "percentage": partial(perc_pos, ratio=0.6),
    "shifted": partial(top_k_shifted, k=40, shift=7),
    "absolute": partial(top_k_abs, k=40, threshold=0.7),
    "few": partial(top_k_shifted, k=2, shift=90),
}


@pytest.mark.parametrize("engine", ["torch", "faiss"])
@pytest.mark.parametrize("similarity", ["cosine", "dot", "neg_euclidean"])
@pytest.mark.parametrize("rule", LONG)
def test_the_upper_end_of_a_list_gives_what_the_whole_gives(rule, similarity, engine):
    if engine == "faiss":
        pytest.importorskip("faiss")
    query, corpus = (torch.randn(n, 6, generator=numbers(n)) for n in (20, 3000))
    corpus[1000:1500] = corpus[:500]  # ties, also with the positive
    how = {"k": 9, "chunk": 8, "similarity": similarity, "ignore": torch.arange(20) + 100}
    seen = lambda pairs: pairs if LONG[rule] is None else LONG[rule](pairs)  # noqa: E731  a rule of one's own sees all documents
    assert torch.equal(mine(query, corpus, LONG[rule], engine=engine, **how), mine(query, corpus, seen, **how))


@pytest.mark.parametrize("engine", ["torch", "faiss"])
def test_embeddings_that_still_learn_are_searched_as_they_are(engine):
    if engine == "faiss":
        pytest.importorskip("faiss")
    query, corpus = (torch.randn(n, 6, generator=numbers(n)) for n in (20, 3000))
    found = mine(query.clone().requires_grad_(), corpus.clone().requires_grad_(), k=5, engine=engine)
    assert torch.equal(found, mine(query, corpus, k=5, engine=engine))


def test_places_beyond_a_small_corpus_hold_minus_one():
    query, corpus = torch.randn(2, 3, generator=numbers(0)), torch.randn(4, 3, generator=numbers(1))
    for rule in (None, lambda pairs: pairs):
        found = mine(query, corpus, rule, k=6)
        assert (found[:, :3] >= 0).all() and found[:, 3:].eq(-1).all()


@pytest.mark.parametrize("engine", ["torch", "faiss"])
def test_many_equal_documents_go_by_row_and_a_teacher_decides(engine):
    if engine == "faiss":
        pytest.importorskip("faiss")
    query, corpus = whole(15, 3, seed=1), whole(2000, 3, seed=2)
    teacher = whole(15, 2, seed=3), whole(2000, 2, seed=4)
    how = {"k": 5, "similarity": "dot", "positives": torch.randint(-1, 2000, (15, 3), generator=numbers(5))}
    assert torch.equal(mine(query, corpus, engine=engine, **how), mine(query, corpus, lambda pairs: pairs, **how))
    bar = partial(margin_pos, margin=1.0)
    found = mine(query, corpus, bar, engine=engine, teacher=teacher, **how)
    assert torch.equal(found, mine(query, corpus, lambda pairs, by: bar(pairs, by=by), teacher=teacher, **how))


def test_a_search_from_above_meets_few_documents(monkeypatch):
    seen = []
    near = mining._near
    monkeypatch.setattr(mining, "_near", lambda query, columns, *rest: seen.append(columns.shape) or near(query, columns, *rest))
    query, corpus = (torch.randn(n, 6, generator=numbers(n)) for n in (20, 3000))
    mine(query, corpus, partial(perc_pos, ratio=0.9), k=4, chunk=20)
    assert seen and max(shape[1] for shape in seen) < 700


@pytest.mark.parametrize(("change", "exception", "words"), [
    ({"engine": "annoy"}, ValueError, "engine: got 'annoy'"), ({"engine": "faiss", "rule": lambda pairs: pairs}, ValueError, "engine: got 'faiss' with rule"),
    ({"engine": "faiss", "rule": partial(simans, k=2, a=1.0, b=0.0), "generator": torch.Generator()}, ValueError, "want one of top_k_shifted"),
    ({"progress": 1}, TypeError, "progress: got int"),
])  # fmt: skip
def test_engine_and_progress_are_checked(change, exception, words):
    with pytest.raises(exception, match=words):
        mine(**({"query": QUERY, "corpus": CORPUS} | change))


def test_progress_is_shown_where_it_is_asked_for(capsys):
    silent = mine(QUERY, CORPUS, **SEARCH)
    assert capsys.readouterr().err == ""
    assert torch.equal(mine(QUERY, CORPUS, **SEARCH, progress=True), silent)
    assert "block" in capsys.readouterr().err
