"""Answers to the exercises of the pages, as text in the names of each page; `solution` is the page's own.

For each page and each function of the reader's: `wrong`, what a reader may well write and the check must refuse; `right`, answers that
look otherwise than the solution and must pass; `forms=False` where the answer is a function or an input to measure, so that its
numbers cannot be brought into another form.
"""

ANSWERS = {
    "0_foundations/00_notation": {
        "my_largest_logit": {
            "wrong": ["lambda dtype: int(math.log(torch.finfo(dtype).max))", "lambda dtype: 88", "lambda dtype: torch.finfo(dtype).max"],
            "right": ["lambda dtype: math.floor(math.log(torch.finfo(dtype).max) - math.log(2))"],
        },
        "my_flat_loss": {
            "wrong": ["lambda n, t: math.log(n)", "lambda n, t: math.log(1 + n) / t"],
            "right": ["lambda n, t: -torch.zeros(n + 1).log_softmax(0)[0]"],
        },
        "my_masks": {
            "wrong": [
                "lambda y: (y[:, None] == y, y[:, None] != y)",
                "lambda y: ((y[:, None] == y) & ~torch.eye(len(y)).bool(), ~((y[:, None] == y) & ~torch.eye(len(y)).bool()))",
                "lambda y: tuple(mask.float() for mask in solution(y))",
                "lambda y: torch.stack(solution(y))",
            ],
            "right": ["lambda y: [mask.numpy() for mask in solution(y)]"],
        },
        "my_distance": {
            "wrong": ["lambda c: 2 - 2 * c", "lambda c: 1 - c", "lambda c: math.acos(c)"],
            "right": ["lambda c: 2 * math.sin(math.acos(c) / 2)"],
        },
    },
    "0_foundations/01_pairs": {
        "my_counts": {
            "wrong": [
                "lambda n, v: (n * (v - 1), n * v * (n - 1), n * v)",
                "lambda n, v: (n * v * (v - 1) // 2, n * v * v * (n - 1) // 2, n * v)",
                "lambda n, v: (n * v * (v - 1), (n * v) ** 2 - n * v * (v - 1), 0)",
            ],
            "right": ["lambda n, v: torch.tensor([n * v * (v - 1), (n * v) * (n * v - v), n * v])"],
        },
        "my_without_twins": {
            "wrong": [
                "lambda q, k, ids: in_batch(q, k)",
                "lambda q, k, ids: exclude(in_batch(q, k), ids[:, None] != ids)",
                "lambda q, k, ids: in_batch(q, k)._replace(negatives=ids[:, None] == ids)",
            ],
            "right": ["lambda q, k, ids: tuple(exclude(in_batch(q, k), (ids[:, None] == ids) & ~torch.eye(len(ids), dtype=torch.bool)))"],
        },
        "my_negatives_in_softmax": {"wrong": ["lambda n: 2 * n - 2", "lambda n: 2 * n", "lambda n: n - 1"]},
    },
    "0_foundations/02_data": {
        "my_digest": {
            "wrong": [
                "lambda packed: hashlib.sha256(packed).hexdigest()",
                "lambda packed: hashlib.sha256(bytes(1000)).hexdigest()",
                "lambda packed: hashlib.sha256(gzip.decompress(packed)).digest()",
                "lambda packed: hashlib.sha256(packed[10:]).hexdigest()",
            ],
            "right": ["lambda packed: solution(packed).upper()"],
        },
        "my_false_negatives": {
            "wrong": ["lambda y: y[:, None] == y", "lambda y: (y[:, None] == y).triu(1)", "lambda y: solution(y).float()"],
        },
        "my_reader": {
            "wrong": [
                "lambda text: [int(x) for x in __import__('re').findall(rb'\\d+', text)]",
                "lambda text: [int(chr(x)) for x in text if chr(x).isdigit()]",
                "lambda text: [x for x in text.decode().splitlines() if x.strip() and not x.startswith('#')]",
            ],
        },
    },
    "0_foundations/03_encoders": {
        "my_mean_cosine": {
            "wrong": [
                "lambda z: (F.normalize(z, dim=1).sum(0) ** 2).sum() / len(z) ** 2",
                "lambda z: ((F.normalize(z, dim=1).sum(0) ** 2).sum() - len(z)) / len(z) ** 2",
                "lambda z: ((z.sum(0) ** 2).sum() - len(z)) / (len(z) * (len(z) - 1))",
            ],
        },
        "my_quarter": {
            "wrong": [
                "lambda x: x[:, :4, :4].repeat_interleave(2, 1).repeat_interleave(2, 2)",
                "lambda x: warp(x, torch.zeros(len(x)), torch.full((len(x),), 2.0), *[torch.full((len(x),), -0.5)] * 2)",
                "lambda x: warp(x, torch.zeros(len(x)), torch.full((len(x),), 0.5), *[torch.full((len(x),), 0.5)] * 2)",
            ],
        },
    },
    "0_foundations/04_training": {
        "my_clip": {
            "wrong": [
                "lambda gs, most: torch.cat([(g * min(1.0, most / g.norm())).flatten() for g in gs])",
                "lambda gs, most: torch.cat([g.flatten() for g in gs]) * most / torch.cat([g.flatten() for g in gs]).norm()",
                "lambda gs, most: torch.cat([g.flatten() for g in gs]).clamp(-most, most)",
            ],
        },
        "my_shrinkage": {
            "wrong": [
                "lambda steps, lr, decay: (1 - lr * decay) ** steps",
                "lambda steps, lr, decay: math.exp(-decay * sum(learning_rate(i, steps, lr) for i in range(steps)))",
            ],
        },
    },
    "0_foundations/05_metrics": {
        "my_constant_scores": {"wrong": ["lambda p, n: (1, 0, 1)", "lambda p, n: (0, 1, 0.5)", "lambda p, n: (1, 0, p / (p + n))"]},
        "my_changes": {
            "wrong": ["lambda amount: (True, True, False, False)", "lambda amount: (False,) * 4", "lambda amount: (1, 0, 0, 0)"]
        },
        "my_auc_by_ranks": {
            "wrong": [
                "lambda s, p: 1 - solution(s, p)",
                "lambda s, p: solution(s.flatten().argsort().argsort().reshape(s.shape), p)",
                "lambda s, p: solution(s.argsort(1).argsort(1), p)",
            ],
        },
        "my_hit_rate": {
            "wrong": [
                "lambda s, p, k: (p.gather(1, s.topk(k).indices).sum(1) / p.sum(1)).mean()",
                "lambda s, p, k: p.gather(1, s.topk(k).indices).float().mean()",
                "lambda s, p, k: solution(s, p, 1)",
            ],
        },
    },
    "0_foundations/06_claims": {
        "my_best_of": {"wrong": ["lambda seeds, kept: 0.5", "lambda seeds, kept: kept / seeds"]},
        "my_verdicts": {
            "wrong": [
                "lambda three: ['reproduced', 'reproduced', 'reproduced']",
                "lambda three: solution(three)[:2]",
                "lambda three: solution(three)[::-1]",
            ],
        },
        "my_sign_test": {
            "wrong": [
                "lambda d: solution(d) / 2",
                "lambda d: 2 / 2 ** len(d)",
                "lambda d: 2 * np.mean(np.sign(d) < 0)",
            ],
        },
        "my_seeds_needed": {
            "wrong": ["lambda delta: math.ceil((1.96 + 0.8416) ** 2 / delta**2)", "lambda delta: solution(delta) - 1"],
        },
    },
    "0_foundations/07_worlds": {
        "my_mean_rate": {
            "wrong": ["lambda prior: 1 / len(prior)", "lambda prior: sum(p * p for p in prior)", "lambda prior: max(prior) / sum(prior)"]
        },
        "my_limit": {"wrong": ["lambda auc, queries: 0.5", "lambda auc, queries: auc", "lambda auc, queries: auc / queries + 0.5"]},
        "my_true_negatives": {
            "wrong": [
                "lambda c, p, rate: c - rate * p",
                "lambda c, p, rate: (c - p) / (1 - rate) if rate < 1 else math.nan",
                "lambda c, p, rate: (c - rate * p) / (1 - rate) if rate < 1 else 0.0",
            ],
            "right": ["lambda c, p, rate: torch.tensor(c - rate * p) / torch.tensor(1 - rate)"],
        },
        "my_rounded_rate": {
            "wrong": ["lambda rate: rate", "lambda rate: 1 / int(1 / rate)", "lambda rate: 1 / math.ceil(1 / rate)"],
            "right": ["lambda rate: 1 / math.floor(1 / rate + 0.5)"],
        },
    },
    "0_foundations/08_words": {
        "my_both_denied": {"wrong": ["lambda rate: 1 - rate", "lambda rate: 1 - 2 * rate", "lambda rate: 1 - rate**2"]},
        "my_mean": {
            "wrong": [
                "lambda states, mask: states.mean(1)",
                "lambda states, mask: (states * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)",
                "lambda states, mask: (states * mask[..., None]).mean(1)",
            ],
        },
        "my_shrinkage": {"wrong": ["lambda n, width: width / n", "lambda n, width: 1 - n / width", "lambda n, width: (n - 1) / width"]},
    },
    "0_foundations/09_scenes": {
        "my_same_place": {
            "wrong": [
                "lambda h, side: 1 / (side - h + 1)",
                "lambda h, side: (side - h + 1) ** 2",
                "lambda h, side: 1 / max(side - h, 1) ** 2",
            ],
        },
        "my_overlap": {
            "wrong": [
                "lambda a, b: (min(a[2], b[2]) - max(a[0], b[0])) * (min(a[3], b[3]) - max(a[1], b[1]))"
                " / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])"
                " - (min(a[2], b[2]) - max(a[0], b[0])) * (min(a[3], b[3]) - max(a[1], b[1])))",
                "lambda a, b: 2 * solution(a, b) / (1 + solution(a, b))",
            ],
        },
        "my_contrasts": {
            "wrong": ["lambda b, s: solution(b, s)[::-1]", "lambda b, s: (max(b, s) - b, s / 2)", "lambda b, s: (s - b, (s - b + s) / 2)"],
        },
    },
    "0_foundations/10_protocols": {
        "my_trainings": {
            "wrong": [
                "lambda seeds, grids: seeds * sum(len(v) for grid in grids for v in grid.values())",
                "lambda seeds, grids: solution(1, grids)",
                "lambda seeds, grids: len(grids) * solution(seeds, grids[:1])",
                "lambda seeds, grids: seeds * math.prod(solution(1, [grid]) for grid in grids)",
            ],
        },
    },
}
