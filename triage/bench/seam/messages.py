"""Messages that livekit-server and a SIP service exchange, as protobuf types made when this file is imported.

No package brings them to Python, and nothing is generated: a table of names, numbers and types is enough, since inside
an envelope the fields are matched by number alone. What a table leaves out is skipped on reading. Only the four names
that an envelope carries must be exactly LiveKit's (`wire_name`).
"""

from collections.abc import Sequence
from typing import Any

# Their files must be in the pool before ours refers to them.
from google.protobuf import any_pb2, descriptor_pb2, descriptor_pool, duration_pb2, message_factory
from livekit.protocol import room as livekit_room
from livekit.protocol import sip as livekit_sip

PACKAGE = "triage.bench.seam"
_NEEDED = (any_pb2, duration_pb2, livekit_room, livekit_sip)

Field = tuple[str, int, str]
"""Name, number, and type: a scalar, `map` (text to text), or the full name of a message; `*` before it: repeated."""

# fmt: off
ENVELOPE: dict[str, Sequence[Field]] = {
    "Msg": (("type_url", 1, "string"), ("value", 2, "bytes"), ("channel", 3, "string")),
    "Request": (
        ("request_id", 1, "string"), ("client_id", 2, "string"), ("sent_at", 3, "int64"), ("expiry", 4, "int64"),
        ("multi", 5, "bool"), ("metadata", 7, "map"), ("raw_request", 8, "bytes"),
    ),
    "ClaimRequest": (("request_id", 1, "string"), ("server_id", 2, "string"), ("affinity", 3, "float")),
    "ClaimResponse": (("request_id", 1, "string"), ("server_id", 2, "string")),
    "Response": (
        ("request_id", 1, "string"), ("server_id", 2, "string"), ("sent_at", 3, "int64"), ("error", 5, "string"),
        ("code", 6, "string"), ("raw_response", 7, "bytes"), ("error_details", 8, "*google.protobuf.Any"),
    ),
}
PAYLOADS: dict[str, Sequence[Field]] = {
    "TransferRequest": (
        ("sip_call_id", 1, "string"), ("transfer_to", 2, "string"), ("play_dialtone", 3, "bool"),
        ("headers", 4, "map"), ("ringing_timeout", 5, "google.protobuf.Duration"),
    ),
    "CreateRequest": (
        ("address", 2, "string"), ("number", 3, "string"), ("call_to", 4, "string"), ("username", 5, "string"),
        ("password", 6, "string"), ("room_name", 7, "string"), ("participant_identity", 8, "string"),
        ("dtmf", 11, "string"), ("play_dialtone", 12, "bool"), ("sip_call_id", 13, "string"),
        ("participant_name", 14, "string"), ("participant_metadata", 15, "string"),
        ("participant_attributes", 17, "map"), ("sip_trunk_id", 19, "string"), ("hostname", 20, "string"),
        ("headers", 21, "map"), ("headers_to_attributes", 22, "map"),
        ("ringing_timeout", 23, "google.protobuf.Duration"), ("max_call_duration", 24, "google.protobuf.Duration"),
        ("attributes_to_headers", 26, "map"), ("include_headers", 27, "int32"), ("wait_until_answered", 29, "bool"),
        ("media", 34, "livekit.SIPMediaConfig"),
    ),
    "CreateResponse": (
        ("participant_id", 1, "string"), ("participant_identity", 2, "string"), ("sip_call_id", 3, "string"),
    ),
    "Call": (
        ("lk_call_id", 1, "string"), ("source_ip", 2, "string"), ("address", 3, "livekit.SIPUri"),
        ("from", 4, "livekit.SIPUri"), ("to", 5, "livekit.SIPUri"), ("via", 6, "*livekit.SIPUri"),
        ("sip_call_id", 7, "string"),
    ),
    "AuthRequest": (("call", 8, f"{PACKAGE}.Call"),),
    "AuthResponse": (
        ("username", 1, "string"), ("password", 2, "string"), ("drop", 3, "bool"), ("sip_trunk_id", 4, "string"),
        ("error_code", 7, "int32"),
    ),
    "DispatchRequest": (
        ("pin", 5, "string"), ("no_pin", 6, "bool"), ("sip_trunk_id", 10, "string"), ("call", 12, f"{PACKAGE}.Call"),
    ),
    "DispatchResponse": (
        ("room_name", 1, "string"), ("participant_identity", 2, "string"), ("request_pin", 3, "bool"),
        ("token", 4, "string"), ("ws_url", 5, "string"), ("result", 6, "int32"), ("participant_name", 7, "string"),
        ("participant_metadata", 8, "string"), ("sip_trunk_id", 9, "string"), ("sip_dispatch_rule_id", 10, "string"),
        ("participant_attributes", 11, "map"), ("headers", 13, "map"), ("headers_to_attributes", 14, "map"),
        ("ringing_timeout", 16, "google.protobuf.Duration"), ("max_call_duration", 17, "google.protobuf.Duration"),
        ("attributes_to_headers", 18, "map"), ("include_headers", 19, "int32"), ("room_preset", 20, "string"),
        ("room_config", 21, "livekit.RoomConfiguration"), ("media", 24, "livekit.SIPMediaConfig"),
    ),
}
# fmt: on

