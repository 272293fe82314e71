"""Vision towers of models that are put together: crops in, a grid of features out."""

from .build import build_tower
from .config import ConnectorConfig, ScratchTower, TowerConfig
from .connector import Connector
from .tower import Tower

__all__ = ["Connector", "ConnectorConfig", "ScratchTower", "Tower", "TowerConfig", "build_tower"]
