"""What every decoder shares: the model it drives, stop rules, statistics, traces, and the autoregressive baseline."""

from ar_core.decoding.autoregressive import autoregressive
from ar_core.decoding.backbone import Backbone
from ar_core.decoding.causal_pass import causal_pass, uncached_pass
from ar_core.decoding.decoded import Decoded, OnToken
from ar_core.decoding.likelihood import LogLikelihood, causal_log_likelihood
from ar_core.decoding.numerics import check_sound, sound_or_negative
from ar_core.decoding.pick import pick
from ar_core.decoding.prompts import check_prompts
from ar_core.decoding.stats import DecodeStats
from ar_core.decoding.stop import Finish, StopRule, text_before
from ar_core.decoding.streamed_text import StreamedText
from ar_core.decoding.token_stream import TokenStream
from ar_core.decoding.trace import Trace

__all__ = [
    "Backbone",
    "DecodeStats",
    "Decoded",
    "Finish",
    "LogLikelihood",
    "OnToken",
    "StopRule",
    "StreamedText",
    "TokenStream",
    "Trace",
    "autoregressive",
    "causal_log_likelihood",
    "causal_pass",
    "check_prompts",
    "check_sound",
    "pick",
    "sound_or_negative",
    "text_before",
    "uncached_pass",
]
