"""Builds the packaged data on models: python -m modelbook.build GENAI_WHEEL LITELLM_WHEEL.

From genai-prices and litellm's table, both read as data, and our overrides, which come last.
"""

from __future__ import annotations

import hashlib
import re
import sys
import tomllib
from collections import defaultdict
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from modelbook.inherited import inherit
from modelbook.windows import Windows
from pricebook.build import pattern_of
from pricebook.check import read_table, target_of
from pricebook.genai import read_providers
from trunkline_server.models.data import TOLD, Data, Entry, Score
from trunkline_server.prices.tables import fits

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pricebook.genai import Made

HERE = Path(__file__).parent
DATA = HERE.parent / "trunkline_server" / "models" / "models.json"
OVERRIDES = HERE / "overrides.toml"
SCORES = HERE / "scores.toml"
FAMILIES = HERE / "families.toml"
LINES = HERE / "lines.toml"

# A model in the making: the fields of Entry.
Draft = dict[str, Any]
Drafts = dict[str, dict[str, Draft]]
# By table: the source's provider, beside those of SELLERS in pricebook/check.py.
GENAI = {
    "openai": "openai",
    "anthropic": "anthropic",
    "gemini": "google",
    "vertex": "google",
    "bedrock": "aws",
    "cohere": "cohere",
    "mistral": "mistral",
    "together": "together",
    "fireworks": "fireworks",
    "openrouter": "openrouter",
    "groq": "groq",
    "deepseek": "deepseek",
    "xai": "x-ai",
    "cerebras": "cerebras",
    "perplexity": "perplexity",
    "moonshot": "moonshotai",
    "zai": "zai",
}
MORE_SELLERS = {"dashscope": "qwen", "ollama": "ollama", "sambanova": "sambanova", "vertex_ai": "vertex"}
# What genai-prices has beside models that answer with text.
NO_TEXT = re.compile(r"embed|whisper|tts|transcri|image|moderation|realtime|rerank|dall-e|sora|-ocr|speech|lyria|veo-")
PREFIXES = {"fireworks": "accounts/fireworks/models/"}
FLAGS = {
    "tools": "supports_function_calling",
    "json_schema": "supports_response_schema",
    "reasoning": "supports_reasoning",
    "vision": "supports_vision",
    "audio": "supports_audio_input",
}
TAKES = {
    "image": "supports_vision",
    "audio": "supports_audio_input",
    "video": "supports_video_input",
    "file": "supports_pdf_input",
}


def main(genai: Path, litellm: Path) -> None:
    """Write the data, and say what is in it."""
    overrides = tomllib.loads(OVERRIDES.read_text())
    windows = Windows(overrides["input_share"])
    drafts = drafts_of(read_table(litellm), read_providers(genai), windows)
    override(drafts, overrides["model"])
    add_families(drafts, tomllib.loads(FAMILIES.read_text())["family"])
    unlisted = add_scores(drafts, tomllib.loads(SCORES.read_text()))
    inherit(drafts, unlisted, tomllib.loads(LINES.read_text()))
    sources = {"g": _stem(genai), "l": _stem(litellm), "o": "modelbook/overrides.toml"}
    data = packed(drafts, overrides["kinds"], sources)
    DATA.write_bytes(written(data))
    count = sum(map(len, data.tables.values()))
    print(f"{data.version}: {len(data.tables)} tables, {count} models, {DATA.stat().st_size} bytes")


def drafts_of(table: dict[str, dict[str, Any]], providers: list[Made], windows: Windows) -> Drafts:
    """What the sources say, each model once: the second fills in what the first leaves out."""
    drafts: Drafts = defaultdict(dict)
    for name, theirs in table.items():
        if target := _target(name, theirs):
            kind, model = target
            if kind != "azure_openai":
                drafts[kind][PREFIXES.get(kind, "") * ("/" not in model) + model] = _from_litellm(theirs)
    known = {provider.get("id"): provider for provider in providers}
    for kind, name in GENAI.items():
        _add_genai(drafts[kind], known[name].get("models"), PREFIXES.get(kind, ""))
        for id_, draft in drafts[kind].items():
            draft["window"] = windows.settle(f"{kind}/{id_}", draft)
    for kind in drafts.keys() - GENAI.keys():
        for id_, draft in drafts[kind].items():
            draft["window"] = windows.settle(f"{kind}/{id_}", draft)
    windows.finish()
    return drafts


def _target(name: str, theirs: dict[str, Any]) -> tuple[str, str] | None:
    seller = str(theirs.get("litellm_provider"))
    if seller in MORE_SELLERS and theirs.get("mode") in ("chat", "completion"):
        model = name.partition("/")[2]
        return (MORE_SELLERS[seller], model) if model and "/" not in model else None
    return target_of(name, theirs)


def _from_litellm(theirs: dict[str, Any]) -> Draft:
    told = any(key.startswith("supports_") for key in theirs)
    takes = theirs.get("supported_modalities") or [what for what, flag in TAKES.items() if theirs.get(flag)]
    successor = str(theirs.get("successor_model") or "")
    return {
        "input": _count(theirs.get("max_input_tokens")),
        "output": _count(theirs.get("max_output_tokens")),
        "can": tuple(name for name, flag in FLAGS.items() if theirs.get(flag)) if told else None,
        "takes": _modalities(["text", *takes, *["file"] * bool(theirs.get("supports_pdf_input"))]) if told else (),
        "gives": _modalities(["text", *(theirs.get("supported_output_modalities") or ())]) if told else (),
        "retired": date.fromisoformat(theirs["deprecation_date"]) if theirs.get("deprecation_date") else None,
        "replacement": successor,
        "told_by": "l",
    }


def _count(value: Any) -> int | None:
    return int(value) if value else None


