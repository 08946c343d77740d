"""NCE and MECO take two lists of log-ratios, not pairs, so the registry has no entry for them: their checks stand here."""

import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from harness import close, load_from_page, normal, value_and_gradient

from contrastive_nb.objectives import Meco, meco_loss, nce_loss
from contrastive_nb.training import fit

PAGE = "1_objectives/03_noise_contrast"
SIZES = [(1, 1), (1, 7), (6, 1), (5, 5), (4, 12)]


def ratios(count: int, drawn: int, scale: float = 2.0, seed: int = 0):
    return scale * normal(count, seed=seed), scale * normal(drawn, seed=seed + 50)


# ---- noise-contrastive estimation ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("nu", [None, 0.3, 1.0, 40.0])
@pytest.mark.parametrize("sizes", SIZES)
def test_nce_is_the_loop_over_samples(sizes, nu):
    by_hand = load_from_page(PAGE, "nce_by_hand")
    inputs, odds = ratios(*sizes), sizes[1] / sizes[0] if nu is None else nu
    want, slopes = value_and_gradient(lambda d, n: by_hand(d, n, odds), *inputs)
    got, gradients = value_and_gradient(lambda d, n: nce_loss(d, n, noise_per_datum=nu), *inputs)
    close(got, want, "value", tolerance=1e-12)
    for gradient, slope in zip(gradients, slopes, strict=True):
        close(gradient, slope, "gradient", tolerance=1e-12)


@pytest.mark.parametrize("sizes", SIZES)
def test_nce_is_logistic_regression_with_moved_log_odds(sizes):
    data, noise = ratios(*sizes)
    labels = torch.cat([torch.ones_like(data), torch.zeros_like(noise)])
    logits = torch.cat([data, noise]) - math.log(len(noise) / len(data))
    want = F.binary_cross_entropy_with_logits(logits, labels, reduction="sum") / len(data)
    close(nce_loss(data, noise), want, "against torch", tolerance=1e-12)


@pytest.mark.parametrize("nu", [None, 3.0])
def test_nce_reductions_tell_one_story(nu):
    data, noise = ratios(4, 6)
    none, total, mean = (nce_loss(data, noise, noise_per_datum=nu, reduction=r) for r in ("none", "sum", "mean"))
    assert none.shape == (10,) and total.shape == mean.shape == ()
    close(none.sum(), total, "sum", tolerance=1e-14)
    close(total / 4, mean, "mean: per datum", tolerance=1e-14)
    close(none[:4], nce_loss(data, noise.roll(1), noise_per_datum=nu, reduction="none")[:4], "the data come first", tolerance=0)


def test_nce_gradcheck():
    inputs = [x.requires_grad_() for x in ratios(3, 5)]
    assert torch.autograd.gradcheck(nce_loss, inputs)
    assert torch.autograd.gradgradcheck(nce_loss, inputs)


def test_the_order_of_samples_does_not_matter():
    data, noise = ratios(5, 9)
    close(nce_loss(data.flip(0), noise.flip(0)), nce_loss(data, noise), "NCE", tolerance=1e-14)
    close(Meco()(data.flip(0), noise.flip(0)), Meco()(data, noise), "MECO", tolerance=1e-14)


def test_more_ratio_on_the_data_is_better_and_on_the_noise_worse():
    for loss in (nce_loss, Meco()):
        _, (pull, push) = value_and_gradient(loss, *ratios(5, 9))
        assert (pull < 0).all() and (push > 0).all()


def test_nce_is_least_at_the_true_ratio_constant_included():
    "Three outcomes: expectations are sums, so the gradient at the truth is exactly 0, whatever the noise and its odds."
    p, q = torch.tensor([0.7, 0.2, 0.1]).double(), torch.tensor([0.1, 0.3, 0.6]).double()
    truth = (p.log() - q.log()).requires_grad_()
    for nu in (0.5, 1.0, 10.0):
        terms = nce_loss(truth, truth, noise_per_datum=nu, reduction="none")
        loss = (p * terms[:3]).sum() + (q * terms[3:]).sum()  # a noise term is worth nu * 3 / 3
        assert torch.autograd.grad(loss, truth)[0].abs().max() < 1e-15


