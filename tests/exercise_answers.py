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
                "lambda three: ['confirmed'] * 3",
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
    "0_foundations/11_benches": {
        "my_rough_seeds": {
            "wrong": [
                "lambda s, e: min(32, max(8, int((4 * s / e) ** 2)))",
                "lambda s, e: math.ceil((4 * s / e) ** 2)",
                "lambda s, e: min(32, max(8, math.ceil(4 * s / e)))",
            ],
        },
    },
    "1_objectives/01_infonce": {
        "my_start": {"wrong": ["lambda n: math.log(2 * n)", "lambda n: math.log(n)", "lambda n: math.log(2 * n - 2)"]},
        "my_embeddings": {
            "forms": False,
            "wrong": [
                "lambda: (torch.eye(2), torch.eye(2))",
                "lambda: (torch.ones(2, 2), torch.ones(2, 2))",
                "lambda: (torch.ones(1, 2), torch.ones(1, 2))",
            ],
            "right": ["lambda: ([[0.0, 3.0], [0.0, -1.0]], [[0.0, 1.0], [0.0, -2.0]])", "lambda: tuple(x.numpy() for x in solution())"],
        },
        "my_slope": {
            "wrong": [
                "lambda pairs, t: -solution(pairs, t)",
                "lambda pairs, t: -solution(pairs, t) / t",
                "lambda pairs, t: t * solution(pairs, t)",
            ]
        },
    },
    "1_objectives/02_temperature": {
        "my_balance": {"wrong": ["lambda s, k: s / math.log(1 + k)", "lambda s, k: s / k", "lambda s, k: s / math.log2(k)"]},
        "my_embeddings": {
            "forms": False,
            "wrong": ["lambda: F.one_hot(kinds).float()", "lambda: torch.eye(8)", "lambda: torch.ones(3, 2)"],
            "right": ["lambda: [[0.0, 2.0]] * 8", "lambda: np.full((8, 3), 2.0)"],
        },
        "my_temperature": {
            "forms": False,
            "wrong": ["lambda row, wanted: 1.0", "lambda row, wanted: wanted", "lambda row, wanted: 2 * solution(row, wanted)"],
            "right": ["lambda row, wanted: torch.tensor(solution(row, wanted))"],
        },
    },
    "1_objectives/03_noise_contrast": {
        "my_start": {"wrong": ["lambda nu: math.log(1 + nu)", "lambda nu: (1 + nu) * math.log(2)", "lambda nu: 2 * math.log(2)"]},
        "my_words": {
            "forms": False,
            "wrong": [
                "lambda: ([0.6, 0.3, 0.1], [1 / 3] * 3)",
                "lambda: ([0.6, 0.3, 0.1], [0.8, 0.1, 0.05])",
                "lambda: ([0.6, 0.3, 0.1], [1.0, 0.0, 0.0])",
            ],
            "right": ["lambda: torch.tensor([[0.5, 0.25, 0.25], [0.5, 0.125, 0.375]], dtype=torch.float64)"],
        },
        "my_gradient": {
            "wrong": [
                "lambda theta, data, noise, u, gamma: (solution(theta, data, noise, u, gamma)[0], -solution(theta, data, noise, u, gamma)[1])",
                "lambda theta, data, noise, u, gamma: solution(theta, data, noise, u, 1 - gamma)",
                "lambda theta, data, noise, u, gamma: solution(theta, data, noise, u, gamma)[::-1]",
            ],
        },
    },
    "1_objectives/04_decoupled": {
        "my_fraction": {
            "wrong": ["lambda loss: math.exp(-loss)", "lambda loss: loss / (1 + loss)", "lambda loss: 1 / (1 + math.exp(-loss))"]
        },
        "my_batch": {
            "forms": False,
            "wrong": ["lambda: (torch.eye(2), torch.eye(2))", "lambda: (torch.eye(2), -torch.eye(2))"],
            "right": ["lambda: ([[1.0, 2.0]], [[0.5, 0.0]])"],
        },
        "my_recoupled": {
            "forms": False,
            "wrong": [
                "lambda pairs, t: decoupled_nce(*pairs, temperature=t)",
                "lambda pairs, t: npc_multiplier(*pairs, temperature=t) * decoupled_nce(*pairs, temperature=t)",
                "lambda pairs, t: (npc_multiplier(*pairs, temperature=t, reduction='none').detach()"
                " * decoupled_nce(*pairs, temperature=t, reduction='none')).sum()",
            ],
            "right": ["lambda pairs, t: solution(pairs, t) + 7.0"],
        },
    },
    "1_objectives/05_supcon": {
        "my_floor": {"wrong": ["lambda m: math.log(m)", "lambda m: math.log(2 * m)", "lambda m: 0.0"]},
        "my_cosines": {
            "forms": False,
            "wrong": ["lambda: [0.9, 0.9, 0.9]", "lambda: [0.4, 0.4, 0.4]", "lambda: [3.0, -1.0, -1.0]", "lambda: [0.9, -1.0]"],
            "right": ["lambda: (1, 0, 0)", "lambda: torch.tensor([-0.5, 0.95, -0.5])", "lambda: np.array([1.0, 0.2, -0.1])"],
        },
        "my_log_of_sum": {
            "wrong": [
                "lambda pairs, t: supcon(*pairs, temperature=t, form='in')",
                "lambda pairs, t: supcon(*pairs, temperature=t, form='out')",
                "lambda pairs, t: (supcon(*pairs, temperature=t, form='in', reduction='none') + pairs.positives.sum(1).log()).mean()",
            ],
        },
    },
    "1_objectives/06_triplet": {
        "my_counts": {
            "wrong": [
                "lambda p, k: [p * k * (k - 1) * (p - 1), p * k]",
                "lambda p, k: [p * k * (k - 1) * (p - 1) * k // 2, p * k]",
                "lambda p, k: [p * k * (k - 1) * (p - 1) * k, p]",
            ],
        },
        "my_line": {
            "forms": False,
            "wrong": ["lambda: [0.0, 1.0, 10.0, 11.0]", "lambda: [0.0, 2.0, 4.0, 1.0, 3.0, 5.0]", "lambda: [0.0, 1.0, 2.0]"],
            "right": ["lambda: torch.tensor(solution())", "lambda: np.array(solution()) + 3", "lambda: [[x] for x in solution()]"],
        },
        "my_semi_hard": {
            "wrong": [
                "lambda pairs, margin: pairs.negatives & (pairs.scores > torch.where(pairs.positives, pairs.scores, torch.inf).amin(1, keepdim=True) - margin)",
                "lambda pairs, margin: pairs.negatives & (pairs.scores < torch.where(pairs.positives, pairs.scores, torch.inf).amin(1, keepdim=True))",
                "lambda pairs, margin: solution(pairs, margin).float()",
            ],
            "right": ["lambda pairs, margin: pairs._replace(negatives=solution(pairs, margin))"],
        },
    },
    "1_objectives/07_cacr": {
        "my_loss": {
            "wrong": [
                "lambda a, b, alpha, beta: a - b",
                "lambda a, b, alpha, beta: alpha * a + beta * b",
                "lambda a, b, alpha, beta: alpha * a - b",
            ]
        },
        "my_scores": {
            "forms": False,
            "wrong": ["lambda: [0.9, 0.5, 0.4]", "lambda: [-0.5, 0.8, 0.8]", "lambda: [0.9, 0.8]"],
            "right": ["lambda: (0.0, 1.0, -1.0)", "lambda: torch.tensor([[0.9, -0.5, 0.8]])"],
        },
        "my_rbf": {
            "wrong": [
                "lambda pairs, tau: ((-tau * (2 - 2 * pairs.scores)).masked_fill(~pairs.negatives, -torch.inf).softmax(1)"
                " * torch.exp(-2 * (2 - 2 * pairs.scores))).sum(1).log().mean()",
                "lambda pairs, tau: ((-tau * (2 - 2 * pairs.scores)).softmax(1) * torch.exp(-2 * (2 - 2 * pairs.scores))).sum(1).mean().log()",
                "lambda pairs, tau: solution(pairs, tau).exp()",
            ],
        },
    },
    "1_objectives/08_groco": {
        "my_count": {"wrong": ["lambda n: n * (n // 2)", "lambda n: (n // 2) * (n - 1)", "lambda n: n * n // 2"]},
        "my_order": {
            "forms": False,
            "wrong": ["lambda: list(range(11))", "lambda: [10] * 11", "lambda: list(range(10))[::-1] + [10]"],
            "right": ["lambda: torch.tensor([10, *range(10)])", "lambda: np.array([10, *range(10)])", "lambda: (10, *range(10))"],
        },
        "my_mass": {
            "wrong": [
                "lambda n, p: 1 - solution(n, p)",
                "lambda n, p: solution(n, p).flip(0)",
                "lambda n, p: (torch.arange(len(n) + len(p)) >= len(n)).double()",
            ],
        },
    },
    "1_objectives/09_ranknet_ranklist": {
        "my_start": {"wrong": ["lambda n: math.log(math.factorial(n)) / n", "lambda n: math.log(n) - 1", "lambda n: math.log(n)"]},
        "my_scores": {
            "forms": False,
            "wrong": [
                "lambda: list(range(10, 0, -1))",
                "lambda: [9, 10, 8, 7, 6, 5, 4, 3, 2, 1]",
                "lambda: list(range(10))",
                "lambda: [2, 1, 4, 3]",
            ],
            "right": ["lambda: torch.tensor(solution())", "lambda: np.array(solution()) / 10"],
        },
        "my_list_net": {
            "wrong": [
                "lambda s, y: -(s.softmax(0) * y.log_softmax(0)).sum()",
                "lambda s, y: -(y / y.sum() * s.log_softmax(0)).sum()",
                "lambda s, y: (y.softmax(0) * (y.log_softmax(0) - s.log_softmax(0))).sum()",
            ],
        },
    },
    "1_objectives/10_mw": {
        "my_limit": {"wrong": ["lambda q, w: 0.5", "lambda q, w: w", "lambda q, w: w / q + 0.5"]},
        "my_scores": {
            "forms": False,
            "wrong": ["lambda: [[10.0, 0.0], [10.0, 0.0]]", "lambda: [[0.0, 10.0], [110.0, 120.0]]", "lambda: [[1.0, 0.0]]"],
            "right": ["lambda: [[0, -20], [50, 30]]", "lambda: solution().numpy()"],
        },
        "my_across": {
            "wrong": [
                "lambda s, p, t: mw(s, p, ~p, temperature=t)",
                "lambda s, p, t: mw(s, p, ~p, temperature=t) - ranknet(s, p, ~p, temperature=t)",
                "lambda s, p, t: mw(s, p, ~p, temperature=t) - ranknet(s, p, ~p, temperature=t) / len(s)",
            ],
        },
    },
    "1_objectives/11_choosing": {
        "my_blind_objectives": {
            "wrong": ["lambda: set(OBJECTIVES)", "lambda: solution() - {'CACR'}", "lambda: solution() ^ {'CACR', 'MW'}"],
            "right": ["lambda: sorted(solution())"],
        },
        "my_advantage": {
            "wrong": ["lambda n: 0.0", "lambda n: math.sqrt(2 * math.log(n)) - math.sqrt(2 * math.log(4))", "lambda n: math.sqrt(n / 4)"],
            "right": [
                "lambda n: torch.randn(9999, n, generator=torch.Generator().manual_seed(5)).max(1).values.mean()"
                " - torch.randn(9999, 4, generator=torch.Generator().manual_seed(6)).max(1).values.mean()"
            ],
        },
    },
    "1_objectives/12_soft_targets": {
        "my_even": {
            "wrong": [
                "lambda k, m: (math.log(k / m), 1 / k - 1 / m)",
                "lambda k, m: (math.log(k), 1 / k)",
                "lambda k, m: (math.log(k), 1 / k - 1)",
            ]
        },
        "my_smoothed": {
            "wrong": [
                "lambda n, e: (1 - e) * torch.eye(n) + e / (n - 1) * (1 - torch.eye(n))",
                "lambda n, e: (1 - e) * torch.eye(n) + e",
                "lambda n, e: (1 - e) * torch.eye(n) + e / n * (1 - torch.eye(n))",
            ],
        },
    },
    "1_objectives/13_mw_sentences": {
        "my_comparisons": {
            "wrong": [
                "lambda b, m: (b * (b + m), b * b * (b + m))",
                "lambda b, m: (b + m - 1, b * (b + m - 1))",
                "lambda b, m: (b * (b + m - 1), b * (b + m - 1) ** 2)",
            ],
            "right": ["lambda b, m: torch.tensor([1, b]) * b * (b + m - 1)"],
        },
        "my_embeddings": {
            "wrong": [
                "lambda h, n: torch.stack([some.mean(0) for some in h.split(n.tolist())])",
                "lambda h, n: F.normalize(torch.stack([some.amax(0) for some in h.split(n.tolist())]), dim=1)",
                "lambda h, n: torch.stack([F.normalize(some, dim=1).mean(0) for some in h.split(n.tolist())])",
            ],
        },
    },
    "2_hard_negatives/00_hardness": {
        "my_temperature": {
            "wrong": ["lambda times: 0.3 / times", "lambda times: 0.6 / math.log(times)", "lambda times: math.log(times) / 0.3"],
            "right": ["lambda times: (0.6 - 0.3) / math.log(times)"],
        },
        "my_share": {
            "wrong": [
                "lambda scores, false, positive, margin: false.float().mean()",
                "lambda scores, false, positive, margin: (false & (scores > positive)).sum() / (scores > positive).sum().clamp(min=1)",
                "lambda scores, false, positive, margin: (false & (scores > positive - margin)).sum() / len(scores)",
            ],
        },
    },
    "2_hard_negatives/01_mochi": {
        "my_highest": {
            "wrong": ["lambda s: (1 + s) / 2", "lambda s: 1 - s / 2", "lambda s: math.cos(math.acos(s)) / 2"],
            "right": ["lambda s: math.cos(math.acos(s) / 2)"],
        },
        "my_parents": {
            "wrong": [
                "lambda queue, hard, i: queue[hard[0]][i]",
                "lambda queue, hard, i: queue[i]",
                "lambda queue, hard, i: queue[hard].flatten(0, 1)[i]",
            ],
            "right": ["lambda queue, hard, i: queue[hard.gather(1, i)]"],
        },
        "my_age": {"wrong": ["lambda m: 1 / (1 - m)", "lambda m: m / (1 - m) ** 2", "lambda m: math.log(0.5) / math.log(m)"]},
    },
    "2_hard_negatives/02_mining": {
        "my_band": {
            "wrong": [
                "lambda pairs, width: margin_pos(pairs, width).negatives",
                "lambda pairs, width: margin_pos(pairs, 0.0).negatives",
                "lambda pairs, width: pairs.negatives & ~margin_pos(pairs, width).negatives",
            ],
            "right": ["lambda pairs, width: pairs._replace(negatives=solution(pairs, width))"],
        },
    },
    "2_hard_negatives/03_batches": {
        "my_batches": {
            "wrong": ["lambda sizes: sum(sizes) // 4", "lambda sizes: sum(n // 2 for n in sizes) // 2", "lambda sizes: min(sizes) // 2"],
            "right": ["lambda sizes: min(sum(n // 2 for n in sizes) // 2, sum(sorted(n // 2 for n in sizes)[:-1]))"],
        },
    },
    "2_hard_negatives/04_feature_transform": {
        "my_length": {
            "wrong": [
                "lambda s, share: 1 + 2 * share * (share - 1) * (1 - s)",
                "lambda s, share: math.sqrt(1 - 2 * share * (share - 1) * (1 - s)) if s > 0.8 else 1.0",
                "lambda s, share: math.sqrt(1 + share * (share - 1) * (1 - s))",
            ],
            "right": ["lambda s, share: ((2 * share - 1) ** 2 * (1 - s) / 2 + (1 + s) / 2) ** 0.5"],
        },
        "my_factor": {
            "wrong": ["lambda share: share**2 + (share - 1) ** 2", "lambda share: share", "lambda share: share * (2 * share - 1)"],
            "right": ["lambda share: torch.tensor(share) ** 2"],
        },
        "my_variance": {
            "wrong": ["lambda v, mu: v", "lambda v, mu: v / 2", "lambda v, mu: (mu + (1 - mu)) ** 2 * v"],
            "right": ["lambda v, mu: (1 - 2 * mu * (1 - mu)) * v"],
        },
    },
    "2_hard_negatives/05_ambiguous": {
        "my_half": {"wrong": ["lambda a: 1 / math.sqrt(2 * a)", "lambda a: math.log(2) / a", "lambda a: 2 * solution(a)"]},
        "my_odds": {
            "wrong": [
                "lambda numbers, own, a, b, noise: 1 / solution(numbers, own, a, b, noise)",
                "lambda numbers, own, a, b, noise: solution(numbers, own, a, -b, noise)",
                "lambda numbers, own, a, b, noise: solution(numbers, own, 1e9, b, noise)",
                "lambda numbers, own, a, b, noise: numbers[0] / numbers[1]",
            ],
        },
        "my_rescaled": {
            "wrong": [
                "lambda a, b, scale: (a / scale, b * scale)",
                "lambda a, b, scale: (a * scale**2, b / scale)",
                "lambda a, b, scale: (a / scale**2, b)",
            ],
        },
    },
    "2_hard_negatives/06_positive_aware": {
        "my_share": {
            "wrong": ["lambda marks: 0.5", "lambda marks: 0.5**marks", "lambda marks: marks / (marks + 1)", "lambda marks: 1 / marks"],
        },
        "my_margin": {
            "wrong": [
                "lambda kept, noise: -noise * NormalDist().inv_cdf(kept)",
                "lambda kept, noise: -solution(kept, noise)",
                "lambda kept, noise: -2 * noise * NormalDist().inv_cdf(kept)",
                "lambda kept, noise: -math.sqrt(2) * NormalDist().inv_cdf(kept)",
            ],
        },
        "my_two_bars": {
            "wrong": [
                "lambda bar, noise, levels: solution(bar, noise, levels)[::-1]",
                "lambda bar, noise, levels: (NormalDist().cdf((bar - 1) / noise), solution(bar, noise, levels)[1])",
                "lambda bar, noise, levels: (NormalDist().cdf((bar - 1) / (noise + levels)), solution(bar, noise, levels)[1])",
                "lambda bar, noise, levels: (solution(bar, noise, levels)[0], NormalDist().cdf((bar - 1) / noise))",
            ],
        },
    },
    "2_hard_negatives/07_static_dynamic": {
        "my_draws": {
            "wrong": [
                "lambda r, K, k: (K / r, k / min(r, k))",
                "lambda r, K, k: (K / (r - 1), k / (r - 1))",
                "lambda r, K, k: ((r - 1) / K, min(r - 1, k) / k)",
            ],
            "right": ["lambda r, K, k: torch.tensor([K, k]) / torch.tensor([r - 1, min(r - 1, k)])"],
        },
        "my_weights": {
            "wrong": [
                "lambda scores, cut: solution(scores, len(scores))",
                "lambda scores, cut: 1 / (2 + torch.arange(len(scores) - 1.0))",
                "lambda scores, cut: (scores[0] - scores[1:]).abs()",
            ],
            "right": ["lambda scores, cut: solution(scores.double() * 3 + 1, cut).double()"],
        },
        "my_freshness": {
            "wrong": [
                "lambda rows, scores, marked: (rows == scores.topk(rows.shape[1], dim=1).indices).float().mean().item()",
                "lambda rows, scores, marked: (rows[:, :, None] == scores.topk(rows.shape[1], 1).indices[:, None]).any(2).float().mean().item()",
                "lambda rows, scores, marked: 1 - solution(rows, scores, marked)",
            ],
            "right": ["lambda rows, scores, marked: torch.tensor(solution(rows.flip(1), scores, marked))"],
        },
    },
    "2_hard_negatives/08_adversaries": {
        "my_factor": {
            "wrong": [
                "lambda x: math.log(1 + math.exp(x)) / math.exp(x)",
                "lambda x: 1 / solution(x)",
                "lambda x: math.log(1 + math.exp(x)) / math.log(2)",
                "lambda x: 1 / math.log(2)",
            ],
        },
        "my_exact_slope": {
            "wrong": [
                "lambda scores, ranked, t: -solution(scores, ranked, t)",
                "lambda scores, ranked, t: t * solution(scores, ranked, t)",
                "lambda scores, ranked, t: -(scores / t).softmax(1) / t * (fooled(ranked) - fooled(ranked).mean(1, keepdim=True))",
                "lambda scores, ranked, t: (scores / t).softmax(1) / t - fooled(ranked) / t",
            ],
        },
        "my_part": {
            "wrong": [
                "lambda part, size: part",
                "lambda part, size: size * part",
                "lambda part, size: part / (part + size * (1 - part))",
                "lambda part, size: size * part / (1 + size * part)",
            ],
            "right": ["lambda part, size: 1 / (1 + (1 - part) / (size * part))"],
        },
    },
    "2_hard_negatives/09_how_many_negatives": {
        "my_total": {"wrong": ["lambda k: 1.0", "lambda k: 1 / (1 + k)", "lambda k: 2 * k / (1 + k)", "lambda k: (k - 1) / k"]},
        "my_tuples": {
            "wrong": [
                "lambda gap, t, chance: 8 * math.log(1 / chance) / (t * gap) ** 2",
                "lambda gap, t, chance: math.floor(8 * math.log(1 / chance) / (t * gap) ** 2)",
                "lambda gap, t, chance: math.ceil(math.log(1 / chance) / (2 * gap**2))",
            ],
        },
        "my_slopes": {
            "wrong": [
                "lambda v: -solution(v)",
                "lambda v: -(v < 1).float() / (v < 1).sum().clamp(min=1)",
                "lambda v: -torch.nn.functional.one_hot(v.argmin(), len(v)).float()",
                "lambda v: -torch.softmax(-v, 0)",
            ],
        },
    },
    "2_hard_negatives/10_hard_nce": {
        "my_weight": {
            "wrong": [
                "lambda a, b, count, t, c: math.exp(c * (a - b) / t)",
                "lambda a, b, count, t, c: solution(a, b, count, t, c) / count",
                "lambda a, b, count, t, c: count * math.exp(c * a / t) / (math.exp(c * a / t) + count * math.exp(c * b / t))",
                "lambda a, b, count, t, c: solution(a, b, count, 1.0, c)",
            ],
            "right": ["lambda a, b, count, t, c: (count * torch.tensor([a] + [b] * (count - 1)).double().mul(c / t).softmax(0))[0]"],
        },
        "my_threshold": {
            "wrong": [
                "lambda s, t, c: t * (torch.logsumexp((1 + c) * s / t, 0) - torch.logsumexp(c * s / t, 0))",
                "lambda s, t, c: s.mean()",
                "lambda s, t, c: solution(s, t, c) / t",
                "lambda s, t, c: t * math.log(c / (1 + c)) + t * (torch.logsumexp(s / t, 0) - math.log(len(s)))",
            ],
            "right": ["lambda s, t, c: s.max() + solution(s - s.max(), t, c)"],
        },
        "my_prior": {
            "wrong": [
                "lambda prior, a, b, t, c: prior",
                "lambda prior, a, b, t, c: prior * math.exp(c * (a - b) / t)",
                "lambda prior, a, b, t, c: solution(prior, a, b, t, c + 1)",
            ],
            "right": ["lambda prior, a, b, t, c: 1 / (1 + (1 / prior - 1) * math.exp(c * (b - a) / t))"],
        },
    },
    "2_hard_negatives/11_mining_triplets": {
        "my_rows": {
            "wrong": [
                "lambda c, v: [c * v, (c * v) ** 2]",
                "lambda c, v: [c * v * v, (c * v) ** 2 * v]",
                "lambda c, v: [c * v * (v - 1), c * v * (v - 1) * (c * v - 1)]",
            ],
            "right": ["lambda c, v: (c * v * (v - 1), (c * v) * (c * v) * (v - 1))"],
        },
        "my_never_silent": {
            "wrong": [
                "lambda pairs: semi_hard(pairs, None, 1)",
                "lambda pairs: semi_hard(pairs, None)",
                "lambda pairs: batch_hard(pairs)",
                "lambda pairs: batch_hard(pairs, by=-pairs.scores)",
            ],
            "right": ["lambda pairs: pairs._replace(negatives=solution(pairs))"],
        },
        "my_anchor": {
            "wrong": [
                "lambda: ([0.2, 2.0], [0.4, 2.3])",
                "lambda: ([0.2, 2.0], [0.8, 3.0])",
                "lambda: ([0.2, 2.0], [0.1, 3.0])",
                "lambda: ([0.2, 1.0, 2.0], [0.4, 3.0])",
                "lambda: ([0.2, 0.3], [0.4, 3.0])",
            ],
            "right": ["lambda: ([1.0, 0.1], [0.5, 0.9])"],
        },
    },
    "2_hard_negatives/12_asymmetric": {
        "my_share": {
            "wrong": [
                "lambda marked, labels, p: marked / labels",
                "lambda marked, labels, p: marked * p / (marked * p + (labels - marked) * (1 - p))",
                "lambda marked, labels, p: marked * (1 - p) / (marked * (1 - p) + labels * p)",
            ],
        },
        "my_balanced_focal": {
            "forms": False,
            "wrong": [
                "lambda scores, marks, gamma, alpha: ours(scores, marks, gamma_positive=gamma, gamma_negative=gamma, margin=0.0)",
                "lambda scores, marks, gamma, alpha: asymmetric_loss(scores, marks, ~marks, torch.where(marks, alpha, 1 - alpha).to(scores),"
                " temperature=1.0, gamma_positive=gamma, gamma_negative=gamma, margin=0.0)",
                "lambda scores, marks, gamma, alpha: solution(scores, marks, gamma, 1 - alpha)",
            ],
            "right": ["lambda scores, marks, gamma, alpha: balanced_focal(scores.double(), marks, gamma, alpha)"],
        },
        "my_scores": {
            "forms": False,
            "wrong": ["lambda: [-10.0, -50.0]", "lambda: [20.0, 50.0]", "lambda: [-18.0]"],
            "right": ["lambda: torch.tensor([-30.0])", "lambda: (-19, -25)"],
        },
    },
    "2_hard_negatives/13_many_retrievers": {
        "my_union": {
            "wrong": ["lambda rate: rate", "lambda rate: rate / (2 - rate)", "lambda rate: 2 * rate / (2 + rate)", "lambda rate: 2 * rate"],
            "right": ["lambda rate: 2 / (1 + 1 / rate)"],
        },
        "my_chance": {
            "wrong": [
                "lambda prior, a, b, held: prior",
                "lambda prior, a, b, held: 1 / (1 + (1 - prior) / prior * math.prod(y / x for x, y, h in zip(a, b, held) if h))",
                "lambda prior, a, b, held: prior / (1 - prior) * math.prod(x / y if h else (1 - x) / (1 - y) for x, y, h in zip(a, b, held))",
                "lambda prior, a, b, held: solution(prior, b, a, held)",
            ],
        },
        "my_lowest": {
            "wrong": [
                "lambda f, least: min(f)",
                "lambda f, least: sum(f) / 3",
                "lambda f, least: (1 - least) * min(f) + least * max(f)",
                "lambda f, least: least * sum(f) + (1 - 3 * least) * max(f)",
            ],
            "right": ["lambda f, least: least * (sum(f) - min(f)) + (1 - 2 * least) * min(f)"],
        },
    },
    "2_hard_negatives/14_refreshed": {
        "my_share": {
            "wrong": [
                "lambda first, factor, t: 1 / factor",
                "lambda first, factor, t: math.exp(-first / factor / t)",
                "lambda first, factor, t: math.exp(-(first - first / factor))",
                "lambda first, factor, t: math.exp((first - first / factor) / t)",
            ],
            "right": ["lambda first, factor, t: math.exp(first / factor / t) / math.exp(first / t)"],
        },
        "my_rule": {
            "wrong": [
                "lambda first, now, t, left: now < first * left",
                "lambda first, now, t, left: now < first - t * left",
                "lambda first, now, t, left: now < first + math.log(left)",
                "lambda first, now, t, left: torch.exp(now / t) < left * torch.exp(first / t)",
                "lambda first, now, t, left: solution(now, first, t, left)",
            ],
            "right": ["lambda first, now, t, left: torch.exp((now - first) / t) < left"],
        },
    },
    "2_hard_negatives/90_weighting_mixing_mining": {
        "my_home": {
            "wrong": ["lambda: [0, 0, 0]", "lambda: [1, 0, 1]", "lambda: [0, 1, 1]"],
            "right": ["lambda: torch.tensor([0.0, 0.0, 1.0])", "lambda: (0.0, 0, 1.0)"],
        },
        "my_share": {
            "wrong": [
                "lambda s, p, n, f, t: (f & n).sum() / n.sum()",
                "lambda s, p, n, f, t: (s / t).masked_fill(~n, -torch.inf).softmax(1)[f].sum() / len(s)",
                "lambda s, p, n, f, t: solution(s, p, n, f, 1.0)",
            ],
            "right": ["lambda s, p, n, f, t: solution(s, p, n, f & n, t).item()"],
        },
    },
    "2_hard_negatives/91_mining_rules": {
        "my_chance": {
            "wrong": [
                "lambda relevant, documents: relevant / documents",
                "lambda relevant, documents: (relevant - 1) / documents",
                "lambda relevant, documents: relevant / (documents - 1)",
            ],
            "right": ["lambda relevant, documents: torch.tensor((relevant - 1) / (documents - 1))"],
        },
        "my_passed": {
            "wrong": [
                "lambda margin, noise: 0.5 * math.erfc(margin / (noise * math.sqrt(2)))",
                "lambda margin, noise: math.erfc(margin / (2 * noise))",
                "lambda margin, noise: 1 - 0.5 * math.erfc(margin / (2 * noise))",
            ],
            "right": ["lambda margin, noise: 0.5 * math.erfc(margin / (2 * noise))"],
        },
    },
    "3_debiasing/00_false_negatives": {
        "my_number": {
            "wrong": [
                "lambda prior, batch: (batch - 1) * (prior**2).sum()",
                "lambda prior, batch: 2 * batch * (prior**2).sum()",
                "lambda prior, batch: 2 * (batch - 1) / len(prior)",
            ],
            "right": ["lambda prior, batch: 2 * (batch - 1) * (prior @ prior).item()"],
        },
        "my_share": {
            "wrong": [
                "lambda scores, false, k: false.double().mean()",
                "lambda scores, false, k: false.gather(1, (-scores).topk(k, dim=1).indices).double().mean()",
                "lambda scores, false, k: false.gather(1, scores.topk(k, dim=1).indices).sum() / false.sum()",
            ],
            "right": ["lambda scores, false, k: false.gather(1, scores.argsort(dim=1, descending=True))[:, :k].float().mean().item()"],
        },
    },
    "3_debiasing/01_debiased": {
        "my_bias": {
            "wrong": [
                "lambda prior, a, b, t: prior * math.exp(a / t)",
                "lambda prior, a, b, t: prior * (a - b) / t",
                "lambda prior, a, b, t: math.exp(a / t) - math.exp(b / t)",
            ],
        },
        "my_log_estimate": {
            "wrong": [
                "lambda s, p, t, prior: solution(s, p, t, prior) + math.log(1 - prior)",
                "lambda s, p, t, prior: (((s / t).exp().sum() - prior * (p / t).exp().mean()) / (1 - prior)).log()",
                "lambda s, p, t, prior: solution(s, p, t, prior).exp()",
            ],
        },
        "my_error_with_views": {
            "wrong": [
                "lambda c: -solution(c)",
                "lambda c: 0.9 * solution(c)",
                "lambda c: terms(large.anchors, large.candidates).mean() - truth.mean()",
            ],
        },
    },
    "3_debiasing/02_instance_weighting": {
        "my_threshold": {
            "wrong": [
                "lambda phi, temperature: (phi, phi <= 1)",
                "lambda phi, temperature: (20 * phi / temperature, 20 * phi / temperature <= 1)",
                "lambda phi, temperature: (20 * phi * temperature, True)",
            ],
            "right": ["lambda phi, temperature: (phi * temperature / 0.05, phi * temperature <= 0.05)"],
        },
        "my_loss": {
            "wrong": [
                "lambda positive, kept, out, t: solution(positive, kept, 0, t)",
                "lambda positive, kept, out, t: solution(positive, torch.cat([kept, torch.ones(out)]), 0, t)",
                "lambda positive, kept, out, t: math.log((kept / t).exp().sum().item() + out) - positive / t",
            ],
            "right": ["lambda positive, kept, out, t: math.log1p(((kept / t).exp().sum().item() + out) * math.exp(-positive / t))"],
        },
        "my_share_left": {
            "wrong": [
                "lambda precision, recall, prior: prior * (1 - recall)",
                "lambda precision, recall, prior: prior * (1 - recall) / (1 - prior * recall)",
                "lambda precision, recall, prior: (1 - precision) * prior",
            ],
            "right": ["lambda p, r, a: (a - a * r) * p / (p - a * r)"],
        },
    },
    "3_debiasing/03_clusters": {
        "my_shares": {
            "wrong": [
                "lambda precision, clusters, classes: (precision / clusters, (1 - precision) / clusters)",
                "lambda precision, clusters, classes: (precision * classes / clusters, (1 - precision) * classes / clusters)",
                "lambda precision, clusters, classes: (precision * classes / clusters, (1 - precision) / clusters)",
            ],
        },
        "my_slopes": {
            "wrong": [
                "lambda s, positive, alpha, beta: solution(s, positive, alpha, beta) * len(s)",
                "lambda s, positive, alpha, beta: -solution(s, positive, alpha, beta)",
                "lambda s, positive, alpha, beta: solution(s, positive, 0.0, beta) + (s > 9).double() + 0.1 * (alpha == 0)",
            ],
            "right": ["lambda s, positive, alpha, beta: (1.0 * (s - positive > -alpha) - 1.0 * (s - positive < -beta)).double() / len(s)"],
        },
        "my_steps": {
            "wrong": [
                "lambda rate, share: round(share / rate)",
                "lambda rate, share: solution(rate, share) - 1",
                "lambda rate, share: solution(rate, 1 - share)  if share != 0.5 else 1",
            ],
        },
    },
    "3_debiasing/04_propensities": {
        "my_part": {
            "wrong": ["lambda share: share", "lambda share: 1 / share", "lambda share: 1 - share"],
            "right": ["lambda share: (share / share) / (share / share + (1 - share) / (1 - share))"],
        },
        "my_effective": {
            "wrong": [
                "lambda n, share, e: n",
                "lambda n, share, e: n / (share * (1 / e + 1 / (1 - e))).sum()",
                "lambda n, share, e: 4 * n / (1 / e + 1 / (1 - e)).mean()",
            ],
            "right": ["lambda n, share, e: 4 * n / sum(s / (p * (1 - p)) for s, p in zip(share.tolist(), e.tolist()))"],
        },
    },
    "3_debiasing/05_pooling_bias": {
        "my_chance": {
            "wrong": [
                "lambda prior, p: prior",
                "lambda prior, p: prior * (1 - p)",
                "lambda prior, p: prior * p / (prior * p + 1 - prior)",
            ],
            "right": ["lambda prior, p: (prior - prior * p) / (1 - prior * p)"],
        },
        "my_variance": {
            "wrong": [
                "lambda price, relevant, p: (price**2 * (1 - p) / p).sum()",
                "lambda price, relevant, p: (relevant * price**2 * p * (1 - p)).sum()",
                "lambda price, relevant, p: (relevant * price * (1 - p) / p).sum()",
            ],
            "right": ["lambda price, relevant, p: (price[relevant] ** 2 * (1 / p[relevant] - 1)).sum()"],
        },
        "my_push": {
            "wrong": [
                "lambda s, positive, T: 1 / (1 + math.exp(min(positive - s, 700)))",
                "lambda s, positive, T: (1 + math.exp(s)) / (1 + math.exp(min(positive - s, 700)))",
                "lambda s, positive, T: solution(s, positive, T) + math.exp(s / T) / T * math.log1p(math.exp(s - positive))",
            ],
            "right": ["lambda s, positive, T: (1 + math.exp(s / T)) * torch.sigmoid(torch.tensor(s - positive).double()).item()"],
        },
    },
    "3_debiasing/07_teacher_filter": {
        "my_share": {
            "wrong": ["lambda positives: 0.5", "lambda positives: 1 / positives", "lambda positives: 0.5**positives"],
            "right": ["lambda positives: 1 - positives / (1 + positives)"],
        },
        "my_both_bars": {
            "wrong": [
                "lambda by, margin: (by <= by.diagonal()[:, None] - margin) & ~torch.eye(len(by), dtype=torch.bool)",
                "lambda by, margin: by <= torch.minimum(by.diagonal()[:, None], by.diagonal()[None]) - margin",
                "lambda by, margin: solution(by, -margin)",
            ],
            "right": ["lambda by, margin: guided_filter(Pairs(by, torch.eye(len(by)) > 0, solution(by, margin)), margin=margin).negatives"],
        },
        "my_margin": {
            "wrong": [
                "lambda noise, worth, allowed: (-noise * normal.inv_cdf(allowed), solution(noise, worth, allowed)[1])",
                "lambda noise, worth, allowed: (noise * math.sqrt(2) * normal.inv_cdf(allowed), solution(noise, worth, allowed)[1])",
                "lambda noise, worth, allowed: (solution(noise, worth, allowed)[0], 1 - allowed)",
            ],
        },
    },
    "3_debiasing/90_sentences": {
        "my_false_pairs": {
            "wrong": [
                "lambda sentences, groups, size, batch: groups * batch * (batch - 1) / (sentences * (sentences - 1))",
                "lambda sentences, groups, size, batch: groups * size * (size - 1) * batch * (batch - 1) / (sentences * (sentences - 1))",
                "lambda sentences, groups, size, batch: groups * size * (size - 1) / 2 * (batch / sentences) ** 2",
            ],
            "right": ["lambda n, g, s, b: g * math.comb(s, 2) * math.comb(b, 2) / math.comb(n, 2)"],
        },
        "my_fixed": {
            "wrong": [
                "lambda score, grade, overlap, bins: spearman(score, grade)",
                "lambda score, grade, overlap, bins: sum(spearman(score[r], grade[r]) for r in overlap.argsort().tensor_split(bins)) / bins",
                "lambda score, grade, overlap, bins: sum(spearman(score[r], grade[r]) for r in torch.arange(len(score)).tensor_split(bins)) / bins",
            ],
            "right": [
                "lambda s, g, o, bins: sum(len(r) / len(o) * spearman(s[r], g[r]) for r in (-o).argsort().flip(0).tensor_split(bins))",
            ],
        },
        "my_share": {
            "wrong": [
                "lambda near, far, others, t: 1 / (1 + others)",
                "lambda near, far, others, t: math.exp(near / t) / (math.exp(1 / t) + math.exp(near / t) + others * math.exp(far / t))",
                "lambda near, far, others, t: math.exp(near / t) / (math.exp(near / t) + math.exp(far / t))",
            ],
            "right": ["lambda near, far, others, t: 1 / (1 + others * torch.tensor((far - near) / t).exp())"],
        },
    },
    "4_views_and_positives/01_many_views": {
        "my_start": {
            "wrong": [
                "lambda V, N, t: V * math.log(N - 1) - 1 / t",
                "lambda V, N, t: V * math.log(N) - 1 / t - math.log(V * (V - 1) / 2)",
                "lambda V, N, t: math.log(N - 1) - 1 / t - math.log(V * (V - 1) / 2)",
            ],
            "right": ["lambda V, N, t: V * math.log(N - 1) - 1 / t - math.log(math.comb(V, 2))"],
        },
        "my_average": {
            "wrong": [
                "lambda zs, t: info_nce(*views(zs), temperature=t)",
                "lambda zs, t: sum(info_nce(*two_views(x, sum(zs) - x), temperature=t) for x in zs) / len(zs)",
                "lambda zs, t: pairwise_nce(zs, temperature=t)",
            ],
            "right": [
                "lambda zs, t: torch.stack([info_nce(*two_views(z, sum(F.normalize(y) for y in zs) - F.normalize(z)), temperature=t)"
                " for z in zs]).mean()"
            ],
        },
    },
    "4_views_and_positives/03_head_temperatures": {
        "my_choice": {
            "wrong": [
                "lambda s, beta, d, low, high: low",
                "lambda s, beta, d, low, high: round(2 * (beta - s) / (beta * d), 3)",
                "lambda s, beta, d, low, high: round(min(max(2 * (1 - s) / d, low), high), 3)",
            ],
            "right": ["lambda s, beta, d, low, high: round(float(torch.tensor(2 * (1 - s / beta) / d).clamp(low, high)), 3)"],
        },
        "my_likelihood": {
            "wrong": [
                "lambda s, tau, d: ((1 - s) / tau + d / 2 * tau.log()).mean()",
                "lambda s, tau, d: (2 * (1 - s) / tau + d / 2 * (2 * math.pi * tau).log()).mean()",
                "lambda s, tau, d: ((1 - s) / tau + d / 2 * (2 * math.pi * tau).log()).sum()",
            ],
            "right": ["lambda s, tau, d: ((1 - s) / tau + d / 2 * (2 * math.pi * tau).log()).mean()"],
        },
    },
    "4_views_and_positives/04_projection_head": {
        "my_conditions": {
            "wrong": [
                "lambda phi, sigma: ((phi / (phi**2 + sigma**2)).max().item() / (phi / (phi**2 + sigma**2)).min().item(),) * 2",
                "lambda phi, sigma: tuple(x**2 for x in solution(phi, sigma))",
                "lambda phi, sigma: solution(phi, sigma)[::-1]",
                "lambda phi, sigma: solution(phi**2, sigma)",
            ],
            "right": ["lambda phi, sigma: torch.tensor(solution(phi, sigma), dtype=torch.float64)"],
        },
        "my_ratio": {
            "wrong": [
                "lambda kappa, d: 1 / (1 - kappa**-2) ** 2 * (1 - kappa**-4)",
                "lambda kappa, d: solution(kappa**0.5, d)",
                "lambda kappa, d: 1 / solution(kappa, d)",
            ],
            "right": ["lambda kappa, d: sum(kappa ** (-2 * j) for j in range(d)) ** 2 / sum(kappa ** (-4 * j) for j in range(d))"],
        },
    },
    "5_without_negatives/04_stages": {
        "my_share": {
            "wrong": [
                "lambda H, pure: 1 - pure",
                "lambda H, pure: 1 - pure**2",
                "lambda H, pure: 1 - pure**2 - (1 - pure) ** 2",
                "lambda H, pure: 1 - 1 / H",
            ],
            "right": ["lambda H, pure: 2 * pure * (1 - pure) + (1 - pure) ** 2 * (H - 2) / (H - 1)"],
        },
        "my_reach": {
            "wrong": [
                "lambda groups, size: (torch.bincount(groups)[torch.bincount(groups) >= size].sum() / len(groups)).item()",
                "lambda groups, size: len(groups) // size * size / len(groups)",
                "lambda groups, size: (torch.bincount(groups) // size).sum().item()",
            ],
            "right": ["lambda groups, size: 1 - (torch.bincount(groups) % size).sum().item() / len(groups)"],
        },
    },
    "4_views_and_positives/02_arbitrary_positives": {
        "my_most": {
            "wrong": [
                "lambda classes: 1 / (classes - 1)",
                "lambda classes: classes / (classes * (classes - 1) / 2)",
                "lambda classes: (classes // 2) / (classes * (classes - 1))",
            ],
            "right": ["lambda classes: 1 / (classes - 1) if classes % 2 == 0 else 1 / classes"],
        },
        "my_temperatures": {
            "wrong": [
                "lambda t, start, now: (t / start, t / now)",
                "lambda t, start, now: (t * start**2, t * now**2)",
                "lambda t, start, now: (t, t * (start / now) ** 2)",
            ],
            "right": ["lambda t, start, now: tuple(t * c**-2 for c in (start, now))"],
        },
        "my_lengths": {
            "wrong": [
                "lambda key, gate: (gate * gate) @ (key * key).T",
                "lambda key, gate: (gate @ (key * key).T).abs().sqrt()",
                "lambda key, gate: solution(key, gate) ** 2 / (1 + solution(key, gate))",
            ],
            "right": ["lambda key, gate: (gate[:, None] * key).square().sum(2).sqrt()"],
        },
    },
    "5_without_negatives/01_assignments": {
        "my_collapse": {
            "wrong": [
                "lambda row, temperature: torch.tensor(math.log(len(row)))",
                "lambda row, temperature: -(row / temperature).log_softmax(0).max()",
                "lambda row, temperature: torch.special.entr((row / temperature).softmax(0)).sum()",
            ],
            "right": ["lambda row, temperature: (row / temperature).logsumexp(0) - row.mean() / temperature"],
        },
        "my_shares": {
            "wrong": [
                "lambda scores, shares, epsilon, iterations: solution(scores, torch.full_like(shares, 1 / len(shares)), epsilon, iterations)",
                "lambda scores, shares, epsilon, iterations: (scores / epsilon + shares.log()).softmax(1)",
                "lambda scores, shares, epsilon, iterations: solution(scores, shares, epsilon, iterations + 1)",
            ],
            "right": ["lambda scores, shares, epsilon, iterations: solution(scores + scores[:1], shares, epsilon, iterations)"],
        },
    },
    "5_without_negatives/02_whitening": {
        "my_distance": {
            "wrong": ["lambda rho: (1 - rho).sum()", "lambda rho: 2 * (1 - rho).mean()", "lambda rho: 2 * (1 - rho**2).sum()"],
            "right": ["lambda rho: 2 * len(rho) - 2 * rho.sum()"],
        },
        "my_symmetric": {
            "wrong": [
                "lambda z1, z2: attraction([(z - z.mean(0)) @ torch.linalg.inv(torch.linalg.cholesky(torch.cov(z.T))).T for z in (z1, z2)])",
                "lambda z1, z2: attraction([z1, z2])",
                "lambda z1, z2: (group_whitening(z1, eps=0.0) - group_whitening(z2, eps=0.0)).square().sum(1).mean()",
            ],
            "right": ["lambda z1, z2: attraction([group_whitening(z, eps=0.0) * 2 for z in (z1, z2)])"],
        },
        "my_variances": {
            "wrong": [
                "lambda values, eps: torch.ones_like(values)",
                "lambda values, eps: values / (values + eps)",
                "lambda values, eps: (values / ((1 - eps) * values + eps)) ** 0.5",
            ],
            "right": ["lambda values, eps: 1 / (1 - eps + eps / values)"],
        },
    },
    "5_without_negatives/03_is_the_space_full": {
        "my_shifted": {
            "wrong": [
                "lambda D, m: float(D)",
                "lambda D, m: math.exp(math.log(D + D * m**2) - (1 + D * m**2) / (D + D * m**2) * math.log(1 + D * m**2))",
                "lambda D, m: solution(D, m) if m < 2 else 1.0",
            ],
            "right": [
                "lambda D, m: rankme(torch.diag(torch.tensor([1.0] * (D - 1) + [math.sqrt(1 + D * m * m)], dtype=torch.float64)), eps=0)",
            ],
        },
        "my_participation": {
            "wrong": [
                "lambda z: ((z.T @ z).trace() ** 2 / (z.T @ z).square().sum()).item()",
                "lambda z: (torch.cov(z.T).trace() / torch.cov(z.T).square().sum()).item()",
                "lambda z: rankme(z - z.mean(0), eps=0)",
            ],
            "right": ["lambda z: 1 / (torch.cov(z.T) / torch.cov(z.T).trace()).square().sum().item()"],
        },
    },
    "5_without_negatives/06_group_whitening": {
        "my_values": {
            "wrong": [
                "lambda values, eps: torch.ones_like(values)",
                "lambda values, eps: (values / (values + eps)) ** 0.5",
                "lambda values, eps: 1 / (values + eps)",
            ],
            "right": ["lambda values, eps: 1 / (1 + eps / values)"],
        },
        "my_cholesky": {
            "wrong": [
                "lambda z: group_whitening(z, eps=0.0)",
                "lambda z: z @ torch.linalg.inv(torch.linalg.cholesky(covariance(z))).T",
                "lambda z: (z - z.mean(0)) @ torch.linalg.inv(torch.linalg.cholesky(covariance(z)))",
            ],
            "right": ["lambda z: (z - z.mean(0)) @ torch.linalg.inv(torch.linalg.cholesky(covariance(z))).T"],
        },
    },
    "5_without_negatives/90_collapse": {
        "my_poles": {
            "wrong": ["lambda t: 0.0", "lambda t: round(-4 * t, 2)", "lambda t: round(-t, 2)"],
            "right": ["lambda t: round((torch.tensor(-4 * t, dtype=torch.float64).exp() / 2 + 0.5).log().item(), 2)"],
        },
        "my_rank": {
            "wrong": [
                "lambda values: float(len(values))",
                "lambda values: (values.sum() ** 2 / values.square().sum()).item()",
                "lambda values: solution(values**2)",
            ],
            "right": ["lambda values: torch.special.entr(values / values.sum()).sum().exp().item()"],
        },
    },
    "6_supervised_and_ordinal/07_soft_trees": {
        "my_score": {
            "wrong": [
                "lambda levels, shared: shared / levels",
                "lambda levels, shared: shared * (shared + 1) / 20",
                "lambda levels, shared: (shared / levels) ** 2",
            ],
            "right": ["lambda levels, shared: math.comb(shared + 1, 2) / math.comb(levels + 1, 2)"],
        },
        "my_rest": {
            "wrong": [
                "lambda degrees, temperature: degrees / degrees[0]",
                "lambda degrees, temperature: 1 + torch.log(degrees / degrees[0])",
                "lambda degrees, temperature: temperature * torch.log(degrees / degrees[0])",
            ],
            "right": ["lambda degrees, temperature: 1 - temperature * (degrees[0].log() - degrees.log())"],
        },
    },
    "7_retrieval_and_text/01_input_label": {
        "my_agreement": {
            "wrong": [
                "lambda share, rate: 1 - share * rate",
                "lambda share, rate: 1 - 2 * rate * (1 - rate)",
                "lambda share, rate: 2 * share * rate * (1 - rate)",
            ],
            "right": ["lambda share, rate: 1 - share + share * (rate**2 + (1 - rate) ** 2)"],
        },
        "my_wrong_labels": {
            "wrong": [
                "lambda x, word: (x[:, :, None] == word).any(1)",
                "lambda x, word: (x[:, :, None] != word).any(1)",
                "lambda x, word: (x[:, :, None] != word).all(1)",
                "lambda x, word: solution(x, word).T",
            ],
            "right": ["lambda x, word: ~((x[:, :, None] == word).any(1) | (word == PAD))"],
        },
    },
    "7_retrieval_and_text/02_replaced_tokens": {
        "my_replaced": {
            "wrong": [
                "lambda p, g, rate: rate",
                "lambda p, g, rate: rate * (p * g).sum().item()",
                "lambda p, g, rate: 1 - rate * (p * g).sum().item()",
            ],
            "right": ["lambda p, g, rate: rate * (p * (1 - g)).sum()"],
        },
        "my_mean_cosine": {
            "wrong": [
                "lambda z: (F.normalize(z, dim=1) @ F.normalize(z, dim=1).T).mean()",
                "lambda z: F.normalize(z, dim=1).mean(0).square().sum()",
                "lambda z: (z.sum(0).square().sum() - len(z)) / (len(z) * (len(z) - 1))",
            ],
            "right": ["lambda z: (F.normalize(z, dim=1) @ F.normalize(z, dim=1).T).fill_diagonal_(0).sum() / (len(z) * (len(z) - 1))"],
        },
    },
    "7_retrieval_and_text/03_latent_pooling": {
        "my_false": {
            "wrong": ["lambda b, c: b * b / c", "lambda b, c: (b - 1) / c", "lambda b, c: b * (b - 1) / (c - 1)"],
            "right": ["lambda b, c: sum((b - 1) / c for _ in range(b))"],
        },
        "my_shares": {
            "wrong": [
                "lambda mapped, mask: shares(mapped)",
                "lambda mapped, mask: shares(mapped) * mask",
                "lambda mapped, mask: shares(mapped * mask[..., None]) * mask.sum(1, keepdim=True)",
                "lambda mapped, mask: mask / mask.sum(1, keepdim=True)",
            ],
            "right": ["lambda mapped, mask: shares(mapped * mask[..., None])"],
        },
    },
    "9_scaling/01_fast_mw": {
        "widest_step": {
            "wrong": [
                "lambda tolerance, facts: (tolerance * math.factorial(2 * facts)) ** (1 / (2 * facts))",
                "lambda tolerance, facts: (tolerance * math.factorial(2 * facts) * 4**facts) ** 0.25",
                "lambda tolerance, facts: tolerance ** (1 / (2 * facts))",
            ],
        },
        "linear_hinge": {
            "wrong": [
                "lambda pos, neg, margin: (margin + neg.mean() - pos.mean()).clamp(min=0)",
                "lambda pos, neg, margin: (margin + neg - pos[:, None]).clamp(min=0).sum()",
                "lambda pos, neg, margin: (margin + neg - pos[:, None]).mean()",
            ],
        },
    },
    "9_scaling/02_streaming": {
        "my_logsumexp": {
            "wrong": [
                "lambda top, shares: top",
                "lambda top, shares: top + shares.max().log()",
                "lambda top, shares: top - shares.log().sum()",
            ]
        },
        "my_running": {
            "wrong": [
                "lambda p, a, b: F.softplus(a.logsumexp(0) - p) + F.softplus(b.logsumexp(0) - p)",
                "lambda p, a, b: F.softplus(torch.maximum(a.logsumexp(0), b.logsumexp(0)) - p)",
                "lambda p, a, b: F.softplus(a.logsumexp(0) + b.logsumexp(0) - p)",
            ],
        },
        "my_clip": {
            "wrong": [
                "lambda x, y, t: streaming_info_nce(x, y, temperature=t)",
                "lambda x, y, t: 2 * solution(x, y, t)",
                "lambda x, y, t: streaming_info_nce(torch.cat([x, y]), torch.cat([y, x]), temperature=t)",
            ],
        },
    },
    "9_scaling/03_cached": {
        "my_numbers": {
            "wrong": [
                "lambda N, m, a, d, w: m * a + N * d + w",
                "lambda N, m, a, d, w: N * a + 2 * N * d + w + 1",
                "lambda N, m, a, d, w: m * a + 2 * m * d + w",
            ],
        },
        "my_encoder": {
            "forms": False,
            "wrong": ["lambda: toy", "lambda: lambda x: F.dropout(toy(x), 0.0)", "lambda: lambda x: toy(x.clone())"],
            "right": ["lambda: (lambda own: lambda x: toy(x * torch.from_numpy(own.random(x.shape))))(np.random.default_rng(0))"],
        },
        "my_two_towers": {
            "forms": False,
            "wrong": [
                "lambda first, second, x1, x2, m, loss: solution(first, second, x1[:m], x2[:m], m, loss)",
                "lambda first, second, x1, x2, m, loss: 2 * solution(first, second, x1, x2, m, loss)",
                "lambda first, second, x1, x2, m, loss: loss(first(x1), second(x2))",
                "lambda first, second, x1, x2, m, loss: solution(first, second, x1, x2, m, lambda a, b: 2 * loss(a, b))",
            ],
            "right": ["lambda first, second, x1, x2, m, loss: solution(first, second, x1, x2, m, loss).item()"],
        },
    },
    "9_scaling/04_several_gpus": {
        "my_rate": {
            "wrong": ["lambda rate, world: rate", "lambda rate, world: rate * world", "lambda rate, world: rate / math.sqrt(world)"]
        },
        "my_weights": {
            "forms": False,
            "wrong": ["lambda: (1, 1)", "lambda: (0.25, 0.25)", "lambda: (1.0, 0.0)"],
            "right": ["lambda: torch.tensor([0.5, 0.5])", "lambda: np.array([0.5, 0.5])"],
        },
        "my_merge": {
            "wrong": [
                "lambda m, a, n, b, t: (max(m, n), a + b)",
                "lambda m, a, n, b, t: (max(m, n), a if m > n else b)",
                "lambda m, a, n, b, t: (max(m, n), a * math.exp(m - max(m, n)) + b * math.exp(n - max(m, n)))",
            ],
            "forms": False,
            "right": [
                "lambda *x: [torch.tensor(y, dtype=torch.float64) for y in solution(*x)]",
                "lambda m, a, n, b, t: solution(n, b, m, a, t)",
            ],
        },
    },
    "9_scaling/05_benchmark": {
        "my_forecast": {
            "wrong": [
                "lambda seconds, rows, more, power: seconds * more / rows",
                "lambda seconds, rows, more, power: seconds * more / rows * power",
                "lambda seconds, rows, more, power: seconds * (more - rows) ** power",
            ],
        },
        "my_ratio": {
            "wrong": [
                "lambda ours, theirs: np.median(ours) / np.median(theirs)",
                "lambda ours, theirs: np.mean([a / b for a, b in zip(ours, theirs)])",
                "lambda ours, theirs: sum(ours) / sum(theirs)",
            ],
            "right": ["lambda ours, theirs: np.median(np.array(ours) / np.array(theirs))"],
        },
    },
    "9_scaling/06_numerics": {
        "my_share": {
            "wrong": [
                "lambda rounding, temperature: rounding / temperature",
                "lambda rounding, temperature: math.expm1(rounding)",
                "lambda rounding, temperature: math.exp(rounding / temperature)",
            ],
            "right": ["lambda rounding, temperature: np.expm1(np.float64(rounding) / temperature)"],
        },
        "my_loss": {
            "wrong": [
                "lambda scores, temperature: F.cross_entropy(scores[None] / temperature, torch.tensor([0]))",
                "lambda scores, temperature: (1 + ((scores[1:] - scores[0]) / temperature).exp().sum()).log()",
                "lambda scores, temperature: F.softplus((scores[1:] - scores[0]) / temperature).mean()",
            ],
            "right": ["lambda scores, temperature: -F.logsigmoid(scores[0] / temperature - (scores[1:] / temperature).logsumexp(0))"],
        },
    },
}
