"""An embedded stand-in of Twitch, on loopback, that the unmodified twitchAPI and streamlink libraries talk to.

footage (recordings) -> build -> world (what exists: records) -> reels, media (bytes) -> routes, server (HTTP).
"""

from harvester.sandbox.build import default_world, world_from_index
from harvester.sandbox.faults import Fault
from harvester.sandbox.serve import serve
from harvester.sandbox.server import SandboxServer
from harvester.sandbox.stamp import Stamp, read_stamp
from harvester.sandbox.world import World

__all__ = [
    "Fault",
    "SandboxServer",
    "Stamp",
    "World",
    "default_world",
    "read_stamp",
    "serve",
    "world_from_index",
]
