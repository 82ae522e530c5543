"""What is trained, and how: AdamW, or Muon for the matrices of blocks and AdamW for the rest.

Muon's step is momentum made orthogonal (Jordan et al. 2024). torch.optim.Muon cannot skip a step on
the device (`found_inf`), treats fused queries, keys and values as one matrix, and does not gather
sharded ones, so it is written here; a test holds it to torch's.
"""

# Axes: n matrices of one size, r rows, k columns.

import difflib
import fnmatch
import re
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from latte_cli.config.train_section import TrainConfig
from latte_cli.models import Latte, LatteT2V
from latte_cli.runtime.devices import resolve_precision
from latte_cli.runtime.distributed import distribute_like, full_tensor
from latte_cli.runtime.errors import ConfigError

TEMPORAL = "temporal"
"""Stands in `train.trainable` for the blocks over time."""

_IN_BLOCKS = re.compile(r"(temporal_transformer_|transformer_)?blocks\.")
_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
_STEPS = 5
_EPS = 1e-7
_MOMENTUM = 0.95


def freeze_the_rest(model: Latte | LatteT2V, patterns: Sequence[str]) -> None:
    """Let only the parameters whose names match be trained.

    Args:
        model: the network.
        patterns: as `train.trainable`, of shells; none lets all be trained.

    Raises:
        ConfigError: if one matches nothing.
    """
    if not patterns:
        return
    names = dict(model.named_parameters())
    temporal = {id(value) for block in _temporal_blocks(model) for value in block.parameters()}
    chosen: set[str] = set()
    for pattern in patterns:
        if pattern == TEMPORAL:
            matching = {name for name, value in names.items() if id(value) in temporal}
        else:
            matching = set(fnmatch.filter(names, pattern))
        if not matching:
            near = difflib.get_close_matches(pattern, names, n=1, cutoff=0.3) or [min(names)]
            raise ConfigError(
                f"train.trainable: no parameter matches `{pattern}`",
                hint=f"names are as {near[0]}; * stands for any part of one, `{TEMPORAL}` for the "
                "blocks over time",
            )
        chosen |= matching
    for name, value in names.items():
        value.requires_grad_(name in chosen)


def _temporal_blocks(model: Latte | LatteT2V) -> list[nn.Module]:
    """The blocks that attend over frames and not within one."""
    return [
        block
        for block, attentions in zip(model.blocks, model.shape.attentions, strict=True)
        if not any("space" in axes for axes in attentions)
    ]


def build_optimizer(model: nn.Module, train: TrainConfig) -> torch.optim.AdamW:
    """The optimizer of `train.optimizer`; each of its groups holds its own `peak_lr`.

    Args:
        model: the network, on its device, sharded or not.
        train: optimizer, lr, adamw_lr and weight_decay are read.

    Raises:
        ConfigError: for Muon, if the network has no matrices that it could take.
    """
    named = {name: value for name, value in model.named_parameters() if value.requires_grad}
    if train.optimizer == "adamw":
        return torch.optim.AdamW(
            [{"params": list(named.values()), "peak_lr": train.lr}],
            lr=train.lr,
            weight_decay=train.weight_decay,
            fused=True,
        )
    taken = [name for name, value in named.items() if takes_muon(name, value)]
    if not taken:
        raise ConfigError(
            "train.optimizer is muon, which is for the matrices of blocks: this network has none",
            hint="-o train.optimizer=adamw",
        )
    groups = [
        {
            "params": [named[name] for name in taken if (3 if _is_fused(name) else 1) == parts],
            "parts": parts,
            "peak_lr": train.lr,
        }
        for parts in (1, 3)
    ]
    rest = [value for name, value in named.items() if name not in taken]
    groups.append({"params": rest, "peak_lr": train.adamw_lr or train.lr})
    return Muon(groups, train.lr, train.weight_decay)


def takes_muon(name: str, value: Tensor) -> bool:
    """Whether Muon optimizes a parameter: matrices of blocks, but for the conditioning.

    Embeddings, modulation and final layer stay with AdamW, as Jordan et al. recommend for the first
    and the last layer, and so does attention to text: its gradients are faint beside their noise,
    which Muon makes as large as what they agree on.
    """
    is_matrix = value.ndim == 2 and not name.endswith("scale_shift_table")
    return bool(_IN_BLOCKS.match(name)) and is_matrix and not re.search(r"adaLN|\.attn2\.", name)


def _is_fused(name: str) -> bool:
    return name.endswith("qkv.weight")


