"""What PostgreSQL and SQLite say differently, so that each statement is written once."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Collection
from functools import lru_cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from gitpulse_service.store.tables import UtcDateTime


class Many(sa.types.TypeDecorator[Any]):
    """Any number of values as one parameter: an array; in SQLite a JSON list."""

    impl = sa.Text
    cache_ok = True

    def __init__(self, of: sa.types.TypeEngine[Any]) -> None:
        super().__init__()
        self.of = of

    def load_dialect_impl(self, dialect: sa.Dialect) -> sa.types.TypeEngine[Any]:
        """As the database has it."""
        return dialect.type_descriptor(postgresql.ARRAY(self.of) if dialect.name == "postgresql" else sa.Text())

    def process_bind_param(self, value: Collection[Any] | None, dialect: sa.Dialect) -> Any:  # noqa: ANN401
        """To the database."""
        if value is None or dialect.name == "postgresql":
            return value and list(value)
        bind = self.of.dialect_impl(dialect).bind_processor(dialect)
        return json.dumps([bind(it) if bind else it for it in value])


class _Form(FunctionElement[Any]):
    """An expression that each database writes in its own way; `{0}` and `{1}` are its arguments."""

    inherit_cache = True
    postgresql: str
    sqlite: str


class seconds(_Form):  # noqa: N801 -- it reads as a function of SQL, and so do the others
    """Whole seconds since 1970, rounded down."""

    inherit_cache = True
    type = sa.BigInteger()
    postgresql = "CAST(floor(date_part('epoch', {0})) AS BIGINT)"  # `extract` is a slow numeric
    sqlite = "(({0}) / 1000)"


class json_texts(_Form):  # noqa: N801
    """The texts of a JSON list, each a row; use it as `.table_valued("value")`."""

    inherit_cache = True
    postgresql = "jsonb_array_elements_text(CAST({0} AS JSONB))"
    sqlite = "json_each({0})"


class among(_Form):  # noqa: N801
    """Whether the first is one of the second, `Many`."""

    inherit_cache = True
    type = sa.Boolean()
    postgresql = "({0} = ANY ({1}))"
    sqlite = "({0} IN (SELECT value FROM json_each({1})))"


class _List(sa.types.TypeDecorator[Any]):
    """Whole numbers, or none; in SQLite as JSON."""

    impl = sa.Text
    cache_ok = True

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> list[int]:  # noqa: ANN401
        """From the database."""
        found: list[int] = value if dialect.name == "postgresql" else json.loads(value)
        return found


class gathered(_Form):  # noqa: N801
    """Aggregates whole numbers into a list; several of one SELECT have the same order."""

    inherit_cache = True
    type = _List()
    postgresql = "array_agg(CAST({0} AS BIGINT))"
    sqlite = "json_group_array({0})"


class edge_before(_Form):  # noqa: N801
    """The last of `Many` moments in growing order that is not after the first argument; NULL: all are."""

    inherit_cache = True
    type = UtcDateTime()
    postgresql = "({1})[width_bucket({0}, {1})]"
    sqlite = "edge_before({0}, {1})"


@compiles(_Form)
def _written(element: _Form, compiler: Any, **more: Any) -> str:  # noqa: ANN401
    form: str = getattr(element, compiler.dialect.name)
    return form.format(*(compiler.process(it, **more) for it in element.clauses))


def edge_before_in_sqlite(moment: int | None, edges: str) -> int | None:
    """`edge_before`, which SQLite does not have."""
    if moment is None:
        return None
    known = _edges(edges)
    place = bisect_right(known, moment)
    return known[place - 1] if place else None


@lru_cache(maxsize=64)
def _edges(edges: str) -> list[int]:
    return list(json.loads(edges))
