"""Any decoder and any of its models, as lm-eval sees it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from ar_core.decoding import DecodeStats, text_before
from ar_core.errors import ConfigError, DataError, MissingPackageError

from ..likelihood import check_estimator, encode_pair, log_likelihood
from ..methods import Generation, load_method

try:
    from lm_eval.api.instance import Instance
    from lm_eval.api.model import LM
    from tqdm import tqdm
except ImportError as error:
    raise MissingPackageError(
        "ar_decode.harness.model needs lm-eval, which is not installed: pip install 'ar-decode[eval]'."
    ) from error

__all__ = ["ArDecodeLM"]

_DEFAULT_DEVICE = "cuda:0"


class ArDecodeLM(LM):
    """A checkpoint decoded by one of our methods.

    ``generate_until`` decodes with the method and keeps count in :attr:`stats`, so that accuracy and tokens per forward come
    from the same run. Likelihoods are the causal forward's where the model is autoregressive, else the block-diffusion
    estimators of ``ar_core.block_diffusion``.

    Args:
        pretrained: folder, hub id, GGUF file or ``smollm2-135m-instruct``.
        method: a registered decoder.
        likelihood: ``auto``, ``causal``, ``chain``, ``nelbo`` or ``first_token``.
        samples: K of ``nelbo``.
        seed: of sampling and of ``nelbo``'s masks.
        max_gen_toks: longest output where a task gives none.
        batch_size: prompts decoded together; lm-eval's ``--batch_size``.
        dtype: as ``--dtype`` of ``ar-decode``.
        device: ``cpu``, ``cuda`` ...; lm-eval's ``--device``. Its default, ``cuda:0``, means the CPU where there is none.
        engine: as ``--engine`` of ``ar-decode``.
        weights: as ``--weights`` of ``ar-decode``.
        profile: file of ``ar-decode tune``.
        settings: settings of the method, by its own names (``threshold=0.9``, ``block_size=8`` ...).

    Raises:
        ArError: see ``ar_decode.methods.load_method``; an unknown likelihood or a batch size that is no number.
    """

    def __init__(
        self,
        pretrained: str,
        method: str = "ar",
        *,
        likelihood: str = "auto",
        samples: int = 32,
        seed: int = 0,
        max_gen_toks: int = 256,
        batch_size: int | str = 1,
        max_batch_size: int | None = None,
        dtype: str = "stored",
        device: str | None = None,
        engine: str = "plain",
        weights: str = "full",
        profile: str | None = None,
        **settings: Any,
    ) -> None:
        super().__init__()
        del max_batch_size
        try:
            self._batch = max(1, int(batch_size))
        except ValueError as error:
            raise ConfigError(
                f"the batch size {batch_size!r} is no number; give how many prompts are decoded together."
            ) from error
        # lm-eval hands its own default on as if it had been given.
        if device in (None, _DEFAULT_DEVICE) and not torch.cuda.is_available():
            device = "cpu"
        where = None if profile is None else Path(profile)
        self.session, self.method = load_method(
            pretrained,
            method,
            settings,
            where,
            dtype=dtype,
            device=device or _DEFAULT_DEVICE,
            engine=engine,
            weights=weights,
        )
        self.estimator = check_estimator(self.method, likelihood)
        self._samples, self._seed, self._max_new_tokens = samples, seed, max_gen_toks
        self.stats = DecodeStats()
        """Of all outputs generated so far."""

    @property
    def tokenizer_name(self) -> str:
        """For lm-eval's caches."""
        return self.session.source.replace("/", "__")

    def chat_template(self, chat_template: bool | str = False) -> str | None:
        """The tokenizer's own template, where one is asked for."""
        return self.session.tokenizer.chat_template if chat_template else ""

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        """Render a conversation.

        Raises:
            DataError: the tokenizer has no chat template.
        """
        if not self.session.tokenizer.chat_template:
            raise DataError(
                f"a chat was asked for, but the tokenizer of {self.session.source!r} has no chat template; leave "
                "--apply_chat_template out."
            )
        out: str = self.session.tokenizer.apply_chat_template(
            chat_history,
            tokenize=False,
            add_generation_prompt=add_generation_prompt,
            continue_final_message=not add_generation_prompt,
        )
        return out

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        """Decode every request; contexts that are too long lose their beginning, as lm-eval does it."""
        texts: list[str] = []
        with tqdm(total=len(requests), disable=disable_tqdm, desc=self.method.name) as bar:
            for start, group in self._groups(requests):
                generation = self._generation(group[0].args[1])
                room = self._room(generation.max_new_tokens)
                rows = [self._encode(request.args[0])[-room:] for request in group]
                decoded = self.method.decode(self.session, rows, generation, first_index=start)
                self.stats = self.stats + decoded.stats
                for request, tokens in zip(group, decoded.tokens, strict=True):
                    texts.append(text_before(self.session.text(tokens), generation.stop_strings))
                    self.cache_hook.add_partial("generate_until", request.args, texts[-1])
                bar.set_postfix_str(f"{self.stats.tokens_per_forward:.2f} tokens per forward")
                bar.update(len(group))
        return texts

    def loglikelihood(self, requests: list[Instance], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
        """log p of each continuation, and whether greedy decoding token by token would write it."""
        found = []
        for request in tqdm(requests, disable=disable_tqdm, desc=f"{self.method.name}, {self.estimator}"):
            before, after = encode_pair(self.session.tokenizer, *request.args)
            one = self._score(self._fitting(before, after), after)
            found.append(one)
            self.cache_hook.add_partial("loglikelihood", request.args, one)
        return found

    def loglikelihood_rolling(self, requests: list[Instance], disable_tqdm: bool = False) -> list[float]:
        """log p of whole texts, in disjoint windows of half the context, each after as much text as fits."""
        found = []
        for request in tqdm(requests, disable=disable_tqdm, desc=f"{self.method.name}, {self.estimator}"):
            start, ids = encode_pair(self.session.tokenizer, "", request.args[0])
            whole = [*start, *ids]
            window = max(1, self.session.backbone.context_length // 2)
            total = 0.0
            for begin in range(len(start), len(whole), window):
                after = whole[begin : begin + window]
                total += self._score(self._fitting(whole[:begin], after), after)[0]
            found.append(total)
            self.cache_hook.add_partial("loglikelihood_rolling", request.args, total)
        return found

    def get_model_info(self) -> dict[str, Any]:
        """What was evaluated, and what its outputs cost; JSON-able."""
        return {
            "model": self.session.source,
            "revision": self.session.revision,
            **self.session.runs_as,
            "method": self.method.describe(),
            "likelihood": self.estimator,
            "decoding": self.stats.to_dict(),
        }

    def _score(self, before: Sequence[int], after: Sequence[int]) -> tuple[float, bool]:
        one = log_likelihood(
            self.session,
            self.method,
            before,
            after,
            estimator=self.estimator,
            samples=self._samples,
            seed=self._seed,
        )
        return one.total, one.greedy

    def _fitting(self, before: list[int], after: Sequence[int]) -> list[int]:
        """The end of a context that leaves room for a continuation, with its last block filled up."""
        policy = self.method.policy
        spare = 0 if policy is None or self.estimator == "causal" else 2 * policy.block_size
        room = self.session.backbone.context_length - len(after) - spare
        if room < 1:
            raise DataError(
                f"a continuation of {len(after)} tokens leaves no room for a context in {self.session.backbone.context_length} "
                "positions; leave this task out."
            )
        return before[-room:]

    def _room(self, max_new_tokens: int) -> int:
        from ..fitting import longest_prompt

        room = longest_prompt(self.session, [self.method], max_new_tokens)
        if room < 1:
            raise DataError(
                f"{max_new_tokens} new tokens leave no room for a prompt in {self.session.backbone.context_length} positions; give "
                "a smaller max_gen_toks."
            )
        return room

    def _generation(self, arguments: Mapping[str, Any]) -> Generation:
        stops = arguments.get("until") or []
        sampled = bool(arguments.get("do_sample", False))
        return Generation(
            int(arguments.get("max_gen_toks", arguments.get("max_new_tokens", self._max_new_tokens))),
            float(arguments.get("temperature", 1.0)) if sampled else 0.0,
            arguments.get("top_k") if sampled else None,
            arguments.get("top_p") if sampled else None,
            seed=self._seed,
            stop_strings=tuple(stop for stop in ([stops] if isinstance(stops, str) else stops) if stop),
            keep_string=True,
        )

    def _groups(self, requests: Sequence[Instance]) -> list[tuple[int, list[Instance]]]:
        """Runs of requests with equal arguments, in batches, each with the number of its first."""
        groups: list[tuple[int, list[Instance]]] = []
        for number, request in enumerate(requests):
            last = groups[-1][1] if groups else []
            if last and len(last) < self._batch and last[0].args[1] == request.args[1]:
                last.append(request)
            else:
                groups.append((number, [request]))
        return groups

    def _encode(self, text: str) -> list[int]:
        tokenizer = self.session.tokenizer
        # A chat template has written the beginning-of-sequence token already.
        written = bool(tokenizer.bos_token) and text.startswith(tokenizer.bos_token)
        ids = list(tokenizer(text, add_special_tokens=not written, verbose=False)["input_ids"])
        if not ids:
            return encode_pair(tokenizer, "", " ")[0]
        return ids
