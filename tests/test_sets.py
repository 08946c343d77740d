"""Sentences, intents, texts and voices: on small sets made here in the formats of the real ones, and on the real ones where they are."""

import gzip
import hashlib
import io
import json
import math
import wave
import zipfile

import numpy as np
import pytest
import torch
from scipy import signal

from contrastive_nb import data, files

# --- sets made here ---------------------------------------------------------------------------------------------------------------------

STSB = {f"stsb-en-{part}.csv.gz": f'"One, {part}.",Two.,{score}\n' for part, score in (("train", 5.0), ("dev", 2.5), ("test", 0.0))}
HEAD = "pair_ID\tsentence_A\tsentence_B\trelatedness_score\tentailment_judgment\n"
SICK = {
    "SICK_train.txt.gz": HEAD + '1\tA "dog"\tA cat\t3.5\tNEUTRAL\r\n2\tA dog\tNo dog\t4.0\tCONTRADICTION\n',
    "SICK_trial.txt.gz": HEAD + "3\tA\tB\t1.0\tNEUTRAL\n",
    "SICK_test_annotated.txt.gz": HEAD + "4\tA\tA\t5.0\tENTAILMENT\n",
}
STS = {
    "2012.MSRpar.train.tsv.gz": "4.4\tone\tother\n",
    "2012.OnWN.test.tsv.gz": "2.0\tone\tother\n",
    "2015.belief.test.tsv.gz": "\tno\tscore\n0.5\tthis\tthat\n",
}
BANKING = {
    "train.csv.gz": "text,category\nWhere is it?,card\n" + "".join(f'"Again, {i}",{"card" if i % 2 else "rate"}\n' for i in range(9)),
    "test.csv.gz": "text,category\nHow much?,rate\n",
    "categories.json": '["card", "rate"]',
}


def zipped(sounds, channels=1):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, samples in sounds.items():
            with archive.open(name, "w") as file, wave.open(file, "wb") as sound:
                sound.setparams((channels, 2, 8000, 0, "NONE", ""))
                sound.writeframes(np.asarray(samples, "<i2").tobytes())
    return packed.getvalue()


SOUNDS = {f"{digit}_{who}_{i}.wav": [100 * digit + i, -(2**15)][: 1 + i] for digit in range(3) for who in ("ann", "bob") for i in range(2)}
FSDD = {"recordings.zip": zipped(SOUNDS)}


@pytest.fixture
def make(tmp_path):
    "A store that has a set of the registry's name and form with contents of our own."

    def store(name, contents):
        entry = json.loads(files.shared("data/registry.json").read_text(encoding="utf-8"))[name]
        told = {record["file"]: record for record in entry["files"]}
        records = []
        for file, inside in contents.items():
            inside = inside if isinstance(inside, bytes) else inside.encode()
            path = tmp_path / name / file
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(gzip.compress(inside) if file.endswith(".gz") else inside)
            records.append(told[file] | {"sha256": hashlib.sha256(inside).hexdigest()})
        return data.Store(tmp_path, tmp_path / "cache", {name: entry | {"files": records, "sources": []}})

    return store


def test_sentences_of_the_benchmark(make):
    splits = data.sentences(store=make("stsb", STSB))
    assert [tuple(part.one) for part in splits] == [("One, train.",), ("One, dev.",), ("One, test.",)]
    assert [part.score.tolist() for part in splits] == [[5.0], [2.5], [0.0]] and splits.train.tag == [""]


def test_sentences_with_entailment(make):
    train, valid, test = data.sentences("sick2014", store=make("sick2014", SICK))
    assert train.one == ['A "dog"', "A dog"] and train.other == ["A cat", "No dog"] and train.tag == ["neutral", "contradiction"]
    assert train.score.tolist() == [3.5, 4.0] and len(valid.one) == 1 and test.tag == ["entailment"] and train.score.dtype == torch.float32


def test_sentences_of_five_years_without_those_that_nobody_scored(make):
    train, valid, test = data.sentences("sts12_16", store=make("sts12_16", STS))
    assert train == data.ScoredPairs(["one"], ["other"], train.score, ["2012 MSRpar"]) and valid.one == [] and valid.score.shape == (0,)
    assert test.one == ["one", "this"] and test.tag == ["2012 OnWN", "2015 belief"] and test.score.tolist() == [2.0, 0.5]


