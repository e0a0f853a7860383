"""How a member agrees on a set-up: its keys, and sealed shares of its secrets for the others."""

from dataclasses import replace
from pathlib import Path
from typing import Protocol

from flwr.app import ConfigRecord, RecordDict

from bract.errors import BractError, PublicError, public
from bract.flower.roster import read_roster, sign, verify
from bract.secure_sum.setup import Keys, Parameters, Secrets
from bract.wire.messages import SUM
from client_app.policy.policy import Policy
from client_app.secure_sum.memory import OLDER_SETUP, Memory, new_seed
from client_app.secure_sum.node_key import node_key


class Node(Protocol):
    """What a sum needs to know of a client."""

    @property
    def partition(self) -> int:
        """Its partition id."""

    @property
    def policy(self) -> Policy | None:
        """Its operator's word, where there is one."""


def keys(client: Node, content: RecordDict) -> RecordDict:
    """A member's public keys for a set-up, and whether it knows the others by a roster. Asked again: the same bytes.

    Where it has begun another one that is as new or newer, it makes none, and tells which is its newest. Where keys
    are to be signed and its node has no key of its own, they are empty: it can be asked for keys that are not.
    """
    roster = client.policy is not None and bool(client.policy.peers.roster)
    parameters = parameters_of(content, client)
    memory = Memory(parameters.federation, client.partition)
    with memory.alone():
        newest = memory.agreed()
        if newest is not None and not newest.before(parameters):
            return RecordDict({SUM: ConfigRecord({"newest": newest.parameters.generation, "reason": OLDER_SETUP})})
        agreed = memory.begun(parameters)
        if agreed is None:
            seed = new_seed()
            found, mine = Secrets(seed).keys(parameters), parameters.members.index(client.partition)
            if parameters.signed:
                key = node_key()
                if key is None:
                    return RecordDict({SUM: ConfigRecord({"keys": b"", "roster": roster})})
                found = replace(found, signature=sign(key, found.signed_part(parameters, mine)))
            agreed = memory.begin(parameters, found.to_bytes(), seed)
    return RecordDict({SUM: ConfigRecord({"keys": agreed.own, "roster": roster})})


def deal(client: Node, content: RecordDict) -> RecordDict:
    """Sealed shares of this member's secrets, once it has seen that everybody's keys are as they should be."""
    parameters = parameters_of(content, client)
    with public():
        messages = _messages(content)
        every = [Keys.from_bytes(one, parameters) for one in messages]
    memory = Memory(parameters.federation, client.partition)
    with memory.alone():
        agreed = memory.begun(parameters)
        if agreed is None:
            raise PublicError("this member has made no keys for this set-up, or has lost them")
        mine = parameters.members.index(client.partition)
        if len(messages) != len(parameters.members) or messages[mine] != agreed.own:
            raise PublicError("these are not one key message of each member, its own unaltered")
        require_distinct(every)
        require_registered(client, parameters, every)
        agreed = memory.agree(agreed, messages)
        boxes = agreed.secrets.boxes(parameters, mine, every, agreed.print)
    return RecordDict({SUM: ConfigRecord({"boxes": boxes, "print": agreed.print})})


def parameters_of(content: RecordDict, client: Node) -> Parameters:
    """The set-up that a message asks for, as far as this node's operator allows it."""
    with public():
        try:
            found = Parameters.from_text(str(content.config_records[SUM]["parameters"]))
        except KeyError:
            raise BractError("the message names no set-up") from None
    if not found.federation.isalnum() or len(found.federation) > 64:
        raise PublicError("the set-up's federation is out of bounds")
    if client.partition not in found.members:
        raise PublicError(f"client {client.partition} is not among the set-up's members")
    if client.policy is not None:
        peers = client.policy.peers
        if found.colluders < peers.colluders:
            raise PublicError(
                f"this node's policy: federation.colluders = {found.colluders}: at least {peers.colluders} are assumed"
            )
        if found.honest < peers.honest:
            raise PublicError(
                f"this node's policy: {found.honest} honest members are certain in a sum: at least {peers.honest} "
                "are asked for"
            )
        if peers.roster and not found.signed:
            raise PublicError("this node's policy: members of a sum sign their keys, by the roster")
    return found


def require_distinct(keys: list[Keys]) -> None:
    """Two members with one key would be one member twice."""
    publics = [public for one in keys for public in (one.box, *one.masks)]
    if len(set(publics)) < len(publics):
        raise PublicError("a public key comes twice in this set-up")


def require_registered(client: Node, parameters: Parameters, keys: list[Keys]) -> None:
    """Raise PublicError if a roster is this node's, and not every member is on it, each once, by its own signature."""
    if client.policy is None or not client.policy.peers.roster:
        return
    left = set(read_roster(Path(client.policy.peers.roster)))
    for member, one in enumerate(keys):
        message = one.signed_part(parameters, member)
        signer = next((point for point in left if verify(point, message, one.signature)), None)
        if signer is None:
            raise PublicError(
                f"client {parameters.members[member]} has not signed its keys with a key of this node's roster that "
                "no other member has signed with"
            )
        left.remove(signer)


def _messages(content: RecordDict) -> list[bytes]:
    found = content.config_records[SUM].get("keys")
    if not isinstance(found, list) or not all(isinstance(one, bytes) for one in found):
        raise BractError("the message carries no keys")
    return [bytes(one) for one in found]  # type: ignore[arg-type]  # each was looked at


__all__ = ["deal", "keys"]
