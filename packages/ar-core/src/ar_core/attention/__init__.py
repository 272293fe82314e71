"""One entry to attention, and the backends that compute it.

``attend`` takes a :class:`ar_core.masks.Mask`; ``choose`` names the backend that it would use and the reason.
"""

from ar_core.attention.attend import attend
from ar_core.attention.choose import BACKENDS, Choice, choose

__all__ = ["BACKENDS", "Choice", "attend", "choose"]
