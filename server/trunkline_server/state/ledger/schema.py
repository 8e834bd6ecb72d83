"""The tables of the ledger, and how an older database becomes one of today.

attempts, calls   A row for each that has ended, kept for the retention. Most calls hold the figures of their one
                  attempt as well (held.py). An attempt without a duration is an open one of an earlier version.
open_attempts     Attempts on their way, where they are written down before they are sent. Few, and without an index
                  beside their key: whoever waits for one to be written waits for every page that changes.
attempt_sums,     Rollups, changed in the transaction that adds the rows they count, and kept for ever. By `grain`:
call_sums,        hour, day (UTC): by workspace, operation, target and how it ended; the other dimensions are empty.
unit_sums         detail: days by all dimensions. No rollup names a person, a label or a requested model.
cells, cell_days  Calls of days that are over, added up (cells.py). They live as long as the rows.
feedback          The last score of each call and metric.
instances         Gateways that write open attempts, and until when they are surely alive.
decisions         What `performance_based` decided, kept for the retention: to learn from scores that come late.
                  What it keeps of a prompt is sealed.
budget_accounts,  What budgets have spent, by period (state/budgets), and what is held of them for attempts on their
budget_holds      way.
alerts            What went wrong, and whether it still does. Of a kind and subject one at most is open.
credential_ages   Since when a provider's key is in use here, by how it is shown.
api_keys          Gateway keys: digests of their secrets, never these. None is ever removed.
audit_events      Who did what. The database itself refuses to change or remove one.

Times are microseconds since 1970, spans microseconds, money nano-USD.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trunkline_server.state.alerts.tables import ALERTS, KEYS, WORKSPACES
from trunkline_server.state.budgets.tables import BUDGETS
from trunkline_server.state.identity.tables import IDENTITY, STRATEGIES
from trunkline_server.state.ledger.database import Statement

if TYPE_CHECKING:
    from trunkline_server.state.ledger.database import Database, Dialect, Script

_SUBJECT = """
    workspace TEXT NOT NULL,
    api_key TEXT NOT NULL,
    end_user TEXT NOT NULL,
    task TEXT NOT NULL,
    agent TEXT NOT NULL,
    strategy TEXT NOT NULL,
    arm TEXT NOT NULL,
    operation TEXT NOT NULL,
    requested_model TEXT NOT NULL,
    labels JSONB NOT NULL,
"""
_DIMENSIONS = """
    grain TEXT NOT NULL,
    start BIGINT NOT NULL,
    workspace TEXT NOT NULL,
    operation TEXT NOT NULL,
    provider TEXT NOT NULL,
    model TEXT NOT NULL,
    region TEXT NOT NULL,
    outcome BIGINT NOT NULL,
    api_key TEXT NOT NULL,
    task TEXT NOT NULL,
    agent TEXT NOT NULL,
    strategy TEXT NOT NULL,
    arm TEXT NOT NULL,
"""
_KEY = "grain, start, workspace, operation, provider, model, region, outcome, api_key, task, agent, strategy, arm"

_LEDGER = (
    f"""
CREATE TABLE attempts (
    call_id TEXT NOT NULL,
    attempt BIGINT NOT NULL,
    -- The gateway that wrote an open row; empty in rows that were written whole.
    instance TEXT NOT NULL,
    {_SUBJECT}
    started BIGINT NOT NULL,
    provider TEXT NOT NULL,
    model TEXT NOT NULL,
    region TEXT NOT NULL,
    duration BIGINT,
    outcome BIGINT NOT NULL,
    provider_status BIGINT NOT NULL,
    provider_code TEXT NOT NULL,
    certainty BIGINT NOT NULL,
    input_tokens BIGINT,
    output_tokens BIGINT,
    cache_read_tokens BIGINT,
    cache_write_tokens BIGINT,
    reasoning_tokens BIGINT,
    other_units JSONB NOT NULL,
    cost BIGINT,
    input_cost BIGINT,
    output_cost BIGINT,
    cache_read_cost BIGINT,
    cache_write_cost BIGINT,
    reasoning_cost BIGINT,
    other_cost BIGINT,
    saved BIGINT NOT NULL,
    price_version TEXT NOT NULL,
    PRIMARY KEY (call_id, attempt)
)""",
    "CREATE INDEX attempts_started ON attempts (started)",
    "CREATE INDEX attempts_workspace ON attempts (workspace, started)",
    "CREATE INDEX attempts_open ON attempts (instance) WHERE duration IS NULL",
    "CREATE INDEX attempts_end_user ON attempts (end_user) WHERE end_user <> ''",
    f"""
