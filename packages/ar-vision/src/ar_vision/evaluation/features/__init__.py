"""Networks that turn images into the features on which distances between sets of images are measured."""

from .extractor import FeatureExtractor, Features, reported
from .open import FeaturesConfig, open_features

__all__ = ["FeatureExtractor", "Features", "FeaturesConfig", "open_features", "reported"]
