"""What tells one request of a server from another."""

from flwr.app import RecordDict

from bract.wire.messages import PLAN, SUM, get_payload
from bract.wire.plan import KEY
from client_app.privacy.ledger import request_digest


def digest_of(content: RecordDict) -> str:
    """Tells one request from another: of its plan, its payload, and what a secure sum asks for."""
    pieces = [str(content.config_records[PLAN][KEY]).encode(), get_payload(content).tobytes()]
    if SUM in content.config_records:
        record = content.config_records[SUM]
        pieces.append(repr([(name, record[name]) for name in sorted(record)]).encode())
    return request_digest(*pieces)
