"""harvester: Twitch game categories in, a labelled image dataset out."""

__version__ = "0.1.0"
