"""One delivery as it is stored: what GitLab sent, and what the receiver knew when it accepted it.

Sans-IO: headers and bytes in, values out.
"""

from __future__ import annotations

import msgspec


class Envelope(msgspec.Struct, frozen=True, array_like=True):
    """One accepted delivery.

    New fields go to the end and have defaults, so that older entries of the log stay readable.
    """

    hook_id: str
    """The managed hook's id; empty for the hook that is configured by hand."""
    delivery_id: str
    """`webhook-id` or `Idempotency-Key`, the same on a resend; made up where GitLab (before 17.4) sent none."""
    event: str
    """`X-Gitlab-Event`, for example `Push Hook`. A hint: the body decides."""
    instance: str
    """Base URL of the GitLab that sent it."""
    generation: int
    """Which generation of the hook's secret proved it; 0 for the hook that is configured by hand."""
    received_at: int
    """Unix milliseconds."""
    body: bytes
    """The raw JSON, as it was signed."""
    trace: str = ""
    """W3C `traceparent` of the span in which it was accepted; empty, one byte, where nobody traces."""
