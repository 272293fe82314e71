"""A folder held against what an engine's loader reads, key by key; neither the engine nor the weights are loaded."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ar_core.config import load_yaml
from ar_core.errors import CheckpointError, ConfigError
from ar_core.json_text import read_fields

from .engines import Architecture, architecture, engine
from .tensors import expected_tensors

__all__ = ["verify_export"]

_ABSENT = object()
_COUNTS = frozenset(
    {"hidden_size", "intermediate_size", "vocab_size", "head_dim", "depth", "patch_size", "max_position_embeddings"}
)
_POSITIVE = frozenset({"rms_norm_eps", "rope_theta"})


def verify_export(folder: str | Path, name: str, *, called: str | Path | None = None) -> tuple[Architecture, int]:
    """Compare config, files, and names and shapes of tensors with what the engine's loader reads.

    SGLang's loaders leave out keys they do not know and keep random numbers where one is missing, without a word.

    Args:
        folder: a checkpoint in Hugging Face layout.
        name: of the engine.
        called: what messages call the folder; None: by its path.

    Returns:
        The loader, and how many tensors it reads.

    Raises:
        ConfigError: there is no such engine.
        UnsupportedModelError: the engine has no loader of the folder's architecture, or none that is known here.
        CheckpointError: something is missing, unexpected or of another shape or value; names all of it.
    """
    folder = Path(folder)
    target = engine(name)
    config = read_fields(folder / "config.json")
    loader = architecture(target, config.get("architectures"))
    held = _shapes(folder)
    unreadable = _unreadable(loader, config)
    faults = [*unreadable, *_unfit(loader, config), *_file_faults(loader, folder)]
    if not unreadable:
        faults += [*_head_faults(loader, config), *_tensor_faults(loader, config, held)]
    if faults:
        raise CheckpointError(
            f"{called or folder} is not what the loader of {loader.name} in {target.name} {target.version} reads: {'; '.join(faults)}; export "
            "the checkpoint again, and for this engine"
        )
    return loader, len(held)


def _value(config: Mapping[str, Any], path: str) -> Any:
    found: Any = config
    for part in path.split("."):
        if not isinstance(found, Mapping) or part not in found:
            return _ABSENT
        found = found[part]
    return found


def _unreadable(loader: Architecture, config: Mapping[str, Any]) -> list[str]:
    """Without these no shape is known."""
    faults = []
    absent = [path for path in loader.fields if _value(config, path) in (_ABSENT, None)]
    if absent:
        faults.append(f"config.json lacks {', '.join(absent)}")
    for path in loader.fields:
        found, last = _value(config, path), path.rsplit(".", 1)[-1]
        counted = last.startswith(("num_", "spatial_", "temporal_", "out_")) or last in _COUNTS
        if counted and found not in (_ABSENT, None) and (type(found) is not int or not 0 < found < 2**31):
            faults.append(f"config.json has {path}={found!r}, which is no number of things")
        if last in _POSITIVE and found not in (_ABSENT, None) and not (type(found) in (int, float) and found > 0):
            faults.append(f"config.json has {path}={found!r}, which is no positive number")
        if last == "tie_word_embeddings" and found not in (_ABSENT, None) and not isinstance(found, bool):
            faults.append(f"config.json has {path}={found!r}, which is neither true nor false")
    return faults


def _unfit(loader: Architecture, config: Mapping[str, Any]) -> list[str]:
    """What the loader would take for something else."""
    faults = []
    if config.get("model_type") != loader.model_type:
        faults.append(f"config.json has model_type {config.get('model_type')!r} in place of {loader.model_type!r}")
    for path, allowed in loader.fixed.items():
        found = _value(config, path)
        if found is not _ABSENT and found != allowed:
            faults.append(f"config.json has {path}={found!r}, where only {allowed!r} is computed")
    rows = config.get("vocab_size")
    if isinstance(rows, int) and rows < loader.least_vocabulary:
        faults.append(f"config.json has vocab_size={rows}, and token {loader.least_vocabulary - 1} needs a row")
    return faults


def _head_faults(loader: Architecture, config: Mapping[str, Any]) -> list[str]:
    """vLLM's loader of Qwen2 divides, whatever the config says, and SGLang's takes `head_dim` where it is given."""
    if loader.family not in ("qwen2", "qwen2_5_vl"):
        return []
    section = "text_config." if loader.family == "qwen2_5_vl" else ""
    given, size = _value(config, f"{section}head_dim"), _value(config, f"{section}hidden_size")
    width = size // _value(config, f"{section}num_attention_heads")
    if given in (_ABSENT, None) or given == width:
        return []
    return [f"config.json has {section}head_dim={given!r}, where only {width} is computed"]


def _file_faults(loader: Architecture, folder: Path) -> list[str]:
    absent = [name for name in loader.files if not (folder / name).is_file()]
    faults = [f"it lacks the file{'s' if len(absent) > 1 else ''} {', '.join(absent)}"] if absent else []
    settings = folder / "low_confidence.yaml"
    if settings.name in loader.files and settings.is_file():
        try:
            size = load_yaml(settings)["block_size"]
        except (ConfigError, LookupError, TypeError):
            size = None
        if type(size) is not int or size < 1:
            faults.append(f"{settings.name} has no block_size of at least 1")
    return faults


def _shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    """Of every tensor in the files that engines open: those that an index names, or else all."""
    # Here, so that listing what there is needs no torch.
    from ar_core.io import read_header
    from ar_core.io.sharded import INDEX, read_index

    index = folder / INDEX
    files = read_index(index)[1] if index.is_file() else sorted(folder.glob("*.safetensors"))
    if not files:
        raise CheckpointError(f"{folder} holds no safetensors file: give the folder of a checkpoint")
    headers = [read_header(file) for file in files]
    return {
        name: tuple(entry["shape"]) for header in headers for name, entry in header.items() if name != "__metadata__"
    }


def _tensor_faults(loader: Architecture, config: Mapping[str, Any], held: Mapping[str, tuple[int, ...]]) -> list[str]:
    from ar_core.io.strict import key_ranges

    for section, count in (
        ("", "num_hidden_layers"),
        ("vision_config.", "depth"),
        ("text_config.", "num_hidden_layers"),
    ):
        layers = _value(config, section + count)
        if isinstance(layers, int) and layers > len(held):
            return [f"config.json has {section}{count}={layers}, and there are only {len(held)} tensors"]
    expected = expected_tensors(loader.family, config)
    missing = [name for name in expected if name not in held]
    unexpected = [name for name in held if name not in expected]
    misshapen = [
        f"{name} {list(held[name])} instead of {list(shape)}"
        for name, shape in expected.items()
        if name in held and held[name] != shape
    ]
    faults = [f"it lacks {key_ranges(missing)}"] if missing else []
    if unexpected:
        faults.append(f"it has {key_ranges(sorted(unexpected))}, which the loader does not know")
    if misshapen:
        faults.append(f"its shapes differ: {', '.join(misshapen)}")
    return faults
