"""`trunkline models` and `trunkline recommend`: which models there are, and which fit a purpose."""

from collections.abc import Iterable, Sequence
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any

from google.protobuf.duration_pb2 import Duration
from typer import BadParameter, Option

from trunkline.v1.call_pb2 import OUTCOME_SUCCESS
from trunkline.v1.model_pb2 import Capability, Model, Price
from trunkline.v1.model_service_pb2 import (
    ListModelsResponse,
    Recommendation,
    RecommendModelsRequest,
    RecommendModelsResponse,
    RefreshModelsResponse,
)
from trunkline_server.cli.connection import PATIENCE, Connection, calling
from trunkline_server.cli.options import AsJson
from trunkline_server.cli.terminal import print_json, print_table, tell

# Seconds that the gateway takes for the lists of models, at most.
REFRESH_TIME = 15.0
_PRICE_COLUMNS = {"input $/1M": Price.UNIT_INPUT_TOKEN, "output $/1M": Price.UNIT_OUTPUT_TOKEN}
_NANO = 10**9
# USD for a million tokens are as many millions of pico-USD for one.
_PICO_PER_MILLIONTH = 10**6


Can = Annotated[str, Option(metavar="tools,vision", help="Only models that can do all of these.")]
MaxCost = Annotated[str, Option(metavar="USD", help="Only models at which a call costs at most this.")]
InputTokens = Annotated[int, Option(metavar="N", min=0, help="How many tokens go into a call.")]
OutputTokens = Annotated[int, Option(metavar="N", min=0, help="How many come out of it.")]
MinQuality = Annotated[
    float | None, Option(metavar="Q", min=0, max=1, help="Only models of at least this quality, from 0 to 1.")
]
MinWindow = Annotated[int | None, Option(metavar="N", min=0, help="Only models with at least this window.")]
MaxFirstToken = Annotated[
    float | None,
    Option(metavar="S", min=0, help="Only models whose first token comes within this, as far as measured."),
]
Price1M = Annotated[str, Option(metavar="USD", help="Only models of which a million such tokens cost at most this.")]


@calling
def models(  # noqa: PLR0913 - each is an option
    connection: Connection,
    *,
    as_json: AsJson = False,
    provider: Annotated[str, Option(metavar="P", help="Only models of this provider.")] = "",
    available: Annotated[bool, Option("--available", help="Only models that can be called now.")] = False,
    can: Can = "",
    max_input_price: Price1M = "",
    max_output_price: Price1M = "",
    max_cost: MaxCost = "",
    input_tokens: InputTokens = 1000,
    output_tokens: OutputTokens = 500,
    min_window: MinWindow = None,
    min_quality: MinQuality = None,
    min_speed: Annotated[
        float | None, Option(metavar="V", min=0, max=1, help="Only models of at least this speed, from 0 to 1.")
    ] = None,
    max_first_token: MaxFirstToken = None,
    open_weights: Annotated[bool, Option("--open", help="Only models whose weights can be had.")] = False,
    refresh: Annotated[
        bool, Option("--refresh", help="Let the gateway ask its providers first; free. What changed is told, too.")
    ] = False,
) -> None:
    """List the models that the gateway offers: what each takes, costs and can do, and until when it is there."""
    filters = _wishes(can, max_cost, input_tokens, output_tokens, min_window, min_quality, max_first_token)
    filters |= {"min_speed": min_speed} if min_speed is not None else {}
    for name, usd in (("input", max_input_price), ("output", max_output_price)):
        if usd:
            filters[f"max_{name}_pico_usd_per_token"] = _amount(usd, _PICO_PER_MILLIONTH, f"--max-{name}-price")
    with connection.client(PATIENCE) as client:
        if refresh:
            _tell_refresh(client.refresh_models(provider=provider, timeout=PATIENCE + REFRESH_TIME))
        found = client.models(provider=provider, available_only=available, open_weights_only=open_weights, **filters)
    if as_json:
        print_json(ListModelsResponse(models=found))
    else:
        columns = ("model", "aliases", "window", "output", "can", *_PRICE_COLUMNS, "retires", "available")
        _print_found(columns, map(_model_row, found))


def _tell_refresh(told: RefreshModelsResponse) -> None:
    """On standard error: what goes to standard output is the list."""
    for words, ids in (("new", told.added), ("gone", told.removed)):
        if ids:
            tell(words, ", ".join(ids))
    for each in told.providers:
        if each.outcome != OUTCOME_SUCCESS:
            tell("warning", f"{each.provider}: {each.reason}")
    if not told.added and not told.removed:
        tell("", "nothing has changed")


def _model_row(model: Model) -> tuple[str, ...]:
    prices = (_price(model, unit) for unit in _PRICE_COLUMNS.values())
    available = "yes" if model.available else f"no: {model.unavailable_reason}"
    return (
        model.id,
        ", ".join(model.aliases),
        str(model.context_window) if model.HasField("context_window") else "unknown",
        str(model.max_output_tokens) if model.HasField("max_output_tokens") else "unknown",
        ", ".join(Capability.Name(each).removeprefix("CAPABILITY_").lower() for each in model.capabilities),
        *prices,
        _retires(model),
        available,
    )


