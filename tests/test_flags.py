"""Every public function's switches want True or False and say so first; numpy's scalars pass wherever a number is wanted."""

import importlib
import inspect
import pkgutil

import numpy
import pytest
import torch
from torch import nn

import contrastive_nb
from contrastive_nb import data, encoders, metrics, objectives, pairs, registry, scaling, training
from contrastive_nb.checks import check_count, check_flag, check_labels, check_number, check_temperature


def public() -> dict:
    "'module.name' -> every function, class and method that a module of the package offers in its `__all__`."
    found = {}
    for entry in pkgutil.walk_packages(contrastive_nb.__path__, "contrastive_nb."):
        if entry.name.endswith("__main__"):
            continue
        module = importlib.import_module(entry.name)
        for name in getattr(module, "__all__", []):
            thing = getattr(module, name)
            if callable(thing) and getattr(thing, "__module__", "") == entry.name:
                found[f"{entry.name}.{name}"] = thing
                methods = vars(thing).items() if inspect.isclass(thing) else ()
                found |= {f"{entry.name}.{name}.{k}": f for k, f in methods if inspect.isfunction(f) and not k.startswith("_")}
    return found


def flags() -> list:
    "(function, its switch) for every parameter that is annotated as a bool, also as one that may be None."
    rows = []
    for name, function in public().items():
        plain = inspect.isclass(function) and issubclass(function, (tuple, Exception))  # tuples and errors look at nothing
        plain = plain or hasattr(function, "get_params")  # an estimator looks when it fits, as scikit-learn asks
        parameters = () if plain else inspect.signature(function).parameters.values()
        rows += [pytest.param(function, p.name, id=f"{name}, {p.name}") for p in parameters if p.annotation in (bool, bool | None)]
    return rows


def test_the_search_finds_the_switches_that_there_are():
    found = {(row.values[0].__name__, row.values[1]) for row in flags()}
    assert {("views", "detach_key"), ("auc", "pooled"), ("augment", "flip"), ("ring_mw", "exclude_self"), ("fit", "progress")} <= found
    assert {(m.function.split(":")[1], "check") for m in registry.methods(kind="objective")} <= found


@pytest.mark.parametrize(("function", "flag"), flags())
@pytest.mark.parametrize("wrong", ["no", 1, 0.0, "False", [True], torch.tensor(True)], ids=repr)
def test_a_switch_that_is_no_bool_is_refused_before_anything_else_is_looked_at(function, flag, wrong):
    "So the rest may be anything: here None for every argument that has no default."
    needed = {
        p.name: None for p in inspect.signature(function).parameters.values() if p.default is p.empty and p.kind is not p.VAR_POSITIONAL
    }
    with pytest.raises(TypeError, match=rf"^{flag}: got {type(wrong).__name__}, want True or False"):
        function(**(needed | {flag: wrong}))


@pytest.mark.parametrize("value", [True, False, numpy.True_, numpy.False_])
def test_bools_of_python_and_numpy_are_flags(value):
    assert check_flag("flip", value) is bool(value)


NUMBERS = [0.5, 1, numpy.float16(0.5), numpy.float32(0.5), numpy.float64(0.5), numpy.int64(1), numpy.uint8(1)]


@pytest.mark.parametrize("value", NUMBERS, ids=lambda x: type(x).__name__)
def test_numbers_of_python_and_numpy_come_back_as_pythons(value):
    got = check_number("prior", value, 0, 1)
    assert got == value and type(got) is (int if value == 1 else float)
    got = check_temperature(value, torch.zeros(2, 2))
    assert got == value and type(got) is float


@pytest.mark.parametrize("value", [3, numpy.int8(3), numpy.int64(3), numpy.uint16(3)], ids=lambda x: type(x).__name__)
def test_whole_numbers_of_python_and_numpy_come_back_as_pythons(value):
    assert check_count("k", value, 3, 3) == 3 and type(check_count("k", value)) is int


@pytest.mark.parametrize(
    ("value", "exception", "words"),
    [
        (0, ValueError, "k: got 0, want a whole number from 1 to 5"),
        (numpy.int64(6), ValueError, "k: got 6, want a whole number from 1 to 5"),
        (2.0, TypeError, "k: got float, want a whole number"),
        (numpy.float32(2), TypeError, "k: got float32, want a whole number"),
        (True, TypeError, "k: got bool, want a whole number"),
        (numpy.True_, TypeError, "k: got bool_?, want a whole number"),
        ("2", TypeError, "k: got str, want a whole number"),
        (None, TypeError, "k: got NoneType, want a whole number"),
        (torch.tensor(2), TypeError, "k: got Tensor, want a whole number"),
    ],
)
def test_check_count(value, exception, words):
    with pytest.raises(exception, match=words):
        check_count("k", value, 1, 5)


def test_check_count_without_an_upper_end():
    assert check_count("steps", 10**20, 0) == 10**20
    with pytest.raises(ValueError, match="steps: got -1, want a whole number from 0 on"):
        check_count("steps", -1, 0)


