#!/usr/bin/env python3
"""Writes tests/golden/optimizers.json: numbers that optimizers and schedules must reproduce.

    .peers/torch/bin/python scripts/oracle/golden_optimizers.py > tests/golden/optimizers.json

AdamW by torch.optim, LAMB by its paper's equations (You et al. 2019, algorithm 2), learning rates
by torch.optim.lr_scheduler; all in float64. Needs torch (scripts/bench/setup-peers).
"""

import json
import math
import random
import re

import torch

SEED = 2022062
LRS = [0.0, 0.02, 0.05, 0.03, 0.01]


def numbers(rng, shape, digits=3):
    if not shape:
        return round(rng.gauss(0.0, 0.6), digits)
    return [numbers(rng, shape[1:], digits) for _ in range(shape[0])]


def tensors(rng):
    """A convolution, a batch norm's weight, the last layer and its bias."""
    shapes = {"conv1.weight": [3, 2, 1, 2], "bn1.weight": [3], "fc.weight": [2, 3], "fc.bias": [2]}
    return {name: numbers(rng, shape) for name, shape in shapes.items()}


def case(rng, config, rule):
    weights = tensors(rng)
    grads = [tensors(rng) for _ in LRS]
    for name in grads[-1]:  # With a zero gradient only momentum and decay move weights.
        grads[-1][name] = (torch.tensor(grads[-1][name], dtype=torch.float64) * 0.0).tolist()
    by_step = rule(config, weights, grads)
    steps = [{"lr": lr, "grads": g, "weights": w} for lr, g, w in zip(LRS, grads, by_step)]
    return {"optimizer": config, "weights": weights, "steps": steps}


def doubles(named):
    return {name: torch.tensor(value, dtype=torch.float64) for name, value in named.items()}


def adamw(config, weights, grads):
    """torch.optim.AdamW; decoupled_adamw is the same with its decay divided by the top rate."""
    decay = config["weight_decay"]
    if config["name"] == "decoupled_adamw":
        decay /= config["lr"]
    params = {name: torch.nn.Parameter(t) for name, t in doubles(weights).items()}
    optimizer = torch.optim.AdamW(
        params.values(), lr=config["lr"], betas=config["betas"], eps=config["epsilon"], weight_decay=decay
    )
    by_step = []
    for lr, grad in zip(LRS, grads):
        optimizer.param_groups[0]["lr"] = lr
        for name, value in doubles(grad).items():
            params[name].grad = value
        optimizer.step()
        by_step.append({name: t.tolist() for name, t in params.items()})
    return by_step


def lamb(config, weights, grads):
    """Algorithm 2, with the identity for phi; a ratio with a norm of 0 is 1."""
    (b1, b2), eps, decay = config["betas"], config["epsilon"], config["weight_decay"]
    exempt = {"bn": ["bn1.weight"], "bias": ["fc.bias"]}
    skip = [name for kind in config["skip"] for name in exempt[kind]]
    no_decay = [name for kind in config["no_decay"] for name in exempt[kind]]
    state = {name: [t, torch.zeros_like(t), torch.zeros_like(t)] for name, t in doubles(weights).items()}
    by_step = []
    for t, (lr, grad) in enumerate(zip(LRS, grads), start=1):
        for name, g in doubles(grad).items():
            w, m, v = state[name]
            m = b1 * m + (1 - b1) * g
            v = b2 * v + (1 - b2) * g * g
            r = (m / (1 - b1**t)) / ((v / (1 - b2**t)).sqrt() + eps)
            r = r + (0.0 if name in no_decay else decay) * w
            w_norm, r_norm = w.norm().item(), r.norm().item()
            trust = w_norm / r_norm if w_norm > 0 and r_norm > 0 and name not in skip else 1.0
            state[name] = [w - lr * trust * r, m, v]
        by_step.append({name: w.tolist() for name, (w, _, _) in state.items()})
    return by_step


def rates(base_lr, total_steps, make):
    param = torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))
    optimizer = torch.optim.SGD([param], lr=base_lr)
    scheduler = make(optimizer)
    found = []
    for _ in range(total_steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if len(found) < total_steps:
            scheduler.step()
    return found


def schedules():
    of = torch.optim.lr_scheduler
    top, total = 1.3, 40
    table = [
        (
            {"name": "one_cycle", "t_warmup": "0.3dur", "alpha_i": 1 / 25, "alpha_f": 1 / 25e4},
            lambda o: of.OneCycleLR(o, max_lr=top, total_steps=total, pct_start=0.3, cycle_momentum=False),
        ),
        (
            {"name": "one_cycle", "t_warmup": "10ba", "alpha_i": 0.1, "alpha_f": 0.001},
            lambda o: of.OneCycleLR(
                o, max_lr=top, total_steps=total, pct_start=0.25, div_factor=10, final_div_factor=100, cycle_momentum=False
            ),
        ),
        (
            {"name": "multistep", "t_warmup": "0ba", "milestones": ["12ba", "0.75dur"], "gamma": 0.2},
            lambda o: of.MultiStepLR(o, milestones=[12, 30], gamma=0.2),
        ),
        (
            {"name": "poly", "t_warmup": "0ba", "power": 0.9},
            lambda o: of.PolynomialLR(o, total_iters=total, power=0.9),
        ),
        (
            {"name": "linear", "t_warmup": "0ba", "alpha_f": 0.25},
            lambda o: of.LinearLR(o, start_factor=1.0, end_factor=0.25, total_iters=total),
        ),
        (
            {"name": "constant", "t_warmup": "8ba", "alpha_i": 0.2},
            lambda o: of.LinearLR(o, start_factor=0.2, end_factor=1.0, total_iters=8),
        ),
    ]
    return [
        {"scheduler": config, "base_lr": top, "total_steps": total, "lr": rates(top, total, make)}
        for config, make in table
    ]


def main():
    rng = random.Random(SEED)
    adam = {"lr": 0.05, "betas": [0.9, 0.999], "epsilon": 1e-8, "weight_decay": 0.05}
    paper = {"name": "lamb", "lr": 0.05, "betas": [0.9, 0.999], "epsilon": 1e-6, "weight_decay": 0.02}
    cases = [
        case(rng, {"name": "adamw", **adam}, adamw),
        case(rng, {"name": "adamw", **adam, "betas": [0.8, 0.95], "epsilon": 1e-3, "weight_decay": 0.0}, adamw),
        case(rng, {"name": "decoupled_adamw", **adam, "weight_decay": 1e-3}, adamw),
        case(rng, {**paper, "skip": [], "no_decay": []}, lamb),
        case(rng, {**paper, "skip": ["bn", "bias"], "no_decay": ["bn", "bias"]}, lamb),
        case(rng, {**paper, "betas": [0.8, 0.9], "skip": ["bn"], "no_decay": ["bias"]}, lamb),
    ]
    assert all(math.isfinite(lr) for s in schedules() for lr in s["lr"])
    golden = {
        "about": "written by scripts/oracle/golden_optimizers.py, float64",
        "made_with": {"torch": torch.__version__, "seed": SEED},
        "cases": cases,
        "schedules": schedules(),
    }
    text = json.dumps(golden, indent=1)
    # Lists of numbers on one line each.
    print(re.sub(r"\[\s+([^][{}]*?)\s+\]", lambda m: "[" + " ".join(m[1].split()) + "]", text))


main()
