"""harvester: Twitch game categories in, a labelled image dataset out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harvester.version import __version__

if TYPE_CHECKING:
    from harvester.api import frames
    from harvester.model import Frame

__all__ = ["Frame", "__version__", "frames"]


def __getattr__(name: str) -> Any:
    """Load the API when it is first used: ``import harvester`` alone stays light."""
    if name == "frames":
        from harvester.api import frames

        return frames
    if name == "Frame":
        from harvester.model import Frame

        return Frame
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