CREATE TABLE calls (
    call_id TEXT NOT NULL PRIMARY KEY,
    {_SUBJECT}
    started BIGINT NOT NULL,
    duration BIGINT NOT NULL,
    provider TEXT NOT NULL,
    model TEXT NOT NULL,
    region TEXT NOT NULL,
    outcome BIGINT NOT NULL,
    result TEXT NOT NULL,
    reason TEXT NOT NULL,
    finish_reason BIGINT NOT NULL,
    attempts BIGINT NOT NULL,
    fell_back BIGINT NOT NULL,
    interrupted BIGINT NOT NULL,
    time_to_first_token BIGINT,
    output_rate DOUBLE PRECISION,
    -- Where the values are in a histogram (state/histogram.py), times in seconds: of whole answers only.
    time_bucket BIGINT,
    first_token_bucket BIGINT,
    rate_bucket BIGINT
)""",
    "CREATE INDEX calls_started ON calls (started)",
    "CREATE INDEX calls_workspace ON calls (workspace, started)",
    "CREATE INDEX calls_end_user ON calls (end_user) WHERE end_user <> ''",
    f"""
CREATE TABLE attempt_sums (
    {_DIMENSIONS}
    attempts BIGINT NOT NULL,
    duration BIGINT NOT NULL,
    input_tokens BIGINT NOT NULL,
    output_tokens BIGINT NOT NULL,
    cache_read_tokens BIGINT NOT NULL,
    cache_write_tokens BIGINT NOT NULL,
    reasoning_tokens BIGINT NOT NULL,
    cost BIGINT NOT NULL,
    input_cost BIGINT NOT NULL,
    output_cost BIGINT NOT NULL,
    cache_read_cost BIGINT NOT NULL,
    cache_write_cost BIGINT NOT NULL,
    reasoning_cost BIGINT NOT NULL,
    other_cost BIGINT NOT NULL,
    saved BIGINT NOT NULL,
    -- Attempts without a price.
    unpriced BIGINT NOT NULL,
    -- Attempts whose usage is estimated, what they cost, and attempts of which nothing is known.
    estimated BIGINT NOT NULL,
    estimated_cost BIGINT NOT NULL,
    unknown BIGINT NOT NULL,
    PRIMARY KEY ({_KEY})
) {{clustered}}""",
    f"""
CREATE TABLE call_sums (
    {_DIMENSIONS}
    reason TEXT NOT NULL,
    calls BIGINT NOT NULL,
    successes BIGINT NOT NULL,
    errors BIGINT NOT NULL,
    cancelled BIGINT NOT NULL,
    fallbacks BIGINT NOT NULL,
    interrupted BIGINT NOT NULL,
    -- Of whole answers: how many have the value, and its sum; time and first token in microseconds.
    times BIGINT NOT NULL,
    time_sum BIGINT NOT NULL,
    first_tokens BIGINT NOT NULL,
    first_token_sum BIGINT NOT NULL,
    rates BIGINT NOT NULL,
    rate_sum DOUBLE PRECISION NOT NULL,
    -- How they are distributed (packed.py). Of grain day only: an hour holds too few values to be worth it.
    time_buckets {{histogram}},
    first_token_buckets {{histogram}},
    rate_buckets {{histogram}},
    PRIMARY KEY ({_KEY}, reason)
) {{clustered}}""",
    f"""
CREATE TABLE unit_sums (
    {_DIMENSIONS}
    unit TEXT NOT NULL,
    amount BIGINT NOT NULL,
    PRIMARY KEY ({_KEY}, unit)
) {{clustered}}""",
    """
