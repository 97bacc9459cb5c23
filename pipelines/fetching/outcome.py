"""What asking for a URL gives: a body, or a refusal with one of the documented reasons."""

from __future__ import annotations

from dataclasses import dataclass

UNSUPPORTED_URL = "unsupported_url"
ROBOTS_DISALLOWED = "robots_disallowed"
OPTED_OUT = "opted_out"  # by which directive is not known; where it is: pipelines.fetching.optout.OPT_OUTS
PRIVATE_ADDRESS = "private_address"
DNS_ERROR = "dns_error"
CONNECTION_ERROR = "connection_error"
TIMEOUT = "timeout"
TOO_MANY_REDIRECTS = "too_many_redirects"
HTTP_STATUS = "http_status"
RATE_LIMITED = "rate_limited"
TOO_LARGE = "too_large"
TRUNCATED_BODY = "truncated_body"
NOT_IN_ARCHIVE = "not_in_archive"
HOST_EXHAUSTED = "host_exhausted"


@dataclass(frozen=True)
class Body:
    """What a URL answered with, and the URL that answered after redirects."""

    data: bytes
    final_url: str


class Refused(Exception):
    """A URL that gives no body: `reason` is one of the documented ones, `detail` what was found.

    `is_passing`: it may pass when asked again later. `is_unreached`: nothing was heard of the URL's own host, which may
    be dead. `is_unasked`: it was refused before anything was asked of its host, but for robots.txt. `wait_s`: how long,
    in seconds, the host is to be left alone: what it says (Retry-After), 0 when it has too much to do and does not say
    how long, None when it answers as usual.
    """

    def __init__(
        self,
        reason: str,
        detail: str | None = None,
        *,
        is_passing: bool = False,
        is_unreached: bool = False,
        is_unasked: bool = False,
        wait_s: float | None = None,
    ) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
        self.is_passing = is_passing
        self.is_unreached = is_unreached
        self.is_unasked = is_unasked
        self.wait_s = wait_s
