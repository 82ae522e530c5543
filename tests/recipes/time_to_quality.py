"""How soon recipes learn: quality against seconds of training, on `shapes`, one network size.

    python tests/recipes/time_to_quality.py WORK_FOLDER curve [--seconds 1800] [--paper-times 4]
    python tests/recipes/time_to_quality.py WORK_FOLDER ablation [--seconds 480] [--seeds 2]

curve     the paper's recipe, the fast one, and that with patches of 1, with snapshots on the way;
          the paper's trains for some times as long
ablation  each ingredient of the fast recipe alone over the paper's, and left out of it, and others
          over both; all runs train for the same time

Both write a table into the folder, and `curve` a figure. Interrupted, the same
command goes on. Seconds are steps times the seconds of a step with plain blocks, measured at the
start for all recipes in turn, on a machine that is otherwise quiet: another load later does not
change them. `--only NAME` trains and judges one recipe, so that several can be at it at a time.
Each snapshot's clips are judged by `latte eval --metrics shape,direction,fd-random`.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "benchmarks"))
METRICS = ("shape", "direction", "fd-random")
WANTED = {"shape": 0.60, "direction": 0.95}

# What recipes do not differ in: width, depth, batch and data are those of the preset `shapes`.
COMMON = ["train.save_every=500", "train.keep=1", "train.log_every=50", "train.validate_clips=0"]
COMMON += ["train.preview_every=0", "train.ema_decay=0.999", "sample.precision=auto"]
COMMON += ["train.compile=blocks"]
PAPER = {
    "objective": ["train.min_snr_gamma=null", "sample.guidance=4"],
    "optimizer": [],
    "rate": ["train.lr=1e-4", "train.lr_schedule=constant", "train.warmup_steps=0"],
    "patch": [],
    "routing": [],
    "guidance": [],
}
FAST = {
    "objective": [
        "train.min_snr_gamma=null",
        "diffusion.objective=flow",
        "diffusion.timestep_sampling=logit-normal",
        "model.learn_sigma=false",
        "sample.guidance=2",
    ],
    "optimizer": ["train.optimizer=muon"],
    "rate": [
        "train.lr=1e-2",
        "train.adamw_lr=3e-3",
        "train.lr_schedule=cosine",
        "train.warmup_steps=30",
    ],
}
# Not part of the fast recipe, tried over both: four times as many tokens; all blocks but the first
# and the last skipped; and 1 - 1 / w trained in, where w is what the recipe samples with.
BOTH = {
    "patch": ["model.patch=1"],
    "routing": ["train.route.share=0.5", "train.route.from=1", "train.route.to=-2"],
}
MORE = {
    "paper": BOTH | {"guidance": ["train.guidance_target=0.75", "sample.guidance=1"]},
    "fast": BOTH | {"guidance": ["train.guidance_target=0.5", "sample.guidance=1"]},
}


def recipes(kind: str) -> dict[str, list[str]]:
    """Overrides of the preset `shapes`, by the recipe's name."""
    fast = {**PAPER, **FAST}
    chosen = {"paper": PAPER, "fast": fast, "fast + patch": {**fast, "patch": BOTH["patch"]}}
    if kind == "ablation":
        chosen |= {f"paper + {name}": {**PAPER, name: FAST[name]} for name in FAST}
        chosen |= {f"paper + {name}": {**PAPER, name: own} for name, own in MORE["paper"].items()}
        chosen |= {f"fast - {name}": {**fast, name: PAPER[name]} for name in FAST}
        chosen |= {f"fast + {name}": {**fast, name: own} for name, own in MORE["fast"].items()}
    return {name: _words(ingredients) for name, ingredients in chosen.items()}


def _words(ingredients: dict[str, list[str]]) -> list[str]:
    words = [word for each in ingredients.values() for word in each]
    if "train.optimizer=muon" not in words:  # AdamW's rate for all
        rates = {"train.lr=1e-2": "train.lr=3e-3"}
        words = [rates.get(word, word) for word in words if not word.startswith("train.adamw_lr")]
    return [*COMMON, *words]


