"""What is done to a photograph to make its low-quality counterpart. Imports no torch.

The constants are those of NSARM's released degradation code, which are those of Real-ESRGAN (arXiv 2107.10833) but for the light one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Literal, TypeAlias, get_args

from ar_core.config import did_you_mean
from ar_core.errors import ConfigError

__all__ = [
    "PRESETS",
    "SWEEP",
    "BlurConfig",
    "DegradationConfig",
    "NoiseConfig",
    "Range",
    "ResizeConfig",
    "ResizeMode",
    "StageConfig",
    "degradation_of",
    "require_degradations",
]

Range: TypeAlias = tuple[float, float]
"""Lowest and highest value of a uniform draw."""
ResizeMode: TypeAlias = Literal["area", "bilinear", "bicubic"]
"""How an image is resized."""


def _require_share(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise ConfigError(f"{name} is {value}; it must be in [0, 1]")


def _require_range(name: str, values: Range, lowest: float) -> None:
    if len(values) != 2 or not lowest <= values[0] <= values[1] < float("inf"):
        raise ConfigError(f"{name} is {list(values)}; give two ordered numbers from {lowest:g} on")


@dataclass(frozen=True)
class BlurConfig:
    """A convolution: a low-pass filter that rings (sinc), or one of six bell shapes.

    Raises:
        ConfigError: a value is out of range.
    """

    probability: float = 1.0
    """Of any blur."""
    sizes: tuple[int, int] = (7, 21)
    """Smallest and largest side of the kernel; odd, all odd ones alike."""
    sinc_probability: float = 0.1
    """Of a sinc, cut off from U(pi/3, pi) for sides below 13 and from U(pi/5, pi) for others."""
    shares: tuple[float, float, float, float, float, float] = (0.45, 0.25, 0.12, 0.03, 0.12, 0.03)
    """Of Gaussian, generalised Gaussian and plateau, each isotropic and anisotropic."""
    sigma: Range = (0.2, 3.0)
    """Width in pixels."""
    generalised_shape: Range = (0.5, 4.0)
    """beta_g: half of the draws below 1, half above."""
    plateau_shape: Range = (1.0, 2.0)
    """beta_p."""

    def __post_init__(self) -> None:
        _require_share("blur.probability", self.probability)
        _require_share("blur.sinc_probability", self.sinc_probability)
        low, high = self.sizes
        if not 1 <= low <= high or low % 2 == 0 or high % 2 == 0:
            raise ConfigError(f"blur.sizes is {list(self.sizes)}; give two ordered odd numbers")
        if len(self.shares) != 6 or min(self.shares) < 0 or abs(sum(self.shares) - 1) > 1e-6:
            raise ConfigError(f"blur.shares is {list(self.shares)}; give six shares of sum 1")
        for name, lowest in (("sigma", 1e-3), ("generalised_shape", 1e-3), ("plateau_shape", 1e-3)):
            _require_range(f"blur.{name}", getattr(self, name), lowest)


@dataclass(frozen=True)
class ResizeConfig:
    """A resize by a random factor.

    Raises:
        ConfigError: a value is out of range.
    """

    shares: tuple[float, float, float] = (0.2, 0.7, 0.1)
    """Of enlarging, shrinking, keeping."""
    range: Range = (0.15, 1.5)
    """Smallest and largest factor, around 1."""

    def __post_init__(self) -> None:
        if len(self.shares) != 3 or min(self.shares) < 0 or abs(sum(self.shares) - 1) > 1e-6:
            raise ConfigError(f"resize.shares is {list(self.shares)}; give three shares of sum 1")
        _require_range("resize.range", self.range, 1e-3)
        if not self.range[0] <= 1 <= self.range[1]:
            raise ConfigError(f"resize.range is {list(self.range)}; it must hold 1")


@dataclass(frozen=True)
class NoiseConfig:
    """Gaussian noise, or else noise of counted photons (Poisson).

    Raises:
        ConfigError: a value is out of range.
    """

    gaussian_probability: float = 0.5
    """Of Gaussian noise."""
    sigma: Range = (1.0, 30.0)
    """Of Gaussian noise, in levels of 255."""
    poisson_scale: Range = (0.05, 3.0)
    """What Poisson noise is multiplied by."""
    grey_probability: float = 0.4
    """Of noise that is the same in all channels."""

    def __post_init__(self) -> None:
        _require_share("noise.gaussian_probability", self.gaussian_probability)
        _require_share("noise.grey_probability", self.grey_probability)
        _require_range("noise.sigma", self.sigma, 0)
        _require_range("noise.poisson_scale", self.poisson_scale, 0)


@dataclass(frozen=True)
class StageConfig:
    """Blur, resize, noise, JPEG, in this order; what is null is left out."""

    blur: BlurConfig | None = field(default_factory=BlurConfig)
    """Convolution."""
    resize: ResizeConfig | None = field(default_factory=ResizeConfig)
    """Of the first stage a factor of the photograph's size, of the second one of the final size."""
    noise: NoiseConfig | None = field(default_factory=NoiseConfig)
    """Added noise."""
    jpeg: Range | None = (30.0, 95.0)
    """Range of the quality."""

    def __post_init__(self) -> None:
        if self.jpeg is not None:
            _require_range("jpeg", self.jpeg, 1)


