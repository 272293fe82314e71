"""Names of the tensors in the files of controllers. None is a name of the base."""

from ar_core.io import KeyMap

from ..backbones.scale_transformer.loading import COMMON_RULES
from .config import EcmConfig
from .controller import Controller

__all__ = ["CAR_LAYOUT", "layout_of"]

_ENCODER = (
    ("ecm.proj.{p}", "encoder.proj.{p}"),
    ("ecm.scale_embed", "encoder.scale_embed"),
    ("ecm.null_control", "null_control"),
    ("ecm.type_embed", "type_embed"),
    ("ecm.encoder.{rest*}", "encoder.net.{rest*}"),
)

_ADAPTERS = (
    ("ecm.adapters.{j}.attn.mat_qkv.weight", "adapters.{j}.attention.qkv.weight"),
    ("ecm.adapters.{j}.attn.scale_mul_1H11", "adapters.{j}.attention.log_scale"),
    ("ecm.adapters.{j}.attn.{rest*}", "adapters.{j}.attention.{rest*}"),
    ("ecm.adapters.{j}.ada_gss", "adapters.{j}.modulation.offset"),
    ("ecm.adapters.{j}.ada_lin.1.{p}", "adapters.{j}.modulation.linear.{p}"),
    ("ecm.adapters.{j}.{gate}", "adapters.{j}.{gate}"),
    ("ecm.shared_ada_lin.1.{p}", "shared.linear.{p}"),
)

CAR_LAYOUT = KeyMap(
    (
        ("car_control_convs.{rest*}", "control_convs.{rest*}"),
        ("car_var_conv.{p}", "var_conv.{p}"),
        ("car_skip_norm.{i}.{p}", "skip_norm.{i}.{p}"),
        ("car_skip_linear.{i}.{p}", "skip_linear.{i}.{p}"),
        *((f"car_{published}", ours) for published, ours in COMMON_RULES if published.startswith("blocks.")),
    )
)
"""CAR's published names."""


def layout_of(controller: Controller) -> KeyMap:
    """Return the names under which the tensors of a controller are stored."""
    if controller.kind == "car":
        return CAR_LAYOUT
    if controller.kind == "ecm":
        assert isinstance(controller.config, EcmConfig)
        ffn = (
            ("ecm.shared_ffn.{rest*}", "ffns.0.{rest*}")
            if controller.config.share_ffn
            else ("ecm.ffns.{rest*}", "ffns.{rest*}")
        )
        return KeyMap((*_ENCODER, *_ADAPTERS, ffn))
    return KeyMap(((f"{controller.kind}.{{rest*}}", "{rest*}"),))
