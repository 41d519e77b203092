"""Pagination as GitLab does it: `page`, `per_page`, the x- headers and Link."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlencode

from starlette.responses import JSONResponse

from gitpulse_sim.api.call import Call

TOTALS_UP_TO = 10_000
"""Above that many rows GitLab gives no totals."""


def paged(call: Call, rows: Sequence[object], *, largest: int = 100) -> JSONResponse:
    """One page of the rows, with the headers that lead to the others."""
    page, size = call.whole("page") or 1, min(call.whole("per_page") or 20, largest)
    pages = max(1, -(-len(rows) // size))
    following = page + 1 if page < pages else None
    headers = {
        "x-page": str(page),
        "x-per-page": str(size),
        "x-next-page": str(following or ""),
        "x-prev-page": str(page - 1) if page > 1 else "",
        "link": _links(call, page, size, pages, following),
    }
    if len(rows) <= TOTALS_UP_TO:
        headers |= {"x-total": str(len(rows)), "x-total-pages": str(pages)}
    return JSONResponse(list(rows[(page - 1) * size : page * size]), headers=headers)


def _links(call: Call, page: int, size: int, pages: int, following: int | None) -> str:
    wanted = {"prev": page - 1 or None, "next": following, "first": 1, "last": pages}
    base = f"{call.world.url}{call.request.scope['path']}"
    kept = [(key, value) for key, value in call.request.query_params.multi_items() if key not in ("page", "per_page")]

    def link(number: int, relation: str) -> str:
        return f'<{base}?{urlencode([*kept, ("page", number), ("per_page", size)])}>; rel="{relation}"'

    return ", ".join(link(number, relation) for relation, number in wanted.items() if number)