_SCALARS = {name: getattr(descriptor_pb2.FieldDescriptorProto, f"TYPE_{name.upper()}") for name in (
    "string", "bytes", "bool", "int32", "int64", "float",
)}  # fmt: skip


def _add_field(message: Any, name: str, number: int, kind: str) -> None:
    proto = descriptor_pb2.FieldDescriptorProto
    repeated = kind.startswith("*") or kind == "map"
    field = message.field.add(
        name=name, number=number, label=proto.LABEL_REPEATED if repeated else proto.LABEL_OPTIONAL
    )
    if kind == "map":
        entry = message.nested_type.add(name="".join(part.capitalize() for part in name.split("_")) + "Entry")
        entry.options.map_entry = True
        _add_field(entry, "key", 1, "string")
        _add_field(entry, "value", 2, "string")
        field.type, field.type_name = proto.TYPE_MESSAGE, f".{PACKAGE}.{message.name}.{entry.name}"
    elif kind in _SCALARS:
        field.type = _SCALARS[kind]
    else:
        field.type, field.type_name = proto.TYPE_MESSAGE, "." + kind.removeprefix("*")


def _types() -> dict[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(
        name="triage_bench_seam.proto",
        package=PACKAGE,
        syntax="proto3",
        dependency=[module.DESCRIPTOR.name for module in _NEEDED],
    )
    for name, fields in {**ENVELOPE, **PAYLOADS}.items():
        message = file.message_type.add(name=name)
        for field in fields:
            _add_field(message, *field)
    made = descriptor_pool.Default().AddSerializedFile(file.SerializeToString())
    return {
        name: message_factory.GetMessageClass(made.message_types_by_name[name]) for name in made.message_types_by_name
    }


_TYPES = _types()

Msg, Request, ClaimRequest, ClaimResponse, Response = (_TYPES[name] for name in ENVELOPE)
TransferRequest: Any = _TYPES["TransferRequest"]
CreateRequest: Any = _TYPES["CreateRequest"]
CreateResponse: Any = _TYPES["CreateResponse"]
Call: Any = _TYPES["Call"]
AuthRequest: Any = _TYPES["AuthRequest"]
AuthResponse: Any = _TYPES["AuthResponse"]
DispatchRequest: Any = _TYPES["DispatchRequest"]
DispatchResponse: Any = _TYPES["DispatchResponse"]
SipStatus: Any = livekit_sip.SIPStatus
SipUri: Any = livekit_sip.SIPUri

ACCEPT, REQUEST_PIN, REJECT, DROP = 1, 2, 3, 4
"""What a dispatch rule may say of a call."""
X_HEADERS, ALL_HEADERS = 1, 2
"""Values of `include_headers`; 0 is none."""

_PREFIX = "type.googleapis.com/"


def wire_name(message: Any) -> str:
    """Type of a message of the envelope, as it stands in `Msg`; LiveKit resolves exactly this."""
    return f"{_PREFIX}internal.{message.DESCRIPTOR.name}"


def wrapped(message: Any) -> bytes:
    """A message of the envelope as it is published."""
    out: bytes = Msg(type_url=wire_name(message), value=message.SerializeToString()).SerializeToString()
    return out


def unwrapped(data: bytes) -> Any:
    """What was published: a Request, ClaimRequest, ClaimResponse or Response.

    Raises: ValueError for anything else.
    """
    try:
        outer = Msg.FromString(data)
        name = outer.type_url.removeprefix(f"{_PREFIX}internal.")
        if name in ENVELOPE and name != "Msg":
            return _TYPES[name].FromString(outer.value)
    except Exception as error:  # protobuf's DecodeError has a new home in every version
        raise ValueError("not a message of this bus") from error
    raise ValueError("not a message of this bus")


def status_detail(status: int, reason: str) -> Any:
    """A SIP status, packed as a detail of an error. `status` that protobuf has no name for passes as its number."""
    packed = any_pb2.Any()
    packed.Pack(SipStatus(code=status, status=reason))
    return packed
