"""SIP messages as a phone would write them, for tests without a phone."""

SDP = (
    "v=0\r\no=phone 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
    "m=audio 4000 RTP/AVP 0 101\r\na=rtpmap:101 telephone-event/8000\r\n"
)


def request(
    method: str,
    *headers: str,
    branch: str = "z9hG4bKone",
    call_id: str = "call-1",
    cseq: int = 1,
    from_tag: str = "phone",
    to_tag: str = "",
    uri: str = "sip:+15550199@127.0.0.1:5070",
    port: int = 5080,
    body: str = "",
) -> bytes:
    """A request from a phone on `port`."""
    to = f"To: <{uri}>" + (f";tag={to_tag}" if to_tag else "")
    lines = [
        f"{method} {uri} SIP/2.0",
        f"Via: SIP/2.0/UDP 127.0.0.1:{port};branch={branch};rport",
        f"From: <sip:caller@127.0.0.1:{port}>;tag={from_tag}",
        to,
        f"Call-ID: {call_id}",
        f"CSeq: {cseq} {method}",
        f"Contact: <sip:caller@127.0.0.1:{port}>",
        *headers,
    ]
    if body and not any(header.startswith("Content-Type") for header in headers):
        lines.append("Content-Type: application/sdp")
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", body]).encode()


def response(status: int, *, branch: str, method: str = "INVITE", cseq: int = 1, call_id: str = "call-1") -> bytes:
    """A phone's answer to a request of ours."""
    lines = [
        f"SIP/2.0 {status} Whatever",
        f"Via: SIP/2.0/UDP 127.0.0.1:5070;branch={branch}",
        "From: <sip:line@127.0.0.1:5070>;tag=us",
        "To: <sip:nurse@127.0.0.1:5090>;tag=them",
        f"Call-ID: {call_id}",
        f"CSeq: {cseq} {method}",
    ]
    return "\r\n".join([*lines, "Content-Length: 0", "", ""]).encode()