def latte(folder: Path, *words: str) -> str:
    """Run a command of `latte` in a folder; what it prints."""
    done = subprocess.run(
        [sys.executable, "-m", "latte_cli", "--json", *words],
        cwd=folder, check=True, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    return done.stdout


def step_seconds(folder: Path) -> dict[str, float]:
    """Seconds of a training step of each recipe, kept in a file: one measurement for all."""
    path = folder / "seconds.json"
    if not path.exists():
        from steps import Steps

        from latte_cli.config import load_config

        plain = "train.compile=none"
        steps = {
            name: Steps(load_config("shapes", [*words, plain]))
            for name, words in recipes("ablation").items()
        }
        for _ in range(6):
            for each in steps.values():
                each.take()
        path.write_text(json.dumps({name: each.median() for name, each in steps.items()}, indent=1))
    known: dict[str, float] = json.loads(path.read_text())
    return known


def judged(folder: Path, run: str, words: list[str], clips: int) -> list[dict[str, Any]]:
    """Numbers of each snapshot of a run, by step."""
    options = [option for word in words for option in ("-o", word)]
    metrics = ("--metrics", ",".join(METRICS), "--clips", str(clips))
    shown = latte(folder, "eval", "--preset", "shapes", "--curve", run, *metrics, *options)
    rows = json.loads(shown)["runs"][run]
    return [{"step": row["step"], **_values(row["metrics"])} for row in rows]


def _values(metrics: dict[str, Any]) -> dict[str, float]:
    values = {name: metrics[name]["value"] for name in METRICS}
    real = metrics["fd-random"].get("real_vs_real")
    values["times real"] = values["fd-random"] / real["value"] if real else float("nan")
    return values


def results(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Train and judge every recipe with every seed; one row per snapshot."""
    folder, chosen = options.folder, recipes(options.kind)
    seconds = step_seconds(folder)
    for seed in range(options.seeds):
        for name, words in chosen.items():
            if options.only not in (None, name):
                continue
            run = f"{options.kind}-{name.replace(' ', '')}-{seed}"
            path = folder / f"{run}.json"
            times = options.paper_times if options.kind == "curve" and name == "paper" else 1
            steps = round(times * options.seconds / seconds[name])
            if not path.exists():
                snapshots = options.snapshots * times if options.kind == "curve" else 1
                every = max(1, steps // snapshots)
                words = [*words, f"train.steps={steps}", f"train.ema_every={every}"]
                given = [o for word in (*words, f"train.seed={seed}") for o in ("-o", word)]
                latte(folder, "train", "--preset", "shapes", "--run", run, *given)
                path.write_text(json.dumps(judged(folder, run, words, options.clips), indent=1))
            for row in json.loads(path.read_text()):
                taken = row["step"] * seconds[name]
                yield {"recipe": name, "seed": seed, "seconds": taken, "steps": steps, **row}


def report(rows: list[dict[str, Any]], options: argparse.Namespace) -> str:
    """The table in Markdown."""
    lines = ["| recipe | seed | steps | seconds | shape | direction | fd-random, times real |"]
    lines.append("|---|---|---|---|---|---|---|")
    last = {(row["recipe"], row["seed"]): row for row in rows}
    shown = rows if options.kind == "curve" else last.values()
    for row in shown:
        shares = " | ".join(f"{row[name]:.0%}" for name in ("shape", "direction"))
        begin = f"| {row['recipe']} | {row['seed']} | {row['step']:,} | {row['seconds']:,.0f} "
        lines.append(f"{begin}| {shares} | {row['times real']:.1f} |")
    if options.kind == "curve":
        lines += [f"\n{name}: {_reached(own)}" for name, own in _by_run(rows).items()]
    return "\n".join(lines) + "\n"


def _by_run(rows: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    names = dict.fromkeys(f"{row['recipe']}, seed {row['seed']}" for row in rows)
    return {
        name: [row for row in rows if f"{row['recipe']}, seed {row['seed']}" == name]
        for name in names
    }


def _reached(rows: list[dict[str, Any]]) -> str:
    good = [row for row in rows if all(row[name] >= share for name, share in WANTED.items())]
    wanted = " and ".join(f"{name} {share:.0%}" for name, share in WANTED.items())
    return f"{wanted} " + (f"after {good[0]['seconds']:,.0f} s" if good else "not reached")


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Each metric against seconds of training."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, plots = pyplot.subplots(1, 3, figsize=(10, 3), layout="constrained")
    for plot, metric in zip(plots, ("shape", "direction", "times real"), strict=True):
        for name, own in _by_run(rows).items():
            points = [row["seconds"] for row in own], [row[metric] for row in own]
            plot.plot(*points, marker="o", markersize=3, label=name)
        plot.set(xlabel="seconds of training", title=metric)
    plots[0].legend(fontsize=7)
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("kind", choices=["curve", "ablation"])
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--paper-times", type=int, default=4)
    parser.add_argument("--seeds", type=int)
    parser.add_argument("--snapshots", type=int, default=8)
    parser.add_argument("--only", metavar="RECIPE", help="the others are left out of the table")
    parser.add_argument("--clips", type=int, default=64, help="that are judged")
    options = parser.parse_args()
    is_curve = options.kind == "curve"
    options.seconds = options.seconds or (1800 if is_curve else 480)
    options.seeds = options.seeds or (1 if is_curve else 2)
    options.folder.mkdir(parents=True, exist_ok=True)
    if not (options.folder / "latents").exists():
        latte(options.folder, "prepare", "shapes", "--count", "3072", "--seed", "1")
    latte(options.folder, "encode-latents", "--preset", "shapes")
    rows = list(results(options))
    (options.folder / f"{options.kind}.md").write_text(report(rows, options))
    if is_curve:
        draw(rows, options.folder / "curve.png")
    print(report(rows, options))


if __name__ == "__main__":
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    main()
