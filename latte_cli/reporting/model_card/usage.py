"""The commands of a card that use the model."""

import shlex

from latte_cli.reporting.model_card.facts import ModelFacts, cached_hub_id
from latte_cli.runtime.weight_files.uploading import MAIN, HubPlace

_PROMPT = "a boat on a lake"


def usage_of(facts: ModelFacts, place: HubPlace) -> str:
    """Blocks of commands, after `pip install latte-cli`."""
    name = place.model.rpartition("/")[2]
    fetch = f"hf download {place.model} --local-dir {name}"
    if place.revision != MAIN:
        fetch += f" --revision {shlex.quote(place.revision)}"
    takes_text = facts.config is not None and facts.config.model.condition == "text"
    prompt = shlex.quote(_prompt(facts))
    if facts.form == "lora":
        return _of_adapters(facts, fetch, name, prompt if takes_text else None)
    if facts.form == "pipeline":
        if place.revision == MAIN:
            command = [f"latte t2v {prompt} --model {place.model} -o out.mp4"]
        else:
            command = [fetch, f"latte t2v {prompt} --model {name} -o out.mp4"]
        return f"{_shell(*command)}\n\nOr in diffusers:\n\n{_with_diffusers(facts, place)}"
    if facts.form == "diffusers":
        return _python(
            "from diffusers import LatteTransformer3DModel",
            f'network = LatteTransformer3DModel.from_pretrained("{place.model}"{_revision(place)})',
        )
    if takes_text:
        return _shell(fetch, f"latte t2v {prompt} --model {name} -o out.mp4")
    return _shell(fetch, f"latte sample --checkpoint {name} -n 4 --out clips/")


def _prompt(facts: ModelFacts) -> str:
    prompts = facts.config.sample.prompts if facts.config else ()
    return " ".join(prompts[0].replace("`", "'").split()) if prompts else _PROMPT


def _of_adapters(facts: ModelFacts, fetch: str, name: str, prompt: str | None) -> str:
    """Adapters go with the network that they were trained on, and with no other."""
    init = facts.config.train.init if facts.config else None
    base = (cached_hub_id(init) if init else None) or "BASE"
    which = (
        "" if base != "BASE" else "\n\nBASE is the network that they were trained on, see below."
    )
    if prompt is not None:
        use = [f"latte t2v {prompt} --model {base} --lora {name} -o out.mp4"]
    else:
        merge = f"latte convert {base} merged --lora {name}"
        use = [merge, "latte sample --checkpoint merged -n 4 --out clips/"]
    return _shell(fetch, *use) + which


def _with_diffusers(facts: ModelFacts, place: HubPlace) -> str:
    sizes = ""
    if facts.config is not None:
        side, frames = facts.config.data.size, facts.config.data.frames
        sizes = f", height={side}, width={side}, video_length={frames}"
    return _python(
        "from diffusers import LattePipeline",
        f'pipe = LattePipeline.from_pretrained("{place.model}"{_revision(place)})',
        f"frames = pipe({_prompt(facts)!r}{sizes}).frames[0]",
    )


def _revision(place: HubPlace) -> str:
    return "" if place.revision == MAIN else f', revision="{place.revision}"'


def _shell(*lines: str) -> str:
    return "\n".join(("```bash", "pip install latte-cli", *lines, "```"))


def _python(*lines: str) -> str:
    return "\n".join(("```python", *lines, "```"))