def _modalities(found: Iterable[str]) -> tuple[str, ...]:
    return tuple(each for each in ("text", "image", "audio", "video", "file") if each in set(found))


def _add_genai(drafts: dict[str, Draft], models: list[Made], prefix: str) -> None:
    """Names and windows: of the models that are known by now, and of those that are new."""
    patterns = [(pattern_of(model.get("match")), model) for model in models]
    for model in models:
        id_ = prefix * ("/" not in model.get("id")) + model.get("id")
        if not NO_TEXT.search(model.get("id")) and id_ not in drafts:
            drafts[id_] = {"told_by": ""}
    for id_, draft in drafts.items():
        bare = id_.lower().removeprefix(prefix)
        made = next((model for pattern, model in patterns if fits(pattern, bare) or fits(pattern, id_.lower())), None)
        if made is not None:
            draft["told"] = made.get("context_window")
            draft["name"] = made.get("name") or ""
            draft["told_by"] += "g"
    # Ids of the source's own that name no model: its patterns do not find them.
    for id_ in [id_ for id_, draft in drafts.items() if not draft["told_by"]]:
        del drafts[id_]


def override(drafts: Drafts, own: list[dict[str, Any]]) -> None:
    """Put our own in place of the sources'. Ids that are aliases of another's lose their entry."""
    for each in own:
        facts = {key: value for key, value in each.items() if key not in ("table", "ids", "reason", "source")}
        for id_ in each["ids"]:
            draft: Draft = {}
            for alias in each.get("aliases", ()):
                draft |= drafts[each["table"]].pop(alias, {})
            draft |= drafts[each["table"]].get(id_, {})
            draft |= {key: tuple(value) if isinstance(value, list) else value for key, value in facts.items()}
            draft["told_by"] = draft.get("told_by", "") + "o"
            drafts[each["table"]][id_] = draft


def add_scores(drafts: Drafts, scores: dict[str, Any]) -> dict[str, dict[str, Score]]:
    """What boards measured, of the models that they name; by kind of score, what they measured of those not sold.

    Raises ValueError for one that is not known.
    """
    unlisted: dict[str, dict[str, Score]] = defaultdict(dict)
    for board in scores["board"]:
        for name, value in board["models"].items():
            kind, _, id_ = name.partition("/")
            if id_ not in drafts[kind]:
                raise ValueError(f"{name} is scored and not known")
            drafts[kind][id_].setdefault("scores", {})[board["score"]] = _score(board, value)
        for name, value in board.get("unlisted", {}).items():
            unlisted[board["score"]][name] = _score(board, value)
    return unlisted


def _score(board: dict[str, Any], value: float) -> Score:
    return Score(round(value / board["of"], 6), board["source"])


def add_families(drafts: Drafts, families: list[dict[str, Any]]) -> None:
    """By its name: whose line a model is of, and whether its weights are open."""
    patterns = [(re.compile(each["match"]), each) for each in families]
    for models in drafts.values():
        for id_, draft in models.items():
            bare = re.sub(r"^.*[/.](?=[a-z])", "", id_.lower())
            if family := next((each for pattern, each in patterns if pattern.search(bare)), None):
                draft.setdefault("family", family["name"])
                if "open_weights" in family:
                    draft.setdefault("open_weights", family["open_weights"])


def packed(drafts: Drafts, kinds: dict[str, list[str]], sources: dict[str, str]) -> Data:
    """The drafts as data. Raises ValueError for a replacement that is not known."""
    tables = {}
    for kind in sorted(drafts):
        models = drafts[kind]
        tables[kind] = {id_: _entry(kind, id_, models) for id_ in sorted(models)}
    data = Data("", sources, {kind: tuple(names) for kind, names in kinds.items()}, tables)
    digest = hashlib.blake2b(msgspec.json.encode(data), digest_size=4).hexdigest()
    return msgspec.structs.replace(data, version=digest)


def _entry(kind: str, id_: str, models: dict[str, Draft]) -> Entry:
    draft = {key: value for key, value in models[id_].items() if key in Entry.__struct_fields__ and value is not None}
    if not set(draft.get("can", ())) <= set(TOLD):
        raise ValueError(f"{kind}/{id_}: {draft['can']} are no abilities")
    said = draft.get("replacement", "")
    draft["replacement"] = _replacement(kind, said, models)
    if said and not draft["replacement"] and "o" in draft["told_by"]:
        raise ValueError(f"{kind}/{id_}: its replacement {said} is not known")
    if draft.get("output") and draft["output"] > (draft.get("window") or draft["output"]):
        del draft["output"]
    return Entry(**draft)


def _replacement(kind: str, said: str, models: dict[str, Draft]) -> str:
    """The seller's own id of what is named. What the seller does not have is left out."""
    aliases = {alias: id_ for id_, draft in models.items() for alias in draft.get("aliases", ())}
    for name in (
        said,
        said.partition("/")[2],
        said.rpartition("/")[2],
        PREFIXES.get(kind, "-") + said.rpartition("/")[2],
    ):
        if name in models or name in aliases:
            return aliases.get(name, name)
    return ""


def written(data: Data) -> bytes:
    """One model a line, so that changes can be read."""
    head = {"version": data.version, "sources": data.sources, "kinds": data.kinds}
    lines = [f"{msgspec.json.encode(head).decode()[:-1]},", '"tables":{']
    for at, (name, models) in enumerate(data.tables.items()):
        lines.append(f'"{name}":{{')
        lines.append(",\n".join(f"{_json(id_)}:{_json(entry)}" for id_, entry in models.items()))
        lines.append("}," if at < len(data.tables) - 1 else "}")
    return "\n".join([*lines, "}}", ""]).encode()


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _stem(wheel: Path) -> str:
    return "-".join(wheel.name.split("-")[:2])


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