CREATE TABLE feedback (
    call_id TEXT NOT NULL,
    metric TEXT NOT NULL,
    score DOUBLE PRECISION NOT NULL,
    -- The call's workspace and start; when the score came.
    workspace TEXT NOT NULL,
    started BIGINT NOT NULL,
    submitted BIGINT NOT NULL,
    PRIMARY KEY (call_id, metric)
)""",
    "CREATE INDEX feedback_started ON feedback (started)",
    """
CREATE TABLE instances (
    id TEXT NOT NULL PRIMARY KEY,
    -- The last sign of life, and when it is taken for dead.
    seen BIGINT NOT NULL,
    expires BIGINT NOT NULL
)""",
)

_READING = (
    """
CREATE TABLE resets (
    workspace TEXT NOT NULL,
    time BIGINT NOT NULL,
    -- The workspace and the key of who did it.
    by_workspace TEXT NOT NULL,
    by_key TEXT NOT NULL
)""",
    # Few calls fail: why an attempt's call did is looked up among those alone.
    "CREATE INDEX calls_failed ON calls (call_id, reason) WHERE reason <> ''",
)

_TRIES = (
    # An attempt whose target had failed its call before; one that was made while another was late.
    *(f"ALTER TABLE attempts ADD COLUMN {name} BIGINT NOT NULL DEFAULT 0" for name in ("retry", "hedge")),
    *(f"ALTER TABLE attempt_sums ADD COLUMN {name} BIGINT NOT NULL DEFAULT 0" for name in ("retries", "hedges")),
)

_HELD = (
    # 1: the figures of this attempt stand in its call's row, too (held.py).
    "ALTER TABLE attempts ADD COLUMN held BIGINT NOT NULL DEFAULT 0",
    "CREATE INDEX attempts_not_held ON attempts (held, started) WHERE held = 0",
    # Questions about one workspace find its calls by calls_workspace, and of attempts only those that are not held.
    "DROP INDEX attempts_workspace",
    # Of the attempt that the call holds; without a certainty it holds none.
    "ALTER TABLE calls ADD COLUMN certainty BIGINT",
    "ALTER TABLE calls ADD COLUMN input_tokens BIGINT",
    "ALTER TABLE calls ADD COLUMN output_tokens BIGINT",
    "ALTER TABLE calls ADD COLUMN cache_read_tokens BIGINT",
    "ALTER TABLE calls ADD COLUMN cache_write_tokens BIGINT",
    "ALTER TABLE calls ADD COLUMN reasoning_tokens BIGINT",
    "ALTER TABLE calls ADD COLUMN cost BIGINT",
    "ALTER TABLE calls ADD COLUMN saved BIGINT",
)

_CELLS = (
    """
CREATE TABLE cells (
    kind TEXT NOT NULL,
    start BIGINT NOT NULL,
    -- Those that the kind does not tell apart are empty.
    workspace TEXT,
    api_key TEXT,
    end_user TEXT,
    task TEXT,
    agent TEXT,
    strategy TEXT,
    arm TEXT,
    operation TEXT,
    requested_model TEXT,
    labels JSONB,
    provider TEXT,
    model TEXT,
    region TEXT,
    outcome BIGINT,
    reason TEXT,
    -- Of the attempts that the calls hold; of kind who only.
    attempts BIGINT,
    provider_faults BIGINT,
    estimated_attempts BIGINT,
    unpriced BIGINT,
    cost BIGINT,
    saved BIGINT,
    wasted BIGINT,
    estimated BIGINT,
    input_tokens BIGINT,
    output_tokens BIGINT,
    cache_read_tokens BIGINT,
    cache_write_tokens BIGINT,
    reasoning_tokens BIGINT,
    -- Of the calls, and of whole answers the sums of their distributions.
    successes BIGINT NOT NULL,
    errors BIGINT NOT NULL,
    cancelled BIGINT NOT NULL,
    fallbacks BIGINT NOT NULL,
    interrupted BIGINT NOT NULL,
    total_time BIGINT NOT NULL,
    time_to_first_token BIGINT NOT NULL,
    output_rate DOUBLE PRECISION NOT NULL,
    -- Their buckets as characters (queries.py).
    buckets TEXT NOT NULL
)""",
    "CREATE INDEX cells_start ON cells (kind, start)",
    """
