"""One frozen :class:`Config`, from flags over environment over file over built-in defaults.

``sections`` says which keys there are, with their ranges; ``sources`` lays file, environment and flags over
them; ``wording`` turns what is wrong into one line with key, place and the nearest valid name; ``secrets``
reads the Twitch application's id and secret, which are no part of the configuration and never of a file of it.
"""

from harvester.config.secrets import Credentials, credentials
from harvester.config.sections import (
    MEDIA_HOST_SUFFIXES,
    Config,
    Dataset,
    Decode,
    Dedupe,
    Discover,
    Endpoints,
    Fetch,
    Filter,
    Report,
    Retention,
    Rights,
    Run,
    Sample,
    is_loopback,
)
from harvester.config.sources import ENV_PREFIX, Loaded, load

__all__ = [
    "ENV_PREFIX",
    "MEDIA_HOST_SUFFIXES",
    "Config",
    "Credentials",
    "Dataset",
    "Decode",
    "Dedupe",
    "Discover",
    "Endpoints",
    "Fetch",
    "Filter",
    "Loaded",
    "Report",
    "Retention",
    "Rights",
    "Run",
    "Sample",
    "credentials",
    "is_loopback",
    "load",
]
