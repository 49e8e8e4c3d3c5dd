"""The relay of ``tests/chaos.py``, under the name by which these tests know it."""

from ..chaos import DOWN, UP, Relay, relay, reset

__all__ = ["DOWN", "UP", "Relay", "relay", "reset"]
