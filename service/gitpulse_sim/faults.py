"""Answers that go wrong on request: throttled, broken, slow, refused."""

from __future__ import annotations

import fnmatch
import time
from dataclasses import dataclass


@dataclass(slots=True, kw_only=True)
class Fault:
    """What happens to the next `count` API requests whose path matches."""

    path: str = "*"
    """Shell pattern on the whole path, `/api/v4/projects/*/hooks*`."""
    method: str = "*"
    status: int | None = None
    """429, 500, 502, 503, 401, 404 ...; None: the answer is right, but may come late."""
    count: int = 1
    """How often; -1: until it is taken away."""
    every: int = 1
    """3: each third request that matches is struck, for what looks random but can be told again."""
    retry_after: int | None = None
    """Seconds in the header of a 429 or 503; None: no such header."""
    delay: float = 0.0
    """Seconds before the answer."""
    matched: int = 0
    """How many requests matched so far."""

    def strikes(self, method: str, path: str) -> bool:
        """Whether it applies to this request; it then counts as used."""
        if self.count == 0 or not fnmatch.fnmatchcase(path, self.path):
            return False
        if self.method not in ("*", method):
            return False
        self.matched += 1
        if self.every > 1 and self.matched % self.every:
            return False
        if self.count > 0:
            self.count -= 1
        return True

    @property
    def body(self) -> dict[str, object] | str:
        """What GitLab, or the proxy before it, says with this status."""
        return _WORDS.get(self.status or 0, f"GitLab is not responding ({self.status})\n")

    @property
    def headers(self) -> dict[str, str]:
        """Of a throttle with Retry-After, the whole set; the bare form is what application limits answer."""
        if self.retry_after is None:
            return {}
        headers = {"Retry-After": str(self.retry_after)}
        if self.status == 429:
            reset = int(time.time()) + self.retry_after
            headers |= {
                "RateLimit-Limit": "60",
                "RateLimit-Name": "throttle_authenticated_api",
                "RateLimit-Observed": "61",
                "RateLimit-Remaining": "0",
                "RateLimit-Reset": str(reset),
                "RateLimit-ResetTime": time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(reset)),
            }
        return headers


_WORDS: dict[int, dict[str, object] | str] = {
    401: {"message": "401 Unauthorized"},
    403: {"message": "403 Forbidden"},
    404: {"message": "404 Not found"},
    429: "Retry later\n",
    500: {"message": "500 Internal Server Error"},
}
