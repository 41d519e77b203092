"""What is behind a figure, object by object; and what each number means."""

from __future__ import annotations

import re
from functools import cache, partial
from http import HTTPStatus

from fastapi import APIRouter, Request, Response
from markdown_it import MarkdownIt

from gitpulse_service.dashboard.cards import Card, facts
from gitpulse_service.dashboard.door import AnyViewer
from gitpulse_service.dashboard.pages import board, page
from gitpulse_service.dashboard.view import AskPage, View, look
from gitpulse_service.metrics_api.meanings import document
from gitpulse_service.metrics_api.problems import Problem
from gitpulse_service.store import objects
from gitpulse_service.store.facts import METRICS

MOST = 200

router = APIRouter()


@router.get("/behind/{metric}")
async def behind(metric: str, request: Request, viewer: AnyViewer, asked: AskPage) -> Response:
    """The facts of a metric, each with its object in GitLab."""
    if metric not in METRICS:
        raise Problem(HTTPStatus.NOT_FOUND, f"there is no metric {metric}; Definitions lists them")
    view = await look(request, viewer, asked)
    told = [(it, None) for it in (asked.person, asked.label) if it]
    return await board(view, metric, {"facts": partial(_facts, view, metric)}, kind="What is behind", facts=told)


async def _facts(view: View, metric: str) -> Card:
    asked = view.asked
    found = await objects.behind(
        view.caller.engine, metric, view.span, label=asked.label, largest=asked.largest, limit=MOST, **view.whose
    )
    kind = "largest" if asked.largest else "newest"
    note = f"The {MOST} {kind} are shown." if len(found) == MOST else ""
    return facts(view, "Facts", metric, found, wide=True, note=note)


@router.get("/definitions")
async def definitions(request: Request, viewer: AnyViewer) -> Response:
    """What each number means."""
    return page(request, "definitions", viewer, text=_definitions())


@cache
def _definitions() -> str:
    """docs/metrics.md as HTML, with an anchor for each metric; its links lead into the repository, so they are none."""
    text = re.sub(r"\[([^][]+)\]\((?!https?:)[^)]+\)", r"\1", document())
    text = re.sub(r"\n(?=\*(Formula|Example|Limit)\*:)", "\n\n", text)
    html: str = MarkdownIt("commonmark", {"html": False}).enable("table").render(text)
    html = re.sub(r"<h1>.*?</h1>\n?", "", html)
    return re.sub(r"<h3>(.*?)</h3>", lambda it: f"<h3>{', '.join(map(_anchor, it[1].split(', ')))}</h3>", html)


def _anchor(metric: str) -> str:
    return f'<span id="{metric}">{metric}</span>'
