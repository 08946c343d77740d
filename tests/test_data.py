"""Data: the worlds say the truth about themselves, and the loader takes nothing for right that it has not verified."""

import functools
import gzip
import hashlib
import http.server
import json
import os
import re
import subprocess
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats

from contrastive_nb import data, files, worlds
from contrastive_nb.lab import open_run

ROOT = Path(__file__).resolve().parents[1]


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_importing_data_brings_none_of_the_heavy_packages():
    code = "import sys, contrastive_nb.data; print(sorted({'sklearn', 'scipy', 'pooch', 'requests', 'matplotlib'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


# --- pictures ---------------------------------------------------------------------------------------------------------------------


def rows(images):
    return [picture.numpy().tobytes() for picture in images.x]


def test_digits_have_the_promised_form():
    splits = data.digits()
    assert [len(part.x) for part in splits] == [1000, 297, 500]
    for x, y in splits:
        assert x.dtype == torch.float32 and x.shape[1:] == (1, 8, 8) and 0 <= x.min() and x.max() <= 1
        assert y.dtype == torch.int64 and set(y.tolist()) == set(range(10))


def test_digits_are_all_there_once_with_their_own_class():
    from sklearn.datasets import load_digits

    raw = load_digits()
    want = sorted(((image / 16).astype(np.float32).tobytes(), int(y)) for image, y in zip(raw.images, raw.target, strict=True))
    assert sorted(pair for part in data.digits(3) for pair in zip(rows(part), part.y.tolist(), strict=True)) == want


def test_a_seed_is_a_split():
    one, again, other = data.digits(1, 50, 10, 20), data.digits(1, 50, 10, 20), data.digits(2, 50, 10, 20)
    assert all(torch.equal(a.x, b.x) and torch.equal(a.y, b.y) for a, b in zip(one, again, strict=True))
    assert not torch.equal(one.train.x, other.train.x)
    state = torch.get_rng_state()
    data.digits(1), worlds.latent_classes(1), worlds.shifted_queries(1)
    assert torch.equal(state, torch.get_rng_state())  # the global generator is left alone


def test_a_part_may_be_empty():
    assert [len(part.x) for part in data.digits(train=5, valid=0, test=0)] == [5, 0, 0]


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        (dict(train=1001), ValueError, r"train \+ valid \+ test: got 1798 images, want at most 1797"),
        (dict(valid=-1), ValueError, "valid: got -1, want a whole number from 0 on"),
        (dict(test=2.0), TypeError, "test: got float, want a whole number"),
        (dict(seed=True), TypeError, "seed: got bool"),
        (dict(seed=-1), ValueError, "seed: got -1"),
    ],
)
@pytest.mark.parametrize("draw", [data.digits, data.digits_halves])
def test_sizes_that_do_not_fit_are_named(draw, arguments, error, message):
    with pytest.raises(error, match=message):
        draw(**arguments)


def test_halves_make_the_digits_again():
    for part, whole in zip(data.digits_halves(4), data.digits(4), strict=True):
        assert part.left.shape[1:] == part.right.shape[1:] == (1, 8, 4)
        assert torch.equal(torch.cat([part.left, part.right], -1), whole.x) and torch.equal(part.y, whole.y)


def test_pictures_of_odd_width_have_no_halves():
    with pytest.raises(ValueError, match="images: got a width of 7 pixels, want an even one"):
        data.halves(data.Images(torch.zeros(2, 1, 8, 7), torch.zeros(2, dtype=torch.long)))


# --- latent classes ---------------------------------------------------------------------------------------------------------------


def test_latent_classes_have_the_promised_form():
    sample = worlds.latent_classes(dim=5).sample(seeded(), anchors=7, positives=3, candidates=11)
    shapes = [(7, 5), (7, 3, 5), (7, 11, 5), (7,), (7, 11), (7, 11), (7,)]
    assert [tuple(part.shape) for part in sample] == shapes
    for points in sample[:3]:
        torch.testing.assert_close(points.norm(dim=-1), torch.ones(points.shape[:-1]))


@pytest.mark.parametrize("prior", [None, [5, 3, 1, 1]])
@pytest.mark.parametrize("seed", range(3))
def test_the_measured_rate_is_the_known_one(prior, seed):
    world = worlds.latent_classes(seed, classes=4, prior=prior)
    sample = world.sample(seeded(seed), anchors=2000, candidates=50)
    assert torch.equal(sample.false_negatives, sample.anchor_class[:, None] == sample.candidate_class)
    assert torch.equal(sample.rate, world.prior[sample.anchor_class])
    for c in range(4):
        hits = sample.false_negatives[sample.anchor_class == c]
        low, high = stats.binom.interval(1 - 1e-4, hits.numel(), world.prior[c].item())
        assert low <= hits.sum() <= high
        low, high = stats.binom.interval(1 - 1e-4, 2000, world.prior[c].item())
        assert low <= (sample.anchor_class == c).sum() <= high


def test_the_prior_is_normalised():
    torch.testing.assert_close(worlds.latent_classes(classes=3, prior=[6, 3, 1]).prior, torch.tensor([0.6, 0.3, 0.1]))


def test_without_spread_a_class_is_its_centre():
    world = worlds.latent_classes(spread=0)
    sample = world.sample(seeded())
    torch.testing.assert_close(sample.positives[:, 0], sample.anchors)
    torch.testing.assert_close(sample.candidates, world.centres[sample.candidate_class])


def test_the_spread_is_the_length_of_the_noise():
    world = worlds.latent_classes(dim=400, spread=0.5)
    classes = torch.zeros(500, dtype=torch.long)
    along = world.draw(classes, seeded()) @ world.centres[0]
    assert abs(along.mean().item() - 1 / 1.25**0.5) < 0.01  # cosine of the angle: centre 1, noise 0.5 across it


def test_the_same_generator_draws_the_same_sample_and_goes_on():
    world, generator = worlds.latent_classes(), seeded(3)
    first, second = world.sample(generator), world.sample(generator)
    assert torch.equal(first.candidates, world.sample(seeded(3)).candidates)
    assert not torch.equal(first.candidates, second.candidates)


@pytest.mark.parametrize("seed", range(4))
def test_the_mixture_identity_holds_in_standard_errors(seed):
    sample = worlds.latent_classes(seed, classes=5).sample(seeded(seed), anchors=3000, positives=4, candidates=64)
    h = torch.einsum("bd,bnd->bn", sample.anchors, sample.candidates).mul(2).exp().double()
    h_positive = torch.einsum("bd,bmd->bm", sample.anchors, sample.positives).mul(2).exp().mean(1).double()
    true = ~sample.false_negatives
    oracle, rate = (h * true).sum(1) / true.sum(1), sample.rate.double()
    corrected = (h.mean(1) - rate * h_positive) / (1 - rate)
    away = [stats.ttest_1samp((estimate - oracle).numpy(), 0).statistic for estimate in (h.mean(1), corrected)]
    assert away[0] > 20 and abs(away[1]) < 4


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        (dict(classes=1), ValueError, "classes: got 1, want a whole number from 2 on"),
        (dict(classes=3, prior=[1, 1]), ValueError, r"prior: got \[1, 1\], want 3 numbers above 0"),
        (dict(classes=2, prior=[1, 0]), ValueError, "prior: got"),
        (dict(classes=2, prior=[1, float("nan")]), ValueError, "prior: got"),
        (dict(spread=-0.1), ValueError, "spread: got -0.1"),
        (dict(dim=1), ValueError, "dim: got 1"),
        (dict(seed=0.5), TypeError, "seed: got float"),
    ],
)
def test_a_world_that_cannot_be_is_refused_by_name(arguments, error, message):
    with pytest.raises(error, match=message):
        worlds.latent_classes(**arguments)