@pytest.mark.parametrize("value", [numpy.True_, numpy.array([0.5]), "0.5", None, 0.5j, torch.tensor(0.5)], ids=repr)
def test_what_is_no_number_is_refused(value):
    with pytest.raises(TypeError, match="prior: got .*want a number"):
        check_number("prior", value, 0, 1)


def test_check_labels():
    z, labels = torch.zeros(3, 2), torch.tensor([0, 1, -1])
    assert check_labels("labels", labels, "z", z) is labels
    assert check_labels("labels", labels.to("meta"), "z", z, device=False).is_meta
    for wrong, exception, words in (
        ([0, 1, 2], TypeError, "ids: got list, want a tensor of integers"),
        (labels.half(), TypeError, "ids: got torch.float16, want a tensor of integers"),
        (labels[:2], ValueError, r"ids: got shape \(2,\), want \(3,\): one id a row of z"),
        (labels.to("meta"), ValueError, "ids: got device meta, want cpu, where z is"),
    ):
        with pytest.raises(exception, match=words):
            check_labels("ids", wrong, "z", z, what="id")


def test_objectives_take_numpys_scalars_and_give_the_same_bits():
    z = torch.randn(6, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()
    parts = pairs.from_labels(z, torch.tensor([0, 1, 0, 1, 0, 1]), detach_key=numpy.False_)
    for name, options in {
        "info_nce": {"temperature": 0.5, "check": True},
        "mw": {"temperature": 0.5},
        "triplet": {"margin": 0.25},
        "cacr": {"alpha": 0.5, "tau_pos": 2, "detach_weights": True},
        "groco": {"top_k": 2, "steepness": 0.5},
    }.items():
        odd = {
            k: numpy.bool_(v) if isinstance(v, bool) else numpy.int64(v) if isinstance(v, int) else numpy.float32(v)
            for k, v in options.items()
        }
        function = getattr(objectives, name)
        (want, slope), (got, same) = (
            (loss, torch.autograd.grad(loss, z, retain_graph=True)[0]) for loss in (function(*parts, **options), function(*parts, **odd))
        )
        assert torch.equal(got, want) and got.dtype == want.dtype and torch.equal(same, slope), name


QUERY, KEY = (torch.randn(8, 4, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1))
PAIRS, CLASSES = pairs.in_batch(QUERY, KEY), torch.arange(8) % 2


def trained(steps, lr, seed, progress):
    model = encoders.seeded(0, lambda: nn.Linear(4, 3))
    sample = lambda generator: (torch.randn(8, 4, generator=generator), torch.randn(8, 4, generator=generator))
    build = lambda model, a, b: pairs.in_batch(model(a), model(b))
    objective = lambda *pairs: objectives.info_nce(*pairs, temperature=0.5)
    return training.fit(model, sample, build, objective, steps=steps, lr=lr, seed=seed, progress=progress).losses


CALLS = {  # a call, and what it is given
    "streaming": (lambda **k: scaling.streaming_info_nce(QUERY, KEY, **k), {"temperature": 0.5, "chunk": 3, "exclude_self": False}),
    "ring": (lambda **k: scaling.ring_info_nce(QUERY, KEY, **k), {"temperature": 0.5, "chunk": 3, "check": True}),
    "cached": (lambda **k: scaling.cached(nn.Identity(), QUERY, **k), {"mini_batch": 3, "mini_batch_statistics": True}),
    "soft targets": (lambda **k: objectives.soft_nce(QUERY, KEY.abs(), **k), {"temperature": 0.5, "check": True}),
    "lists": (lambda **k: objectives.ranklist(QUERY, KEY, **k), {"skips": 1, "margin": 0.5, "decay": 0.5}),
    "recall": (lambda **k: metrics.recall_at(*PAIRS, **k), {"k": 2}),
    "roc": (lambda **k: metrics.roc(*PAIRS, **k).tpr, {"pooled": False, "points": 11}),
    "uniformity": (lambda **k: metrics.uniformity(KEY, **k), {"t": 2.0, "chunk": 3}),
    "few labels": (lambda **k: metrics.few_label_accuracy(KEY, CLASSES, KEY, CLASSES, **k), {"per_class": 1, "draws": 2, "seed": 3}),
    "augment": (
        lambda **k: encoders.augment(QUERY.repeat(2, 2).view(2, 1, 8, 8), torch.Generator().manual_seed(0), **k),
        {"rotate": 4.0, "erase": 2, "flip": True},
    ),
    "latent classes": (lambda **k: data.latent_classes(**k).centres, {"classes": 3, "dim": 4, "spread": 0.5, "seed": 1}),
    "fit": (lambda **k: torch.tensor(trained(**k)), {"steps": 2, "lr": 0.25, "seed": 1, "progress": False}),
}


@pytest.mark.parametrize("name", CALLS)
def test_numpys_scalars_say_the_same_as_pythons(name):
    call, options = CALLS[name]
    kinds = {bool: numpy.bool_, int: numpy.int64, float: numpy.float32}
    want, got = call(**options), call(**{key: kinds[type(value)](value) for key, value in options.items()})
    assert torch.equal(torch.as_tensor(got), torch.as_tensor(want))