@pytest.mark.parametrize("scale", [1.0, 30.0, 300.0])
def test_digits_in_float32(scale):
    inputs = [x.float() for x in ratios(20, 30, scale)]
    for loss in (nce_loss, lambda d, n: Meco().double()(d, n)):
        want, slopes = value_and_gradient(loss, *(x.double() for x in inputs))
        got, gradients = value_and_gradient(loss, *inputs)
        assert got.dtype == torch.float32 and abs(got.double() - want) <= 1e-6 * abs(want)
        for gradient, slope in zip(gradients, slopes, strict=True):
            assert (gradient.double() - slope).norm() <= 1e-5 * slope.norm()


def test_sure_answers_stay_finite():
    sure = torch.tensor([1e4, -1e4])
    for data, noise in itertools.product((sure, -sure), repeat=2):
        for loss in (nce_loss, Meco()):
            value, gradients = value_and_gradient(loss, data, noise)
            assert torch.isfinite(value) and all(torch.isfinite(g).all() for g in gradients)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype):
    inputs = [x.to(dtype) for x in ratios(20, 30)]
    for loss in (nce_loss, Meco()):
        value = loss(*inputs)
        close(value, loss(*(x.float() for x in inputs)) if loss is nce_loss else Meco()(*(x.float() for x in inputs)), "half", tolerance=0)
        assert value.dtype == torch.float32
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert nce_loss(*inputs).dtype == torch.float32


def test_a_nan_is_not_hidden():
    data, noise = ratios(4, 4)
    noise[1] = math.nan
    assert nce_loss(data, noise).isnan() and Meco()(data, noise).isnan()
    assert nce_loss(data, noise, reduction="none").isnan().sum() == 1


def test_noise_where_the_model_has_no_mass_is_an_honest_answer():
    data, noise = ratios(3, 4)
    noise[2] = -math.inf
    assert torch.isfinite(nce_loss(data, noise, check=True)) and torch.isfinite(Meco()(data, noise, check=True))
    _, gradients = value_and_gradient(Meco(), data, noise)
    assert all(torch.isfinite(g).all() for g in gradients)


def test_torch_func():
    data, noise = ratios(4, 6)
    stacked = torch.stack([data, data.flip(0)])
    for loss in (nce_loss, lambda d, n: meco_loss(d, n, torch.tensor(0.3).double())):
        _, (slope, _) = value_and_gradient(loss, data, noise)
        close(torch.func.grad(loss)(data, noise), slope, "torch.func.grad", tolerance=1e-12)
        want = torch.stack([loss(d, noise) for d in stacked])
        close(torch.func.vmap(loss, (0, None))(stacked, noise), want, "torch.func.vmap", tolerance=1e-12)


# ---- the compositional estimate --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("gamma", [1.0, 0.5, 0.1, 0.001])
def test_meco_is_the_loop_over_samples_and_steps(gamma):
    by_hand, meco, u = load_from_page(PAGE, "meco_by_hand"), Meco(gamma).double(), None
    for step, sizes in enumerate(SIZES):
        inputs = ratios(*sizes, seed=step)
        u, pulls, pushes = by_hand(*inputs, u, gamma)
        value, (pull, push) = value_and_gradient(meco, *inputs)
        close(meco.log_u, u.log(), "log u", tolerance=1e-12)
        close(pull, pulls, "gradient of the data", tolerance=1e-12)
        close(push, pushes, "gradient of the noise", tolerance=1e-12)
        close(value, u.log() - inputs[0].mean(), "value", tolerance=1e-12)
    assert meco.batches == len(SIZES)


def test_the_gradient_is_that_of_the_mean_ratio_over_a_fixed_u():
    data, noise = ratios(4, 6)
    log_u = torch.tensor(1.3).double()
    _, slopes = value_and_gradient(lambda d, n: n.exp().mean() / log_u.exp() - d.mean(), data, noise)
    _, gradients = value_and_gradient(lambda d, n: meco_loss(d, n, log_u), data, noise)
    for gradient, slope in zip(gradients, slopes, strict=True):
        close(gradient, slope, "gradient", tolerance=1e-12)


def test_without_memory_it_is_the_log_mean_exp():
    forgetful = Meco(gamma=1.0)
    for seed in range(3):
        inputs = ratios(4, 6, seed=seed)
        want, slopes = value_and_gradient(lambda d, n: torch.logsumexp(n, 0) - math.log(6) - d.mean(), *inputs)
        got, gradients = value_and_gradient(forgetful, *inputs)
        close(got, want, "value", tolerance=1e-12)
        for gradient, slope in zip(gradients, slopes, strict=True):
            close(gradient, slope, "gradient", tolerance=1e-12)


