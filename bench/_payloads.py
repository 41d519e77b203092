"""What GitLab sends, in the sizes that it comes in: made of the tests' samples."""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from harness.samples import body

_dice = random.Random(5)  # the same bodies in each run, with hashes that compress as little as real ones


def mix() -> list[tuple[str, bytes]]:
    """`X-Gitlab-Event` and body of what is sent in turn: three pushes of 2 KB, a merge request of 6, a pipeline of 30,
    a push of 20 commits of 25.
    """
    small = ("Push Hook", _encoded(body("push/force_push")))
    return [
        small,
        small,
        small,
        ("Merge Request Hook", _encoded(_merge_request())),
        ("Pipeline Hook", _encoded(_pipeline())),
        ("Push Hook", _encoded(_push(20))),
    ]


def _merge_request() -> dict[str, Any]:
    content = body("merge_request/open")
    content["object_attributes"]["description"] = " ".join(_word() for _ in range(330))
    return content


def _pipeline() -> dict[str, Any]:
    content = body("pipeline/success")
    content["builds"] = [
        {**content["builds"][0], "id": 1 + number, "name": _word(), "queued_duration": _dice.random()}
        for number in range(51)
    ]
    return content


def _push(commits: int) -> dict[str, Any]:
    content = body("push/two_commits")
    content["commits"] = [_commit(content["commits"][0]) for _ in range(commits)]
    return {**content, "total_commits_count": commits}


def _commit(like: dict[str, Any]) -> dict[str, Any]:
    sha = _dice.randbytes(20).hex()
    files = [f"src/{_word()}/{_word()}.py" for _ in range(22)]
    message = " ".join(_word() for _ in range(20))
    return {
        **like,
        "id": sha,
        "url": f"https://gitlab.example.com/-/commit/{sha}",
        "message": message,
        "modified": files,
    }


def _word() -> str:
    return "".join(_dice.choices("abcdefghijklmnoprstu", k=_dice.randint(3, 12)))


def _encoded(content: dict[str, Any]) -> bytes:
    return json.dumps(content).encode()
