"""The configuration as typed values. Reading them from a file and the environment is config.py's alone."""

from __future__ import annotations

import ipaddress
from typing import Annotated, Literal

from msgspec import Meta, field

from trunkline_server.sections import Seconds, Section
from trunkline_server.settings.budgets import MoneySections
from trunkline_server.settings.limits import CallerLimits
from trunkline_server.settings.models import DiscoverySettings, LatencySettings, ModelSettings
from trunkline_server.settings.prices import PriceSettings  # noqa: TC001 - msgspec reads it
from trunkline_server.settings.reliability import BreakerSettings, ProviderLimits, RetrySettings
from trunkline_server.settings.scripted import Script  # noqa: TC001 - msgspec reads it
from trunkline_server.settings.vendors import GenerationDefaults, QuirkSettings

# A file by reference, read anew when it changes.
FileReference = Annotated[str, Meta(pattern=r"^file:(/|[A-Za-z]:[/\\]).+$", description="file:/an/absolute/path")]
Name = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$", description="lower-case letters, digits, - and _")]


ADMIN_LISTEN = "127.0.0.1:50052"


# Characters. Four of a shorter secret would be too much of it.
_LONG = 20


class Secret:
    """A secret that shows itself to nobody but `reveal()`."""

    __slots__ = ("_origin", "_value")

    def __init__(self, value: str, origin: str = "") -> None:
        """`origin` is where it was read from: env:NAME or file:/path."""
        self._value = value
        self._origin = origin

    @property
    def origin(self) -> str:
        """Where it was read from. Empty = from nowhere that can be asked again."""
        return self._origin

    def reveal(self) -> str:
        """The secret itself: for the one place that sends it."""
        return self._value

    def hint(self) -> str:
        """Enough to tell it from others: where it comes from and its last four characters; of a short one none."""
        end = f"...{self._value[-4:]}" if len(self._value) >= _LONG else "..."
        return f"{self._origin} {end}".lstrip()

    def __repr__(self) -> str:
        return "Secret(***)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __reduce__(self) -> tuple[type[str], tuple[str]]:
        return str, ("Secret(***)",)


class Header(Secret):
    """The value of a header. Unlike other secrets it may stand in the file itself; it is not shown all the same."""


class Document(Secret):
    """A secret of several lines, or one that others write anew: it is read from its file each time it is needed."""

    def hint(self) -> str:
        """Where it is: its end tells nothing."""
        return self.origin


# The entry points that add kinds of stores.
SECRETS_GROUP = "trunkline.secrets"


class Reference(Secret):
    """A secret in a store: it is fetched while the gateway runs. Until then only its name is known."""

    def __init__(self, origin: str) -> None:
        """`origin` is what names it: aws-sm:prod/openai."""
        super().__init__(origin, origin)

    def reveal(self) -> str:
        """There is nothing to reveal here."""
        raise LookupError("a secret that has to be fetched")

    def hint(self) -> str:
        """Its name."""
        return self._origin


class DatabaseUrl(Secret):
    """Where a database is. It may stand in the file itself if it holds no password."""


class WebhookUrl(Secret):
    """Where posts go. It may stand in the file itself."""


class ValkeyUrl(Secret):
    """Where Valkey is. It may stand in the file itself if it holds no password."""


def is_loopback(host: str) -> bool:
    """Whether only this machine is meant."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


class CertifiedSettings(Section, frozen=True, kw_only=True):
    """Whom a name in a client's certificate stands for."""

    workspace: Name = "default"
    role: Literal["caller", "operator", "admin"] = "caller"
    # As of a key: "provider/model" and model names, * for any text; providers; strategies. Empty = all.
    models: tuple[str, ...] = ()
    providers: tuple[str, ...] = ()
    strategies: tuple[str, ...] = ()