def test_intents_are_split_by_the_seed_and_the_test_stays_whole(make):
    store = make("banking77", BANKING)
    train, valid, test = data.intents(seed=1, valid=0.3, store=store)
    assert test.text == ["How much?"] and test.y.tolist() == [1] and test.names == ("card", "rate")
    assert len(train.text) == 7 and len(valid.text) == 3 and not set(train.text) & set(valid.text)
    for part in (train, valid):
        for text, y in zip(part.text, part.y.tolist(), strict=True):
            assert y == (0 if text == "Where is it?" or int(text[-1]) % 2 else 1)
    again, other = data.intents(seed=1, valid=0.3, store=store), data.intents(seed=2, valid=0.3, store=store)
    assert again.train.text == train.text != other.train.text


def test_voices_keep_their_samples_digits_and_speakers(make):
    splits = data.spoken_digits(train=6, valid=2, test=4, store=make("fsdd_subset", FSDD))
    assert [len(part.x) for part in splits] == [6, 2, 4]
    seen = []
    for part in splits:
        assert part.x.dtype == torch.float32 and part.x.shape[1] == 2
        for x, length, digit, speaker in zip(*part, strict=True):
            sound = (x[:length] * 2**15).round().int().tolist()
            assert not x[length:].any()
            seen.append(f"{digit}_{('ann', 'bob')[speaker]}_{length - 1}.wav")
            assert sound == SOUNDS[seen[-1]]
    assert sorted(seen) == sorted(SOUNDS)


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda: data.sentences("mrpc"), ValueError, "name: got 'mrpc'"),
        (lambda: data.intents("clinc"), ValueError, "name: got 'clinc'"),
        (lambda: data.intents(valid=1.0), ValueError, "valid: got 1"),
        (lambda: data.texts("shakespeare"), ValueError, "name: got 'shakespeare'"),
        (lambda: data.texts(train=-1), ValueError, "train: got -1"),
        (lambda: data.texts(seed=True), TypeError, "seed: got bool"),
    ],
)
def test_what_no_set_has_is_refused_by_name(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_more_voices_than_there_are_is_refused(make):
    with pytest.raises(ValueError, match=r"train \+ valid \+ test: got 900 recordings, want at most 12"):
        data.spoken_digits(store=make("fsdd_subset", FSDD))


def test_a_wav_of_another_kind_is_refused():
    with pytest.raises(ValueError, match="contents: a.wav has 2 channels of 2 bytes, want 1 of 2"):
        data.read_wavs(zipped({"a.wav": [1, 2]}, channels=2))


def test_a_later_reader_is_known_to_the_loader():
    assert {"csv": data.read_csv, "tsv": data.read_tsv, "json": data.read_json, "wavs": data.read_wavs}.items() <= data.READERS.items()


# --- Python's own library ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["stdlib_code", "stdlib_text"])
def test_texts_come_in_parts_that_share_no_module(name):
    splits = data.texts(name, train=120, valid=10, test=40)
    assert [len(part.text) for part in splits] == [120, 10, 40]
    sources = [set(part.source) for part in splits]
    assert not (sources[0] & sources[1] or sources[0] & sources[2] or sources[1] & sources[2])
    again, other = data.texts(name, train=5, valid=0, test=0), data.texts(name, 1, train=5, valid=0, test=0)
    assert again.train.text == data.texts(name, train=5, valid=0, test=0).train.text != other.train.text


def test_texts_come_with_the_name_alone():
    assert [len(part.text) for part in data.texts("stdlib_code")] == [600, 100, 300]


def test_code_has_lost_its_docstring_and_says_what_it_did_before(tmp_path, monkeypatch):
    (tmp_path / "pack").mkdir()
    (tmp_path / "test").mkdir()
    (tmp_path / "test" / "left_out.py").write_text('def f():\n    "Not to be seen here."\n    return 1\n')
    (tmp_path / "wrong.py").write_text("def (\n")
    (tmp_path / "pack" / "__init__.py").write_text(
        '"""A module that tells in eight words what it does.\n\nShort.\n"""\n'
        'class A:\n    def g(self):\n        """Give back one and no more.\n\n        >>> 1 + 1 is two and this is an example here\n        """\n        return 1\n\n'
        'def empty():\n    "Only a docstring and nothing."\n'
        'def plain():\n    return 2\n'
    )  # fmt: skip
    monkeypatch.setattr(data.sysconfig, "get_paths", lambda: {"stdlib": str(tmp_path)})
    (code, *_), (text, *_) = (data.texts(name, train=9, valid=0, test=0) for name in ("stdlib_code", "stdlib_text"))
    assert code == data.Texts(["def g(self):\n    return 1"], ["Give back one and no more."], ["pack"])
    assert text == data.Texts(["A module that tells in eight words what it does."], ["pack"], ["pack"])


def test_a_python_without_sources_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(data.sysconfig, "get_paths", lambda: {"stdlib": str(tmp_path)})
    with pytest.raises(data.DataUnavailable, match="no sources of Python's library"):
        data.texts()


# --- sounds ---------------------------------------------------------------------------------------------------------------------------------


def test_power_is_that_of_scipy():
    x = torch.randn(1, 1600, generator=torch.Generator().manual_seed(0))
    judge = signal.ShortTimeFFT(signal.windows.hann(256, sym=False), 160, 8000)
    power = np.abs(judge.stft(x[0].double().numpy(), p0=0, p1=11)) ** 2
    place, middle = np.linspace(0, 4000, 129), 700 * (10 ** (math.log10(1 + 4000 / 700) / 2) - 1)
    triangle = np.minimum(place / middle, (4000 - place) / (4000 - middle))  # one band over all frequencies
    wide = data.log_mel(x, bands=1, frames=None).double().exp() - 1e-6
    np.testing.assert_allclose(wide[0, 0].numpy(), triangle @ power, rtol=1e-4)


@pytest.mark.parametrize("pitch", [300, 1000, 2500])
def test_a_tone_is_loudest_where_its_pitch_is(pitch):
    x = torch.sin(2 * math.pi * pitch * torch.arange(8000) / 8000)[None]
    mel = 2595 * math.log10(1 + pitch / 700) / (2595 * math.log10(1 + 4000 / 700)) * 33 - 1  # among the centres of the 32 bands
    assert abs(data.log_mel(x, frames=None).exp().mean(2).argmax().item() - mel) <= 0.75


def test_frames_are_cut_or_filled_with_silence():
    x = torch.randn(3, 4000, generator=torch.Generator().manual_seed(1))
    short, long = data.log_mel(x, frames=10), data.log_mel(x, frames=60)
    assert short.shape == (3, 32, 10) and long.shape == (3, 32, 60)
    torch.testing.assert_close(long[:, :, :10], short)
    torch.testing.assert_close(long[:, :, 40:], torch.full((3, 32, 20), math.log(1e-6)))
    for arguments, name in (
        (dict(frames=0), "frames"),
        (dict(bands=0), "bands"),
        (dict(window=1), "window"),
        (dict(hop=0), "hop"),
        (dict(rate=0), "rate"),
    ):
        with pytest.raises(ValueError, match=f"{name}: got"):
            data.log_mel(x, **arguments)
    with pytest.raises(ValueError, match="x: got shape"):
        data.log_mel(x[0])


# --- the real sets --------------------------------------------------------------------------------------------------------------------------


def real(name):
    if not data.available(name):
        pytest.skip(f"{name} is in no folder here and there is no network: set CONTRASTIVE_NB_DATA to a folder that has it")
    return json.loads(files.shared("data/registry.json").read_text(encoding="utf-8"))[name]["counts"]


@pytest.mark.parametrize("name, low", [("stsb", 0), ("sick2014", 1), ("sts12_16", 0)])
def test_the_real_sentences(name, low):
    counts, splits = real(name), data.sentences(name)
    for part, found in zip(("train", "valid", "test"), splits, strict=True):
        assert len(found.one) == len(found.other) == len(found.score) == len(found.tag) == counts.get(part, 0)
        assert all(map(str.strip, found.one)) and all(map(str.strip, found.other))
        assert not len(found.score) or low <= found.score.min() <= found.score.max() <= 5
    if name == "sick2014":
        assert set(splits.test.tag) == {"neutral", "entailment", "contradiction"}
    if name == "sts12_16":
        assert {tag[:4] for tag in splits.test.tag} == {"2012", "2013", "2014", "2015", "2016"} and {t[:4] for t in splits.train.tag} == {
            "2012"
        }


def test_the_real_intents():
    counts, (train, valid, test) = real("banking77"), data.intents()
    assert (
        len(train.text) + len(valid.text) == counts["train"] and len(test.text) == counts["test"] and len(test.names) == counts["intents"]
    )
    assert test.y.bincount().tolist() == [40] * 77


def test_the_real_voices():
    counts, splits = real("fsdd_subset"), data.spoken_digits()
    assert sum(len(part.x) for part in splits) == counts["recordings"]
    whole = torch.cat([part.y * 6 + part.speaker for part in splits])
    assert whole.bincount().tolist() == [15] * 60
    assert all(part.x.abs().max() <= 1 and part.length.min() > 800 for part in splits)
