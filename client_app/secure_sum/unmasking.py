"""How a member helps to take the masks off a sum: shares of own secrets of those in it, of mask keys of those lost."""

from collections.abc import Sequence
from dataclasses import replace

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from flwr.app import ConfigRecord, RecordDict

from bract.errors import BractError, PublicError, public
from bract.secure_sum.confirmation import confirmed
from bract.secure_sum.setup import SEALED
from bract.wire.messages import SUM
from client_app.secure_sum.agreeing import Node, parameters_of
from client_app.secure_sum.memory import Agreed, Memory, Newest


def confirm(client: Node, content: RecordDict) -> RecordDict:
    """Sign who the survivors of a round are: this member will help to unmask these and no others."""
    memory = _memory(client, content)
    with memory.alone():
        agreed = _agreed(memory, client, content)
        newest = _settled(memory, agreed, client, _survivors(content))
        signature = agreed.secrets.run.sign(_statement(agreed, newest))
    return RecordDict({SUM: ConfigRecord({"signature": signature})})


def unmask(client: Node, content: RecordDict) -> RecordDict:
    """Shares by which the server takes the masks off the sum over these survivors, and off nothing else.

    Guaranteed: for each member, itself too, the share of one secret and never of both, in a round once and for all. So
    whatever a server tells to whom, it never has enough shares of both secrets of one member. Of its own secrets a
    member tells no more than of others': else who is told that one is in the sum, and all others that it is not, would
    give that one's vector away.
    """
    memory = _memory(client, content)
    with memory.alone():
        agreed = _agreed(memory, client, content)
        newest = _settled(memory, agreed, client, _survivors(content))
        if agreed.parameters.signed:
            _require_confirmed(agreed, newest, content)
        mine = agreed.parameters.members.index(client.partition)
        with public():
            shares = _shares(agreed, newest, mine, content)
    return RecordDict({SUM: ConfigRecord({"shares": b"".join(shares)})})


def _memory(client: Node, content: RecordDict) -> Memory:
    return Memory(parameters_of(content, client).federation, client.partition)


def _agreed(memory: Memory, client: Node, content: RecordDict) -> Agreed:
    """The set-up that is meant; PublicError if it, or the round that is meant, is not the newest here.

    Looked at within `alone`: else a newer round that begins at this moment would be taken for the one that is meant.
    """
    agreed, newest = memory.agreed(), memory.newest()
    if agreed is None or agreed.parameters != parameters_of(content, client) or not agreed.print:
        raise PublicError("this member has not agreed on this set-up, or has lost it")
    if content.config_records[SUM].get("number") != newest.number or not newest.number:
        raise PublicError(f"this round is not the newest here, which is {newest.number}")
    return agreed


def _survivors(content: RecordDict) -> tuple[int, ...]:
    found = content.config_records[SUM].get("survivors")
    if not isinstance(found, list) or not all(type(one) is int for one in found):
        raise PublicError("the message names no survivors")
    return tuple(found)  # type: ignore[arg-type]  # each was looked at


def _settled(memory: Memory, agreed: Agreed, client: Node, survivors: Sequence[int]) -> Newest:
    """The newest round with these survivors written down as its only ones; PublicError where they cannot be."""
    newest = memory.newest()
    asked, chosen = set(newest.asked), tuple(survivors)
    mine = agreed.parameters.members.index(client.partition)
    if list(chosen) != sorted(set(chosen)) or not set(chosen) <= asked or len(chosen) < agreed.parameters.survivors:
        raise PublicError(
            f"these survivors are not at least {agreed.parameters.survivors} of the members that were asked, each once"
        )
    if newest.survivors and newest.survivors != chosen:
        raise PublicError("this round was to be unmasked for other survivors before")
    if mine in chosen and not newest.sent:
        raise PublicError("this member sent no vector in this round")
    if not newest.survivors:
        newest = replace(newest, survivors=chosen)
        memory.note(newest)
    return newest


def _statement(agreed: Agreed, newest: Newest) -> bytes:
    return confirmed(agreed.parameters, agreed.print, newest.number, newest.context, newest.survivors)


def _require_confirmed(agreed: Agreed, newest: Newest, content: RecordDict) -> None:
    """Raise PublicError unless so many members have signed these very survivors that no others can be signed, too."""
    given = content.config_records[SUM].get("signatures")
    members = content.config_records[SUM].get("signers")
    if not isinstance(given, list) or not isinstance(members, list) or len(given) != len(members):
        raise PublicError("the message carries no signatures")
    right = set()
    for member, signature in zip(members, given, strict=True):
        if type(member) is not int or not 0 <= member < len(agreed.keys) or not isinstance(signature, bytes):
            raise PublicError("a signature is none, or of no member")
        try:
            Ed25519PublicKey.from_public_bytes(agreed.key_of(member).run).verify(signature, _statement(agreed, newest))
        except InvalidSignature:
            raise PublicError(f"client {agreed.parameters.members[member]} has not signed these survivors") from None
        right.add(member)
    if len(right) < (needed := agreed.parameters.confirmations):
        raise PublicError(f"{len(right)} members have confirmed this round, {needed} are needed")


def _shares(agreed: Agreed, newest: Newest, mine: int, content: RecordDict) -> list[bytes]:
    """Of each neighbour that was asked, and of itself, the one share that its lot allows: from boxes, and its own."""
    others = agreed.shares_with(mine, newest.asked)
    boxes = content.config_records[SUM].get("boxes")
    if not isinstance(boxes, bytes) or len(boxes) != SEALED * len(others):
        raise BractError("the message does not carry a box of each neighbour that was asked")
    found = {}
    for place, sender in enumerate(others):
        box = boxes[SEALED * place : SEALED * (place + 1)]
        public_key = agreed.key_of(sender).box
        mask, own = agreed.secrets.opened(box, sender, mine, newest.number, public_key, agreed.print)
        found[sender] = own if sender in newest.survivors else mask
    what = "self" if mine in newest.survivors else "mask"
    (found[mine],) = agreed.secrets.shares(what, newest.number, agreed.parameters, [mine])
    return [found[member] for member in sorted(found)]
