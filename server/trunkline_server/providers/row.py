"""What a row of the table of providers says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from trunkline.v1.model_pb2 import CAPABILITY_STREAMING
from trunkline_server.dialects.dialect import Quirks
from trunkline_server.providers.vendor_names import NO_NAMES, Names

if TYPE_CHECKING:
    from trunkline.v1.gateway_service_pb2 import GenerationConfig
    from trunkline.v1.model_pb2 import Capability
    from trunkline_server.settings import Auth

NO_QUIRKS = Quirks()
# A row's probe_path for a provider that has no free call in which it looks at the credential.
NO_PROBE: Final = "-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What Trunkline knows of a kind of provider before anything is configured."""

    # What ProviderSettings.kind says.
    name: str
    # The module in dialects/. Empty = the provider is not asked over HTTP.
    dialect: str = ""
    # Empty, with a dialect: the configuration must say it.
    base_url: str = ""
    # Its vendor's own addresses where base_url is not the only one (a regular expression over a whole URL).
    home: str = ""
    # Finds in a base URL the region that it goes to, as its one group (a regular expression). Empty = it has none.
    region_in: str = ""
    # How a key is sent, if there is one: as a bearer token, or in the header of this name.
    auth: Auth = "none"
    # Without a key the provider cannot be called.
    key_required: bool = False
    # How a request is signed, where a key in a header is not enough.
    signing: Literal["", "sigv4"] = ""
    # Whose short-lived tokens are sent, as bearer tokens, where there is no key.
    tokens: Literal["", "google", "entra"] = ""
    # What the keys of this vendor, and of no other, look like (a regular expression over a whole key). Not what all of
    # them look like: vendors change that. Empty = nothing tells them.
    key_pattern: str = ""
    # What all of them look like that are known, others' too; a key that does not gets a warning. Empty = key_pattern.
    key_form: str = ""
    # Environment variables for what the configuration leaves out. Empty = there is none.
    key_env: str = ""
    key_env_too: str = ""
    base_url_env: str = ""
    model_env: str = ""
    organization_env: str = ""
    # Another name that means this row's default model: claude.
    spelling: str = ""
    # What people call its models, beyond the ids that it lists.
    names: Names = NO_NAMES
    # A unary call that may answer with more tokens than this, or that sets no limit, is streamed upstream and
    # folded: the provider ends long unary calls. 0 = never.
    stream_above: int = 0
    # Seconds for which an answer is read on whose caller went away, because the provider goes on and bills it all the
    # same: what it cost is then known. 0 = it is closed at once.
    read_on: float = 0.0
    # Models that are asked through the Responses API (a regular expression over their ids, or what they are made of).
    responses_models: str = ""
    # Where that API stands, after the base URL.
    responses_base: str = ""
    # Empty: the configuration must say default_model or models.
    default_model: str = ""
    # What is listed unless the configuration lists others.
    models: tuple[str, ...] = ()
    # Any other model id is passed on, too.
    open: bool = False
    # What the listed models can do.
    capabilities: tuple[Capability.ValueType, ...] = (CAPABILITY_STREAMING,)
    # What people run themselves: on the gateway's own machine, if it is asked there.
    local: bool = False
    quirks: Quirks = NO_QUIRKS
    # What is said where the caller is silent.
    defaults: GenerationConfig | None = None
    # Not made by an environment variable alone.
    only_configured: bool = False
    # The name under which such a provider exists without being configured. Empty = it does not.
    built_in: str = ""
    # The cheapest call in which the provider looks at the credential, after the base URL. Empty = the dialect's list
    # of models. "-" = there is none that is free: what lists the models there asks nobody for a key. A whole URL = at
    # another address of the vendor's, which takes the same keys: asked only by whoever asks the vendor at its own.
    # {model} stands for the default model, {region} for the configured one.
    probe_path: str = ""
    # What is posted there. Empty = it is a GET.
    probe_body: bytes = b""
    # Whether its dialect's list of models is there, is free, and names what can be called.
    lists_models: bool = True
    # What it means for a configured model not to be in that list. gone: it cannot be called. callable: it can all the
    # same (the server takes any name, or names that it does not list). doubtful: it cannot, provided that the list has
    # others of those configured, for behind another's API may be a server that takes any name.
    unlisted: Literal["gone", "doubtful", "callable"] = "doubtful"
    # Where the provider itself tells how it is.
    # Empty = nowhere that we know of.
    status_url: str = ""
