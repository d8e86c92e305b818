"""What can go wrong, by who has to act."""

from __future__ import annotations

__all__ = ["AgentError", "ConfigurationError", "HubAway", "HubRefused", "LocalTrouble"]


class AgentError(Exception):
    """Anything this program says about itself; the text is for a person."""


class ConfigurationError(AgentError):
    """agent.toml, the token or the state folder must be mended by a person."""


class HubAway(AgentError):
    """The hub cannot be reached or says to come again: tried again by itself. `wait`: seconds that it asks for."""

    def __init__(self, text: str, wait: float = 0.0) -> None:
        super().__init__(text)
        self.wait = wait


class HubRefused(AgentError):
    """The hub answered and does not want it: sending the same again changes nothing. `status`: of HTTP."""

    def __init__(self, text: str, status: int) -> None:
        super().__init__(text)
        self.status = status


class LocalTrouble(AgentError):
    """Something on this machine is in the way of one connection (a full disk, a missing folder); tried again."""
