"""A model card as Markdown, with the metadata that the hub reads at its beginning."""

import re
from collections.abc import Iterator, Sequence

from latte_cli.checkpoints.formats import Format
from latte_cli.config import Config, to_yaml
from latte_cli.evaluation.results.result import Result
from latte_cli.evaluation.results.tables import numbers_table, result_facts
from latte_cli.reporting.model_card.facts import (
    ModelFacts,
    cached_hub_id,
    data_set_name,
    part_name,
    public_name,
)
from latte_cli.reporting.model_card.usage import usage_of
from latte_cli.runtime.weight_files.uploading import HubPlace

PREVIEW = "preview.mp4"
"""The clip of a card."""

_PAPER = "[Latte](https://arxiv.org/abs/2401.03048)"
_LIBRARIES = {"pipeline": "diffusers", "diffusers": "diffusers", "lora": "peft"}


def card_text(facts: ModelFacts, place: HubPlace, licence: str | None) -> str:
    """The whole card.

    Args:
        facts: of the model.
        place: on the hub.
        licence: its identifier on the hub; None: the card names none.
    """
    parts = [
        f"---\n{_metadata(facts, licence)}---",
        f"# {place.model.rpartition('/')[2]}",
        _what_it_is(facts),
        *_clip(facts, place),
        "## Use",
        usage_of(facts, place),
        "## Training",
        _table(("", ""), list(_training(facts))),
        "## Numbers",
        *_numbers(facts.results),
    ]
    return "\n\n".join(parts) + "\n"


def _metadata(facts: ModelFacts, licence: str | None) -> str:
    """YAML, in which the hub looks models up."""
    values: dict[str, object] = {"license": licence} if licence else {}
    values["library_name"] = _LIBRARIES.get(facts.form, "latte")
    if _takes_text(facts.config):
        values["pipeline_tag"] = "text-to-video"
    init = facts.config.train.init if facts.config else None
    if init and (base := cached_hub_id(init)) is not None:
        values["base_model"] = base
    values["tags"] = ["latte", "video-generation", *(["lora"] if facts.form == "lora" else [])]
    return "".join(f"{key}: {to_yaml(value)}\n" for key, value in values.items())


def _takes_text(config: Config | None) -> bool:
    return config is not None and config.model.condition == "text"


def _what_it_is(facts: ModelFacts) -> str:
    config = facts.config
    if config is None:
        return f"A {_PAPER} video diffusion transformer, converted by `latte` from {facts.source}."
    kinds = {"text": "from a sentence", "class": "of a class", "none": "without a condition"}
    side = config.data.size
    clips = f"clips of {config.data.frames} frames of {side} x {side} pixels"
    if facts.form == "lora":
        return (
            f"Low-rank adapters (LoRA) for a {_PAPER} video diffusion transformer, which generates "
            f"{clips} {kinds[config.model.condition]}. They were trained by `latte`."
        )
    return (
        f"A {_PAPER} video diffusion transformer, trained by `latte`. It generates {clips} "
        f"{kinds[config.model.condition]}."
    )


def _clip(facts: ModelFacts, place: HubPlace) -> Iterator[str]:
    """The video, and the prompts of its clips where they are known."""
    if facts.preview is None:
        return
    yield f'<video src="{place.url_of(PREVIEW)}" controls autoplay loop muted></video>'
    prompts = facts.config.sample.prompts if facts.config else ()
    if prompts:
        shown = ", ".join(code(prompt) for prompt in prompts[:8])
        yield f"Clips of the run, sampled in few steps: {shown}."


def _training(facts: ModelFacts) -> Iterator[tuple[str, str]]:
    config, meta = facts.config, facts.meta
    if config is None:
        yield "weights", f"converted from {code(facts.source)}"
    else:
        yield "preset", code(config.name)
        videos = f", {meta.videos} videos" if meta and meta.videos else ""
        yield "data set", f"{code(data_set_name(config))}{videos}"
        if meta is not None and meta.classes:
            yield "classes", ", ".join(map(code, meta.classes))
        if meta is not None and meta.step:
            seen = meta.step * config.train.batch_size
            yield "steps", f"{meta.step} of {config.train.steps}, {seen} clips seen"
        init = config.train.init
        yield "began from", code(public_name(init)) if init else "random weights"
        yield from _network(config, facts.form)
    what = "adapters" if facts.form == "lora" else "network"
    yield "parameters", f"{facts.parameters} of the {what}"
    if facts.changes:
        yield "after training", "; ".join(facts.changes)
    if meta is not None and meta.made_by:
        yield "made by", meta.made_by


def _network(config: Config, form: Format) -> Iterator[tuple[str, str]]:
    """What decides which other parts and samplers go with it."""
    model, diffusion = config.model, config.diffusion
    sizes = (f"{name} {getattr(model, name)}" for name in ("width", "depth", "heads"))
    named = f"size {model.size}" if model.size else ", ".join(sizes)
    kind = "text to video" if model.condition == "text" else f"Variant {model.variant}"
    yield "network", f"{kind}, {named}, patch {model.patch}"
    yield "objective", f"{diffusion.objective}, {diffusion.num_timesteps} timesteps"
    if config.train.lora is not None:
        lora = config.train.lora
        on = ", ".join(code(each) for each in lora.targets)
        merged = "" if form == "lora" else "merged into the network: "
        yield "adapters", f"{merged}rank {lora.rank}, alpha {lora.scale_alpha:g}, on {on}"
    if _takes_text(config):
        yield "text encoder", code(part_name(config.text.path))
    yield "autoencoder", code(part_name(config.vae.path))


def _numbers(results: Sequence[Result]) -> Iterator[str]:
    """A table for each evaluation, and under which conditions it compares with others."""
    if not results:
        yield "No numbers of these weights were measured by `latte eval`."
    for result in results:
        table = numbers_table(result)
        yield _table(table.header, table.rows)
        facts = result_facts(result)
        sets = {"real": result.real, "fake": result.fake}
        lines = [f"protocol: {facts['protocol']}"]
        lines += [
            f"{name}: {code(public_name(each.place))}, {each.videos} videos"
            for name, each in sets.items()
        ]
        for name in ("not as published", "note"):
            lines += [f"{name}: {line}" for line in facts.get(name, "").splitlines()]
        yield "\n".join(f"- {line}" for line in lines)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in lines)


def code(text: str) -> str:
    """A text that is shown as it is, whatever Markdown would make of it."""
    plain = re.sub(r"[`\s]+", " ", text).strip()
    return f"`{plain}`"
