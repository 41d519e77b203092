"""docs/people.md says what is so."""

from __future__ import annotations

import re
from pathlib import Path

import sqlalchemy as sa

from gitpulse_cli.team_files import read
from gitpulse_service.store import keys, people
from gitpulse_service.store.tables import identity
from gitpulse_service.store.unmatched import _suggester

DOC = (Path(__file__).parents[3] / "docs" / "people.md").read_text()


async def test_the_files_of_the_page_make_its_table_true(engine, tmp_path):
    blocks = dict(re.findall(r"```(\w+)\n(.*?)```", DOC, re.DOTALL))
    (tmp_path / "teams.yaml").write_text(blocks["yaml"])
    (tmp_path / ".mailmap").write_text(blocks["mailmap"])
    whole = await people.replace(engine, "file", read(tmp_path / "teams.yaml"))
    rows = re.findall(r"^\| `(.+?)` \| (.+?) \| (.*?) ?\|$", DOC, re.MULTILINE)
    assert len(rows) > 10
    async with engine.begin() as connection:
        for number, (appears, _, _) in enumerate(rows):
            handles = keys.handles(None, None, appears[1:], None)
            if author := re.fullmatch(r"(.*) <(.*)>", appears):
                handles = keys.handles(author[1], author[2], None, None)
            await connection.execute(sa.insert(identity), {"id": number, "version": b"1", **handles})
        map_ = people.attribution()
        found = (await connection.execute(sa.select(map_.c.person, map_.c.bot).order_by(map_.c.identity))).all()
    for (appears, told, why), (person, bot) in zip(rows, found, strict=True):
        assert told == ("a bot" if bot else person or "nobody"), appears
        if "suggested" in why:
            suggest = _suggester([(kind, value, who) for (kind, value), who in whole.aliases.items()])
            assert list(suggest(*appears.rstrip(">").split(" <"), None)) == ["Dmitri Doležal"]