def orthogonalize(matrices: Tensor) -> Tensor:
    """Replace all singular values by about 1: five Newton-Schulz steps of order 5.

    In bf16 where that is fast: a processor without it emulates it, hundreds of times slower than
    float32.

    Args:
        matrices: (n, r, k) float.

    Returns:
        U S V^T of each, (n, r, k) bf16 or float32; the singular values S are between 0.7 and 1.2,
        except those that were tiny beside the others.
    """
    x = matrices.to(resolve_precision("auto", matrices.device))
    is_tall = x.shape[1] > x.shape[2]
    if is_tall:  # the products below are then of the smaller size
        x = x.mT
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=_EPS)  # a bound of the spectral norm
    a, b, c = _COEFFICIENTS
    for _ in range(_STEPS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    orthogonal: Tensor = x.mT if is_tall else x
    return orthogonal


class Muon(torch.optim.AdamW):
    """Muon for the groups that have `parts`, AdamW for the others.

    A matrix of r x k moves by lr * 0.2 sqrt(max(r, k)) times an orthogonal one, whose entries then
    have a root mean square of 0.2, about that of AdamW's steps (Liu et al. 2025, "Muon is scalable
    for LLM training", equation 4).

    Args:
        groups: of parameters. `parts` of a group says how many matrices are stacked along the rows
            of each of its parameters: 3 for fused queries, keys and values. Each is orthogonalized
            on its own. Sharded parameters are gathered for it.
        lr: learning rate of groups without their own.
        weight_decay: decoupled.
    """

    def __init__(self, groups: Iterable[dict[str, Any]], lr: float, weight_decay: float) -> None:
        super().__init__(groups, lr=lr, weight_decay=weight_decay, fused=True)

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]  # no closure
        """Take one step; none if the attribute `found_inf`, 0-d float on the device, is 1."""
        assert closure is None
        skip = getattr(self, "found_inf", None)
        groups = [group for group in self.param_groups if "parts" in group]
        entries = [(p, group) for group in groups for p in group["params"] if p.grad is not None]
        ahead = [full_tensor(self._advance_momentum(p, skip)) for p, _ in entries]
        updates = _orthogonal_updates(ahead, [group["parts"] for _, group in entries])
        for (parameter, group), update in zip(entries, updates, strict=True):
            change = distribute_like(update, parameter) + group["weight_decay"] * parameter
            # Chosen, not multiplied by 0: the step to be skipped may not be finite.
            change = _unless(skip, change, torch.zeros_like(change))
            parameter.sub_(change * group["lr"])
            parameter.grad = None  # AdamW passes over it
        super().step()

    def _advance_momentum(self, parameter: Tensor, skip: Tensor | None) -> Tensor:
        """Add the gradient to the momentum; return the momentum one step ahead (Nesterov)."""
        state, gradient = self.state[parameter], parameter.grad
        assert gradient is not None
        if not state:  # with AdamW's count, which it expects when it loads a state
            state["step"] = torch.zeros((), device=parameter.device)
            state["momentum"] = torch.zeros_like(parameter)
        momentum = _MOMENTUM * state["momentum"] + gradient
        ahead: Tensor = gradient + _MOMENTUM * momentum
        state["momentum"].copy_(_unless(skip, momentum, state["momentum"]))
        return ahead


def _unless(skip: Tensor | None, new: Tensor, old: Tensor) -> Tensor:
    """The new value, or the old one where `skip` is 1; chosen on the device."""
    return new if skip is None else torch.where(skip > 0, old, new)


def _orthogonal_updates(ahead: Sequence[Tensor], parts: Sequence[int]) -> list[Tensor]:
    """Orthogonal matrices times 0.2 sqrt(max(r, k)), float32; equal sizes are computed together.

    Args:
        ahead: what to orthogonalize, each (r, k).
        parts: how many matrices are stacked along the rows of each.
    """
    pieces = [value.chunk(count) for value, count in zip(ahead, parts, strict=True)]
    flat = [piece for each in pieces for piece in each]
    done: list[Tensor] = [torch.empty(0)] * len(flat)
    for size in dict.fromkeys(tuple(sorted(piece.shape)) for piece in flat):
        alike = [n for n, piece in enumerate(flat) if tuple(sorted(piece.shape)) == size]
        # No more rows than columns, so that a matrix and its transpose are alike.
        wide = [flat[n] if flat[n].shape == size else flat[n].T for n in alike]
        found = orthogonalize(torch.stack(wide)).float() * (0.2 * max(size) ** 0.5)
        for n, update in zip(alike, found, strict=True):
            done[n] = update if flat[n].shape == size else update.T
    joined = iter(done)
    return [torch.cat([next(joined) for _ in each]) for each in pieces]