@pytest.mark.parametrize("name", ["anchors", "positives", "candidates"])
def test_a_sample_of_nothing_is_refused_by_name(name):
    with pytest.raises(ValueError, match=f"{name}: got 0"):
        worlds.latent_classes().sample(seeded(), **{name: 0})


# --- shifted queries --------------------------------------------------------------------------------------------------------------


def test_shifted_queries_have_the_promised_form():
    world = worlds.shifted_queries(queries=6, documents=30, relevant=4, dim=5)
    assert [tuple(part.shape) for part in world] == [(6, 6), (30, 6), (6, 30), (6, 30), (6,)]
    assert (world.relevance.sum(1) == 4).all() and world.relevance.dtype == torch.bool
    torch.testing.assert_close(world.queries @ world.documents.T, world.scores)
    torch.testing.assert_close(world.scores, world.clean + world.shift[:, None])


def test_the_units_are_standard_deviations_of_the_affinity():
    world = worlds.shifted_queries(queries=2000, documents=300, shift=2.0)
    assert abs(world.clean.std().item() - 1) < 0.05 and abs(world.shift.std().item() - 2) < 0.15


def test_without_noise_the_relevant_are_the_highest():
    world = worlds.shifted_queries(noise=0)
    for scores, relevant in zip(world.clean, world.relevance, strict=True):
        assert scores[relevant].min() > scores[~relevant].max()


@pytest.mark.parametrize("seed", range(3))
def test_a_shift_lowers_the_pooled_auc_and_no_other(seed):
    from sklearn.metrics import roc_auc_score

    plain, shifted = (worlds.shifted_queries(seed, shift=size) for size in (0.0, 2.0))
    assert torch.equal(plain.relevance, shifted.relevance)
    torch.testing.assert_close(plain.clean, shifted.clean)
    each = [[roc_auc_score(r, s) for r, s in zip(w.relevance.numpy(), w.scores.numpy(), strict=True)] for w in (plain, shifted)]
    np.testing.assert_allclose(*each, atol=1e-3)  # a near tie may turn in float32
    pooled = [roc_auc_score(w.relevance.flatten(), w.scores.flatten()) for w in (plain, shifted)]
    assert abs(pooled[0] - np.mean(each[0])) < 0.02 and pooled[1] < pooled[0] - 0.1


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        (dict(relevant=200), ValueError, "relevant: got 200, want fewer than the 200 documents"),
        (dict(relevant=0), ValueError, "relevant: got 0"),
        (dict(queries=0), ValueError, "queries: got 0"),
        (dict(noise=-1.0), ValueError, "noise: got -1"),
        (dict(shift="much"), TypeError, "shift: got str"),
    ],
)
def test_a_retrieval_world_that_cannot_be_is_refused_by_name(arguments, error, message):
    with pytest.raises(error, match=message):
        worlds.shifted_queries(**arguments)


# --- IDX --------------------------------------------------------------------------------------------------------------------------