CREATE TABLE cell_days (
    kind TEXT NOT NULL,
    day BIGINT NOT NULL,
    -- How many calls the day's cells count.
    calls BIGINT NOT NULL,
    -- 0: there would be too many cells, so there are none.
    worth BIGINT NOT NULL,
    PRIMARY KEY (kind, day)
)""",
    # A row for each person that was erased, and nothing of who that was.
    "CREATE TABLE erasures (number BIGINT NOT NULL)",
)

_LEARNING = (
    """
CREATE TABLE decisions (
    call_id TEXT NOT NULL PRIMARY KEY,
    decided BIGINT NOT NULL,
    -- As routing/learned has them: a prompt's keys, and who might have been asked first, with what probability.
    shape JSONB NOT NULL,
    candidates JSONB NOT NULL,
    propensities JSONB NOT NULL,
    -- "provider/model": who was to be asked first, and who answered; empty = nobody.
    assigned TEXT NOT NULL,
    served TEXT NOT NULL
)""",
    "CREATE INDEX decisions_decided ON decisions (decided)",
    "CREATE INDEX feedback_submitted ON feedback (submitted)",
    "CREATE INDEX calls_arm ON calls (arm) WHERE arm <> ''",
)

# What is kept of a prompt, sealed (state/learned/seal.py). It was in `shape`, in the clear, and is taken out of there.
SEALED = (
    "ALTER TABLE decisions ADD COLUMN sealed TEXT NOT NULL DEFAULT ''",
    "UPDATE decisions SET shape = '[]'",
)

_OPEN = (
    f"""
CREATE TABLE open_attempts (
    call_id TEXT NOT NULL,
    attempt BIGINT NOT NULL,
    -- The gateway that makes it.
    instance TEXT NOT NULL,
    {_SUBJECT}
    started BIGINT NOT NULL,
    provider TEXT NOT NULL,
    model TEXT NOT NULL,
    retry BIGINT NOT NULL,
    hedge BIGINT NOT NULL,
    region TEXT NOT NULL,
    PRIMARY KEY (call_id, attempt)
) {{clustered}}""",
)

# In order. A migration that is released is never changed: add another. Each is a sequence of statements.
MIGRATIONS: tuple[tuple[str, ...], ...] = (
    _LEDGER,
    IDENTITY,
    _READING,
    _TRIES,
    _HELD,
    _CELLS,
    _LEARNING,
    BUDGETS,
    ALERTS,
    WORKSPACES,
    STRATEGIES,
    # Days that are over are added up anew, by labels and end users with targets, too.
    ("DELETE FROM cell_days WHERE kind = 'who'",),
    # And by labels and hours.
    ("DELETE FROM cell_days WHERE kind = 'who'",),
    KEYS,
    SEALED,
    _OPEN,
)


class NewerSchema(Exception):
    """The database was written by a newer Trunkline than this one."""

    def __init__(self, found: int, known: int) -> None:
        super().__init__(
            f"the ledger's database has version {found}, this Trunkline knows {known}: use a newer Trunkline"
        )


async def migrate(database: Database, migrations: tuple[tuple[str, ...], ...] = MIGRATIONS) -> None:
    """Bring the schema up to date. Of instances that start at once, one does it. Raises NewerSchema and StoreFailed."""
    await database.transact(lambda: _migrate(database.dialect, migrations))


def _migrate(dialect: Dialect, migrations: tuple[tuple[str, ...], ...]) -> Script[None]:
    if dialect.alone:
        yield Statement(dialect.alone, returns=True)
    yield Statement("CREATE TABLE IF NOT EXISTS schema_version (version BIGINT NOT NULL)")
    found = yield Statement("SELECT version FROM schema_version", returns=True)
    version = found[0][0] if found else 0
    if version > len(migrations):
        raise NewerSchema(version, len(migrations))
    if version == len(migrations):
        return
    for sql in (*dialect.functions, *(sql for migration in migrations[version:] for sql in migration)):
        for statement in dialect.schema(sql):
            yield Statement(statement)
    yield Statement("DELETE FROM schema_version")
    yield Statement("INSERT INTO schema_version (version) VALUES (?)", [(len(migrations),)])