def test_no_gradient_reaches_the_memory():
    data, noise = (x.requires_grad_() for x in ratios(4, 6))
    log_u = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
    meco_loss(data, noise, log_u).backward()
    assert log_u.grad is None and noise.grad is not None
    meco = Meco()
    meco(data, noise)
    assert not meco.log_u.requires_grad and not list(meco.parameters())


def test_a_push_never_exceeds_one_over_gamma():
    "The new batch is part of u, so a ratio that explodes cannot blow the gradient up."
    meco = Meco(0.1)
    meco(torch.zeros(2), torch.zeros(2))
    _, (_, push) = value_and_gradient(meco, torch.zeros(2), torch.full((2,), 1e4))
    assert push.sum() <= 10 + 1e-4


def test_the_memory_is_kept_and_left_alone_in_evaluation_mode():
    meco, (data, noise) = Meco(0.2), ratios(4, 6)
    fresh = meco.eval()(data, noise)
    close(fresh, Meco(1.0)(data, noise), "nothing seen: the batch's own", tolerance=1e-12)
    assert meco.batches == 0
    meco.train()(data, noise)
    before = meco.log_u.clone()
    value = meco.eval()(data, noise + 5)
    assert torch.equal(meco.log_u, before) and meco.batches == 1
    close(value, before.double() - data.mean(), "evaluation with the memory", tolerance=1e-6)
    other = Meco(0.2)
    other.load_state_dict(meco.state_dict())
    assert torch.equal(other.train()(data, noise), meco.train()(data, noise))


def test_the_running_mean_meets_the_constant():
    "Ratios of mean 3: u must find log 3."
    meco, generator = Meco(0.01).double(), torch.Generator().manual_seed(0)
    for _ in range(2000):
        noise = (6 * torch.rand(8, generator=generator, dtype=torch.float64)).log()
        meco(noise, noise)
    assert abs(meco.log_u.exp() - 3) < 0.2


def test_a_training_that_was_interrupted_remembers_u(tmp_path):
    "`fit` saves the objective's buffers too: taken up again, the weights are the same bits."

    def go(steps, path, stop=None):
        model, meco = torch.nn.Linear(1, 1), Meco(0.1)
        torch.nn.init.constant_(model.weight, 0.5)
        torch.nn.init.zeros_(model.bias)
        drawn = []

        def sample(generator):
            drawn.append(1)
            if stop is not None and len(drawn) > stop:
                raise KeyboardInterrupt
            return torch.randn(2, 16, 1, generator=generator).unbind(0)

        build = lambda m, x, y: (m(x)[:, 0], m(y)[:, 0])  # noqa: E731
        fit(model, sample, build, meco, steps=steps, lr=0.1, checkpoint=path, save_every=1)
        return model, meco

    whole, remembered = go(8, None)
    with pytest.raises(KeyboardInterrupt):
        go(8, tmp_path / "part.pt", stop=4)
    resumed, again = go(8, tmp_path / "part.pt")
    assert torch.equal(resumed.weight, whole.weight) and torch.equal(again.log_u, remembered.log_u) and again.batches == 8


# ---- wrong input -----------------------------------------------------------------------------------------------------------------

D, N = ratios(4, 6)
LOG_U = torch.tensor(0.0).double()


@pytest.mark.parametrize("call", [nce_loss, Meco(), lambda d, n, **k: meco_loss(d, n, LOG_U, **k)], ids=["nce", "Meco", "meco_loss"])
@pytest.mark.parametrize("what, arguments, keywords, exception, words", [
    ("a list", (D.tolist(), N), {}, TypeError, "data_log_ratio list tensor"),
    ("integers", (D, N.long()), {}, TypeError, "noise_log_ratio int64 floating"),
    ("a matrix", (D[None], N), {}, ValueError, "data_log_ratio shape (1, 4)"),
    ("no data", (D[:0], N), {}, ValueError, "data_log_ratio sample"),
    ("no noise", (D, N[:0]), {}, ValueError, "noise_log_ratio sample"),
    ("two dtypes", (D, N.float()), {}, TypeError, "noise_log_ratio float32 float64 data_log_ratio"),
    ("two devices", (D, N.to("meta")), {}, ValueError, "noise_log_ratio meta cpu"),
    ("NaN, looked for", (D, torch.where(N == N.max(), math.nan, N)), {"check": True}, ValueError, "noise_log_ratio finite sample"),
    ("impossible data", (torch.where(D == D.max(), -math.inf, D), N), {"check": True}, ValueError, "data_log_ratio finite sample"),
])  # fmt: skip
def test_wrong_ratios_are_refused_by_name(call, what, arguments, keywords, exception, words):
    with pytest.raises(exception) as error:
        call(*arguments, **keywords)
    assert all(word in str(error.value) for word in words.split()), str(error.value)