def idx(array):
    head = bytes([0, 0, 8, array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape)
    return head + array.astype(np.uint8).tobytes()


@pytest.mark.parametrize("shape", [(0,), (5,), (2, 3), (3, 28, 28), (300, 2)])
def test_idx_comes_back(shape):
    array = np.arange(np.prod(shape)).reshape(shape) % 256
    read = data.read_idx(idx(array))
    assert read.dtype == np.uint8 and read.flags.writeable
    np.testing.assert_array_equal(read, array)


whole = idx(np.arange(6).reshape(2, 3))


@pytest.mark.parametrize(
    "contents", [b"", b"\0\0", b"P5 2 3 255 ", b"\0\0\x0d\x01" + whole[4:], whole[:6], whole[:11], whole[:-1], whole + b"x"]
)
def test_what_is_not_idx_is_refused(contents):
    with pytest.raises(ValueError, match="contents: got"):
        data.read_idx(contents)


# --- the registry -----------------------------------------------------------------------------------------------------------------


def registry():
    return json.loads(files.shared("data/registry.json").read_text(encoding="utf-8"))


def test_the_registry_says_all_that_the_loader_needs():
    bib = (ROOT / "data" / "references.bib").read_text(encoding="utf-8")
    for name, entry in registry().items():
        assert name not in data.BUILT_IN
        assert {"title", "kind", "licence", "redistribution", "counts"} <= entry.keys()
        assert f"{{{entry['citation']}," in bib
        assert entry["sources"] or entry["homepage"]
        assert all(re.search(r"\{(file|plain|base)\}", s["url"]) and s["tried"] in (True, False) for s in entry["sources"])
        for record in entry["files"]:
            assert (record.get("reader") or entry["reader"]) in data.READERS
            assert re.fullmatch(r"[0-9a-f]{64}", record["sha256"]) and record["bytes"] > 0 and record["unpacked"] > 0
        for field in ("file", "key", "sha256"):
            assert len({record[field] for record in entry["files"]}) == len(entry["files"])


# --- the loader, on a tiny set of two files ---------------------------------------------------------------------------------------

CONTENTS = {"a.idx.gz": idx(np.arange(12).reshape(3, 4)), "sub/b.idx": idx(np.array([7, 8, 9]))}
NOBODY = "http://127.0.0.1:9/{file}"


def pack(file, contents):
    return gzip.compress(contents) if file.endswith(".gz") else contents


def put(folder, name="tiny", contents=CONTENTS):
    for file, inside in contents.items():
        path = folder / name / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(pack(file, inside))
    return folder


def describe(*urls, contents=CONTENTS, keys=("a", "b")):
    records = [
        dict(file=file, key=key, bytes=len(pack(file, inside)), unpacked=len(inside), sha256=hashlib.sha256(inside).hexdigest())
        for (file, inside), key in zip(contents.items(), keys, strict=True)
    ]
    return dict(kind="images", reader="idx", licence="none", sources=[dict(url=url, tried=False) for url in urls], files=records)


@pytest.fixture
def server(tmp_path):
    "A folder with the set, and its file: address."
    return (put(tmp_path / "server") / "tiny").as_uri() + "/{file}"


@pytest.fixture
def http_server(tmp_path):
    "The same folder behind a web server of our own on this machine."
    put(tmp_path / "server")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    handler = functools.partial(Quiet, directory=str(tmp_path / "server"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as serving:
        threading.Thread(target=serving.serve_forever, args=[0.02], daemon=True).start()
        yield f"http://127.0.0.1:{serving.server_port}"
        serving.shutdown()


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def make(tmp_path):
    "A store in a folder of the test's own; `mirror` and `cache` hold the set where asked."

    def store(*urls, mirror=False, cache=False):
        for place, filled in (("mirror", mirror), ("cache", cache)):
            put(tmp_path / place) if filled else (tmp_path / place).mkdir(exist_ok=True)
        return data.Store(tmp_path / "mirror", tmp_path / "cache", {"tiny": describe(*(urls or (NOBODY,)))})

    return store


def right(loaded):
    return loaded["a"].tolist() == np.arange(12).reshape(3, 4).tolist() and loaded["b"].tolist() == [7, 8, 9]


def silently(function, *arguments, **keywords):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return function(*arguments, **keywords)


DAMAGE = {
    "a flipped bit": lambda raw: raw[:-1] + bytes([raw[-1] ^ 1]),
    "a flipped bit inside": lambda raw: raw[: len(raw) // 2] + bytes([raw[len(raw) // 2] ^ 4]) + raw[len(raw) // 2 + 1 :],
    "cut short": lambda raw: raw[: len(raw) // 2],
    "empty": lambda raw: b"",
    "a web page": lambda raw: b"<html>please log in</html>",
    "other contents, well packed": lambda raw: gzip.compress(b"something else"),
    "packed once too often": lambda raw: gzip.compress(gzip.compress(raw)),
}


def hurt(path, how="a flipped bit inside"):
    path.write_bytes(DAMAGE[how](path.read_bytes()))
    return path


def test_the_mirror_comes_first_and_nothing_is_written(make):
    store = make(mirror=True)
    assert right(silently(data.load, "tiny", store=store))
    assert data.fetch("tiny", store=store) == store.mirror / "tiny" and not list(store.cache.iterdir())


def test_a_mirror_that_cannot_be_written_will_do(make):
    store = make(mirror=True)
    for path in [*store.mirror.rglob("*"), store.mirror]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        assert right(data.load("tiny", store=store))
    finally:
        for path in [store.mirror, *store.mirror.rglob("*")]:
            path.chmod(0o755)


def test_then_the_cache(make):
    store = make(cache=True)
    assert right(silently(data.load, "tiny", store=store)) and data.fetch("tiny", store=store) == store.cache / "tiny"


def test_then_a_download_into_the_cache(make, server):
    store = make(server)
    assert right(silently(data.load, "tiny", store=store))
    assert data.fetch("tiny", store=store) == store.cache / "tiny"
    assert right(data.load("tiny", store=make()))  # the second time without a source


def test_a_mirror_that_does_not_exist_is_no_harm(make, server, tmp_path):
    store = data.Store(tmp_path / "nowhere", tmp_path / "cache", make(server).registry)
    assert right(silently(data.load, "tiny", store=store)) and not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("how", DAMAGE)
@pytest.mark.parametrize("file", CONTENTS)
def test_a_damaged_cache_is_named_and_fetched_again(make, server, how, file):
    store = make(server, cache=True)
    path = hurt(store.cache / "tiny" / file, how)
    with pytest.warns(UserWarning, match=re.escape(f"tiny: {path} is damaged")) as seen:
        assert right(data.load("tiny", store=store))
    assert seen[0].filename == __file__  # it points at the line that asked
    assert right(silently(data.load, "tiny", store=store)) and all(ok for _, ok, _ in data.verify("tiny", store=store))


@pytest.mark.parametrize("how", DAMAGE)
def test_a_damaged_mirror_is_named_and_left_alone(make, server, how):
    store = make(server, mirror=True)
    path = hurt(store.mirror / "tiny" / "a.idx.gz", how)
    before = path.read_bytes()
    with pytest.warns(UserWarning, match=re.escape(f"tiny: {path} is damaged")):
        assert data.fetch("tiny", store=store) == store.cache / "tiny"
    with pytest.warns(UserWarning, match="is damaged"):
        assert right(data.load("tiny", store=store))
    assert path.read_bytes() == before


def test_a_damaged_mirror_without_a_network_takes_what_it_can_from_the_cache(make):
    store = make(mirror=True, cache=True)
    hurt(store.mirror / "tiny" / "a.idx.gz")
    with pytest.warns(UserWarning, match="is damaged"):
        assert right(data.load("tiny", store=store))


def test_half_a_mirror_completes_half_a_cache(make):
    store = make(mirror=True, cache=True)
    (store.mirror / "tiny" / "a.idx.gz").unlink()
    (store.cache / "tiny" / "sub" / "b.idx").unlink()
    assert right(silently(data.load, "tiny", store=store))
    assert data.fetch("tiny", store=store) == store.cache / "tiny" and (store.cache / "tiny" / "sub" / "b.idx").exists()


def test_damaged_everywhere_and_no_network_names_every_copy(make):
    store = make(mirror=True, cache=True)
    hurts = [hurt(place / "tiny" / "a.idx.gz") for place in (store.mirror, store.cache)]
    with pytest.warns(UserWarning, match="is damaged"), pytest.raises(data.DataUnavailable) as refused:
        data.load("tiny", store=store)
    message = str(refused.value)
    assert all(str(path) in message for path in hurts) and "\n" not in message


def test_no_network_says_in_one_line_what_to_set(make):
    store = make()
    with pytest.raises(data.DataUnavailable) as refused:
        silently(data.load, "tiny", store=store)
    message = str(refused.value)
    for part in (
        "tiny: no intact a.idx.gz",
        str(store.mirror),
        str(store.cache),
        "127.0.0.1:9: no answer",
        "CONTRASTIVE_NB_DATA",
        "tiny/a.idx.gz",
    ):
        assert part in message
    assert "\n" not in message and isinstance(refused.value, RuntimeError)
    assert not data.available("tiny", store=store) and not list(store.cache.rglob("*.gz"))


def test_a_name_server_that_never_answers_is_not_waited_for(make, monkeypatch):
    import requests

    gone = threading.Event()
    monkeypatch.setattr(requests, "head", lambda *_, **__: gone.wait(30))
    monkeypatch.setattr(data, "answers", functools.partial(data.answers, seconds=0.2))
    with pytest.raises(data.DataUnavailable, match="no answer"):
        data.load("tiny", store=make())
    gone.set()


def test_without_pooch_a_download_is_refused_and_the_folders_still_serve(make, monkeypatch, http_server):
    monkeypatch.setitem(sys.modules, "pooch", None)
    assert right(data.load("tiny", store=make(mirror=True)))
    assert data.Store.default().cache.name == "contrastive_nb"
    bare = make(http_server + "/tiny/{file}")
    with pytest.raises(data.DataUnavailable, match="pooch"):
        data.load("tiny", store=data.Store(None, bare.cache, bare.registry))


def test_a_web_server(make, http_server):
    store = make(http_server + "/tiny/{file}")
    assert data.available("tiny", store=store, download=True) and right(silently(data.load, "tiny", store=store))


def test_whether_a_set_is_at_hand_is_asked_of_the_folders_alone(make, http_server, monkeypatch):
    url, asked = http_server + "/tiny/{file}", []
    monkeypatch.setattr(data, "DOWNLOADS", False)  # put back afterwards
    monkeypatch.setattr(data, "answers", lambda url: not asked.append(url))
    assert not data.available("tiny", store=make(url)) and asked == []
    open_run("0_foundations/02_data", "laptop")
    assert data.available("tiny", store=make(url)) and asked
    open_run("0_foundations/02_data", "ci")
    asked.clear()
    assert data.available("tiny", store=make(url)) and data.available("tiny", store=make(mirror=True)) and asked == []
    hurt(make(url).cache / "tiny" / "a.idx.gz")
    with pytest.warns(UserWarning, match="is damaged"):
        assert not data.available("tiny", store=data.Store(None, make().cache, make(url).registry)) and asked == []
    with pytest.raises(TypeError, match="download: got str"):
        data.available("tiny", store=make(url), download="no")


def test_the_next_source_is_tried(make, http_server):
    store = make(NOBODY, http_server + "/gone/{file}", http_server + "/tiny/{file}")
    assert right(silently(data.load, "tiny", store=store))


def test_every_source_that_failed_is_named(make, http_server):
    with pytest.raises(data.DataUnavailable) as refused:
        data.load("tiny", store=make(NOBODY, http_server + "/gone/{file}"))
    assert "127.0.0.1:9: no answer" in str(refused.value) and "404" in str(refused.value)


def test_wrong_contents_never_reach_the_cache(make, server, tmp_path):
    hurt(tmp_path / "server" / "tiny" / "a.idx.gz", "other contents, well packed")
    store = make(server)
    with pytest.raises(data.DataUnavailable, match="not the contents in the registry"):
        data.load("tiny", store=store)
    assert not [path for path in store.cache.rglob("*") if path.is_file()]


def test_contents_that_came_unpacked_are_the_right_contents(make, server, tmp_path):
    (tmp_path / "server" / "tiny" / "a.idx.gz").write_bytes(CONTENTS["a.idx.gz"])
    assert right(data.load("tiny", store=make(server)))


HALF = """
import sys, time
from pathlib import Path
from contrastive_nb import data

sys.path.insert(0, {tests!r})
from test_data import describe

def half(url, target):
    target.write_bytes(b"half")
    print("half", flush=True)
    time.sleep(600)

data._transfer = half
data.fetch("tiny", store=data.Store(None, Path(sys.argv[1]), {{"tiny": describe(sys.argv[2])}}))
"""


def test_what_killed_downloads_left_is_removed_by_the_next_look_and_others_go_on(make, server):
    store = make(server)
    command = [sys.executable, "-c", HALF.format(tests=str(Path(__file__).parent)), store.cache, server]
    killed, busy = (subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2))
    try:
        assert [process.stdout.readline() for process in (killed, busy)] == ["half\n", "half\n"]
        killed.kill()
        killed.wait()
        old, new = (store.cache / "tiny" / "sub" / f".part-elsewhere-1-{age}" for age in ("old", "new"))  # of another machine
        for part in (old, new):
            part.mkdir(parents=True)
        os.utime(old, (0, 0))
        parts = set(store.cache.rglob(".part-*"))
        assert len(parts) == 4
        assert right(silently(data.load, "tiny", store=store))
        left = set(store.cache.rglob(".part-*"))
        assert left < parts and new in left and {part.name.split("-")[-2] for part in left - {new}} == {str(busy.pid)}
    finally:
        for process in (killed, busy):
            process.kill()
            process.communicate()
    assert right(data.load("tiny", store=store)) and set(store.cache.rglob(".part-*")) == {new}


@pytest.mark.parametrize("stop", [KeyboardInterrupt, OSError])
def test_an_interrupted_download_leaves_nothing_and_spoils_nothing(make, monkeypatch, stop):
    store = make(cache=True)
    path = hurt(store.cache / "tiny" / "a.idx.gz")
    before = path.read_bytes()

    def half(url, target):
        target.write_bytes(pack("a.idx.gz", CONTENTS["a.idx.gz"])[:20])
        raise stop("pulled the plug")

    monkeypatch.setattr(data, "_transfer", half)
    with pytest.warns(UserWarning), pytest.raises((stop, data.DataUnavailable)):
        data.load("tiny", store=store)
    assert path.read_bytes() == before and not list(store.cache.rglob(".part-*"))


def test_several_at_once_do_not_disturb_each_other(make, http_server):
    store = make(http_server + "/tiny/{file}")
    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(lambda _: right(data.load("tiny", store=store)), range(8)))


def test_parts_that_come_and_go_while_one_looks_are_no_fault(tmp_path):
    stop = threading.Event()

    def others():
        while not stop.is_set():
            part = tmp_path / "sub" / f".part-elsewhere-1-{threading.get_ident()}"
            (part / "inner").mkdir(parents=True)
            (part / "inner").rmdir(), part.rmdir()

    with ThreadPoolExecutor(2) as pool:
        busy = [pool.submit(others) for _ in range(2)]
        try:
            for _ in range(500):
                data._sweep(tmp_path)
        finally:
            stop.set()
        assert [one.result() for one in busy] == [None, None]


def test_a_cache_that_cannot_be_written_is_said(make, server, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    store = data.Store(None, tmp_path / "file", make(server).registry)
    with pytest.raises(data.DataUnavailable, match="no download"):
        data.load("tiny", store=store)


def test_a_bomb_is_not_unpacked(make, tmp_path):
    "Three hundred megabytes of nothing in a file of 300 kB: refused at the recorded size, in the memory that this takes."
    import tracemalloc

    store = make()
    bomb = gzip.compress(bytes(10_000_000)) * 30
    path = store.cache / "tiny" / "a.idx.gz"
    path.parent.mkdir(parents=True)
    path.write_bytes(bomb)
    tracemalloc.start()
    try:
        assert data.inspect_file(path, "0" * 64, 100) == ("damaged", b"")
        with pytest.warns(UserWarning, match="is damaged"), pytest.raises(data.DataUnavailable):
            data.load("tiny", store=store)
        assert data.verify("tiny", store=store)[0][1] is False
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 3_000_000
    short = gzip.compress(b"x" * 100)
    path.write_bytes(short)
    said = hashlib.sha256(b"x" * 100).hexdigest()
    assert [data.inspect_file(path, said, size)[0] for size in (50, 100, 101, None)] == ["damaged", "intact", "intact", "intact"]
    path.write_bytes(short[:-2])
    assert data.inspect_file(path, said, 100)[0] == "damaged"


@pytest.mark.parametrize("file", ["../a.idx", "/tmp/a.idx", "sub/../../a.idx", "C:\\a.idx", "C:a.idx", "..\\a.idx", "\\a.idx", "", "."])
@pytest.mark.parametrize("function", [data.load, data.fetch, data.verify, data.available])
def test_a_file_of_the_registry_stays_in_its_folder(function, file, tmp_path, server):
    contents = {file: CONTENTS["a.idx.gz"]}
    store = data.Store(None, tmp_path / "cache", {"tiny": describe(server, contents=contents, keys=("a",))})
    with pytest.raises(ValueError, match="^registry: got the file .* of the set 'tiny', want a place inside"):
        function("tiny", store=store)
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("name", ["..", "/tmp", "a/b", "C:", "a\\b"])
def test_a_set_of_the_registry_has_a_folder_of_its_own(name, tmp_path, server):
    store = data.Store(None, tmp_path / "cache", {name: describe(server)})
    with pytest.raises(ValueError, match="^registry: "):
        data.fetch(name, store=store)


FULL = """
import resource, sys, warnings
from pathlib import Path
from contrastive_nb import data

sys.path.insert(0, {tests!r})
from test_data import describe

store = data.Store(None, Path(sys.argv[1]), {{"tiny": describe(sys.argv[2])}})
warnings.simplefilter("ignore")
resource.setrlimit(resource.RLIMIT_FSIZE, (20, 20))  # no file may grow further, as on a full disk
try:
    data.fetch("tiny", store=store)
except data.DataUnavailable as error:
    print(error)
"""


def test_a_full_disk_leaves_nothing_half_and_says_so_in_one_line(tmp_path, server):
    pytest.importorskip("resource")
    cache = put(tmp_path / "cache")
    path = hurt(cache / "tiny" / "a.idx.gz")
    before = {p: p.read_bytes() for p in cache.rglob("*") if p.is_file()}
    script = FULL.format(tests=str(Path(__file__).parent))
    done = subprocess.run([sys.executable, "-c", script, cache, server], capture_output=True, text=True)
    assert done.stderr == "" and re.fullmatch(r"tiny: no intact a.idx.gz in .*File too large.*\n", done.stdout), done.stdout + done.stderr
    assert {p: p.read_bytes() for p in cache.rglob("*") if p.is_file()} == before and path.exists()


@pytest.mark.parametrize("function", [data.load, data.fetch, data.verify, data.available])
def test_names_that_are_not_files(function, make):
    with pytest.raises(ValueError, match="name: got 'tinny', want one of 'tiny'"):
        function("tinny", store=make())
    with pytest.raises(ValueError, match=r"'digits' is built in and needs no file: call data.digits\(\)"):
        function("digits", store=make())


def test_verify_looks_at_every_copy_and_repairs_none(make, server):
    store = make(server, mirror=True, cache=True)
    assert data.verify("tiny", store=store)[0] == (
        "a.idx.gz", True, f"intact in the mirror: {store.mirror / 'tiny/a.idx.gz'}; intact in the cache: {store.cache / 'tiny/a.idx.gz'}"
    )  # fmt: skip
    path = hurt(store.cache / "tiny" / "a.idx.gz")
    before = path.read_bytes()
    file, ok, message = data.verify("tiny", store=store)[0]
    assert not ok and f"damaged in the cache: {path}" in message and "intact in the mirror" in message and path.read_bytes() == before


def test_verify_without_any_copy(make):
    assert data.verify("tiny", store=make()) == [("a.idx.gz", False, "not here"), ("sub/b.idx", False, "not here")]


@pytest.mark.parametrize(
    "mirror, cache, state", [(0, 0, "to download"), (0, 1, "in the cache"), (1, 0, "in the mirror"), (1, 1, "in the mirror")]
)
def test_listing_says_where_a_set_lies(make, mirror, cache, state):
    rows = data.listing(store=make(mirror=mirror, cache=cache))
    assert [row["name"] for row in rows] == ["digits", "digits_halves", "latent_classes", "shifted_queries", "tiny"]
    assert all(list(row) == ["name", "kind", "state", "licence", "size"] for row in rows)
    assert {row["state"] for row in rows[:-1]} == {"built in"} and rows[-1]["state"] == state


def test_what_is_listed_as_built_in_is_there():
    assert all(callable(vars(data).get(name) or vars(worlds).get(name)) for name in data.BUILT_IN)


def test_the_default_store_reads_the_variable_when_asked(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv(data.MIRROR, str(tmp_path))
    assert data.Store.default().mirror == tmp_path and data.Store.default().registry == registry()
    for nothing in (lambda: monkeypatch.setenv(data.MIRROR, ""), lambda: monkeypatch.delenv(data.MIRROR)):
        nothing()
        assert data.Store.default().mirror is None and list(data.Store.default().folders()) == ["cache"]


# --- Fashion-MNIST ----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def small_fashion(tmp_path):
    "The four files in small: every picture is one grey level, its own; train pictures even, test pictures odd."
    levels = np.arange(0, 120, 2), np.arange(1, 41, 2)
    arrays = [a for level in levels for a in (np.tile(level[:, None, None], (1, 28, 28)), level // 2 % 10)]
    contents = {f"{i}.gz": idx(array) for i, array in enumerate(arrays)}
    entry = describe(NOBODY, contents=contents, keys=("train_x", "train_y", "test_x", "test_y"))
    return data.Store(put(tmp_path / "mirror", "fashion_mnist", contents), tmp_path / "cache", {"fashion_mnist": entry})


def test_fashion_mnist_draws_disjoint_parts_from_the_right_side(small_fashion):
    splits = data.fashion_mnist(1, 40, 20, 15, store=small_fashion)
    grey = [(part.x[:, 0, 0, 0] * 255).round().int().tolist() for part in splits]
    assert [len(g) for g in grey] == [40, 20, 15] and sorted(grey[0] + grey[1]) == list(range(0, 120, 2))
    assert len(set(grey[2])) == 15 and all(g % 2 for g in grey[2])
    for part, g in zip(splits, grey, strict=True):
        assert part.x.dtype == torch.float32 and part.x.shape[1:] == (1, 28, 28) and part.y.dtype == torch.int64
        assert part.y.tolist() == [level // 2 % 10 for level in g]
    again, other = (data.fashion_mnist(s, 40, 20, 15, store=small_fashion) for s in (1, 2))
    assert torch.equal(again.test.x, splits.test.x) and not torch.equal(other.train.x, splits.train.x)


def test_fashion_mnist_names_sizes_that_do_not_fit(small_fashion):
    with pytest.raises(ValueError, match=r"train \+ valid: got 61 images, want at most 60"):
        data.fashion_mnist(0, 40, 21, 15, store=small_fashion)
    with pytest.raises(ValueError, match="test: got 21 images, want at most 20"):
        data.fashion_mnist(0, 40, 20, 21, store=small_fashion)


@pytest.fixture(scope="module")
def fashion():
    if not data.available("fashion_mnist"):
        pytest.skip("fashion_mnist is in no folder here and there is no network: set CONTRASTIVE_NB_DATA to a folder that has it")
    return data.load("fashion_mnist")


def test_the_real_fashion_mnist(fashion):
    entry = registry()["fashion_mnist"]
    assert fashion["train_x"].shape == (entry["counts"]["train"], 28, 28) and fashion["test_x"].shape == (entry["counts"]["test"], 28, 28)
    assert np.bincount(fashion["train_y"]).tolist() == [6000] * 10 and np.bincount(fashion["test_y"]).tolist() == [1000] * 10
    pixels = fashion["train_x"] / np.float32(255)
    assert abs(pixels.mean() - 0.28604) < 1e-4 and abs(pixels.std() - 0.35302) < 1e-4


def test_the_real_fashion_mnist_in_parts(fashion):
    splits = data.fashion_mnist(5)
    assert [len(part.x) for part in splits] == [8000, 2000, 4000]
    assert all(0 <= part.x.min() and part.x.max() == 1 and set(part.y.tolist()) == set(range(10)) for part in splits)
    assert all(ok for _, ok, _ in data.verify("fashion_mnist"))


# --- texts ------------------------------------------------------------------------------------------------------------------------------


def test_readers_of_text():
    assert data.read_jsonl('{"a": "é\u2028"}\n\n{"a": 1}'.encode()) == [{"a": "é\u2028"}, {"a": 1}]
    assert data.read_qrels(b"query-id\tcorpus-id\tscore\r\nq\td\t2\r\nq\te\t-1\r\n") == {"q": {"d": 2, "e": -1}}
    assert data.read_scored_pairs(b'"a, ""b""",c,5.0\nd,"e\nf",0\n') == [('a, "b"', "c", 5.0), ("d", "e\nf", 0.0)]
    assert data.read_jsonl(b"") == [] and data.read_qrels(b"") == {} and data.read_scored_pairs(b"") == []


def test_readers_of_numbers():
    x, y = data.read_svmlight(b"1 2:0.5\n0\n3 1:-1 4:2e-1\n")
    assert x.dtype == np.float32 and x.tolist() == [[0, 0.5, 0, 0], [0] * 4, [-1, 0, 0, np.float32(0.2)]]
    assert y.dtype == np.int64 and y.tolist() == [1, 0, 3]
    numbers = data.read_numbers(b"3\n1\n")
    assert numbers.dtype == np.int64 and numbers.tolist() == [3, 1] and data.read_numbers(b"").shape == (0,)


@pytest.mark.parametrize("reader, contents, said", [
    (data.read_idx, "text", "TypeError: contents: got str, want the bytes"),
    (data.read_jsonl, [], "TypeError: contents: got list, want the bytes"),
    (data.read_jsonl, b"\xff", "ValueError: contents: got byte ff at place 0, want text in UTF-8"),
    (data.read_jsonl, b"{}\n\n{", "ValueError: contents: line 3: got '{', want a JSON object"),
    (data.read_jsonl, b"[1]", r"ValueError: contents: line 1: got '\[1\]', want a JSON object"),
    (data.read_qrels, b"head\nq\td\t1\nq\td\n", "ValueError: contents: line 3: got"),
    (data.read_qrels, b"head\nq\td\tx\n", "ValueError: contents: line 2: got"),
    (data.read_scored_pairs, b"a,b,1\na,b\n", "ValueError: contents: line 2: got 'a,b', want two sentences and a number"),
    (data.read_scored_pairs, b"a,b,x\n", "ValueError: contents: line 1: got"),
    (data.read_scored_pairs, b'a,"b', "ValueError: contents: line 1: "),
    (data.read_svmlight, b"1 1:2\nx 1:2", "ValueError: contents: line 2: got 'x 1:2', want a whole grade"),
    (data.read_svmlight, b"1.5 1:2", "ValueError: contents: line 1: "),
    (data.read_svmlight, b"nan 1:2", "ValueError: contents: line 1: "),
    (data.read_svmlight, b"1 1:nan", "ValueError: contents: line 1: "),
    (data.read_svmlight, b"1 1", "ValueError: contents: line 1: "),
    (data.read_svmlight, b"1 2:1 1:1", "ValueError: contents: .* rise from 1 on in each line"),
    (data.read_svmlight, b"1 0:1", "ValueError: contents: .* rise from 1 on in each line"),
    (data.read_numbers, b"1 a", "ValueError: contents: .*'a'"),
    (data.read_numbers, b"9" * 30, "ValueError: contents: "),
])  # fmt: skip
def test_readers_name_what_they_cannot_read(reader, contents, said):
    with pytest.raises((TypeError, ValueError)) as caught:
        reader(contents)
    assert re.match(said, f"{type(caught.value).__name__}: {caught.value}")


def small(tmp_path, name, files):
    "A store whose mirror holds one small set: file -> (key, reader, contents)."
    contents = {file: raw for file, (_, _, raw) in files.items()}
    records = [
        {"file": file, "key": key, "reader": reader, "bytes": 1, "sha256": hashlib.sha256(raw).hexdigest()}
        for file, (key, reader, raw) in files.items()
    ]
    entry = {"kind": "x", "licence": "none", "sources": [], "files": records}
    return data.Store(put(tmp_path / "mirror", name, contents), tmp_path / "cache", {name: entry})


def jsonl(*objects):
    return "\n".join(map(json.dumps, objects)).encode()


def qrels(*rows):
    return "\n".join(["query-id\tcorpus-id\tscore", *("\t".join(map(str, row)) for row in rows)]).encode()


CORPUS = jsonl(*({"_id": f"d{i}", "title": f"title {i}", "text": f"text {i}"} for i in range(6)))
QUERIES = jsonl(*({"_id": f"q{i}", "text": f"query {i}"} for i in range(12)))


@pytest.fixture
def scifact(tmp_path):
    train = qrels(*((f"q{i}", f"d{i % 6}", 1) for i in range(8)), ("q0", "d5", 1), ("q9", "d0", 0))
    files = {
        "corpus.jsonl.gz": ("documents", "jsonl", CORPUS),
        "queries.jsonl.gz": ("queries", "jsonl", QUERIES),
        "qrels/train.tsv": ("train", "qrels", train),
        "qrels/test.tsv": ("test", "qrels", qrels(("q10", "d1", 1), ("q11", "d2", 1), ("q11", "d3", 1))),
    }
    return small(tmp_path, "scifact", files)


def test_retrieval_keeps_the_test_part_and_redraws_valid(scifact):
    draws = [data.retrieval("scifact", seed, valid=0.25, store=scifact) for seed in range(6)]
    for r in draws:
        assert r.documents[2] == "title 2 text 2" and len(r.documents) == 6
        assert r.queries == [f"query {i}" for i in (*range(8), 10, 11)]  # 8 was never judged, 9 has no relevant document
        assert r.relevance[0] == {0, 5} and r.relevance[-1] == {2, 3}
        assert r.test.tolist() == [8, 9] and sorted([*r.train.tolist(), *r.valid.tolist()]) == list(range(8)) and len(r.valid) == 2
        assert all(part.dtype == torch.int64 for part in r[3:])
    assert len({tuple(r.valid.tolist()) for r in draws}) > 1
    again = data.retrieval("scifact", 3, valid=0.25, store=scifact)
    assert torch.equal(again.valid, draws[3].valid) and torch.equal(again.train, draws[3].train)


def test_labels_and_pairs_say_the_same(scifact):
    r = data.retrieval("scifact", store=scifact)
    rows = torch.tensor([9, 0, 3])
    labels, pairs = r.labels(rows), r.pairs(rows)
    assert labels.dtype == torch.bool and labels.shape == (3, 6) and pairs.tolist() == [[9, 2], [9, 3], [0, 0], [0, 5], [3, 3]]
    assert [[rows[q].item(), d] for q, d in labels.nonzero().tolist()] == pairs.tolist()
    assert r.labels(rows[:0]).shape == (0, 6) and r.pairs(rows[:0]).shape == (0, 2)


def test_retrieval_without_a_test_part_draws_all_three(tmp_path):
    files = {
        "corpus.jsonl.gz": ("documents", "jsonl", CORPUS),
        "queries.jsonl.gz": ("queries", "jsonl", QUERIES),
        "qrels/all.tsv": ("judgements", "qrels", qrels(*((f"q{i}", f"d{i % 6}", 1 + i % 4) for i in range(12)), ("q0", "d3", -1))),
    }
    store = small(tmp_path, "cranfield", files)
    draws = [data.retrieval("cranfield", seed, valid=0.5, test=0.25, store=store) for seed in range(5)]
    for r in draws:
        assert [len(part) for part in (r.train, r.valid, r.test)] == [5, 4, 3] and r.relevance[0] == {0}
        assert sorted(torch.cat(r[3:]).tolist()) == list(range(12))
    assert len({tuple(r.test.tolist()) for r in draws}) > 1


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        (dict(name="scifacts"), ValueError, "name: got 'scifacts', want one of"),
        (dict(valid=1.0), ValueError, "valid: got 1"),
        (dict(test=-0.1), ValueError, "test: got -0.1"),
        (dict(seed=-1), ValueError, "seed: got -1"),
    ],
)
def test_retrieval_names_what_does_not_fit(scifact, arguments, error, message):
    with pytest.raises(error, match=message):
        data.retrieval(**{"name": "scifact", "store": scifact} | arguments)


def test_bm25_by_hand():
    documents, queries = ["cell cell wall", "star", "wall of the star of stars"], ["cell star", "star star", "nothing known"]
    k1, b, words, scores = 1.2, 0.75, [d.split() for d in documents], data.bm25(documents, queries, k1=1.2, b=0.75)
    mean = sum(map(len, words)) / 3
    for i, query in enumerate(queries):
        for j, text in enumerate(words):
            want = 0.0
            for w in query.split():
                n, c = sum(w in t for t in words), text.count(w)
                want += np.log(1 + (3 - n + 0.5) / (n + 0.5)) * c * (k1 + 1) / (c + k1 * (1 - b + b * len(text) / mean))
            assert abs(scores[i, j].item() - want) < 1e-6
    assert scores.dtype == torch.float32 and scores.shape == (3, 3)


@pytest.mark.parametrize("arguments, message", [(dict(k1=0), "k1: got 0"), (dict(b=1.5), "b: got 1.5")])
def test_bm25_names_what_does_not_fit(arguments, message):
    with pytest.raises(ValueError, match=message):
        data.bm25(["one text"], ["one"], **arguments)


# --- lists ------------------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def ranked(tmp_path):
    "Five queries in one part and two in the other; the only feature that is not 0 has the query's number and the grade as its value."
    lengths = [3, 1, 2, 4, 1, 2, 2]
    lines = [[f"{(d + q) % 5} {q + 1}:{(d + q) % 5 + 1}" for d in range(length)] for q, length in enumerate(lengths)]
    part = {"train": slice(0, 5), "test": slice(5, 7)}
    files = {}
    for name, of in part.items():
        files[f"rank.{name}.gz"] = (name, "svmlight", "\n".join(sum(lines[of], [])).encode())
        files[f"rank.{name}.query"] = (f"{name}_lengths", "numbers", "\n".join(map(str, lengths[of])).encode())
    return small(tmp_path, "lightgbm_ltr", files)


def test_lists_are_padded_whole_and_drawn_from_all_queries(ranked):
    found = []
    splits = data.lists(seed=1, train=3, valid=2, test=2, store=ranked)
    assert [len(part.mask) for part in splits] == [3, 2, 2]
    for features, relevance, mask in splits:
        assert (
            features.shape[1:] == (4, 7) and features.dtype == torch.float32 and relevance.dtype == torch.int64 and mask.dtype == torch.bool
        )
        assert not features[~mask].any() and not relevance[~mask].any()
        assert torch.equal(features.amax(2)[mask], relevance[mask] + 1.0)  # a document keeps its own features and grade
        found += [(features[i].sum(0).argmax().item(), mask[i].sum().item()) for i in range(len(mask))]
        assert torch.equal(mask, mask.sort(1, descending=True).values)  # the documents stand first
    assert sorted(found) == list(enumerate([3, 1, 2, 4, 1, 2, 2]))
    again, other = (data.lists(seed=seed, train=3, valid=2, test=2, store=ranked) for seed in (1, 2))
    assert torch.equal(again.test.features, splits.test.features) and not torch.equal(other.train.features, splits.train.features)


def test_lists_name_what_does_not_fit(ranked):
    with pytest.raises(ValueError, match=r"train \+ valid \+ test: got 8 queries, want at most 7"):
        data.lists(train=4, valid=2, test=2, store=ranked)
    with pytest.raises(ValueError, match="name: got 'yahoo'"):
        data.lists("yahoo", store=ranked)


def test_a_set_without_a_source_asks_for_a_folder_and_says_what_it_was_made_from(tmp_path):
    registry = data.Store.default().registry
    without = {name for name, entry in registry.items() if not entry["sources"]}
    assert without == {"cranfield", "sts12_16", "fsdd_subset"}
    for name in without:
        with pytest.raises(
            data.DataUnavailable, match=r"no download \(no source has these files as they are, .*\): set CONTRASTIVE"
        ) as refused:
            data.load(name, store=data.Store(None, tmp_path / "empty", registry))
        assert registry[name]["homepage"] in str(refused.value)


def test_an_address_may_leave_out_the_gz_and_the_folder(tmp_path):
    for file, raw in {"corpus.jsonl": b'{"a": 1}', "test.tsv": qrels(("q", "d", 1))}.items():
        (tmp_path / file).write_bytes(raw)
    files = {"corpus.jsonl.gz": ("documents", "jsonl", b'{"a": 1}'), "qrels/test.tsv": ("test", "qrels", qrels(("q", "d", 1)))}
    entry = small(tmp_path, "made", files).registry["made"]
    entry["sources"] = [{"url": tmp_path.as_uri() + "/" + place, "tried": True} for place in ("{plain}", "{base}")]
    loaded = data.load("made", store=data.Store(None, tmp_path / "empty", {"made": entry}))
    assert loaded == {"documents": [{"a": 1}], "test": {"q": {"d": 1}}}


# --- the real sets ------------------------------------------------------------------------------------------------------------------------


def real(name):
    if not data.available(name):
        pytest.skip(f"{name} is in no folder here and there is no network: set CONTRASTIVE_NB_DATA to a folder that has it")
    return registry()[name]["counts"]


def test_the_real_scifact():
    from contrastive_nb.metrics import ndcg_at

    counts, r = real("scifact"), data.retrieval("scifact")
    assert len(r.documents) == counts["documents"] and len(r.test) == counts["test_queries"]
    assert len(r.train) + len(r.valid) == counts["train_queries"] and len(r.pairs(r.test)) == 339
    assert (
        abs(ndcg_at(data.bm25(r.documents, [r.queries[q] for q in r.test.tolist()]), r.labels(r.test), k=10) - 0.66) < 0.02
    )  # BEIR: 0.665


def test_the_real_cranfield():
    counts, r = real("cranfield"), data.retrieval("cranfield")
    assert len(r.documents) == counts["documents"] and len(r.queries) == counts["queries"] and all(r.relevance)
    assert sum(map(len, r.relevance)) == 1612  # 1837 judgements, of which 225 are below 0


def test_the_real_stsb():
    counts, loaded = real("stsb"), data.load("stsb")
    assert {part: len(rows) for part, rows in loaded.items()} == counts
    assert all(0 <= score <= 5 and one and other for rows in loaded.values() for one, other, score in rows)


def test_the_real_lists():
    counts, raw, splits = real("lightgbm_ltr"), data.load("lightgbm_ltr"), data.lists()
    assert raw["train"][0].shape == (counts["train"], 300) and raw["test"][0].shape == (counts["test"], 300)
    assert len(raw["train_lengths"]) == counts["train_queries"] and len(raw["test_lengths"]) == counts["test_queries"]
    assert np.bincount(raw["train"][1]).tolist() == [645, 1211, 858, 222, 69]
    assert sum(part.mask.sum().item() for part in splits) == counts["train"] + counts["test"]


# --- texts of one's own ------------------------------------------------------------------------------------------------------------------


def written(folder, name, text):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return path


@pytest.mark.parametrize(("name", "text"), [
    ("a.csv", 'query,positive,split\n"life, or?",cell,\n"life, or?",gene,\nlight?,star,test\ndark?,cell,dev\n'),
    ("a.tsv", "query\tpositive\tsplit\nlife, or?\tcell\t\nlife, or?\tgene\t\nlight?\tstar\ttest\ndark?\tcell\tdev\n"),
    ("a.jsonl.gz", '{"query": "life, or?", "positive": "cell"}\n{"query": "life, or?", "positive": "gene"}\n'
                   '{"query": "light?", "positive": "star", "split": "test"}\n{"positive": "cell", "query": "dark?", "split": "valid"}\n'),
])  # fmt: skip
def test_texts_of_ones_own(tmp_path, name, text):
    own = data.read_retrieval(written(tmp_path, name, text))
    assert own.documents == ["cell", "gene", "star"] and own.queries == ["life, or?", "light?", "dark?"]
    assert own.relevance == [{0, 1}, {2}, {0}]
    assert [part.tolist() for part in own[3:]] == [[0], [2], [1]]


def test_a_folder_in_the_form_of_beir(tmp_path):
    written(tmp_path, "corpus.jsonl.gz", '{"_id": "d1", "title": "A", "text": "cell"}\n{"_id": "d2", "text": "star"}\n')
    written(tmp_path, "queries.jsonl", '{"_id": "q1", "text": "life?"}\n{"_id": "q2", "text": "light?"}\n{"_id": "q3", "text": "?"}\n')
    written(tmp_path, "qrels/train.tsv", "query-id\tcorpus-id\tscore\nq1\td1\t1\nq1\td2\t0\n")
    written(tmp_path, "qrels/test.tsv", "query-id\tcorpus-id\tscore\nq2\td2\t2\nq3\td9\t1\n")
    own = data.read_retrieval(tmp_path)
    assert own.documents == ["A cell", "star"] and own.queries == ["life?", "light?"] and own.relevance == [{0}, {1}]
    assert [part.tolist() for part in own[3:]] == [[0], [], [1]]


@pytest.mark.parametrize(("name", "text", "error", "words"), [
    ("a.csv", "query,answer\n1,2\n", ValueError, "path: a.csv has no column positive"), ("a.csv", "", ValueError, "path: a.csv has no column query"),
    ("a.xlsx", "", ValueError, "path: got a.xlsx, want a .csv"), ("a.csv", "query,positive,split\n1,2,best\n", ValueError, "path: got split 'best'"),
    ("a.jsonl", '{"query": 1\n', ValueError, "line 1"),
])  # fmt: skip
def test_a_file_of_ones_own_that_is_wrong_is_named(tmp_path, name, text, error, words):
    with pytest.raises(error, match=words):
        data.read_retrieval(written(tmp_path, name, text))


@pytest.mark.parametrize(("name", "text", "words"), [
    ("corpus.jsonl", '{"_id": "d1"}\n', "path: row 1 of corpus.jsonl has no text"), ("queries.jsonl", '{"text": "life?"}\n', "row 1 of queries.jsonl has no _id"),
    ("qrels/train.tsv", "query-id\tcorpus-id\tscore\nq7\td1\t1\n", "train.tsv judges query 'q7', which queries.jsonl has not"),
])  # fmt: skip
def test_a_folder_that_does_not_fit_together_says_where(tmp_path, name, text, words):
    good = {
        "corpus.jsonl": '{"_id": "d1", "text": "cell"}\n',
        "queries.jsonl": '{"_id": "q1", "text": "life?"}\n',
        "qrels/train.tsv": "query-id\tcorpus-id\tscore\nq1\td1\t1\n",
    }
    for file, contents in (good | {name: text}).items():
        written(tmp_path, file, contents)
    with pytest.raises(ValueError, match=words):
        data.read_retrieval(tmp_path)


def test_numbers_in_json_lines_are_texts(tmp_path):
    own = data.read_retrieval(written(tmp_path, "a.jsonl", '{"query": 7, "positive": 8}\n'))
    assert (own.queries, own.documents) == (["7"], ["8"])


def test_what_is_not_there_and_rows_that_lack_something(tmp_path):
    with pytest.raises(FileNotFoundError, match="path: nothing at"):
        data.read_retrieval(tmp_path / "a.csv")
    with pytest.warns(UserWarning, match="a.csv: 2 of 3 rows have no query or no positive and are left out, the first is row 1"):
        own = data.read_retrieval(written(tmp_path, "a.csv", "query,positive\nlife?,\nlight?,star\n ,cell\n"))
    assert own.documents == ["star"]
    with pytest.warns(UserWarning), pytest.raises(ValueError, match="has no query with a relevant document"):
        data.read_retrieval(written(tmp_path, "b.csv", "query,positive\nlife?,\n"))
