"""The main job on a real model, in minutes on a laptop CPU."""

__version__ = "0.1.0"
