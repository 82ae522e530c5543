"""A tour of latte from Python: run it as a script, or cell by cell in a notebook."""

# %% [markdown]
# Five functions do what the commands do. Nothing is downloaded: the network that is loaded here
# ships with the package. It generates clips of shapes that move in one of eight directions.

# %%
from latte_cli import evaluate, load, sample, show, train
from latte_cli.cli import run_command

pipeline = load(preset="shapes")
print(pipeline)

# %% [markdown]
# A pipeline takes labels, by name or number, and returns frames: clips, frames, height, width, RGB.

# %%
clips = pipeline(["000deg", "270deg"], n=4, seed=1, steps=10)
print(clips.shape, clips.dtype)

# %% [markdown]
# The last value of a cell is displayed, and a video is played.

# %%
show(clips)

# %% [markdown]
# `sample` writes files, as the command does. A second call makes only what is missing.

# %%
made = sample(preset="shapes", labels="270deg", n=2, steps=10, out="up")
print(made.paths[0].name, made.sampled_now)
show(made.paths)

# %% [markdown]
# Every other command runs by its name and words. This one makes the videos that training needs.

# %%
run_command("prepare", "shapes", "--count=32")

# %% [markdown]
# Videos are encoded as latents first, once. Then come a few training steps, which show how it goes
# and make no good network yet. Interrupting the kernel saves a checkpoint; the same cell again goes
# on from there.

# %%
small = ["train.batch_size=4", "train.preview_every=0"]
run = train("shapes", small, run="tour", steps=20, encode=True)
print(run.step, run.checkpoint)

# %% [markdown]
# `direction` is the share of clips that move as their label says. It needs no weights.

# %%
outcome = evaluate("up", preset="shapes", metrics="direction", clips=2)
print(outcome.result.numbers["direction"].value)