@dataclass(frozen=True)
class DegradationConfig:
    """The whole way; the defaults are Real-ESRGAN's second order.

    Raises:
        ConfigError: a value is out of range.
    """

    factor: int = 4
    """How many times the result is smaller along each side."""
    sharpen: bool = True
    """Unsharp masking first: weight 0.5, a Gaussian of 51 pixels, where it changes more than 10 levels."""
    stages: tuple[StageConfig, ...] = field(default_factory=lambda: (StageConfig(), SECOND))
    """At most two. The JPEG of the second is drawn before or behind the final resize and sinc; a single stage has its own in place. A second
    one without blur and resize works on the small image, behind these (ours)."""
    sinc_probability: float = 0.8
    """Of a final sinc, of 7 to 21 pixels, cut off from U(pi/3, pi)."""
    jpeg: Range | None = None
    """Quality of a JPEG at the very end, for degradations of one stage."""
    modes: tuple[ResizeMode, ...] = ("area", "bilinear", "bicubic")
    """What resizes draw from, all alike, without a filter against aliasing."""
    antialias: bool = False
    """Filter the final resize, which then is bicubic: the plain reduction that PSNR tables are made with."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "stages", tuple(self.stages))
        object.__setattr__(self, "modes", tuple(self.modes))
        if self.factor < 1:
            raise ConfigError(f"factor is {self.factor}; it must be at least 1")
        if len(self.stages) > 2:
            raise ConfigError(f"stages has {len(self.stages)} entries; give at most two")
        _require_share("sinc_probability", self.sinc_probability)
        if self.jpeg is not None:
            _require_range("jpeg", self.jpeg, 1)
        if not self.modes or set(self.modes) - set(get_args(ResizeMode)):
            raise ConfigError(f"modes is {list(self.modes)}; choose some of {', '.join(get_args(ResizeMode))}")


SECOND: StageConfig = StageConfig(
    blur=BlurConfig(probability=0.8, sigma=(0.2, 1.5)),
    resize=ResizeConfig((0.3, 0.4, 0.3), (0.3, 1.2)),
    noise=NoiseConfig(sigma=(1.0, 25.0), poisson_scale=(0.05, 2.5)),
)
LIGHT = StageConfig(
    resize=ResizeConfig(range=(0.5, 1.5)),
    noise=NoiseConfig(0.3, (1.0, 20.0), (0.05, 2.0), 0.2),
    jpeg=None,
)
NOTHING = StageConfig(None, None, None, None)
PLAIN = DegradationConfig(sharpen=False, stages=(), sinc_probability=0.0, modes=("area",))

PRESETS: Mapping[str, DegradationConfig] = MappingProxyType(
    {
        "realesrgan": DegradationConfig(),
        "light": DegradationConfig(stages=(LIGHT,), jpeg=(60.0, 95.0)),
        "bicubic": replace(PLAIN, antialias=True),
    }
)
"""The three of the published data loader."""


def _blurred(sigma: float) -> DegradationConfig:
    blur = BlurConfig(sizes=(21, 21), sinc_probability=0.0, shares=(1, 0, 0, 0, 0, 0), sigma=(sigma, sigma))
    return replace(PLAIN, stages=(replace(NOTHING, blur=blur),))


def _noisy(sigma: float) -> DegradationConfig:
    # Behind the reduction, where the eye meets it.
    return replace(
        PLAIN, stages=(NOTHING, replace(NOTHING, noise=NoiseConfig(1.0, (sigma, sigma), grey_probability=0.0)))
    )


SWEEP: Mapping[str, DegradationConfig] = MappingProxyType(
    {
        "bicubic": PRESETS["bicubic"],
        "blur, sigma 1.5": _blurred(1.5),
        "blur, sigma 3": _blurred(3.0),
        "noise, sigma 10": _noisy(10.0),
        "noise, sigma 25": _noisy(25.0),
        "JPEG, quality 60": replace(PLAIN, jpeg=(60.0, 60.0)),
        "JPEG, quality 30": replace(PLAIN, jpeg=(30.0, 30.0)),
        "light": PRESETS["light"],
        "realesrgan": PRESETS["realesrgan"],
    }
)
"""Degradations of a sweep of robustness (ours): one thing at a time at fixed strengths, then the drawn mixtures."""


def degradation_of(given: str | DegradationConfig) -> DegradationConfig:
    """Return a degradation, which may be given by its name.

    Raises:
        ConfigError: there is none of that name; the nearest is given.
    """
    if isinstance(given, DegradationConfig):
        return given
    known = {**PRESETS, **SWEEP}
    if given not in known:
        raise ConfigError(f"there is no degradation {given!r}; {did_you_mean(given, known)}")
    return known[given]


def require_degradations(names: Sequence[str]) -> None:
    """Refuse names of degradations of which not each stands for one of its own.

    Raises:
        ConfigError: there is none, one is given twice, or there is none of that name.
    """
    if not names:
        raise ConfigError("degradations is empty: give at least one")
    for name in names:
        degradation_of(name)
    twice = next((name for name in names if list(names).count(name) > 1), None)
    if twice is not None:
        raise ConfigError(f"degradations names {twice!r} twice: give it once")
