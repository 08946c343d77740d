"""One good call of every public function: what `bad_calls` spoils, an argument at a time. A function that is not here fails its test."""

import hashlib
import io
import wave
import zipfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import torch
from torch import nn

from contrastive_nb import data, registry, words, worlds
from contrastive_nb.encoders import projector
from contrastive_nb.lab import benches, claims, recipes
from contrastive_nb.negatives.mining import simans
from contrastive_nb.objectives import info_nce
from contrastive_nb.pairs import Pairs, two_views, with_queue
from contrastive_nb.training import Queue, slow_copy

HOME = Path("nowhere")  # the folder that a call may write to; the test sets it


def draw(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def seeded():
    return torch.Generator().manual_seed(0)


def masks():
    positives = torch.eye(4, 6, dtype=torch.bool)
    return positives, ~positives


def pairs(**more):
    positives, negatives = masks()
    return dict(scores=draw(4, 6).tanh(), positives=positives, negatives=negatives, weights=torch.ones(4, 6)) | more


def lists(**more):
    return dict(scores=draw(4, 6), relevance=torch.arange(24).view(4, 6) % 3, mask=torch.ones(4, 6, dtype=torch.bool)) | more


def built():
    return Pairs(**pairs())


def mining(**more):
    return dict(pairs=built(), by=draw(4, 6)) | more


def many_pairs():
    "A file of pairs that nobody else has."
    rows = [f"word{i} thing{i % 7},document word{i} thing{i % 7} {i}" for i in range(40)]
    path = HOME / "many.csv"
    path.write_text("\n".join(["query,positive", *rows]), encoding="utf-8")
    return path


def stream(**more):
    ids = torch.arange(6)
    return dict(query=draw(6, 5), key=draw(6, 5, seed=1), temperature=0.5, ids=ids, key_ids=ids.clone(), chunk=4, compiled=False) | more


def ring(**more):
    return dict(query=draw(6, 5), key=draw(6, 5, seed=1), temperature=0.5, target=torch.arange(6), chunk=4) | more


def probe(**more):
    y = torch.arange(12) % 3
    return dict(train_z=draw(12, 4), train_y=y, test_z=draw(12, 4, seed=1), test_y=y.clone()) | more


def images():
    return data.Images(torch.rand(3, 1, 8, 8, generator=seeded()), torch.arange(3))


def ratio(**more):
    return dict(data_log_ratio=draw(6), noise_log_ratio=draw(8, seed=1)) | more


def store():
    "A mirror with one set of one small file."
    inside = b"\x00\x00\x08\x01\x00\x00\x00\x02\x01\x02"
    path = HOME / "mirror" / "tiny" / "a.idx"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(inside)
    record = {"file": "a.idx", "key": "a", "bytes": 10, "unpacked": 10, "sha256": hashlib.sha256(inside).hexdigest()}
    entry = {"kind": "x", "licence": "none", "reader": "idx", "sources": [], "files": [record]}
    return data.Store(HOME / "mirror", HOME / "cache", {"tiny": entry})


def own_pairs():
    path = HOME / "pairs.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("query,positive\none,two\n", encoding="utf-8")
    return path


def nothing(*names):
    "A store whose sets are nowhere: what is wrong with a call is found before they are looked for."
    record = {"file": "a.idx", "key": "a", "bytes": 1, "unpacked": 1, "sha256": "0" * 64}
    entry = {"kind": "x", "licence": "none", "reader": "idx", "sources": [], "files": [record]}
    return data.Store(None, HOME / "nothing", dict.fromkeys(names, entry))


def claim():
    return claims.Claim("T01-x", "Nobody 2020", "1_a/01_page", "mechanism", "It is more.", "count", "one", "two", "higher", 0.1)


def verdict():
    return claims.judge(claim(), [1.0], [2.0])


def run():
    return SimpleNamespace(notebook="1_a/01_page", profile="ci", parameters={}, device="cpu", code="0" * 16, seeds=[0])


def written():
    return claims.record(claim(), verdict(), run(), folder=HOME / "made")


def texts():
    return ["one two three", "two four", "three five six", "six one"]


def training(**more):
    model = nn.Linear(4, 3)
    return dict(
        model=model, sample=lambda generator: (draw(6, 4), draw(6, 4, seed=1)), build=lambda m, a, b: two_views(m(a), m(b)),
        objective=lambda *p: info_nce(*p, temperature=0.5), steps=1, clip=1.0,
    ) | more  # fmt: skip


def turns():
    return dict(trainings={"one": training()}, rounds=1)


def apart():
    model = projector(4, 5, 3)
    return dict(online=model, slow=slow_copy(model), momentum=0.9)


def recordings():
    "A zip of one recording of four samples."
    sound, packed = io.BytesIO(), io.BytesIO()
    with wave.open(sound, "wb") as file:
        file.setparams((1, 2, 8000, 4, "NONE", "NONE"))
        file.writeframes(bytes(8))
    with zipfile.ZipFile(packed, "w") as file:
        file.writestr("a.wav", sound.getvalue())
    return packed.getvalue()


def page():
    "What the protocols ask of a page's run."
    once = lambda key, function: function()  # noqa: E731
    return SimpleNamespace(steps=1, batch_size=4, device="cpu", precision="no", seeds=[0], search_seeds=[0], once=once)


def small_bench():
    return benches.Bench(**vars(recipes.RECIPES["few_classes"]))


def scored():
    arms = {name: {"r": [level, level + 0.1]} for name, level in dict(reference=0.5, again=0.4, fifth=0.3, five=0.6, ceiling=0.7).items()}
    return {"scores": arms, "floors": {"raw": {"r": [0.2]}}}


def learning(**more):
    return dict(objective=lambda *p: info_nce(*p, temperature=0.5), run=page(), seed=0) | more


def corpus():
    return data.Retrieval(texts(), ["one", "two", "six"], [{0}, {1}, {2, 3}], torch.tensor([0, 1]), torch.tensor([2]), torch.tensor([1, 2]))


def sentences(seed=0):
    return words.grammar(seed, number=3, types=2, nouns=2, synonyms=2)


def world():
    return dict(topics=2, families=2, documents=6, queries=4, vocabulary=60, document_words=5, query_words=2, styles=2)


def boxes():
    return torch.tensor([[[0, 0, 3, 3]], [[1, 2, 4, 5]]])


GOOD = {
    "adapters.lightly:LightlyLoss": lambda: dict(objective="info_nce", temperature=0.5, queue=Queue(6, 3)),
    "adapters.loss:Loss": lambda: dict(objective="info_nce", temperature=0.5, narrow="perc_pos", narrow_options={"ratio": 0.9}),
    "adapters.pytorch_metric_learning:MetricLearningLoss": lambda: dict(objective="supcon", temperature=0.5),
    "adapters.sentence_transformers:SentenceTransformerLoss": lambda: dict(model=nn.Identity(), objective="info_nce", temperature=0.5),
    "data:answers": lambda: dict(url="http://127.0.0.1:9", seconds=0.2),
    "data:available": lambda: dict(name="tiny", store=store()),
    "data:bm25": lambda: dict(documents=texts(), queries=["one"]),
    "data:digits": lambda: dict(train=5, valid=2, test=2),
    "data:digits_halves": lambda: dict(train=5, valid=2, test=2),
    "data:fetch": lambda: dict(name="tiny", store=store()),
    "data:halves": lambda: dict(images=images()),
    "data:inspect_file": lambda: dict(path=store().mirror / "tiny" / "a.idx", sha256="0" * 64, unpacked=10),
    "data:listing": lambda: dict(store=store()),
    "data:load": lambda: dict(name="tiny", store=store()),
    "data:log_mel": lambda: dict(x=draw(2, 400), bands=4, frames=3),
    "data:read_csv": lambda: dict(contents=b"a,b\n"),
    "data:read_idx": lambda: dict(contents=b"\x00\x00\x08\x01\x00\x00\x00\x02\x01\x02"),
    "data:read_json": lambda: dict(contents=b"{}"),
    "data:read_jsonl": lambda: dict(contents=b"{}"),
    "data:read_numbers": lambda: dict(contents=b"1 2"),
    "data:read_qrels": lambda: dict(contents=b"head\nq\td\t1\n"),
    "data:read_retrieval": lambda: dict(path=own_pairs()),
    "data:read_scored_pairs": lambda: dict(contents=b"a,b,1\n"),
    "data:read_svmlight": lambda: dict(contents=b"1 1:2\n"),
    "data:read_tsv": lambda: dict(contents=b"a\tb\n"),
    "data:read_wavs": lambda: dict(contents=recordings()),
    "data:texts": lambda: dict(train=1, valid=1, test=1),
    "data:verify": lambda: dict(name="tiny", store=store()),
    "debiasing.clusters:bidirectional_margin": lambda: pairs(),
    "debiasing.clusters:cluster_negatives": lambda: dict(pairs=built(), clusters=torch.arange(4) % 2, key_clusters=torch.arange(6) % 2),
    "debiasing.debiased:debiased_nce": lambda: pairs(temperature=0.5, prior=0.1),
    "debiasing.propensities:fit_propensity": lambda: dict(features=draw(8, 2), positive=torch.arange(8) % 2 == 0, penalty=1.0),
    "debiasing.propensities:inverse_propensity": lambda: mining(most=20.0),
    "debiasing.propensities:surface": lambda: dict(one=["a b", "c"], other=["b", "c d"]),
    "debiasing.guided:guided_filter": lambda: mining(margin=0.1),
    "debiasing.weighted:dclr_negatives": lambda: mining(threshold=0.5),
    "debiasing.weighted:noise_keys": lambda: dict(query=draw(4, 3), count=5),
    "encoders:Encoder": lambda: dict(backbone=nn.Linear(4, 3), head=nn.Linear(3, 2)),
    "encoders:heads": lambda: dict(n=2, build=lambda: nn.Linear(4, 3)),
    "encoders:LogitScale": dict,
    "encoders:pair_scorer": lambda: dict(dim=3, hidden=4),
    "encoders:PairScorer": lambda: dict(dim=3, hidden=4),
    "encoders:predictor": lambda: dict(dim=3, hidden=4),
    "encoders:Prototypes": lambda: dict(count=4, dim=3),
    "encoders:TextTower": lambda: dict(features=4, dim=3, hidden=5),
    "encoders:augment": lambda: dict(x=images().x, generator=seeded()),
    "encoders:conv_encoder": lambda: dict(shape=(1, 8, 8), dim=4, width=2),
    "encoders:embed": lambda: dict(model=nn.Linear(4, 3), x=draw(6, 4)),
    "encoders:erased": lambda: dict(x=images().x, top=torch.rand(3), left=torch.rand(3), side=2),
    "encoders:lexical_hard_negatives": lambda: dict(query_features=draw(3, 4), doc_features=draw(5, 4), relevance=torch.eye(3, 5) > 0, k=2),
    "encoders:mlp_encoder": lambda: dict(features=4, dim=3, hidden=5),
    "encoders:projector": lambda: dict(dim=4),
    "encoders:seeded": lambda: dict(seed=0, build=lambda: nn.Linear(4, 3)),
    "encoders:text_features": lambda: dict(texts_fit=texts(), dims=2),
    "encoders:text_tower": lambda: dict(features=4, dim=3),
    "encoders:warp": lambda: dict(x=images().x, degrees=draw(3), zoom=torch.ones(3), right=torch.zeros(3), down=torch.zeros(3)),
    "kernels.tabulated:all_pairs_square": lambda: pairs(),
    "lab.benches:admission": lambda: dict(facts={"floor": 0.2, "reference": 0.5, "ceiling": 0.8, "spread": 0.01}),
    "lab.benches:admitted": lambda: dict(folder=HOME),
    "lab.benches:bench": lambda: dict(name="few_classes", run=page(), folder=HOME),
    "lab.benches:derived": lambda: dict(measured=scored()),
    "lab.benches:facts_of": lambda: dict(name="few_classes", folder=HOME),
    "lab.benches:range_of": lambda: dict(claim="few_classes/knn", folder=HOME),
    "lab.benches:seeds_for": lambda: dict(spread=0.01, e=0.02),
    "lab.benches:world_of": lambda: dict(bench=small_bench(), seed=0),
    "lab.benches:spread_of": lambda: dict(claim="few_classes/knn", folder=HOME),
    "lab.comparing:compare": lambda: dict(
        given=many_pairs(), objectives=("info_nce", "mw"), encoder="tower", smallest=0.5, minutes=0.01, steps=1, output=HOME / "compare",
        seed=0, executor=None, progress=None, page=False,
    ),
    "lab.claims:Claim": lambda: vars(claim()) | dict(paper_figure="12"),
    "lab.claims:chances": lambda: dict(effect=0.1, spread=0.2, seeds=8, smallest_effect=0.1),
    "lab.claims:check_record": lambda: dict(record=claims.load(folder=written().parent)[0]),
    "lab.claims:decide": lambda: dict(interval=(0.1, 0.3), smallest_effect=0.1, testable=True),
    "lab.claims:holm": lambda: dict(p=[0.01, 0.2]),
    "lab.claims:judged_again": lambda: dict(record=claims.load(folder=written().parent)[0]),
    "lab.claims:p_value": lambda: dict(verdict=claims.judge(claim(), [1.0, 2.0], [2.0, 4.0])),
    "lab.claims:scale": lambda: dict(record=claims.load(folder=written().parent)[0], profile="ci"),
    "lab.claims:set_aside": lambda: dict(
        claim=replace(claim(), kind="outcome"), why="no bench sees it", run=run(), folder=HOME / "aside"
    ),
    "lab.claims:judge": lambda: dict(claim=claim(), baseline=[1.0, 2.0], treatment=[2.0, 3.0], run=run()),
    "lab.claims:load": lambda: dict(folder=written().parent, id="T01-x"),
    "lab.claims:merge": lambda: dict(path=written(), folder=HOME / "ledger"),
    "lab.claims:record": lambda: dict(
        claim=claim(), verdict=verdict(), run=run(), seeds=[0], search={}, seconds=1.0, folder=HOME / "made"
    ),
    "lab.claims:t_interval": lambda: dict(differences=[0.1, 0.2, 0.4]),
    "lab.claims:write": lambda: dict(record={"id": "T01-x"}, folder=HOME / "ledger"),
    "lab.runs:open_run": lambda: dict(notebook="1_objectives/01_infonce", device="cpu"),
    "metrics:alignment": lambda: dict(z1=draw(6, 4), z2=draw(6, 4, seed=1)),
    "metrics:auc": pairs,
    "metrics:average_precision": pairs,
    "metrics:calibration_bins": lambda: dict(confidence=torch.rand(9), correct=torch.rand(9) > 0.5),
    "metrics:calibration_error": lambda: dict(confidence=torch.rand(9), correct=torch.rand(9) > 0.5),
    "metrics:cluster_accuracy": lambda: dict(clusters=torch.arange(6) % 2, labels=torch.arange(6) % 3),
    "metrics:few_label_accuracy": lambda: probe(per_class=2, draws=2),
    "metrics:kendall": lambda: dict(scores=draw(6), grades=torch.arange(6)),
    "metrics:knn_accuracy": lambda: probe(k=3),
    "metrics:linear_probe": probe,
    "metrics:mask_quality": lambda: dict(zip(("dropped", "truth", "candidates"), (*masks(), torch.ones(4, 6) > 0), strict=True)),
    "metrics:mrr_at": lambda: pairs(k=3),
    "metrics:ndcg_at": lambda: lists(k=3),
    "metrics:purity": lambda: dict(clusters=torch.arange(6) % 2, labels=torch.arange(6) % 3),
    "metrics:rankme": lambda: dict(z=draw(6, 4)),
    "metrics:recall_at": lambda: pairs(k=3),
    "metrics:roc": pairs,
    "metrics:spearman": lambda: dict(scores=draw(6), grades=torch.arange(6)),
    "metrics:uniformity": lambda: dict(z=draw(6, 4)),
    "negatives.asymmetric:asymmetric_loss": lambda: pairs(temperature=1.0),
    "negatives.batches:by_class": lambda: dict(y=torch.arange(12) % 3, classes=2, each=2),
    "negatives.batches:by_cluster": lambda: dict(cluster=torch.arange(12) % 3, size=4),
    "negatives.batches:by_group": lambda: dict(group=torch.arange(12) % 3, size=2),
    "negatives.batches:by_neighbour": lambda: dict(z=draw(6, 4), size=3),
    "negatives.batches:Composer": lambda: dict(batches=2, size=3),
    "negatives.hard:hard_nce": lambda: pairs(temperature=0.5, prior=0.1, concentration=1.0),
    "negatives.feature_transform:feature_transform": lambda: dict(
        query=draw(4, 5), key=draw(4, 5, seed=1), queue=draw(9, 5, seed=2), renormalise=True, positive_alpha=2.0, negative_alpha=1.6,
        reach=1.0, generator=seeded(),
    ),
    "negatives.feature_transform:score_moments": lambda: dict(pairs=built()),
    "negatives.mining:batch_hard": mining,
    "negatives.mining:margin_pos": lambda: mining(margin=0.1, k=2),
    "negatives.mining:mine": lambda: dict(
        query=draw(4, 5), corpus=draw(9, 5, seed=1), rule=lambda found, **more: simans(found, 2, 1.0, 0.1, candidates=4, **more), k=2,
        chunk=2, positives=torch.arange(4), ignore=torch.arange(4)[:, None] + 1,
        teacher=(draw(4, 3), draw(9, 3, seed=1)), generator=seeded(), checkpoint=HOME / "mined.pt",
    ),
    "negatives.mining:perc_pos": lambda: mining(ratio=0.9, k=2),
    "negatives.mining:simans": lambda: mining(k=2, a=1.0, b=0.1, candidates=4, generator=seeded()),
    "negatives.mining:top_k_abs": lambda: mining(k=2, threshold=0.9),
    "negatives.mining:top_k_shifted": lambda: mining(k=2, shift=1),
    "negatives.mining_triplets:per_positive": lambda: dict(pairs=built()),
    "negatives.mining_triplets:semi_hard": lambda: mining(margin=0.5, k=2),
    "negatives.mochi:mochi": lambda: dict(query=draw(4, 5), queue=draw(9, 5, seed=1), hardest=3, mixed=2, query_mixed=1, generator=seeded()),
    "negatives.refreshed:Refreshed": lambda: dict(ranked=torch.arange(20).view(4, 5), n=2),
    "negatives.refreshed:faded": lambda: dict(first=draw(4, 3), now=draw(4, 3, seed=1)),
    "objective:weigh": lambda: dict(losses=draw(4), weights=torch.ones(4)),
    "objectives.cacr:cacr": pairs,
    "objectives.decoupled:npc_multiplier": lambda: pairs(temperature=0.5),
    "objectives.decoupled:decoupled_nce": lambda: pairs(temperature=0.5),
    "objectives.decoupled:pull_weights": pairs,
    "objectives.groco:groco": pairs,
    "objectives.infonce:info_nce": lambda: pairs(temperature=0.5),
    "objectives.mw:mw": lambda: pairs(temperature=0.5),
    "objectives.noise_contrast:Meco": dict,
    "objectives.noise_contrast:meco_loss": lambda: ratio(log_u=torch.zeros(())),
    "objectives.noise_contrast:nce_loss": lambda: ratio(noise_per_datum=1.0),
    "objectives.ranking:list_mle": lists,
    "objectives.ranking:ranklist": lambda: lists(skips=1),
    "objectives.ranking:ranknet": lambda: pairs(temperature=0.5),
    "objectives.ranking:ranknet_graded": lists,
    "objectives.soft_targets:soft_nce": lambda: dict(scores=draw(4, 6), target=torch.rand(4, 6), mask=masks()[1], temperature=0.5),
    "objectives.supcon:supcon": lambda: pairs(temperature=0.5),
    "objectives.temperature:effective_negatives": lambda: pairs(temperature=0.5),
    "objectives.temperature:relative_penalty": lambda: pairs(temperature=0.5),
    "objectives.temperature:tolerance": lambda: dict(z=draw(6, 4), labels=torch.arange(6) % 2),
    "objectives.triplet:triplet": lambda: pairs(margin=0.2),
    "ordinal.trees:soft_views": lambda: dict(zs=[draw(4, 5), draw(4, 5, seed=1)], similarity=torch.eye(4)),
    "ordinal.trees:tree_similarity": lambda: dict(trees=[[("a", "b")], [("a",), ("c",)], []], each=False),
    "pairs:cross": lambda: dict(query=draw(4, 5), key=draw(6, 5), weights=torch.ones(4, 6), positives=masks()[0], negatives=masks()[1]),
    "pairs:exclude": lambda: dict(pairs=built(), mask=masks()[0]),
    "pairs:flip": lambda: dict(pairs=built()),
    "pairs:from_labels": lambda: dict(z=draw(6, 4), labels=torch.arange(6) % 2, ignore=-1),
    "pairs:from_relevance": lists,
    "pairs:in_batch": lambda: dict(
        query=draw(4, 5), key=draw(4, 5), hard=draw(3, 5), target=torch.arange(4), hard_mask=torch.ones(3, dtype=torch.bool)
    ),
    "pairs:join": lambda: dict(pairs=(built(), built())),
    "pairs:similarity_matrix": lambda: dict(query=draw(4, 5), key=draw(6, 5)),
    "pairs:stack": lambda: dict(pairs=(built(), built())),
    "pairs:two_views": lambda: dict(z1=draw(4, 5), z2=draw(4, 5)),
    "pairs:views": lambda: dict(zs=[draw(4, 5), draw(4, 5)]),
    "pairs:with_queue": lambda: dict(
        query=draw(4, 5), key=draw(4, 5), queue=draw(7, 5), extra=draw(4, 2, 5), extra_mask=torch.ones(4, 2, dtype=torch.bool)
    ),
    "protocols:by_seed": lambda: dict(run=page(), key="x", trial=lambda seed: seed),
    "protocols:edges": lambda: dict(
        rows=[{"lr": 2.0, "score": 1.0}, {"lr": 1.0, "score": 0.0}], grid={"lr": [1.0, 2.0]}, e=0.1, bounds={"lr": (0.1, 9.0)}
    ),
    "protocols:fair_search": lambda: dict(
        run=page(), key="x", trials={"a": lambda seed, lr: -lr}, grids={"a": {"lr": [1.0, 2.0]}}, e=0.1, bounds={"lr": (1.0, 9.0)}
    ),
    "protocols:pretrain": lambda: learning(images=torch.rand(6, 1, 8, 8), width=2, build=lambda a, b: two_views(a, b), views={}),
    "protocols:search_quality": lambda: dict(encode=lambda found: draw(len(found), 3), retrieval=corpus(), rows=torch.tensor([0, 2])),
    "protocols:sentence_quality": lambda: dict(
        encode=lambda found: draw(len(found), 3), first=texts(), second=texts()[::-1], grades=torch.rand(4, generator=seeded())
    ),
    "protocols:small_search": lambda: dict(run=page(), key="x", trial=lambda seed, lr: lr, grid={"lr": [1.0, 2.0]}),
    "protocols:train_retriever": lambda: learning(
        tower=lambda: nn.Linear(4, 3), queries=draw(3, 4), documents=draw(4, 4, seed=1), retrieval=corpus(), hard=1
    ),
    "protocols:train_sentences": lambda: learning(encoder=lambda: nn.Linear(4, 3), inputs=draw(6, 4), build=lambda a, b: two_views(a, b)),
    "registry:Method": lambda: dict(
        name="none", function="contrastive_nb.objectives:info_nce", shape="pairs", papers=("X01",), notebook="1_a/01_page",
        by_hand="loop", kind="objective",
    ),
    "registry:collect": dict,
    "registry:get": lambda: dict(name="mw"),
    "registry:methods": lambda: dict(shape="pairs"),
    "retrieval.latent_pooling:LatentPooling": lambda: dict(dim=8, latents=3, heads=2, hidden=4),
    "scaling.cached:cached": lambda: dict(encoder=nn.Linear(4, 3), inputs=(draw(6, 4),), mini_batch=2),
    "scaling.gathered:gather_with_grad": lambda: dict(x=draw(6, 4)),
    "scaling.gathered:own_rows": lambda: dict(x=draw(6, 4)),
    "scaling.gathered:ring_info_nce": ring,
    "scaling.gathered:ring_mw": ring,
    "scaling.streaming:streaming_debiased_nce": lambda: stream(prior=0.1),
    "scaling.streaming:streaming_decoupled_nce": stream,
    "scaling.streaming:streaming_info_nce": stream,
    "scaling.streaming:streaming_mw": lambda: {key: value for key, value in stream().items() if key != "compiled"},
    "scenes:canvases": lambda: dict(number=2, pictures=images(), objects=2),
    "scenes:crops": lambda: dict(x=torch.rand(2, 1, 8, 8), generator=seeded(), side=3),
    "scenes:cut": lambda: dict(x=torch.rand(2, 1, 8, 8), boxes=boxes()),
    "scenes:overlap": lambda: dict(one=boxes()[:, 0], other=boxes()[:, 0]),
    "scenes:paste": lambda: dict(
        background=torch.rand(2, 8, 8), pictures=torch.rand(2, 1, 3, 3), top=torch.zeros(2, 1).long(), left=torch.ones(2, 1).long(),
        there=torch.ones(2, 1, dtype=torch.bool),
    ),
    "scenes:textures": lambda: dict(number=2, side=6, generator=seeded()),
    "timing.tournament:Plan": dict,
    "selfsup.w_mse:cholesky_whitening": lambda: dict(z=draw(8, 4), eps=0.1),
    "selfsup.w_mse:w_mse": lambda: dict(zs=[draw(16, 4), draw(16, 4, seed=1)], size=8, iterations=2, eps=0.1, generator=seeded(), check=True),
    "selfsup.stages:Stages": lambda: dict(encoders=(nn.Linear(4, 3), nn.Linear(4, 2))),
    "selfsup.stages:feature_groups": lambda: dict(z=draw(8, 4), count=2, within=torch.arange(8) % 2),
    "selfsup.assignments:sinkhorn": lambda: dict(scores=draw(8, 4), epsilon=0.05, iterations=3),
    "selfsup.assignments:swav": lambda: dict(
        scores=[draw(8, 4), draw(8, 4, seed=1)], temperature=0.1, epsilon=0.05, iterations=3, assign=[1], queue=[draw(5, 4, seed=2)]
    ),
    "selfsup.vicreg:barlow_twins": lambda: dict(zs=[draw(8, 4), draw(8, 4, seed=1)], redundancy=0.01, eps=1e-5, reduction="sum", check=True),
    "selfsup.vicreg:vicreg": lambda: dict(
        zs=[draw(8, 4), draw(8, 4, seed=1)], invariance=25.0, variance=25.0, covariance=1.0, margin=1.0, eps=1e-4, reduction="sum", check=True
    ),
    "selfsup.whitening:group_whitening": lambda: dict(z=draw(8, 4), groups=2, order=torch.randperm(4, generator=seeded()), eps=1e-5),
    "selfsup.whitening:shuffled_views": lambda: dict(zs=[draw(8, 4), draw(8, 4, seed=1)], groups=2, generator=seeded(), eps=1e-5),
    "views.adaptive:AdaptiveHeads": lambda: dict(count=2, dim=4),
    "views.adaptive:PairTemperature": lambda: dict(dim=4, hidden=8),
    "views.adaptive:adaptive_nce": lambda: pairs(temperature=0.5, beta=0.1, dim=4),
    "views.adaptive:temperature_penalty": lambda: dict(temperature=torch.rand(4) + 0.1, dim=4),
    "views.many_views:mv_dhel": lambda: dict(zs=[draw(6, 4), draw(6, 4, seed=1), draw(6, 4, seed=2)], temperature=0.5),
    "views.many_views:mv_infonce": lambda: dict(zs=[draw(6, 4), draw(6, 4, seed=1)], temperature=0.5),
    "views.many_views:pairwise_nce": lambda: dict(zs=[draw(6, 4), draw(6, 4, seed=1)], temperature=0.5),
    "training:Momentum": lambda: dict(online=nn.Linear(4, 3), build=with_queue, queue=Queue(6, 3)),
    "training:Queue": lambda: dict(size=4, dim=3),
    "training:accelerating": lambda: dict(device="cpu"),
    "training:alternate": turns,
    "training:fit": training,
    "training:learning_rate": lambda: dict(step=0, steps=4, lr=0.1),
    "training:momentum_update": apart,
    "training:parameter_groups": lambda: dict(module=nn.Linear(4, 3), weight_decay=0.1),
    "training:slow_copy": lambda: dict(online=nn.Linear(4, 3)),
    "views.arbitrary:PairGate": lambda: dict(classes=3, dim=4, width=5, hidden=6),
    "views.arbitrary:draw_partners": lambda: dict(labels=torch.arange(6) % 3, rule="distinct", classes=3, generator=seeded()),
    "views.arbitrary:from_partners": lambda: dict(
        z=draw(6, 4), labels=torch.arange(6) % 3, partners=(torch.arange(6) + 1) % 3, gate=draw(6, 4), key=draw(5, 4),
        key_labels=torch.arange(5) % 3,
    ),
    "words:delete_words": lambda: dict(ids=torch.tensor([[2, 3, 4], [5, 6, words.PAD]]), rate=0.5, generator=seeded()),
    "words:grammar": lambda: dict(number=3, types=2, nouns=2, synonyms=2),
    "words:meaning_similarity": lambda: dict(one=sentences(), other=sentences(1)),
    "words:token_encoder": lambda: dict(vocabulary=9, dim=4, width=4),
    "words:TokenEncoder": lambda: dict(
        vocabulary=9, dim=4, kind="bag", width=4, layers=1, heads=2, length=6, dropout=0.1, pooling="mean"
    ),
    "words:word_overlap": lambda: dict(one=texts(), other=texts()[::-1]),
    "worlds:batch_classes": lambda: dict(size=4, rate=0.5, generator=seeded(), classes=3),
    "worlds:fresh_topics": lambda: dict(world=worlds.topics(**world()), seed=1),
    "worlds:friends": lambda: dict(y=torch.arange(4), number=2, rate=0.5, generator=seeded(), classes=4),
    "worlds:latent_classes": lambda: dict(classes=3, prior=[1.0, 2.0, 3.0], dim=4),
    "worlds:many_classes": lambda: dict(classes=3, dim=3, beside=2, width=4),
    "worlds:shifted_queries": lambda: dict(queries=4, documents=9, relevant=2, dim=4),
    "worlds:topics": world,
}  # fmt: skip

LOADED = {  # their good call brings something from elsewhere, or changes this process; a bad one is refused before that
    "data:fashion_mnist": lambda: dict(store=nothing("fashion_mnist")),
    "lab.benches:measure": lambda: dict(name="few_classes", run=page(), folder=HOME),
    "data:intents": lambda: dict(store=nothing("banking77")),
    "data:lists": lambda: dict(store=nothing("lightgbm_ltr")),
    "data:retrieval": lambda: dict(store=nothing("scifact", "cranfield")),
    "data:sentences": lambda: dict(store=nothing("stsb")),
    "data:spoken_digits": lambda: dict(store=nothing("fsdd_subset")),
    "encoders:sentence_encoder": dict,
    "registry:register": lambda: dict(method=registry.methods()[0]),
}
