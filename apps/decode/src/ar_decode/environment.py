"""Where a number was measured, as `ar_core.environment` records it."""

from ar_core.environment import describe_device, environment, portable

__all__ = ["describe_device", "environment", "portable"]