def _retires(model: Model) -> str:
    """The day, and what comes after it."""
    day = f"{model.retirement_time.ToDatetime():%Y-%m-%d}" if model.HasField("retirement_time") else ""
    return f"{day}: {model.replacement}" if day and model.replacement else day


def _price(model: Model, unit: Price.Unit.ValueType) -> str:
    """USD per million tokens; with another price in larger calls, both. Free is 0, unpriced is unknown."""
    if not model.HasField("pricing"):
        return "unknown"
    usual = [price for price in model.pricing.prices if price.unit == unit and not price.processing]
    return " to ".join(_usd_per_million(price.pico_usd_per_unit) for price in usual) or "-"


def _usd_per_million(pico_usd: int) -> str:
    """A price of one in USD for a million, exactly."""
    whole, rest = divmod(pico_usd, 1_000_000)
    return f"{whole}.{rest:06}".rstrip("0").rstrip(".")


@calling
def recommend(  # noqa: PLR0913 - each is an option
    connection: Connection,
    *,
    as_json: AsJson = False,
    can: Can = "",
    by: Annotated[str, Option(metavar="OBJECTIVE", help="balanced, cheapest, fastest or best.")] = "balanced",
    max_cost: MaxCost = "",
    input_tokens: InputTokens = 1000,
    output_tokens: OutputTokens = 500,
    min_quality: MinQuality = None,
    min_window: MinWindow = None,
    max_first_token: MaxFirstToken = None,
    local: Annotated[bool, Option("--local", help="Only models that run on the gateway's own machine.")] = False,
    prefer_open: Annotated[bool, Option("--prefer-open", help="Rather models whose weights can be had.")] = False,
) -> None:
    """Name the models that can be called now and fit, the best first, and why."""
    wishes = _wishes(can, max_cost, input_tokens, output_tokens, min_window, min_quality, max_first_token)
    with connection.client(PATIENCE) as client:
        found = client.recommend(
            objective=_objective(by),
            local_only=local,
            prefer_open_weights=prefer_open,
            **wishes,
        )
    if as_json:
        print_json(RecommendModelsResponse(recommendations=found))
    else:
        _print_found(("model", "score", "why"), map(_recommended, found))


def _print_found(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A table; and on standard error, that there is nothing in it."""
    print_table(columns, rows := list(rows))
    if not rows:
        tell("", "no model fits what is asked for")


def _wishes(
    can: str,
    max_cost: str,
    input_tokens: int,
    output_tokens: int,
    min_window: int | None,
    min_quality: float | None,
    max_first_token: float | None,
) -> dict[str, Any]:
    """What both kinds of question ask for, in the client's words. What is not said is left out."""
    said: dict[str, Any] = {
        "required_capabilities": [_capability(name.strip()) for name in can.split(",")] if can else None,
        "max_call_cost_nano_usd": nano_usd(max_cost) if max_cost else None,
        "call_input_tokens": input_tokens,
        "call_output_tokens": output_tokens,
        "min_context_window": min_window,
        "min_quality": min_quality,
        "max_time_to_first_token": _duration(max_first_token) if max_first_token is not None else None,
    }
    return {name: value for name, value in said.items() if value is not None}


def _duration(seconds: float) -> Duration:
    made = Duration()
    made.FromNanoseconds(round(seconds * _NANO))
    return made


def _recommended(found: Recommendation) -> tuple[str, ...]:
    return found.model.id, f"{found.score:.3f}", "; ".join(found.reasons)


def _capability(name: str) -> Capability.ValueType:
    known = {each.removeprefix("CAPABILITY_").lower(): value for each, value in Capability.items() if value}
    if name not in known:
        raise BadParameter(f"{name!r} is none of {', '.join(known)}", param_hint="--can")
    return known[name]


def _objective(name: str) -> RecommendModelsRequest.Objective.ValueType:
    items = RecommendModelsRequest.Objective.items()
    known = {each.removeprefix("OBJECTIVE_").lower(): value for each, value in items if value}
    if name not in known:
        raise BadParameter(f"{name!r} is none of {', '.join(known)}", param_hint="--by")
    return known[name]


def nano_usd(text: str) -> int:
    """USD of --max-cost, exactly."""
    return _amount(text, _NANO, "--max-cost")


def _amount(text: str, parts: int, option: str) -> int:
    """How many parts of a USD these are. Raises BadParameter."""
    try:
        usd = Decimal(text)
        if 0 <= usd < _NANO:
            return int(usd * parts)
    except InvalidOperation:
        pass
    raise BadParameter(f"{text!r} is no amount of USD such as 0.01", param_hint=option)
