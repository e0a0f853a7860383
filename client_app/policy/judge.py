"""A run's settings held against a node's policy: what the run is declined for, and what it is trained on instead.

Every word here may leave the node. It is made of the run's own settings and of what the policy allows; none of the
data.
"""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from bract.errors import PublicError
from bract.settings.schema import Settings
from bract.tasks.labels import inline, read_labels, written
from client_app.policy.policy import UNITS, Policy
from client_app.policy.reading import LIMITS, names, of_node

# Of the environment, set by `bract node`: this process serves a real node; and the address of its SuperLink.
NODE, SERVER = "BRACT_NODE", "BRACT_SUPERLINK"


def policy_for(config: Mapping[str, Any], settings: Settings) -> Policy | None:
    """Whose word holds for a run at this node; None in a simulation, where all data are the user's own.

    Guaranteed: a node that has data of its own trains on them alone, under a policy: its own, or the strict default.
    A real node reads no file that a run names, but below the folder that its operator calls `shared-data`.
    """
    policy, source = of_node(config), settings.data.source
    if source != "node":
        if policy is not None:
            raise PublicError("data.source: this node trains on its own data alone; it should be 'node'")
        named = [name for name in (source.removeprefix("file:"), settings.data.labels) if name.startswith("/")]
        if os.environ.get(NODE) and not all(_is_shared(config, name) for name in named):
            raise PublicError("data.source, data.labels: a node reads no file that a run names; use data.source = node")
        if os.environ.get(NODE) and source.startswith("hub:") and Path(source.removeprefix("hub:")).exists():
            raise PublicError("data.source: this names a folder of the node, which would be read in the hub's place")
        return None
    policy = policy or Policy()
    if not policy.data.path:
        raise PublicError(
            "data.source = 'node': this node has no data; its configuration should hold data-path, an absolute path, "
            "or a policy that names one"
        )
    return policy


def has_own(config: Mapping[str, Any], run_config: Mapping[str, Any]) -> bool:
    """Whether a message reaches data that are not the server's user's own: then faults are told by an id alone."""
    named = "policy" in config or "labels-path" in config or bool((names().keys() - LIMITS) & config.keys())
    return named or run_config.get("data.source") == "node"


def _is_shared(config: Mapping[str, Any], name: str) -> bool:
    """Whether the operator says that such a file is no secret of his."""
    folder = config.get("shared-data")
    return isinstance(folder, str) and folder.startswith("/") and Path(name).resolve().is_relative_to(folder)


def server_name() -> str:
    """Who asks, as the node's operator knows him: by the address of the SuperLink that the node was given."""
    return os.environ.get(SERVER, "unknown" if os.environ.get(NODE) else "this machine")


def require_allowed(policy: Policy, settings: Settings) -> None:
    """Raise PublicError with every reason why the node takes no part in such a run."""
    if found := [*_of_the_run(policy, settings), *_of_privacy(policy, settings), *_of_labels(policy, settings)]:
        raise PublicError(f"this node's policy: {'; '.join(found)}")


def applied(policy: Policy, settings: Settings) -> Settings:
    """The settings with the node's own data in the place of what the run says of data."""
    own = policy.data
    labels = settings.data.labels if own.labels == "from-run" else written(own.labels)
    data = replace(
        settings.data,
        source=f"file:{own.path}",
        text=own.text,
        label=own.label,
        user=own.user,
        labels=labels,
        holdout=own.holdout,
    )
    return replace(settings, data=data)


def measuring_of(policy: Policy | None, settings: Settings) -> str:
    """What measuring tells: as the run wishes, and at a node no more than the operator allows.

    Where nothing protects the examples towards the server, figures are no secret either.
    """
    wish = settings.privacy.measuring
    if wish == "nothing" or (policy is not None and policy.privacy.measuring == "nothing"):
        return "nothing"
    if not settings.privacy.by_clients:
        stronger = settings.privacy.unit == "client" and settings.privacy.noise == "shared"
        # Whole clients' noise is not for figures, and an operator who wants noise in them gets it or nothing.
        return "nothing" if stronger and policy is not None and policy.privacy.measuring != "exact" else "exact"
    if policy is None:
        return "exact" if wish == "auto" else wish
    return policy.privacy.measuring if wish == "auto" else wish


def _of_the_run(policy: Policy, settings: Settings) -> list[str]:
    allow, found = policy.allow, []
    if settings.model.task not in allow.tasks:
        found.append(f"model.task = {settings.model.task!r} is not allowed; {', '.join(allow.tasks)} is")
    if settings.model.name not in allow.models:
        found.append(f"model.name = {settings.model.name!r} is not allowed; {', '.join(allow.models) or 'none'} is")
    if settings.lora.rank > allow.largest_rank:
        found.append(f"lora.rank = {settings.lora.rank}: at most {allow.largest_rank} is allowed")
    if settings.train.batch < allow.smallest_batch:
        found.append(f"train.batch = {settings.train.batch}: at least {allow.smallest_batch} is asked for")
    how = settings.federation.sum
    if policy.peers.require_sum and how != "secure":
        found.append(f"federation.sum = {how!r}: should be 'secure', a sum that the server does not see into")
    return found


def _of_privacy(policy: Policy, settings: Settings) -> list[str]:
    asked, wish, found = policy.privacy, settings.privacy, []
    whole = wish.unit == "client" and wish.noise == "shared"  # towards the server, too: more than examples or persons
    if UNITS.index(wish.unit) < UNITS.index(asked.unit) and not whole:
        found.append(f"privacy.unit = {wish.unit!r}: should be {' or '.join(UNITS[UNITS.index(asked.unit) :])}")
    if wish.unit == "person" and not policy.data.user:
        found.append("privacy.unit = 'person': this node's data do not say whose an example is")
    if wish.test_seed:
        found.append("privacy.test-seed: noise that a server knows protects nothing")
    if wish.share_metrics and not asked.exact_metrics and wish.by_clients:
        found.append("privacy.share-metrics = true: exact figures do not leave this node")
    order = ("nothing", "noisy", "exact")
    if wish.by_clients and wish.measuring != "auto" and order.index(wish.measuring) > order.index(asked.measuring):
        found.append(f"privacy.measuring = {wish.measuring!r}: at most {asked.measuring} is allowed")
    if (wish.by_clients or whole) and asked.largest_delta is not None and wish.delta > asked.largest_delta:
        found.append(f"privacy.delta = {wish.delta:g}: at most {asked.largest_delta:g} is allowed")
    return found


def _of_labels(policy: Policy, settings: Settings) -> list[str]:
    """A run's list stands in the setting itself: no server names a file of the node."""
    labels = settings.data.labels
    if labels and not inline(labels):
        return ["data.labels: a node reads no file that a run names; write the names themselves, as a JSON list"]
    own = policy.data.labels
    if labels and own != "from-run" and sorted(read_labels(labels)[0]) != sorted(own):
        return ["data.labels: is not this node's list of labels"]
    return []