@pytest.mark.parametrize("call, exception, words", [
    (lambda: nce_loss(D, N, reduction="average"), ValueError, "reduction average mean"),
    (lambda: nce_loss(D, N, noise_per_datum=0), ValueError, "noise_per_datum 0"),
    (lambda: nce_loss(D, N, noise_per_datum=math.inf), ValueError, "noise_per_datum inf"),
    (lambda: nce_loss(D, N, noise_per_datum="5"), TypeError, "noise_per_datum str number"),
    (lambda: meco_loss(D, N, 0.5), TypeError, "log_u float tensor"),
    (lambda: meco_loss(D, N, LOG_U[None]), ValueError, "log_u shape (1,)"),
    (lambda: Meco(0.0), ValueError, "gamma 0.0"),
    (lambda: Meco(1.5), ValueError, "gamma 1.5"),
    (lambda: Meco(True), TypeError, "gamma bool number"),
])  # fmt: skip
def test_wrong_options_are_refused_by_name(call, exception, words):
    with pytest.raises(exception) as error:
        call()
    assert all(word in str(error.value) for word in words.split()), str(error.value)


def test_a_refused_batch_leaves_the_memory_alone():
    meco = Meco()
    meco(D, N)
    before = meco.log_u.clone()
    with pytest.raises(TypeError):
        meco(D, N.float())
    assert torch.equal(meco.log_u, before) and meco.batches == 1


@pytest.mark.parametrize("high", [100.0, 1e4, 3e37])
def test_meco_has_the_value_of_its_data_whatever_the_noise_says(high):
    "The slope of noise that far off fits no float32; the value does not hang on it."
    data, noise = torch.zeros(4, requires_grad=True), torch.full((4,), high, requires_grad=True)
    loss = meco_loss(data, noise, torch.tensor(0.0))
    pull, push = torch.autograd.grad(loss, (data, noise))
    assert loss == 0 and pull.tolist() == [-0.25] * 4 and (push == math.inf).all()


def test_mecos_slope_is_exact_where_it_fits():
    noise = torch.full((4,), 100.0, dtype=torch.float64, requires_grad=True)
    loss = meco_loss(torch.zeros(4).double(), noise, torch.tensor(0.0).double())
    (push,) = torch.autograd.grad(loss, noise)
    assert loss == 0 and torch.allclose(push, torch.full_like(push, math.exp(100) / 4), rtol=1e-12)


@pytest.mark.parametrize("noise", [math.nan, math.inf])
def test_meco_hides_no_noise_that_is_not_finite(noise):
    assert meco_loss(torch.zeros(4), torch.full((4,), noise), torch.tensor(0.0)).isnan()


def test_meco_takes_second_derivatives_and_transforms():
    noise, log_u, data = torch.tensor([0.3, -1.0, 0.5]).double(), torch.tensor(0.2).double(), torch.zeros(2).double()
    loss = lambda x: meco_loss(data, x, log_u)
    share = torch.exp(torch.logsumexp(noise, 0) - math.log(3) - log_u)
    assert torch.allclose(torch.func.grad(loss)(noise), share * noise.softmax(0))
    assert torch.allclose(torch.func.jvp(loss, (noise,), (torch.ones(3).double(),))[1], share)
    assert torch.allclose(torch.func.vmap(torch.func.grad(loss))(noise.repeat(2, 1)), (share * noise.softmax(0)).repeat(2, 1))
    curvature = torch.diag(torch.exp(noise - math.log(3) - log_u))  # of the mean of e^x, divided by u
    assert torch.allclose(torch.func.jacrev(torch.func.grad(loss))(noise), curvature)


def test_means_of_large_ratios_fit():
    data, noise = torch.full((20,), -3e37), torch.full((20,), 3e37)
    assert meco_loss(data, torch.zeros(20), torch.tensor(0.0)) == pytest.approx(3e37)
    assert nce_loss(data, noise) == pytest.approx(6e37)
