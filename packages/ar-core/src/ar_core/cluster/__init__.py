"""Work on a Ray cluster (extra ``ray``): workers that keep a model loaded, items in, results out."""

from .ray_cluster import RayCluster

__all__ = ["RayCluster"]