class TlsSettings(Section, frozen=True, kw_only=True):
    """TLS. The files are looked at with each new connection."""

    # The chain of the gateway's certificate, its own first, and its key without a password; PEM.
    cert: FileReference
    key: FileReference
    # Who vouches for callers' certificates; then no connection is made without one. Empty = callers need none.
    client_ca: Annotated[str, Meta(pattern=r"^(file:(/|[A-Za-z]:[/\\]).+)?$", description="file:/an/absolute/path")] = (
        ""
    )
    # By a DNS name or a URI (spiffe://...) in a caller's certificate: who that is. The first that fits.
    clients: dict[str, CertifiedSettings] = field(default_factory=dict)


class ServerSettings(Section, frozen=True, kw_only=True):
    """Where and how the gateway listens."""

    # host:port; port 0 takes a free one.
    listen: str = "127.0.0.1:50051"
    # The same for the admin service, on the loopback interface only. "" = there is none. Unset = ADMIN_LISTEN, unless
    # something else listens there.
    admin_listen: str | None = None
    # On SIGTERM: how long running calls may go on.
    grace: Seconds = Seconds(30.0)
    # On SIGTERM: how long health says NOT_SERVING before new calls are refused, for load balancers to notice.
    notice: Seconds = Seconds(2.0)
    max_message_bytes: Annotated[int, Meta(ge=1 << 16, le=1 << 30)] = 32 << 20
    # keys: every call needs a gateway key. none: no call does. auto: on the loopback interface as soon as a key was
    # ever made, elsewhere always.
    auth: Literal["auto", "keys", "none"] = "auto"
    # What makes the digests of keys: env:NAME or file:/path in the file. None: a file that is made beside the ledger.
    pepper: Secret | None = None
    tls: TlsSettings | None = None
    # What is allowed beyond the loopback interface all the same: calls without keys, calls in the clear.
    insecure: tuple[Literal["no_keys", "no_tls"], ...] = ()

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach the gateway."""
        return is_loopback(self.listen.rpartition(":")[0].strip("[]"))

    @property
    def needs_keys(self) -> bool:
        """Whether a call needs a key, or a certificate that names its caller, even before any key was made."""
        if self.auth == "auto":
            return bool(self.tls and self.tls.client_ca) or not (self.is_local or "no_keys" in self.insecure)
        return self.auth == "keys"


class TimeLimits(Section, frozen=True, kw_only=True):
    """How long things may take."""

    # For calls that come without a deadline.
    default_deadline: Seconds = Seconds(600.0)
    # No call runs longer, whatever its deadline.
    max_deadline: Seconds = Seconds(3600.0)
    # From sending a request upstream to the first piece of its answer.
    first_token: Seconds = Seconds(120.0)
    # From one piece of an answer to the next.
    between_tokens: Seconds = Seconds(60.0)
    # To reach a provider.
    connect: Seconds = Seconds(10.0)


class LogSettings(Section, frozen=True, kw_only=True):
    """What is written down. Prompts, answers and secrets never are."""

    # basic: a line a call, a line a failed attempt. detailed: and a line an attempt, with its timeline.
    # comprehensive: and masked headers and sizes.
    monitoring_level: Literal["basic", "detailed", "comprehensive"] = "basic"


Auth = Literal["none", "bearer", "api-key", "x-api-key", "x-goog-api-key"]


class TokenSettings(Section, frozen=True, kw_only=True):
    """Where credentials come from that are more than a key. Which of these are needed depends on the kind."""

    # AWS: an access key.
    access_key_id: Secret | None = None
    secret_access_key: Secret | None = None
    session_token: Secret | None = None
    # Where it runs, as the ledger says it. AWS: the region that signatures are good for.
    region: Annotated[
        str,
        Meta(pattern=r"^([a-z0-9][a-z0-9-]{0,62})?$", description="a region's name such as us-east-1 or europe-west4"),
    ] = ""
    # AWS: a role to take on, with the access key or with the token of a web identity.
    role_arn: Annotated[
        str,
        Meta(pattern=r"^(arn:aws[a-z-]*:iam::[0-9]{12}:role/[!-~]+)?$", description="arn:aws:iam::123456789012:role/x"),
    ] = ""
    web_identity_token: Document | None = None
    # What the machine itself gives out: the metadata server of Google Cloud, AWS or Azure.
    ambient: bool = False
    # Where tokens are asked for, in place of the vendor's own address.
    token_url: str = ""


class AwsSecrets(TokenSettings, frozen=True, kw_only=True):
    """AWS Secrets Manager, for keys that are given as aws-sm:NAME."""

    # In place of the region's own address.
    url: str = ""


class ProviderSettings(TokenSettings, frozen=True, kw_only=True):
    """A provider: a row of the table under a name of its own."""

    # The row: openai, openai_compatible, scripted, embedded, ..., custom for a vendor that has none, or what a package
    # brings (see server/README.md). Empty = the name it stands under; with `dialect` and a name of yours: custom.
    kind: str = ""
    # The wire format in place of the row's: openai_chat, anthropic_messages, ..., or what a package brings.
    dialect: str = ""
    # How the key is sent, and whether there has to be one. Unset = as the row has it.
    auth: Auth | None = None
    key_required: bool | None = None
    # How the vendor strays from the dialect. Unset = as the row has it.
    quirks: QuirkSettings = QuirkSettings()
    # Generation settings where the caller is silent.
    defaults: GenerationDefaults = GenerationDefaults()
    # A unary call that may answer with more tokens than this, or that sets no limit, is streamed upstream and folded.
    # 0 = never. Unset = as the row has it.
    stream_above: Annotated[int, Meta(ge=0, le=1 << 31)] | None = None
    # For so long an answer is read on whose caller went away: the provider bills it all the same. Unset = see the row.
    read_on: Seconds | None = None
    # Where the provider tells how it is; shown in health. Empty = what the row has.
    status_url: Annotated[str, Meta(pattern=r"^(https://[!-~]+)?$", description="an https URL")] = ""
    enabled: bool = True
    base_url: str = ""
    # env:NAME, file:/path or a reference to a store in the file; the secret itself, or the reference, once read.
    api_key: Secret | None = None
    # More of them: calls take turns.
    api_keys: tuple[Secret, ...] = ()
    organization: str = ""
    # kind vertex: a service account's key, or what `gcloud auth application-default login` leaves.
    service_account: Document | None = None
    # kind azure_openai: an application of Entra, and its secret or the token of a federated identity.
    tenant_id: str = ""
    client_id: str = ""
    client_secret: Secret | None = None
    federated_token: Document | None = None
    # kind azure_openai: the version of its API. Empty = the row's.
    api_version: Annotated[
        str,
        Meta(
            pattern=r"^([0-9]{4}-[0-9]{2}-[0-9]{2}(-preview)?)?$", description='a date in quotes, such as "2024-10-21"'
        ),
    ] = ""
    # The model that the provider's name alone means. Empty = the first of `models`, else the row's.
    default_model: str = ""
    # What ListModels shows, in place of what the row has; most providers take other ids, too.
    models: tuple[str, ...] = ()
    # By a model's id (a deployment of Azure's, a LoRA's name): the model that it is made of, whose window,
    # capabilities and price it has. They are listed, too.
    base_models: dict[str, str] = field(default_factory=dict)
    # Types of tools that the provider runs itself (web_search) and that callers may use: they cost money, and what they
    # are told leaves the house.
    provider_tools: tuple[str, ...] = ()
    # Sent with every request. In the file env:NAME, file:/path or the value itself.
    headers: dict[str, Header] = field(default_factory=dict)
    # Plain http to another machine.
    allow_plain_http: bool = False
    # Logs this provider as monitoring_level comprehensive does.
    debug: bool = False
    first_token: Seconds | None = None
    between_tokens: Seconds | None = None
    # What its models' speed is scored by that have no score of speed: 1s / (1s + the mean).
    usual_latency: LatencySettings | None = None
    # In calls that may be hedged: another target is asked, too, after so long without a first piece, at least 300ms.
    # Unset = what all but one of twenty of its answers lately took.
    hedge_after: Seconds | None = None
    # Models that go on with an answer of theirs that stands at the request's end; * stands for any characters.
    prefill: tuple[str, ...] = ()
    # Calls to it at once, for each key; fewer as soon as it refuses some. More wait, for limits.connect at most.
    max_connections: Annotated[int, Meta(ge=1, le=100_000)] = 1000
    retry: RetrySettings = RetrySettings()
    breaker: BreakerSettings = BreakerSettings()
    limits: ProviderLimits = ProviderLimits()
    # kind scripted: its models. Empty = those of the table.
    scripts: dict[Name, Script] = field(default_factory=dict)
    # kind embedded: how many streams at once, and the window of each.
    slots: Annotated[int, Meta(ge=1, le=64)] = 4
    context_window: Annotated[int, Meta(ge=256, le=8192)] = 2048
    threads: Annotated[int, Meta(ge=1, le=256)] | None = None

    @property
    def all_keys(self) -> tuple[Secret, ...]:
        """All keys, in the order of the configuration."""
        return (*filter(None, (self.api_key,)), *self.api_keys)


class LedgerSettings(Section, frozen=True, kw_only=True):
    """Where it is written down what calls used and cost."""

    # sqlite:///path or postgresql://user@host/database; one with a password as env:NAME or file:/path. None = an SQLite
    # file in the user's data folder.
    url: DatabaseUrl | None = None
    # relaxed: rows are written a moment later; a crash loses calls in flight and nothing else. strict: an attempt is
    # written down before it is sent, and its end before the caller is told.
    mode: Literal["relaxed", "strict"] = "relaxed"
    # How long rows are kept. Sums by day and hour stay.
    retention: Seconds = Seconds(90 * 86400.0)
    # For rows on their way into the database. Empty = the user's data folder.
    folder: str = ""


class WebhookSettings(Section, frozen=True, kw_only=True):
    """Where changes of alerts are posted."""

    # https, or this machine. env:NAME or file:/path in the file, or the address itself: many are secrets.
    url: WebhookUrl
    # Signs the posts, so that whoever gets them knows that they come from here. env:NAME or file:/path in the file.
    secret: Secret | None = None


class AlertSettings(Section, frozen=True, kw_only=True):
    """What operators are told of that goes wrong."""

    # How long a provider's key may be in use. None = for ever.
    key_rotation: Seconds | None = None
    webhook: WebhookSettings | None = None


class ValkeySettings(Section, frozen=True, kw_only=True):
    """Where gateways share what they count."""

    # valkey://host:port/database, valkeys:// over TLS; one with a password as env:NAME or file:/path. None = nothing is
    # shared.
    url: ValkeyUrl | None = None
    # How many gateways there are, those with workers as one each. While Valkey is lost each holds callers to its part
    # of their limits, and each worker to its part of that.
    instances: Annotated[int, Meta(ge=1, le=1000)] = 1


class Settings(MoneySections, frozen=True, kw_only=True):
    """The whole configuration."""

    server: ServerSettings = ServerSettings()
    limits: TimeLimits = TimeLimits()
    caller_limits: CallerLimits = CallerLimits()
    valkey: ValkeySettings = ValkeySettings()
    discovery: DiscoverySettings = DiscoverySettings()
    logs: LogSettings = LogSettings()
    ledger: LedgerSettings = LedgerSettings()
    alerts: AlertSettings = AlertSettings()
    # A model, an alias or a provider for calls that name none. Empty = whoever the strategy chooses.
    default_model: str = ""
    # Name → model, "provider/model" or another provider's name.
    aliases: dict[str, str] = field(default_factory=dict)
    # By a name that callers say, or "provider/model": whom to ask next, in order, if what it means gives no answer.
    fallbacks: dict[str, tuple[str, ...]] = field(default_factory=dict)
    # The same for requests that are longer than its window, beside those whose windows are known to be larger.
    context_fallbacks: dict[str, tuple[str, ...]] = field(default_factory=dict)
    providers: dict[Name, ProviderSettings] = field(default_factory=dict)
    # The first entry whose model fits decides, with all entries of the same model.
    prices: tuple[PriceSettings, ...] = ()
    # By "provider/model". A model that the provider does not list otherwise is listed for standing here.
    model_data: dict[str, ModelSettings] = field(default_factory=dict)
    aws_secrets: AwsSecrets = AwsSecrets()
