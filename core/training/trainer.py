"""One step of learning: from a batch of references to new weights."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import l1_loss

from ...model_loader.errors import Named
from ..errors import InputError
from ..image.colour import to_grey
from ..types import SizeRule
from . import losses
from .config import LossSettings, OptimiserSettings, TrainSettings
from .degrade.pipeline import Pair, degrade
from .degrade.random_draws import seeded
from .discriminator import UNetDiscriminator, new_discriminator
from .perceptual import PerceptualLoss, load_perceptual_loss

MOST_RESCUES = 5
"""How often a run may return to its last good state before it gives up."""


class Diverged(Named, ArithmeticError):
    """The loss or its gradient is no longer a finite number."""


def learning_rate(step: int, steps: int, settings: OptimiserSettings) -> float:
    """Linear warm-up, then half a cosine from ``learning_rate`` to ``final_learning_rate`` (Loshchilov 2017)."""
    if step < settings.warm_up:
        return settings.learning_rate * (step + 1) / settings.warm_up
    progress = (step - settings.warm_up) / max(steps - settings.warm_up, 1)
    low, high = settings.final_learning_rate, settings.learning_rate
    return low + 0.5 * (high - low) * (1.0 + math.cos(math.pi * min(progress, 1.0)))


def choose_autocast(device: torch.device, wanted: bool) -> torch.dtype | None:
    """bfloat16 where the device computes with it natively, float16 on other NVIDIA cards, None on a CPU."""
    if not wanted or device.type != "cuda":
        return None
    return torch.bfloat16 if torch.cuda.get_device_capability(device) >= (8, 0) else torch.float16


def weighted_losses(
    output: Tensor,
    reference: Tensor,
    settings: LossSettings,
    perceptual: PerceptualLoss | None,
    scale: int,
    progress: float = 1.0,
) -> dict[str, Tensor]:
    """Each loss with a weight above 0, times its weight, except the adversarial one.

    ``progress`` is the completed part of the run, 0..1; overshoot may count only later in the run.
    """
    reach = settings.overshoot_reach or max(2, scale)
    functions: dict[str, Callable[..., Tensor]] = {
        "pixel": losses.charbonnier,
        "l1": l1_loss,
        "line": partial(losses.line_loss, width=settings.line_width),
        "ringing": losses.ringing_loss,
        "overshoot": partial(losses.overshoot_loss, reach=reach),
        "texture": losses.texture_loss,
        "frequency": losses.frequency_loss,
    }
    if progress < settings.overshoot_from:
        del functions["overshoot"]
    if perceptual is not None:
        functions["perceptual"] = perceptual
    weights = {name: float(getattr(settings, name)) for name in functions}
    return {name: weights[name] * loss(output, reference) for name, loss in functions.items() if weights[name]}


def fit_channels(picture: Tensor, channels: int) -> Tensor:
    """RGB for a model with 3 channels, luma for one with 1."""
    return to_grey(picture) if channels == 1 else picture


def check_channels(inputs: int, outputs: int) -> None:
    """Raises ``InputError`` for models that do not turn RGB into RGB or grey into grey."""
    if inputs != outputs or inputs not in (1, 3):
        raise InputError(
            f"The model takes {inputs} channels and gives {outputs}; only models from 3 to 3 or from 1 to 1 can be "
            "trained."
        )


def check_crop(crop: int, scale: int, rule: SizeRule) -> None:
    """Raises ``InputError`` unless reference crops of side ``crop`` make inputs that the model accepts."""
    step = scale * rule.multiple_of
    least = max(scale * max(rule.minimum, 1), step)
    if crop % step or crop < least:
        nearest = max(crop // step * step, -(-least // step) * step)
        raise InputError(
            f"data.crop is {crop} and the model (x{scale}) needs multiples of {step} from {least}; try {nearest}."
        )


class Learner:
    """The networks, their optimisers and the moving average, and how a batch changes them."""

    def __init__(self, settings: TrainSettings, model: nn.Module, scale: int, channels: int, device: torch.device):
        self.settings, self.scale, self.channels, self.device = settings, scale, channels, device
        self.model = copy.deepcopy(model).to(device).train().requires_grad_(True)
        self.model.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        self.average = copy.deepcopy(self.model).eval().requires_grad_(False)
        self.optimiser = self._adam(self.model)
        losses = settings.losses
        self.perceptual = load_perceptual_loss(losses.vgg_weights).to(device) if losses.perceptual else None
        self.discriminator: UNetDiscriminator | None = None
        if settings.losses.gan:
            self.discriminator = new_discriminator(channels, settings.losses.gan_features, settings.seed).to(device)
            self.discriminator_optimiser = self._adam(self.discriminator)
        self.autocast = choose_autocast(device, settings.mixed_precision)
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.autocast is torch.float16)
        self.rescues = 0

    def _adam(self, network: nn.Module) -> torch.optim.Adam:
        optimiser = self.settings.optimiser
        return torch.optim.Adam(network.parameters(), lr=optimiser.learning_rate, betas=optimiser.betas)

    def learn(self, references: Tensor, step: int) -> dict[str, float]:
        """One step on (B, 3, H, W) uint8 references: every loss by name, their sum as ``loss``, and ``rate``.

        Raises ``Diverged`` before anything that is not finite reaches the weights.
        """
        pair = self._pair(references, step)
        # Randomness inside the network (dropout, drop path) also depends on the step alone.
        chance = seeded(self.settings.seed, 23, step, self.rescues)
        torch.manual_seed(chance.initial_seed())  # pyright: ignore[reportUnknownMemberType]
        rate = learning_rate(step, self.settings.steps, self.settings.optimiser) * 0.5**self.rescues
        with torch.autocast(self.device.type, self.autocast, enabled=self.autocast is not None):
            output = self.model(pair.degraded)
        wanted, progress = self.settings.losses, step / self.settings.steps
        terms = weighted_losses(output.float(), pair.reference, wanted, self.perceptual, self.scale, progress)
        if self.discriminator is not None:
            terms["gan"] = self.settings.losses.gan * self._judge(self.discriminator, output)
        self._descend(self.model, self.optimiser, torch.stack(list(terms.values())).sum(), rate)
        if self.discriminator is not None:
            terms["discriminator"] = self._teach(self.discriminator, pair.reference, output.detach(), rate)
        self.scaler.update()
        self._follow(step)
        values = {name: float(term.detach()) for name, term in terms.items()}
        return {"loss": sum(v for n, v in values.items() if n != "discriminator"), **values, "rate": rate}

    def _pair(self, references: Tensor, step: int) -> Pair:
        # Other accelerators lack some of the operations (Poisson noise, antialiased resampling).
        place = self.device if self.device.type == "cuda" else torch.device("cpu")
        clean = fit_channels(references.to(place).float() / 255.0, self.channels)
        seed = (self.settings.seed, 22, step, self.rescues)
        degraded, reference = degrade(clean, self.scale, self.settings.degradation, *seed)
        return Pair(degraded.to(self.device, memory_format=torch.channels_last), reference.to(self.device))

    def _judge(self, discriminator: UNetDiscriminator, output: Tensor) -> Tensor:
        discriminator.requires_grad_(False)
        with torch.autocast(self.device.type, self.autocast, enabled=self.autocast is not None):
            verdict = discriminator(output)
        return losses.adversarial_loss(verdict.float())

    def _teach(self, discriminator: UNetDiscriminator, reference: Tensor, output: Tensor, rate: float) -> Tensor:
        discriminator.requires_grad_(True)
        with torch.autocast(self.device.type, self.autocast, enabled=self.autocast is not None):
            real, fake = discriminator(reference), discriminator(output)
        loss = losses.discriminator_loss(real.float(), fake.float())
        self._descend(discriminator, self.discriminator_optimiser, loss, rate)
        return loss

    def _descend(self, network: nn.Module, optimiser: torch.optim.Adam, loss: Tensor, rate: float) -> None:
        """Backward, clip, step. A loss scaler expects overflows and skips such a step itself."""
        if not bool(torch.isfinite(loss)):
            raise Diverged(f"the loss is {float(loss.detach())}")
        for group in optimiser.param_groups:
            group["lr"] = rate
        optimiser.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()  # pyright: ignore[reportUnknownMemberType]
        self.scaler.unscale_(optimiser)
        norm = nn.utils.clip_grad_norm_(network.parameters(), self.settings.optimiser.clip_norm)
        if not self.scaler.is_enabled() and not bool(torch.isfinite(norm)):
            raise Diverged(f"the gradient's norm is {float(norm)}")
        self.scaler.step(optimiser)  # pyright: ignore[reportUnknownMemberType]

    @torch.no_grad()
    def _follow(self, step: int) -> None:
        """Updates the moving average, faster at first, so that the initial weights do not linger."""
        decay = min(self.settings.optimiser.ema, (1.0 + step) / (10.0 + step))
        for mean, value in zip(self.average.parameters(), self.model.parameters(), strict=True):
            mean.lerp_(value, 1.0 - decay)
        for mean, value in zip(self.average.buffers(), self.model.buffers(), strict=True):
            mean.copy_(value)

    def state(self) -> dict[str, Any]:
        """Everything that the next step depends on."""
        state: dict[str, Any] = {
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "scaler": self.scaler.state_dict(),
            "rescues": self.rescues,
        }
        if self.discriminator is not None:
            state["discriminator"] = self.discriminator.state_dict()
            state["discriminator_optimiser"] = self.discriminator_optimiser.state_dict()
        return state

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continues as if ``state`` had just been taken."""
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.scaler.load_state_dict(state["scaler"])
        self.rescues = int(state["rescues"])
        if self.discriminator is not None:
            self.discriminator.load_state_dict(state["discriminator"])
            self.discriminator_optimiser.load_state_dict(state["discriminator_optimiser"])
