"""Bugs that the tests must find: how a line would look if somebody got it wrong, and which tests should notice."""

from __future__ import annotations

from dataclasses import dataclass

SERVER = "trunkline_server"
ENDPOINT = "state/endpoint"


@dataclass(frozen=True, slots=True)
class Mutant:
    """One planted bug: in `file` of the server, `right` stands once and becomes `wrong`."""

    name: str
    file: str
    right: str
    wrong: str
    # Below tests/.
    tests: tuple[str, ...]


def _endpoint(file: str, name: str, right: str, wrong: str, *tests: str) -> Mutant:
    found_by = tests or (f"test_{file}.py",)
    return Mutant(name, f"{ENDPOINT}/{file}.py", right, wrong, tuple(f"{ENDPOINT}/{test}" for test in found_by))


def _retries(file: str, name: str, right: str, wrong: str) -> Mutant:
    return Mutant(name, f"routing/{file}.py", right, wrong, ("routing/test_retries.py",))


def _money(file: str, name: str, right: str, wrong: str, *tests: str) -> Mutant:
    return Mutant(name, file, right, wrong, tests)


def _budget(file: str, name: str, right: str, wrong: str, *tests: str) -> Mutant:
    return Mutant(name, f"state/budgets/{file}.py", right, wrong, tuple(f"state/budgets/{test}" for test in tests))


def _estimate(file: str, name: str, right: str, wrong: str) -> Mutant:
    return Mutant(name, f"routing/{file}.py", right, wrong, (f"routing/test_{file}.py",))


def _choice(file: str, name: str, right: str, wrong: str) -> Mutant:
    return Mutant(name, f"routing/{file}.py", right, wrong, ("routing/test_router.py",))


def _drain(name: str, right: str, wrong: str, file: str = "drain") -> Mutant:
    return Mutant(name, f"layers/{file}.py", right, wrong, ("layers/test_drain.py",))


def _layer(name: str, file: str, right: str, wrong: str) -> Mutant:
    return Mutant(name, file, right, wrong, ("layers/test_endpoint.py",))


def _limits(name: str, file: str, right: str, wrong: str, *tests: str) -> Mutant:
    return Mutant(name, file, right, wrong, tests or ("state/limits/test_limits.py",))


STATE = "state/endpoints.py"
IDENTITY = "state/identity"
LEDGER = "state/ledger"
ALERTS = "state/alerts"
_MACHINE = ("test_breaker.py", "test_breaker_machine.py")

MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        "state goes to another provider of the same dialect",
        "providers/upstream.py",
        "own = own_only(call.request, provider)",
        "own = call.request",
        ("providers/test_origin.py",),
    ),
    Mutant(
        "a probe of a model may be answered by a fallback",
        "providers/probe.py",
        "call_pb2.Routing(disable_fallback=True, max_attempts=1)",
        "call_pb2.Routing()",
        ("rpc/test_probed_models.py",),
    ),
    Mutant(
        "another gateway has a deadline of its own",
        "providers/gateway.py",
        "timeout=max(0.0, call.deadline - now())",
        "timeout=300.0",
        ("providers/test_gateway.py",),
    ),
    _limits(
        "limits are settled twice",
        "state/limits/limits.py",
        "settle, self._settle = self._settle, None",
        "settle = self._settle",
    ),
    _limits(
        "a place is taken and not counted",
        "state/limits/counters.py",
        "self.calls = calls = self.calls + 1",
        "calls = self.calls + 1",
    ),
    _limits(
        "the limit that is told is not the one that is nearest to its end",
        "state/limits/counters.py",
        "map(partial(min, key=remaining.__getitem__), self._terms.alike)",
        "map(min, self._terms.alike)",
    ),
    _limits(
        "a refusal takes the wait for the time until all is there again",
        "state/limits/counters.py",
        "found.until_full()), why.seconds)",
        "why.seconds), why.seconds)",
    ),
    _limits(
        "the buckets of the call that comes are forgotten",
        "state/limits/local.py",
        "found = Counters(self._clock, terms, buckets, running)\n",
        "found = Counters(self._clock, terms, buckets, running)\n            self._forget()\n",
        "state/limits/test_local.py",
    ),
    _limits(
        "a cancelled call keeps what it reserved",
        "layers/limit.py",
        "    finally:\n        # However else it ends",
        "    else:\n        # However else it ends",
        "layers/test_limit.py",
    ),
    _limits(
        "Valkey lets in one too many",
        "state/limits/scripts.py",
        "if levels[i] <= 0 then",
        "if levels[i] < 0 then",
        "state/limits/test_shared.py",
    ),
    _limits(
        "who was refused by Valkey forgets that nothing is left",
        "state/limits/shared.py",
        "self._note(limit, remaining)",
        "self._note(limit, limit.most)",
        "state/limits/test_shared.py",
    ),
    _limits(
        "without Valkey each instance has all of a limit",
        "state/limits/shared.py",
        "max(1, each.most // self._instances)",
        "max(1, each.most)",
        "state/limits/test_shared.py",
    ),
    Mutant(
        "no other key is asked",
        "routing/choice.py",
        "return candidate.other_key and candidate.usable",
        "return False and candidate.usable",
        ("routing/test_choice.py",),
    ),
    Mutant(
        "a provider's no to another try is not heard",
        "routing/retries.py",
        " and error.retryable is False",
        " and False",
        ("routing/test_retries.py",),
    ),
    # What is read on though its caller is gone.
    _drain("drain sends what was not sent yet", " and self._fate.sent", ""),
    _drain(
        "drain takes in any number",
        "self._registry.interrupted or self._count >= AT_ONCE",
        "self._registry.interrupted",
    ),
    _drain("drain gives no place back", "            self._count -= 1\n", ""),
    _drain("drain lets in after an interrupt", "self._registry.interrupted or ", ""),
    _drain(
        "drain reads on what was too late",
        "outcome == call_pb2.OUTCOME_TIMEOUT and late",
        "outcome == call_pb2.OUTCOME_TIMEOUT",
    ),
    _drain("drain never gives up", "tape.wait(until)", "tape.wait(FOREVER)"),
    _drain(
        "a drained answer is a success",
        "self._fate.outcome if self._fate.drains else call_pb2.OUTCOME_SUCCESS",
        "call_pb2.OUTCOME_SUCCESS",
        "account",
    ),
    _drain(
        "a drained answer is written down before its end",
        "        if self._fate.drains:\n            return self.entry.abandoned",
        "        if False:\n            return self.entry.abandoned",
        "account",
    ),
    # The choice of a target.
    _choice(
        "constraints",
        "choice takes a model without a price for cheap enough",
        "return (cost := costs[index]) is not None and cost <= most",
        "return True",
    ),
    _choice(
        "decision",
        "choice passes over providers that are well",
        "draw() >= weight(figure)",
        "draw() < weight(figure)",
    ),
    _choice("decision", "choice forgets who cannot be asked now", "figure.wait > 0.0 or ", ""),
    _choice(
        "decision",
        "choice asks all models of a provider that fails first",
        "    return [*best.values(), *rest] if rest else order\n",
        "    return order\n",
    ),
    _choice("gathering", "choice takes a turn for a plan", "        if peek:\n            return turn\n", ""),
    _choice(
        "chosen",
        "choice lets a workspace's strategy go before its task's",
        "        or policy.strategy\n        or overlay.of_workspace(identity.workspace)\n",
        "        or overlay.of_workspace(identity.workspace)\n        or policy.strategy\n",
    ),
    _choice(
        "ranking",
        "choice asks the embedded model like any other",
        "    rest, last = _embedded_last(kept, known.table)\n",
        "    rest, last = kept, ()\n",
    ),
    _choice(
        "constraints",
        "choice lets a last resort go where the call forbids",
        "denied=wanted.denied, max_cost",
        "max_cost",
    ),
    _choice(
        "naming",
        "choice passes over whom a strategy names and nobody lists",
        "        asked = () if is_rest else tuple(",
        "        asked = () if key else tuple(",
    ),
    _choice(
        "gathering",
        "choice counts calls into an experiment that it does not ask",
        "            if not all(any(side.arm) for side in sides):\n",
        "            if not sides:\n",
    ),
    _choice(
        "constraints",
        "choice takes a tool that the operator does not allow for one that runs",
        "    return tool.dialect in spoken and tool.type in row.tools\n",
        "    return tool.dialect in spoken\n",
    ),
    # The breaker.
    _endpoint(
        "breaker",
        "breaker counts a rate limit as a failure",
        "        call_pb2.OUTCOME_SERVER_ERROR,\n",
        "        call_pb2.OUTCOME_SERVER_ERROR,\n        call_pb2.OUTCOME_RATE_LIMITED,\n",
        *_MACHINE,
    ),
    _endpoint(
        "breaker",
        "breaker counts a bad request as a failure",
        "        call_pb2.OUTCOME_SERVER_ERROR,\n",
        "        call_pb2.OUTCOME_SERVER_ERROR,\n        call_pb2.OUTCOME_INVALID,\n",
        *_MACHINE,
    ),
    _endpoint(
        "breaker",
        "half-open admits without bound",
        "self._probing + self._passed < STAGES[self._stage]",
        "self._stage >= 0",
        *_MACHINE,
    ),
    _endpoint(
        "breaker",
        "a probe whose caller goes away keeps its place",
        "            self._probing -= self._state is State.HALF_OPEN\n",
        "",
        *_MACHINE,
    ),
    _endpoint(
        "breaker",
        "breaker counts calls when they end",
        "        calls = max(started, decided)\n",
        "        calls = decided\n",
        *_MACHINE,
    ),
    _endpoint(
        "breaker",
        "a call from before the breaker opened decides a probe",
        "        if trial.generation != self._generation:\n            return\n",
        "",
        *_MACHINE,
    ),
    _endpoint(
        "breaker",
        "breaker forgets how often it opened",
        "now - self._closed_at >= HEALTHY",
        "now - self._closed_at >= 0",
        *_MACHINE,
    ),
    _endpoint(
        "breaker",
        "an answer does not end a row of failures",
        "        self._in_a_row = 0\n        if slow",
        "        if slow",
        *_MACHINE,
    ),
    # The pacer.
    _endpoint(
        "pacer",
        "pacer keeps the last deadline",
        "self.blocked_until = max(self.blocked_until, now + wait + later)",
        "self.blocked_until = now + wait + later",
    ),
    _endpoint(
        "pacer",
        "pacer keeps the shorter deadline",
        "self.blocked_until = max(self.blocked_until, now + wait + later)",
        "self.blocked_until = min(self.blocked_until or now + wait, now + wait)",
    ),
    _endpoint(
        "pacer", "pacer's jitter shortens the wait", "JITTER * wait) * self._draw()", "JITTER * wait) * -self._draw()"
    ),
    # The throttle.
    _endpoint(
        "throttle",
        "throttle counts calls that only just began",
        "totals[_STARTED] - undecided",
        "totals[_STARTED]",
    ),
    _endpoint(
        "throttle",
        "throttle never sees a black hole",
        "totals[_STARTED] - undecided",
        "totals[_ACCEPTED] + totals[_REFUSED]",
    ),
    # The budgets.
    _endpoint(
        "retry_budget", "retry budget never empties", "[_BALANCE] -= PRICE", "[_BALANCE] -= 0", "test_budgets.py"
    ),
    _endpoint(
        "retry_budget",
        "a retry costs no more than an attempt brings",
        "DEPOSIT, PRICE = 1, 5",
        "DEPOSIT, PRICE = 1, 1",
        "test_budgets.py",
    ),
    _endpoint(
        "attempt_budget", "attempt budget is off by one", "if self.left <= 0", "if self.left < 0", "test_budgets.py"
    ),
    Mutant(
        "a whole answer hangs on what its handler does after it",
        "providers/guarded.py",
        "                        break  # what it does after that",
        "                        pass  # what it does after that",
        ("layers/test_attempt.py",),
    ),
    # The bucket.
    _endpoint(
        "bucket",
        "bucket gives back what is not certain",
        "self.correct(reserved - used if exact else min(0, reserved - used), now)",
        "self.correct(reserved - used, now)",
    ),
    _endpoint("bucket", "bucket settles twice", "claims, self._claims = self._claims, ()", "claims = self._claims"),
    _endpoint(
        "bucket",
        "bucket forgives debt",
        "self._full -= back * self._period",
        "self._full = min(self._full - back * self._period, self._capacity + self._rate * self._then)",
    ),
    _endpoint("bucket", "what is owed is owed before time has passed", "if back < 0:", "if back > 0:"),
    _endpoint(
        "bucket",
        "a refund goes over the brim",
        "return max(0, self._full - self._rate * self._then)",
        "return self._full - self._rate * self._then",
    ),
    _limits(
        "a bucket that was full before has more than it holds",
        "state/endpoint/bucket.py",
        "if self._full > brought:",
        "if self._full:",
    ),
    _limits(
        "requests that were taken come back with their tokens",
        "state/limits/counters.py",
        "list(enumerate(buckets))[len(terms.requests) :]",
        "list(enumerate(buckets))",
    ),
    _limits(
        "who is refused keeps a place among the calls at once",
        "state/limits/counters.py",
        "        self.leave()\n        for found, taken",
        "        for found, taken",
    ),
    _limits(
        "who is refused by one limit has taken from another",
        "state/limits/counters.py",
        "found.correct(taken, now)",
        "found.correct(0, now)",
    ),
    _endpoint(
        "bucket",
        "one claim is taken though another waits",
        "        if wait > longest:\n",
        "        claim.bucket.take(0 if wait else claim.units, now)\n        if wait > longest:\n",
    ),
    _endpoint(
        "bucket",
        "what never fits waits",
        "if units * self._period > self._capacity:",
        "if units * self._period > 2 * self._capacity:",
    ),
    _endpoint(
        "bucket",
        "bucket believes in more than it knows",
        "level = min(level, (remaining - in_flight) * self._period)",
        "level = (remaining - in_flight) * self._period",
    ),
    _endpoint(
        "bucket",
        "bucket forgets what is in flight",
        "(remaining - in_flight) * self._period",
        "remaining * self._period",
    ),
    _endpoint(
        "bucket",
        "the wait is a little too short",
        "-(-lacking // self._rate) / _TICKS",
        "lacking // self._rate / _TICKS",
    ),
    # The concurrency.
    _endpoint(
        "concurrency",
        "every failure of a burst shrinks the limit",
        "        if started >= self._shrunk and (",
        "        if (",
    ),
    _endpoint(
        "concurrency",
        "a limit that nobody uses grows",
        "if 2 * in_flight >= self.limit",
        "if in_flight",
    ),
    _endpoint(
        "concurrency", "gradient never looks what is normal", "ROUNDS, LOOK = 60, 2", "ROUNDS, LOOK = 1_000_000_000, 0"
    ),
    # The queue.
    _endpoint("queue", "queue forgets a cancelled waiter", "            self._give_up(waiter)\n", ""),
    _endpoint(
        "queue",
        "a place given to a cancelled waiter is lost",
        "            self.taken -= 1\n            self._fill()\n\n    def vacate",
        "            self.taken -= 1\n\n    def vacate",
    ),
    _endpoint(
        "queue",
        "queue sheds the highest",
        "self._refuse(self._waiting[0], Refused(",
        "self._refuse(self._waiting[-1], Refused(",
    ),
    _endpoint(
        "queue", "queue ignores deadlines within a priority", "_Waiter(priority, -deadline,", "_Waiter(priority, 0.0,"
    ),
    _endpoint("queue", "who waits in vain is never told", "loop.call_at(latest_start, self._expire, waiter)", "None"),
    _endpoint(
        "queue", "leaving twice gives two places", "queue, self._queue = self._queue, None", "queue = self._queue"
    ),
    _endpoint(
        "queue",
        "queue lets in who would be too late",
        "if now() + predicted > latest_start:",
        "if now() > latest_start:",
    ),
    # The retries.
    _retries("retries", "retry after content", "if at.content_sent or at.attempts_left", "if at.attempts_left"),
    _retries("retries", "retry without attempts left", "at.attempts_left <= 0", "at.attempts_left < 0"),
    _retries("retries", "what may have had effects is made twice", " or unsafe:", ":"),
    _retries(
        "retries",
        "a filtered request goes to a laxer model",
        "call_pb2.OUTCOME_CONTENT_FILTER: Way.NOWHERE",
        "call_pb2.OUTCOME_CONTENT_FILTER: Way.ELSEWHERE",
    ),
    _retries(
        "retries",
        "a refused key is tried again",
        "call_pb2.OUTCOME_AUTH: Way.ELSEWHERE",
        "call_pb2.OUTCOME_AUTH: Way.NOWHERE",
    ),
    _retries(
        "retries",
        "a retry starts that ends too late",
        "if now + wait + at.first_token <= at.deadline",
        "if now + at.first_token <= at.deadline",
    ),
    _retries(
        "retries",
        "one attempt more than a provider gets",
        "at.attempts_here < settings.max_attempts",
        "at.attempts_here <= settings.max_attempts",
    ),
    _retries("backoff", "retry-after is no floor", "max(retry_after or 0.0, wait)", "wait"),
    _retries("backoff", "half jitter", "settings.jitter * draw()", "settings.jitter * (0.5 + draw() / 2)"),
    # The layer of endpoints.
    _layer(
        "a call that goes away stays where it was",
        "layers/endpoint.py",
        "            visit.end(_outcome(error, call))\n",
        "",
    ),
    _layer(
        "an endpoint is not told of failures",
        "layers/endpoint.py",
        "            visit.failed(error)\n",
        "            pass\n",
    ),
    _layer("who waited is let in though the provider said to wait", STATE, "if wait or place.waited:", "if False:"),
    _layer(
        "each key has a floor of retries of its own",
        "state/provider_endpoints.py",
        "each.share(floor)",
        "each.share(Floor())",
    ),
    _layer("a retry brings what a first attempt brings", STATE, "if call.paid_by is None:", "if True:"),
    _layer(
        "another endpoint than the one that is asked pays for a retry",
        "layers/endpoint.py",
        "if each is call.paid_by and",
        "if each is not call.paid_by and",
    ),
    _layer(
        "a retry waits for the endpoint that pays",
        "layers/endpoint.py",
        "call.paid_by and not waits[at]",
        "call.paid_by",
    ),
    Mutant(
        "a strategy hedges calls that forbid it",
        "layers/course.py",
        """routing.HasField("allow_hedging"):\n            return routing.allow_hedging\n""",
        """routing.allow_hedging:\n            return True\n""",
        ("test_routing_served.py",),
    ),
    Mutant(
        "a late answer gets round a content filter",
        "layers/hedge.py",
        "if way_of(error) is Way.NOWHERE:",
        "if False:",
        ("layers/test_attempts.py",),
    ),
    _endpoint(
        "fading",
        "who fails again is forgotten as soon",
        "2 * self._forgetting",
        "self._forgetting",
    ),
    _endpoint("fading", "nobody is ever forgiven", "now - self._trouble_at < FORGIVEN", "self._trouble_at >= 0"),
    _layer(
        "a pause is believed to be over",
        STATE,
        "while block := self.known.blocked():",
        "if block := self.known.blocked():",
    ),
    _layer("time in the queue is the provider's", STATE, "if early and not visit.pace", "if early and visit.pace"),
    _layer(
        "what was reserved by a call that never began is lost",
        STATE,
        "            self._withdraw(reserved, self.clock())\n",
        "            pass\n",
    ),
    Mutant(
        "who has to wait goes first",
        "routing/decision.py",
        "waiting.sort(key=lambda index: aside[providers[index]])",
        "waiting.sort(key=lambda index: -aside[providers[index]])",
        ("routing/test_steering.py",),
    ),
    Mutant(
        "always the best",
        "routing/decision.py",
        "first = int(draw() * near)",
        "first = 0",
        ("routing/test_steering.py",),
    ),
    _endpoint("recent", "those that are overdue do not count", "** overdue", "** 0"),
    _endpoint(
        "upstream_limits",
        "who waits takes nothing",
        "                claim.bucket.take(claim.units, now)\n",
        "                pass\n",
    ),
    # Who pays: prices, identity, the ledger.
    _money("prices/cost.py", "cost is rounded down", "-(-rest // _A_NANO)", "rest // _A_NANO", "prices/test_cost.py"),
    _money(
        "prices/cost.py", "money is a float", "-(-rest // _A_NANO)", "-int(-rest / _A_NANO // 1)", "prices/test_cost.py"
    ),
    _money(
        "routing/catalogue.py",
        "what is fine-tuned costs what its base costs",
        " if not fine_tuned_of(model)}",
        "}",
        "routing/test_names.py",
    ),
    _money(
        "prices/book.py",
        "a deployment costs what its name says",
        "        if not base:\n            return history_of(kind, model)\n",
        "        if not base or history_of(kind, model):\n            return history_of(kind, model)\n",
        "prices/test_book.py",
    ),
    _money(
        "state/ledger/commit.py",
        "an attempt that has ended is finished again",
        "WHERE attempts.duration IS NULL RETURNING",
        "RETURNING",
        f"{LEDGER}/test_commit.py",
    ),
    _money(
        "state/ledger/commit.py",
        "an attempt that has ended stays open",
        "        yield from _closed([*ended])\n",
        "",
        f"{LEDGER}/test_commit.py",
    ),
    _money(
        "state/ledger/commit.py",
        "rollups count a row again when it is replayed",
        "    for key in new_attempts:\n        sums.add_attempt(ended[key])\n",
        "    for row in ended.values():\n        sums.add_attempt(row)\n",
        f"{LEDGER}/test_commit.py",
    ),
    _money(
        "state/ledger/journal.py",
        "the journal forgets a call of which a row is still queued",
        "if not call.uncommitted:",
        "if True:",
        f"{LEDGER}/test_journal.py",
    ),
    _money(
        "state/ledger/ledger.py",
        "strict does not wait for the intent to send",
        "                await self._sure()\n            except LedgerUnavailable:\n",
        "                pass\n            except LedgerUnavailable:\n",
        f"{LEDGER}/test_ledger.py",
    ),
    _money(
        "state/ledger/question.py",
        "callers see every workspace",
        'if identity.role != "caller":',
        "if identity.role:",
        "test_workspaces.py",
    ),
    _money(
        "state/ledger/tally.py",
        "histograms that were counted early are lost",
        "                group.count()\n",
        "                group.characters.clear()\n",
        f"{LEDGER}/test_usage.py",
    ),
    _money(
        "state/ledger/choosing.py",
        "rows of a group on the page are left out",
        "values = {row[index] for row in rows}",
        "values = {row[index] for row in rows[1:]}",
        f"{LEDGER}/test_usage.py",
    ),
    _money(
        "state/identity/keys.py",
        "a key is compared by its beginning",
        "hmac.compare_digest(current.digest, digest)",
        "current.digest.startswith(digest[:1])",
        f"{IDENTITY}/test_keyring.py",
        f"{IDENTITY}/test_keys.py",
    ),
    _money(
        "state/identity/keys.py",
        "a revoked key is taken",
        "not key.is_active(now) or ",
        "",
        f"{IDENTITY}/test_keyring.py",
        f"{IDENTITY}/test_keys.py",
    ),
    _money(
        "state/identity/keys.py",
        "a secret that was rotated out is taken for ever",
        "FOREVER if is_current else previous.ends or 0",
        "FOREVER",
        f"{IDENTITY}/test_keyring.py",
        f"{IDENTITY}/test_keys.py",
    ),
    _money(
        "state/identity/keyring.py",
        "a key that was revoked elsewhere is remembered for ever",
        "now() >= found.stale or ",
        "",
        f"{IDENTITY}/test_keyring.py",
        f"{IDENTITY}/test_keys.py",
    ),
    # Estimates of a request.
    _estimate(
        "tokens", "an estimate leaves out tools", "        for tool in request.tools:\n", "        for tool in ():\n"
    ),
    _estimate("tokens", "an estimate counts samples as the whole", " * size // (SAMPLES * SAMPLE)", ""),
    _estimate("tokens", "an estimate forgets what was not looked at", "weight * self.unseen // self.seen", "0"),
    _estimate(
        "tokens", "an estimate of media is corrected like words", "* correction) + self.media", "+ self.media) * 1"
    ),
    _estimate("window", "an estimate refuses without a margin", "tokens > room * MARGIN", "tokens > room"),
    _estimate(
        "window", "an estimate leaves no room for the answer", "    asked = max_output or 0\n", "    asked = 0\n"
    ),
    _estimate("fit", "an estimate of fit likes what is dear", "        -PRICE * (", "        PRICE * ("),
    _estimate(
        "expected",
        "an estimate of cost takes cached input for fresh",
        "(into - cached) * tariff.input",
        "into * tariff.input",
    ),
    _estimate("expected", "an estimate of cost is rounded down", "-(-pico // 1000)", "pico // 1000"),
    _estimate("candidates", "an estimate goes by prices of yesterday", "when < self.until", "when <= self.until"),
    _estimate(
        "analysis",
        "an estimate of hardness overrules the caller",
        "complexity == COMPLEXITY_UNSPECIFIED",
        "complexity >= 0",
    ),
    _money(
        "state/lengths.py",
        "an estimate learns from what a provider put into the prompt",
        "        if not LEAST_RATIO * estimated <= counted <= MOST_RATIO * estimated:\n            return\n",
        "",
        "state/test_lengths.py",
    ),
    _money(
        "state/lengths.py",
        "an estimate remembers every name",
        "len(known) > MAX_KNOWN",
        "False",
        "state/test_lengths.py",
    ),
    _budget(
        "holds",
        "a hold is settled twice",
        "attempt = ended.column2 AND {_PENDING} RETURNING",
        "attempt = ended.column2 RETURNING",
        "test_machine.py",
    ),
    _budget(
        "holds",
        "a budget is checked, then acted on",
        "        yield Statement(_POST, [(account, 0, 0) for account in ids], together=True, locks=True)\n",
        "        pass\n",
        "test_races.py",
    ),
    _budget(
        "holds",
        "what is over is held all the same",
        "WHERE held.account = budget_accounts.account AND held.{_PENDING})",
        "WHERE held.account = budget_accounts.account)",
        "test_machine.py",
    ),
    _budget(
        "holds",
        "a dead gateway's calls are free",
        'f"AND NOT EXISTS (SELECT 1 FROM open_attempts AS its WHERE {_ITS_ATTEMPT}) RETURNING 1"',
        '"RETURNING 1"',
        "test_machine.py",
        "test_recovery.py",
    ),
    _money(
        "state/ledger/reserving.py",
        "a hold leaks when its caller is cancelled",
        "        if waiting.future.done():\n            self._unheard(waiting.wish, amount)\n",
        "        if waiting.future.done():\n            pass\n",
        "state/budgets/test_recovery.py",
        "layers/test_budget_cancelled.py",
    ),
    _money(
        "state/ledger/reserving.py",
        "somebody is refused what an ended call has left over",
        "whole=settled is not None",
        "whole=False",
        "state/budgets/test_recovery.py",
    ),
    _money(
        "state/ledger/ledger.py",
        "a stream is cut though an ended call has left money over",
        "if not self._is_settled:",
        "if False:",
        "state/budgets/test_recovery.py",
    ),
    _budget(
        "holds",
        "an extension is held in one account of an attempt only",
        "rows = [(granted, *wanted.attempt, account.id) for account in wanted.accounts]",
        "rows = [(granted, *wanted.attempt, account.id) for account in wanted.accounts[:1]]",
        "test_machine.py",
    ),
    _budget(
        "accounts",
        "who pays is remembered by less than it hangs on",
        "        if self._labels:\n",
        "        if False:\n",
        "test_accounts.py",
    ),
    _money("prices/book.py", "a price outlives its change", "<= when < known[2]", "<= when", "prices/test_book.py"),
    _money(
        "prices/cost.py",
        "the worst case is not the dearest rate",
        "most = max(most, rate.amount(count, input_tokens))",
        "most = rate.amount(count, input_tokens)",
        "prices/test_cost.py",
    ),
    _budget("accounts", "a person's name is kept", "sha256(has.encode()).hexdigest()[:16]", "has", "test_accounts.py"),
    _money(
        "config/budgets.py",
        "a budget is a float",
        'Money(match[1] + (match[2] or "").ljust(9, "0"))',
        "Money(float(str(text)) * 1e9)",
        "test_config_budgets.py",
    ),
    _money(
        "state/ledger/ledger.py",
        "a hold leaks when the journal does not take the row",
        "            except LedgerUnavailable:\n                self._withdraw(row)\n                raise\n"
        "        self.budgets.told(",
        "            except LedgerUnavailable:\n                raise\n        self.budgets.told(",
        "layers/test_budget.py",
    ),
    _money(
        "layers/budget.py",
        "a stream goes on without money",
        "return came <= self._tokens or",
        "return came >= 0 or",
        "layers/test_budget.py",
    ),
    _money(
        "layers/budget.py",
        "whole answers are not bounded upstream",
        "request.config.max_output_tokens = self._tokens",
        "request.config.max_output_tokens = self._worst.output",
        "layers/test_budget.py",
    ),
    _money(
        "state/ledger/commit.py",
        "a call's end does not settle its hold",
        "for row in ended if row.reserved]",
        "for row in ended if not row.reserved]",
        "layers/test_budget.py",
    ),
    # Alerts and insights.
    _money(
        "state/alerts/judgement.py",
        "an alert is opened by what passes soon",
        "_lasts(each, known, now, OPEN_AFTER)",
        "True",
        f"{ALERTS}/test_judgement.py",
    ),
    _money(
        "state/alerts/judgement.py",
        "an alert is resolved amid noise",
        "before.state is Is.BAD and not is_open",
        "True",
        f"{ALERTS}/test_judgement.py",
    ),
    _money(
        "state/alerts/store.py",
        "an alert is told by every gateway that sees it",
        "ON CONFLICT DO NOTHING RETURNING id",
        "ON CONFLICT (kind, subject) WHERE resolved IS NULL DO UPDATE SET seen = excluded.seen RETURNING id",
        f"{ALERTS}/test_monitor.py",
    ),
    _money(
        "state/budgets/purses.py",
        "a budget alert waits for its turn",
        "            self._steps[account] = step\n            self.news.set()\n",
        "            self._steps[account] = step\n",
        f"{ALERTS}/test_budgets.py",
    ),
    _money(
        "state/budgets/accounts.py",
        "a soft budget of each provider saves nothing",
        "            whose[index] = EACH\n",
        "            pass\n",
        "test_budgets_served.py",
    ),
    _money(
        "state/alerts/monitor.py",
        "a budget alert outlives its period",
        "if key.kind in _OF_BUDGETS and key not in read]",
        "if key.kind not in _OF_BUDGETS and key not in read]",
        f"{ALERTS}/test_budgets.py",
    ),
    _money(
        "rpc/alert_methods.py",
        "a budget alert is shown to every workspace",
        'if identity.role == "caller" else {}',
        "if False else {}",
        "rpc/test_alerts_of_budgets.py",
    ),
    _money(
        "state/alerts/monitor.py",
        "the alert of a key's budget is watched by whoever has none",
        'api_key != "" and api_key == alert.api_key',
        'api_key != "" or api_key == alert.api_key',
        "rpc/test_alerts_of_budgets.py",
    ),
    _money(
        "app.py",
        "a plan saves nothing",
        "explain(save(resolved), warnings)",
        "explain(resolved, warnings)",
        "test_budgets_served.py",
    ),
    _money(
        "state/alerts/store.py",
        "a budget alert ends all alerts: its limit is no JSON",
        "(name, float(value), unit)",
        "(name, value, unit)",
        f"{ALERTS}/test_budgets.py",
        "rpc/test_alerts_of_traffic.py",
    ),
    _money(
        "routing/choice.py",
        "two targets without money are a bug",
        "    if error.retry_after is None:\n        return error",
        "    if error.retry_after == 0.0:\n        return error",
        "routing/test_choice.py",
    ),
    _money(
        "routing/insights.py",
        "an insight names a worse model",
        "quality < least - margin",
        "False",
        f"{LEDGER}/test_insights.py",
    ),
    Mutant(
        "a word takes an error as if it had seen nothing",
        "state/learned/words.py",
        "(self.seen[word] + STRENGTH)",
        "STRENGTH",
        ("routing/learned/test_words.py", "routing/learned/test_learned.py", "state/learned/test_learner.py"),
    ),
    Mutant(
        "words learn what others of the prompt have learned",
        "state/learned/words.py",
        "left = error - weights.told(words, vector)",
        "left = error",
        ("routing/learned/test_words.py", "routing/learned/test_learned.py", "state/learned/test_learner.py"),
    ),
    Mutant(
        "how rare a word is does not count",
        "state/learned/words.py",
        "rare = [most - having for having in map(log, _getter(words)(self._having))]",
        "rare = [1.0 for _ in words]",
        ("routing/learned/test_words.py", "routing/learned/test_learned.py", "state/learned/test_learner.py"),
    ),
    Mutant(
        "a score that is said anew changes cells alone",
        "state/learned/memory.py",
        "self._words.correct(shape.words, model, after - before)",
        "pass",
        ("routing/learned/test_words.py", "routing/learned/test_learned.py", "state/learned/test_learner.py"),
    ),
    Mutant(
        "words of a decision are not kept",
        "state/learned/decisions.py",
        "sealed = self._seal.sealed(lesson.shape)",
        "sealed = self._seal.sealed(lesson.shape._replace(words=()))",
        ("routing/learned/test_words.py", "routing/learned/test_learned.py", "state/learned/test_learner.py"),
    ),
    Mutant(
        "words lead beyond the scale",
        "routing/learned/cells.py",
        "min(1.0, max(0.0, mean + more))",
        "mean + more",
        ("routing/learned/test_words.py", "routing/learned/test_learned.py", "state/learned/test_learner.py"),
    ),
    Mutant(
        "pairs are words",
        "routing/learned/shape.py",
        'pairs = map(crc32, words[1:], map(crc32, repeat(b" "), alone))',
        "pairs = map(crc32, words[1:], alone)",
        ("routing/learned/test_words.py", "routing/learned/test_learned.py", "state/learned/test_learner.py"),
    ),
    Mutant(
        "words forget nothing",
        "state/learned/words.py",
        "DISCOUNT * weights.seen[word] +",
        "weights.seen[word] +",
        ("routing/learned/test_words.py", "routing/learned/test_learned.py", "state/learned/test_learner.py"),
    ),
    Mutant(
        "a correction is laid to words that never learned",
        "state/learned/words.py",
        "if self.seen[word]:",
        "if True:",
        ("routing/learned/test_words.py", "routing/learned/test_learned.py", "state/learned/test_learner.py"),
    ),
    Mutant(
        "models that take turns forget words at each",
        "state/learned/words.py",
        "< IDLE:",
        "< 0:",
        ("routing/learned/test_words.py", "routing/learned/test_learned.py", "state/learned/test_learner.py"),
    ),
    Mutant(
        "words of an idle model stay for ever",
        "state/learned/words.py",
        "< IDLE:",
        "< 1e9:",
        ("routing/learned/test_words.py", "routing/learned/test_learned.py", "state/learned/test_learner.py"),
    ),
    Mutant(
        "what a word adds grows as it becomes common",
        "state/learned/words.py",
        "sum(map(mul, _getter(words)(self.added), vector.rare))",
        "sum(_getter(words)(self.added))",
        ("routing/learned/test_words.py", "routing/learned/test_learned.py", "state/learned/test_learner.py"),
    ),
    Mutant(
        "words learn what the cells of all tasks leave",
        "state/learned/memory.py",
        "worths(self._cells, task, shape, (model,),",
        'worths(self._cells, "", shape, (model,),',
        ("routing/learned/test_words.py", "routing/learned/test_learned.py", "state/learned/test_learner.py"),
    ),
    Mutant(
        "words of a whole prompt are looked at",
        "routing/learned/shape.py",
        "_words(head))",
        "_words(prompt))",
        ("routing/learned/test_words.py", "routing/learned/test_learned.py", "state/learned/test_learner.py"),
    ),
    Mutant(
        "what is kept of prompts is sealed without the pepper",
        "state/learned/seal.py",
        "hmac.digest(pepper,",
        'hmac.digest(b"",',
        ("routing/learned/test_words.py", "routing/learned/test_learned.py", "state/learned/test_learner.py"),
    ),
    Mutant(
        "what is kept of prompts outlives an erasure",
        "state/ledger/retention.py",
        "    await _repeat(database, _DECISIONS, end_user)\n",
        "",
        ("routing/learned/test_words.py", "routing/learned/test_learned.py", "state/learned/test_learner.py"),
    ),
    Mutant(
        "an earlier version's open attempts are free",
        "state/budgets/holds.py",
        'f"AND NOT EXISTS (SELECT 1 FROM attempts AS its WHERE {_ITS_ATTEMPT}) "',
        '""',
        ("state/budgets/test_recovery.py",),
    ),
    Mutant(
        "a place is kept where nobody can be told of the breaker",
        "state/endpoints.py",
        "        finally:  # who hears of another state may fail\n",
        "        except ZeroDivisionError:\n            return\n        else:\n",
        ("layers/test_endpoint.py",),
    ),
    Mutant(
        "what was withdrawn stays open",
        "state/ledger/commit.py",
        "        yield from _closed(withdrawn)\n",
        "",
        ("state/budgets/test_machine.py", "state/ledger/test_commit.py"),
    ),
    Mutant(
        "what runs costs nothing",
        "state/ledger/experiments.py",
        "AND NOT EXISTS (SELECT 1 FROM open_attempts AS o WHERE o.call_id = c.call_id)",
        "",
        ("state/ledger/test_experiments.py",),
    ),
)
