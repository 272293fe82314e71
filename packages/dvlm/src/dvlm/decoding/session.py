"""A loaded vision-language model, ready to answer."""

from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from ar_core.decoding import Decoded, OnToken, StopRule, check_prompts
from ar_core.errors import ConfigError, DataError
from ar_core.hf import HFBackbone, build_backbone, stop_ids
from ar_core.sampling import Sampler, row_seed
from ar_core.training.device import choose_device

from ..chat.config import ChatConfig
from ..chat.conversation import Turn, check_images
from ..chat.encode import ChatEncoder
from ..images.config import ImageConfig
from ..images.processor import ImageProcessor
from ..layouts.load import LoadedVL, load_vision_language
from ..model import ImageFeatures
from ..prompt import VisionPrompt, encode_prompt
from ..settings import Settings
from .backbone import VisionBackbone
from .method import Method, choose_method
from .options import DecodingOptions

__all__ = ["Session", "base_settings", "open_session"]


@dataclass(frozen=True)
class Session:
    """A model, a method, and the form of prompts."""

    loaded: LoadedVL
    """Model, tokenizer and where they are from."""
    settings: Settings
    """The checkpoint's, or those of its base."""
    method: Method
    """How answers are decoded."""
    backbone: HFBackbone
    """The model as decoders see it."""
    encoder: ChatEncoder
    """From conversations to ids."""
    processor: ImageProcessor
    """From pictures to what the tower reads."""
    options: DecodingOptions
    """Length and sampling of answers."""
    keep_string: bool = False
    """Leave the tokens of a stop text in the output, for a reader that cuts its text to the character."""

    @property
    def tokenizer(self) -> Any:
        """The model's tokenizer."""
        return self.loaded.tokenizer

    @property
    def stop(self) -> StopRule:
        """When an answer ends."""
        ends = {self.encoder.eos_id} | stop_ids(self.loaded.model.base_language, self.tokenizer)
        return StopRule(
            frozenset(ends),
            self.options.max_new_tokens,
            self.options.stop,
            keep_string=self.keep_string,
            decode=self.text,
        )

    @property
    def sampler(self) -> Sampler:
        """How tokens are chosen; M never is."""
        banned = () if self.settings.diffusion is None else (self.settings.diffusion.mask_id,)
        return Sampler(self.options.temperature, self.options.top_k, self.options.top_p, None, banned)

    def placed(self, turns: Sequence[Turn], images: int, place: str = "the prompt") -> list[Turn]:
        """Turns with the places of `images` pictures in their text; see :func:`dvlm.chat.conversation.check_images`.

        Raises:
            DataError: there are more or fewer pictures than places for them, or more than the limit.
        """
        limit, break_after = self.processor.config.max_images, self.settings.chat.break_after_image
        return check_images(turns, images, place, limit=limit, break_after=break_after)

    def prompt(self, turns: Sequence[Turn], pictures: Sequence[np.ndarray], place: str = "the prompt") -> VisionPrompt:
        """Encode turns and pictures, and see that they fit the model's context.

        Raises:
            DataError: see :func:`dvlm.prompt.encode_prompt`; or the prompt and its answer are too long.
        """
        found = encode_prompt(turns, pictures, self.encoder, self.processor, mrope=self.settings.mrope, place=place)
        policy = self.method.policy
        check_prompts(
            self.backbone,
            [[0] * len(found)],
            self.options.max_new_tokens,
            slots=None if policy is None else policy.slots,
            names=[place],
        )
        return found

    def decode(
        self,
        prompts: Sequence[VisionPrompt],
        *,
        first_index: int = 0,
        known: MutableMapping[str, ImageFeatures] | None = None,
        on_token: OnToken | None = None,
        trace: bool = False,
    ) -> Decoded:
        """Answer a batch whose first prompt is number `first_index` of the job; statistics hold those of the tower.

        Args:
            prompts: of the batch.
            first_index: decides the random streams.
            known: see :class:`VisionBackbone`.
            on_token: called with a row and its newly final tokens, in order.
            trace: record which pass fixed which token.

        Raises:
            DataError, ConfigError, NumericsError: as the decoder does.
        """
        seen = VisionBackbone(self.loaded.model, prompts, self.backbone, known)
        decoded = self.method.function(
            seen,
            seen.ids,
            self.method.options,
            stop=self.stop,
            sampler=self.sampler,
            seed=[row_seed(self.options.seed, first_index + row) for row in range(len(prompts))],
            on_token=on_token,
            trace=trace,
        )
        out: Decoded = replace(decoded, stats=seen.stats + decoded.stats)
        return out

    def text(self, ids: list[int]) -> str:
        """Text of generated ids, special tokens left out."""
        return str(self.tokenizer.decode(ids, skip_special_tokens=True))

    def describe(self) -> dict[str, Any]:
        """What decides answers, JSON-able."""
        return {
            "model": self.loaded.source,
            "method": self.method.describe(),
            "dtype": str(self.backbone.dtype).removeprefix("torch."),
            "max_new_tokens": self.options.max_new_tokens,
            "temperature": self.options.temperature,
            "top_k": self.options.top_k,
            "top_p": self.options.top_p,
            "seed": self.options.seed,
            "stop": list(self.options.stop),
            "fit": self.processor.config.fit,
            "max_pixels": self.processor.config.max_pixels,
        }


def open_session(options: DecodingOptions) -> Session:
    """Load a model, and make ready what answers need.

    Raises:
        ConfigError: a setting is out of range or does not go with the model, or there is no such device.
        DataError: the model comes without a tokenizer.
        CheckpointError, UnsupportedModelError: see :func:`dvlm.layouts.load_vision_language`.
    """
    device = choose_device(options.device)
    dtype = None if options.dtype == "stored" else getattr(torch, options.dtype)
    loaded = load_vision_language(options.model, dtype=dtype, device=device)
    return session_of(loaded, options)


def session_of(loaded: LoadedVL, options: DecodingOptions) -> Session:
    """Make ready a model that is loaded; errors as :func:`open_session`."""
    if loaded.tokenizer is None:
        raise DataError(
            f"the model {options.model!r} comes without a tokenizer: put its tokenizer.json into the folder"
        )
    settings = loaded.settings or base_settings(loaded)
    images = settings.images
    if options.fit is not None:
        images = replace(images, fit=options.fit)
    if options.max_images is not None:
        images = replace(images, max_images=options.max_images)
    if options.max_pixels is not None:
        images = replace(images, max_pixels=options.max_pixels, min_pixels=min(images.min_pixels, options.max_pixels))
    processor = loaded.model.processor(images)
    if options.max_pixels is not None and "max_pixels" not in processor.reads:
        raise ConfigError("max_pixels is given, and this tower reads pictures of one size: drop it")
    session = Session(
        loaded,
        settings,
        choose_method(options.method, settings, options.decoding),
        build_backbone(loaded.model.language, options.engine),
        ChatEncoder(loaded.tokenizer, settings.chat),
        processor,
        options,
    )
    # What is out of range is said now.
    _ = session.sampler, session.stop
    return session


def base_settings(loaded: LoadedVL) -> Settings:
    """How a Qwen-VL base of the hub takes prompts: its own chat template, pictures of any ratio, three-part positions."""
    kind = loaded.model.base_language.config.model_type
    system = "You are a helpful assistant." if kind == "qwen2_5_vl" else None
    chat = ChatConfig(system=system, vision_markers=True, break_after_image=False)
    return Settings(chat, ImageConfig(fit="native"), mrope=True)
