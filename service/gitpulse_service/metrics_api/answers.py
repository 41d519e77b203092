"""How an answer travels: JSON or CSV, in pages, and not again if it is still the same."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Annotated, Any, TypeAlias, TypeVar, get_args

from fastapi import Depends, Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel

from gitpulse_service.metrics_api.models import ListOf
from gitpulse_service.metrics_api.problems import Problem
from gitpulse_service.metrics_api.questions import AskPage

JSON, CSV = "application/json", "text/csv"
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What makes a spreadsheet take a text for a formula."""

T = TypeVar("T")
Item = TypeVar("Item", bound=BaseModel)


ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {CSV: {"schema": {"type": "string"}}},
        "headers": {
            "ETag": {"schema": {"type": "string"}, "description": "Changes with the answer; for `If-None-Match`."},
            "Link": {"schema": {"type": "string"}, "description": "The next page, where there is one."},
        },
    },
    304: {"description": "Still as `If-None-Match` has it."},
}
"""How OpenAPI is told of them."""


class AnswerRoute(APIRoute):
    """A route that answers in JSON; from that are made CSV, an ETag, and 304."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler, with what all answers have in common."""
        answer, head = super().get_route_handler(), _head(self.response_model)

        async def handler(request: Request) -> Response:
            kind = wanted(request.query_params.get("format"), request.headers.get("accept", ""))
            response = await answer(request)
            if response.status_code != HTTPStatus.OK:
                return response
            body = bytes(response.body)
            if kind == CSV:
                body = as_csv(json.loads(body), head)
            headers = {"ETag": f'"{hashlib.blake2b(body, digest_size=12).hexdigest()}"', **_SHARED}
            headers |= {"Link": response.headers["link"]} if "link" in response.headers else {}
            tags = {tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")}
            if tags & {headers["ETag"], "*"}:
                return Response(None, HTTPStatus.NOT_MODIFIED, headers)
            return Response(body, HTTPStatus.OK, headers, kind)

        return handler


_SHARED = {"Cache-Control": "private, no-cache", "Vary": "Accept, Authorization"}


def wanted(asked: str | None, accept: str) -> str:
    """The media type to answer with: as `format` says, else as `Accept` does. Raises Problem for any other."""
    if asked is not None:
        return CSV if asked == "csv" else JSON  # another one is refused with the other parameters
    weights = {
        offer: max((_weight(part, offer) for part in accept.split(",")), default=(0, 0.0)) for offer in (JSON, CSV)
    }
    best = max(weights, key=lambda offer: weights[offer][1])  # JSON where they are equal
    if accept.strip() and not weights[best][1]:
        raise Problem(HTTPStatus.NOT_ACCEPTABLE, f"answers are {JSON} or {CSV}")
    return best


def _weight(part: str, offer: str) -> tuple[int, float]:
    """How exactly a part of an Accept header names what we offer, and how much it wants it."""
    name, *parameters = (text.strip() for text in part.split(";"))
    names = (offer, f"{offer.partition('/')[0]}/*", "*/*")
    if name.lower() not in names:
        return 0, 0.0
    given = [text[2:] for text in parameters if text.startswith("q=")]
    try:
        return 3 - names.index(name.lower()), float(given[0]) if given else 1.0
    except ValueError:
        return 0, 0.0


def as_csv(answer: Mapping[str, Any], head: Sequence[str]) -> bytes:
    """The answer's items, or itself, as rows; safe to open in a spreadsheet."""
    rows = answer.get("items", [answer])
    text = io.StringIO()
    writer = csv.DictWriter(text, dict.fromkeys([*head, *(name for row in rows for name in row)]))
    heads = {name: name for name in writer.fieldnames}  # names too: whose merge requests were reviewed heads a column
    writer.writerows({name: _cell(value) for name, value in row.items()} for row in (heads, *rows))
    return text.getvalue().encode()


def _cell(value: object) -> object:
    if isinstance(value, dict):
        value = [f"{name}: {it}" for name, it in value.items()]
    if isinstance(value, list):
        value = "; ".join(map(str, value))
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def _head(answer: type[BaseModel]) -> list[str]:
    """The columns of an answer's table, so that an empty one has them too."""
    fields = answer.model_fields
    if "items" in fields:
        fields = get_args(fields["items"].annotation)[0].model_fields
    return [field.serialization_alias or name for name, field in fields.items()]


class Pages:
    """Cuts a list into pages, and links the next one.

    A page begins behind a key and not at a number, so that what comes or goes meanwhile shifts nothing.
    """

    def __init__(self, asked: AskPage, request: Request, response: Response) -> None:
        self._asked, self._request, self._response = asked, request, response

    def of(self, kind: type[Item], found: Mapping[Any, Any]) -> ListOf[Item]:
        """A page of what was found, each thing by its key: a text, or a tuple."""
        shown, following = self.cut(found, lambda key: [key] if isinstance(key, str) else key)
        return ListOf(items=[kind.model_validate(found[key]) for key in shown], next=following)

    def cut(self, items: Iterable[T], key: Callable[[T], Sequence[str | int]]) -> tuple[list[T], str | None]:
        """The items behind the cursor in the order of their keys, and the next page's cursor. Raises Problem."""
        asked = self._asked
        last = None if asked.cursor is None else _opened(asked.cursor)
        try:
            rest = sorted((it for it in items if last is None or [*key(it)] > last), key=lambda it: [*key(it)])
        except TypeError:  # a cursor of another list
            raise _no_cursor() from None
        if len(rest) <= asked.limit:
            return rest, None
        shown = rest[: asked.limit]
        following = base64.urlsafe_b64encode(json.dumps([*key(shown[-1])]).encode()).decode().rstrip("=")
        url = self._request.url.include_query_params(cursor=following)
        self._response.headers["Link"] = f'<{url.path}?{url.query}>; rel="next"'
        return shown, following


AnyPages: TypeAlias = Annotated[Pages, Depends()]


def _opened(cursor: str) -> list[str | int]:
    try:
        opened = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except ValueError:
        raise _no_cursor() from None
    if not isinstance(opened, list):
        raise _no_cursor()
    return opened


def _no_cursor() -> Problem:
    return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "this cursor is none that the same question was answered with")
