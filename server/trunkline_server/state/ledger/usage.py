"""UsageStats over the ledger: from rollups where they serve, else from the rows, with the same figures from both."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from operator import itemgetter
from typing import TYPE_CHECKING, NamedTuple

from trunkline.v1.gateway_service_pb2 import UsageDimension, UsageRow, UsageStatsResponse
from trunkline_server.state.ledger.choosing import WORTH, choose, sample_of
from trunkline_server.state.ledger.counting import Sources, are_rows_alone, count, kept_rows, sources_of
from trunkline_server.state.ledger.order import Place
from trunkline_server.state.ledger.paging import encode_place
from trunkline_server.state.ledger.question import question_of
from trunkline_server.state.ledger.resets import last_reset
from trunkline_server.state.ledger.sources import countable_from, rollups_for, starting
from trunkline_server.state.ledger.tally import Gathered, Tally

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trunkline.v1.gateway_service_pb2 import UsageStatsRequest
    from trunkline_server.core import Identity
    from trunkline_server.state.ledger.choosing import Chosen
    from trunkline_server.state.ledger.counting import Kept
    from trunkline_server.state.ledger.database import Database
    from trunkline_server.state.ledger.figures import Figures
    from trunkline_server.state.ledger.order import Key
    from trunkline_server.state.ledger.question import Question


class Page(NamedTuple):
    """The rows of a page by their sort keys, in order, whether there are more after them, and the totals of all."""

    rows: Sequence[tuple[Key, Gathered]]
    more: bool
    totals: Figures


async def usage_stats(
    database: Database, request: UsageStatsRequest, identity: Identity, now: int, *, rollups: bool = True
) -> UsageStatsResponse:
    """The figures that the request asks for, as far as `identity` may see them.

    `now` in microseconds since 1970. Without `rollups` all is counted from the rows: slower, and the same. The event
    loop stays free: databases read, and threads add up. Raises InvalidRequest and LedgerUnreadable.
    """
    since = await last_reset(database, _scope(request, identity))
    question = question_of(request, identity, now, since)
    kept = await kept_rows(database)
    start = countable_from(question, rollups_for(question) if rollups else (), kept.complete)
    if start < question.end:
        question = starting(question, start)
        page = await _page(database, question, kept, rollups=rollups)
    else:
        page = _page_of(question, Tally(question.group_by))
    response = await asyncio.to_thread(_answer, request, question, page)
    response.start_time.FromMicroseconds(start)
    return response


async def _page(database: Database, question: Question, kept: Kept, *, rollups: bool) -> Page:
    """Where there are more groups than rows on the page, and nothing but rows to count, these are chosen first."""
    sources = await sources_of(database, question, kept) if rollups else Sources()
    if not are_rows_alone(question, sources, kept):
        return await asyncio.to_thread(_page_of, question, await count(database, question, sources, kept))
    sample = await sample_of(database, question, kept)
    if question.order.path or sample.groups < WORTH * question.page_size:
        tally = await count(database, question, sources, kept, parts=sample.parts)
        return await asyncio.to_thread(_page_of, question, tally)
    chosen = await choose(database, question, kept, sample.parts)
    everything = replace(question, group_by=(), buckets=(question.start,), bucketed=False)
    totals = await count(database, everything, await sources_of(database, everything, kept), kept)
    tally = await count(database, chosen.narrowed(question), sources, kept, parts=sample.parts, only=chosen.only)
    return await asyncio.to_thread(_page_of_chosen, question, chosen, tally, totals.together())


def _page_of_chosen(question: Question, chosen: Chosen, tally: Tally, totals: Figures) -> Page:
    """What has been deleted since they were chosen is missing."""
    found = tally.groups()
    keyed = [
        (question.order.key(question.buckets[each[0]], each[1]), found[each]) for each in chosen.groups if each in found
    ]
    return Page(keyed, chosen.more, totals)


def _page_of(question: Question, tally: Tally) -> Page:
    rows = _ordered(question, tally)
    if question.after is not None:
        rows = [row for row in rows if row[0] > question.after.key]
    return Page(rows[: question.page_size], len(rows) > question.page_size, tally.together())


def _scope(request: UsageStatsRequest, identity: Identity) -> str:
    """The one workspace that the question is about; empty if it may be several."""
    if identity.role == "caller":
        return identity.workspace
    for each in request.filters:
        if each.dimension.kind == UsageDimension.KIND_WORKSPACE and len(each.values) == 1:
            return each.values[0]
    return ""


def _answer(request: UsageStatsRequest, question: Question, page: Page) -> UsageStatsResponse:
    response = UsageStatsResponse(totals=page.totals.totals())
    response.end_time.FromMicroseconds(question.end)
    for key, group in page.rows:
        response.rows.append(_row(question, key, group.settled()))
    if page.more:
        last, _ = page.rows[-1]
        response.next_page_token = encode_place(request, Place(question.start, question.end, *last))
    return response


def _ordered(question: Question, tally: Tally) -> list[tuple[Key, Gathered]]:
    """All rows. Only what the order needs is made sense of."""
    groups, order = tally.groups(), question.order
    if not question.bucketed and not question.group_by:
        groups.setdefault((0, ()), Gathered())
    keyed = []
    for (bucket, group), found in groups.items():
        figures = (found.settled() if order.by_distribution else found.summed()) if order.path else None
        keyed.append((order.key(question.buckets[bucket], group, figures), found))
    return sorted(keyed, key=itemgetter(0))


def _row(question: Question, key: Key, figures: Figures) -> UsageRow:
    _, _, bucket, group = key
    row = UsageRow(group=group, totals=figures.totals())
    if question.bucketed:
        row.bucket_start_time.FromMicroseconds(bucket)
    return row
