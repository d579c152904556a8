"""The page while a study runs or a folder grows: what is watched, the page made anew, and the server that shows it."""

from onset.work.live.session import HOST, PORT, LivePage

__all__ = ["HOST", "PORT", "LivePage"]
