"""Every loader of the workspace that reads what a user, or a stranger, gives."""

from .inventory import MODULES, loader, loaders_of

__all__ = ["MODULES", "loader", "loaders_of"]
