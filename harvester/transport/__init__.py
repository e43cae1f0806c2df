"""HTTP for everybody: one polite client with an allow-list, bounded connections, time-outs and retries.

A request goes through four gates, from outside to inside:

1. :class:`AllowedHosts`: a loopback world reaches loopback hosts only, the real world only Twitch's own hosts over
   https. Every hop of a redirect is checked again, so no playlist can point us at a machine of the local network.
2. :meth:`Transport.get` retries what may pass (no answer, short body, 429, 5xx) with exponential back-off and full
   jitter, and waits as long as ``Retry-After`` asks.
3. A keep-alive pool with a fixed number of connections per host; four time-outs: for a free connection, to
   connect, between two chunks, and for a whole body.
4. Bodies are read chunk by chunk and never beyond what was asked for, whatever the server sends.

Messages of errors name a host and a file; query strings, where signatures live, never appear in them.
"""

from harvester.transport.client import USER_AGENT, Response, StatusError, Transport
from harvester.transport.hosts import AllowedHosts, where
from harvester.transport.pace import Backoff, RateLimit, retry_after_s, server_time

__all__ = [
    "USER_AGENT",
    "AllowedHosts",
    "Backoff",
    "RateLimit",
    "Response",
    "StatusError",
    "Transport",
    "retry_after_s",
    "server_time",
    "where",
]
