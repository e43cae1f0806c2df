"""HTTP for everybody: one polite client with an allow-list, bounded connections, time-outs and retries.

A request goes through these gates, from outside to inside:

1. :class:`AllowedHosts`: a loopback world reaches loopback hosts only, the real world only Twitch's own hosts over
   https. Every hop of a redirect is checked again, so no playlist can point us at a machine of the local network.
2. :class:`~harvester.transport.breaker.Breakers`: a host that fails again and again is left alone for a while.
3. :meth:`Transport.get` retries what may pass (no answer, short body, 429, 5xx) with exponential back-off and full
   jitter, and waits as long as ``Retry-After`` asks.
4. A keep-alive pool with a fixed number of connections per host; four time-outs: for a free connection, to
   connect, between two chunks, and for a whole body.
5. Bodies are read chunk by chunk and never beyond what was asked for, whatever the server sends, and no
   faster than the run's :class:`~harvester.transport.limits.ByteRate` allows.

Breakers and byte rate are shared by all clients of a run (:class:`SharedLimits`), of other HTTP libraries too; so
is the reading of the environment's proxy (:class:`Proxies`).

Messages of errors name a host and a file; query strings, where signatures live, never appear in them.
"""

from harvester.transport.answers import Response, StatusError
from harvester.transport.breaker import Ticket, trouble_of_status
from harvester.transport.client import USER_AGENT, Transport
from harvester.transport.hosts import AllowedHosts, host_of, where
from harvester.transport.limits import SharedLimits
from harvester.transport.pace import Backoff, RateLimit, retry_after_s, server_time
from harvester.transport.proxies import Proxies, trusted_authorities, wants_password

__all__ = [
    "USER_AGENT",
    "AllowedHosts",
    "Backoff",
    "Proxies",
    "RateLimit",
    "Response",
    "SharedLimits",
    "StatusError",
    "Ticket",
    "Transport",
    "host_of",
    "retry_after_s",
    "server_time",
    "trouble_of_status",
    "trusted_authorities",
    "wants_password",
    "where",
]
