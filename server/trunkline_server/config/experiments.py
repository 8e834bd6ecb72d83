"""What a configuration says of experiments, checked for what it means."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import structs

from trunkline_server.config.check import Problem, did_you_mean, join
from trunkline_server.routing.catalogue import build_offers
from trunkline_server.routing.experiments import OTHERS
from trunkline_server.routing.names import is_known, remedy
from trunkline_server.settings.tasks import spelling
from trunkline_server.snapshot import Snapshot

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from trunkline_server.providers.table import Row
    from trunkline_server.settings import Settings
    from trunkline_server.settings.experiments import ExperimentSettings


def experiment_problems(settings: Settings, rows: Mapping[str, Row]) -> Iterator[Problem]:
    """Everything that is wrong with them. Arms may ask what is switched off for now."""
    if not settings.experiments:
        return
    everybody = {name: structs.replace(provider, enabled=True) for name, provider in settings.providers.items()}
    configured = structs.replace(settings, providers=everybody)
    snapshot = Snapshot("", configured, build_offers(configured, rows, {}))
    spelt = {spelling(name): name for name in settings.routing.strategies}
    for name, own in settings.experiments.items():
        path = join("experiments", name)
        if (other := spelt.setdefault(spelling(name), name)) != name or name in settings.routing.strategies:
            yield Problem(path, f"another name than {other}'s: case, - and _ do not matter")
        yield from _arms(path, own, snapshot)


def _arms(path: str, own: ExperimentSettings, snapshot: Snapshot) -> Iterator[Problem]:
    if sum(weight > 0 for weight in own.arms.values()) < 2:
        yield Problem(f"{path}.arms", "at least two arms with a weight above 0")
    for arm in own.groups:
        if arm not in own.arms:
            yield Problem(join(f"{path}.groups", arm), "the name of an arm" + did_you_mean(arm, own.arms))
    for arm in own.arms:
        group, where = own.groups.get(arm), join(f"{path}.arms", arm)
        if group is None and arm != OTHERS and not is_known(snapshot, arm):
            yield Problem(where, f"a name in {path}.groups, or the name of a model; {remedy(snapshot, arm)}")
        for index, name in enumerate(group or ()):
            if not is_known(snapshot, name):
                at = f"{join(f'{path}.groups', arm)}[{index}]"
                yield Problem(at, f"the name of a model; {remedy(snapshot, name)}")
