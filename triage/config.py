"""Settings: one frozen object, from one `triage.toml` and `TRIAGE_*`, built once at start and passed down.

No other module reads the environment. Each field is flat and has one name: `vad_off_threshold` in `triage.toml` is
`TRIAGE_VAD_OFF_THRESHOLD` in the environment, which wins. Order, weakest first: default, file, environment, argument.
The line below each field is its documentation: README's table is made from it, and a test compares the two.
"""

import difflib
import ipaddress
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_core import PydanticCustomError

from fsm.states import TimerName
from fsm.timers import SECONDS
from triage.errors import SettingError

ENVIRONMENT_PREFIX = "TRIAGE_"
NOT_SETTINGS = frozenset({"TRIAGE_CONFIG", "TRIAGE_SHARED"})
"""Variables with our prefix that are no fields: where the file is; where tests find foreign recordings."""

NUMBERS: dict[str, tuple[str, str, str]] = {
    "us": ("911", "988", "1-800-222-1222"),
    "uk": ("999", "116123", "111"),
    "eu": ("112", "116123", "112"),
}
"""Emergency, crisis and poison number of each region, when none is set."""

LINE_PORTS = ("line_redis_port", "line_server_port", "line_media_port", "line_sip_port", "line_worker_port")
"""Settings that are one port of the telephone line each."""

Threshold = Annotated[float, Field(gt=0, lt=1)]
Port = Annotated[int, Field(ge=0, le=65535)]
Words = tuple[str, ...]


class Settings(BaseModel):
    """Everything an operator may set."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, validate_default=True)

    # --- where and what

    profile: Literal["demo", "bench", "staging", "production"] = "demo"
    """What this process is for. `production` refuses to start with anything that serves demos only."""
    data_dir: Path = Field(default_factory=lambda: default_data_dir(os.environ))
    """Folder for store, spool, keys and demo calls. Default: `$XDG_DATA_HOME/triage-line`, else `~/.local/share/triage-line`."""
    keep_audio: bool = True
    """Keep the stereo recording of a call, in the clear. Demo only: its caller is a machine."""
    nurse_directory: Path | None = None
    """File with the nurse targets, TOML. The demo takes them from its scenario."""

    nurse_packet_h: float = Field(default=24.0, ge=0.1, le=720)
    """A nurse's packet is wiped after this, h. Until then it lies sealed and opens with its code and the reader's key."""
    nurse_webhook_url: str = ""
    """Address of the operator's own system that packets are offered to, https (http to this machine only). Empty: none."""
    nurse_webhook_secret_file: Path | None = None
    """File with the secret that signs what is offered, 16 bytes at least, readable by its owner only."""
    nurse_webhook_words: bool = False
    """Send what the caller said and what was found along. Without it the offer holds code, level, rank and times."""

    # --- place

    region: Literal["us", "uk", "eu"] = "us"
    """Decides which emergency, crisis and poison clips are played, and the numbers below when they are not set."""
    language: Literal["en"] = "en"
    """Language of everything we say. The red-flag rules listen for English and Spanish whatever stands here."""
    emergency_number: str = Field(default="", pattern=r"^[0-9+*# -]*$")
    """Number that the emergency clips say; start is refused when they say another. Empty: the region's."""
    crisis_number: str = Field(default="", pattern=r"^[0-9+*# -]*$")
    """Number that the crisis-line clip says. Empty: the region's."""
    poison_number: str = Field(default="", pattern=r"^[0-9+*# -]*$")
    """Number that the poison-control clip says. Empty: the region's."""

    # --- stages

    stt: Literal["pocketsphinx", "scripted"] = "pocketsphinx"
    """Speech to text. Both serve demos and tests only."""
    stt_script: Path | None = None
    """What the scripted recogniser of a telephone call returns: a text file, one utterance a line."""
    llm: Literal["scripted"] = "scripted"
    """What words the replies: the scripted interviewer."""
    tts: Literal["flite", "clips"] = "flite"
    """Voice for what has no rendered clip. `clips`: none; only rendered wording is spoken."""

    # --- latency that the caller adds to what we measure

    line_allowance_telephone_ms: int = Field(default=280, ge=0, le=1000)
    """Added to measured latencies on a telephone line, ms."""
    line_allowance_web_ms: int = Field(default=100, ge=0, le=1000)
    """Added to measured latencies on a browser line, ms."""
    line_allowance_simulated_ms: int = Field(default=0, ge=0, le=1000)
    """Added to measured latencies on the simulated line, ms."""

    # --- voice activity

    vad_pause_threshold: Threshold = 0.3
    """Probability in one 32 ms window that pauses our playout. Not yet speech."""
    vad_speech_threshold: Threshold = 0.5
    """Probability that counts as speech."""
    vad_off_threshold: Threshold = 0.35
    """Probability below which speech is over, window by window."""

    # --- end of turn

    turn_silence_ms: int = Field(default=500, ge=200, le=3000)
    """Silence that ends a turn when the words say neither, ms. A backstop, not the rule."""
    turn_silence_short_ms: int = Field(default=350, ge=100, le=3000)
    """Silence after a complete short answer (yes, no, a number), ms."""
    turn_silence_unfinished_ms: int = Field(default=1000, ge=200, le=5000)
    """Silence after words that want to go on ("and", "my", a number being said), ms."""
    turn_silence_spelling_ms: int = Field(default=1200, ge=200, le=8000)
    """Silence while a name or number is being spelled, ms."""
    interim_promotion_s: float = Field(default=1.5, ge=0.3, le=10)
    """Silence after which an interim whose final never came is taken for the final, s."""
    turn_cut_s: float = Field(default=30.0, ge=5, le=120)
    """A turn that will not end is cut after this, s."""

    # --- barge-in

    confidence_real: float = Field(default=0.7, ge=0, le=1)
    """Confidence from which a word is real: it cancels our speech."""
    always_interrupt: Words = ("stop", "wait", "help", "nurse", "emergency", "ambulance")
    """Words that cancel our speech at any confidence."""
    echo_window_s: float = Field(default=2.0, ge=0, le=10)
    """Words that we played within this many seconds may be our own voice heard back, s."""

    # --- nobody talks past the classifier

    stretch_stable_s: float = Field(default=1.5, ge=0.3, le=10)
    """Words unchanged in the interims for this long are judged without a final, s."""
    stretch_s: float = Field(default=8.0, ge=1, le=30)
    """Speech without a final is judged after this long, s."""
    stretch_words: int = Field(default=25, ge=3, le=200)
    """Speech without a final is judged after this many words."""

    # --- voice without words

    wordless_voice_s: float = Field(default=2.0, ge=0.5, le=20)
    """Voice without any word for this long: gasping, crying, choking, s."""
    wordless_burst_ms: int = Field(default=700, ge=100, le=5000)
    """A wordless burst counts from this length, ms. Coughs are shorter."""
    wordless_bursts: int = Field(default=3, ge=1, le=20)
    """So many bursts within the window count like one long one."""
    wordless_window_s: float = Field(default=20.0, ge=1, le=120)
    """The window for counting bursts, s."""

    # --- record

    durable_wait_ms: int = Field(default=50, ge=1, le=1000)
    """How long a non-safety effect waits for its Step to be durable before the spool's acknowledgement does, ms."""

    # --- telephone line

    line_sip: Literal["sip-bench", "livekit-sip"] = "sip-bench"
    """SIP service of the telephone line: our bench for development and drills, or LiveKit's own."""
    line_number: str = Field(default="+15550100", pattern=r"^\+[0-9]{5,15}$")
    """Number that callers ring, as the carrier sends it, with its plus sign."""
    line_carrier_addresses: Words = Field(default=("127.0.0.1/32",), min_length=1)
    """Addresses or networks that may send us calls. An INVITE from elsewhere starts nothing."""
    line_packet_filter: bool = False
    """Say true when only `line_carrier_addresses` can reach the SIP port. Staging and production start with nothing less."""
    line_nurse_address: str = Field(default="127.0.0.1:5090", pattern=r"^[A-Za-z0-9.-]+:[0-9]{1,5}$")
    """Host and port of the nurse queue's SIP service."""
    line_agent: str = Field(default="triage", pattern=r"^[a-z][a-z0-9-]{0,31}$")
    """Name under which the worker registers and under which calls are dispatched to it."""
    line_ringing_timeout_s: float = Field(default=20.0, ge=5, le=60)
    """A call that nobody has answered after this is given back to the carrier, which fails over, s."""
    line_max_call_h: float = Field(default=4.0, ge=1, le=24)
    """The SIP service ends a call after this, h."""
    line_media_timeout_s: float = Field(default=600.0, ge=300, le=3600)
    """The SIP service ends a call that sends no audio for this long, s. A held caller is silent."""
    line_redis_port: Port = 6390
    """Loopback port of Redis. 0: any free one, here and below."""
    line_server_port: Port = 7880
    """Loopback port of livekit-server, signalling and API."""
    line_media_port: Port = 7882
    """Loopback port of livekit-server, media (UDP)."""
    line_sip_port: Port = 5070
    """Loopback port where telephones ring (UDP)."""
    line_worker_port: Port = 8081
    """Loopback port where the worker tells its health."""
    line_sip_address: str = "127.0.0.1"
    """Address of this machine (IPv4) where telephones ring. sip-bench knows loopback only."""
    line_public_address: str = ""
    """Address that the carrier sends to, where a router stands between it and us. Empty: `line_sip_address`."""
    line_rtp_first_port: int = Field(default=10000, ge=1024, le=65000)
    """First port for the telephones' audio (UDP)."""
    line_rtp_ports: int = Field(default=200, ge=8, le=20000)
    """How many ports for audio, from the first. A call takes two."""
    line_media_during_refer: bool = True
    """Whether the caller hears us while the carrier transfers them. False: urgent calls dial a nurse instead."""

    # --- worker

    worker_calls: int = Field(default=4, ge=1, le=200)
    """Calls that one worker carries at a time. More are left to other workers, else to the carrier's fail-over."""
    worker_idle_processes: int = Field(default=2, ge=1, le=32)
    """Processes that stand ready for the next calls, everything loaded. So many may ring at once and all be answered at once."""
    worker_cpu_limit: float = Field(default=0.9, ge=0.1, le=1)
    """While calls are in progress, no further one is taken when the machine is busier than this share (1: never refused)."""
    worker_free_memory_mb: int = Field(default=400, ge=0, le=65536)
    """No call is taken when less memory than this would be available, MB."""
    worker_call_memory_mb: int = Field(default=1000, ge=300, le=16384)
    """A call's process that grows beyond this is ended, MB; its caller is rescued."""
    worker_drain_s: float = Field(default=40.0, ge=1, le=3600)
    """At the end, how long calls in progress may go on before they are brought to a nurse, s."""

    @model_validator(mode="before")
    @classmethod
    def _numbers_of_the_region(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return tuple(_network(text) for text in given)
        region = NUMBERS.get(str(given.get("region", "us")), NUMBERS["us"])
        names = ("emergency_number", "crisis_number", "poison_number")
        return {**given, **{n: given.get(n) or number for n, number in zip(names, region, strict=True)}}

    @field_validator("line_carrier_addresses")
    @classmethod
    def _in_cidr(cls, given: Words) -> Words:
        """The one notation that livekit-server reads as networks, and which no host in a From header has."""
        return tuple(_network(text) for text in given)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        def refuse_unless(right: bool, field: str, reason: str) -> None:
            if not right:
                raise PydanticCustomError("cross_check", "{reason}", {"field": field, "reason": reason})

        speech = self.vad_speech_threshold
        refuse_unless(self.vad_pause_threshold <= speech, "vad_pause_threshold", "must not exceed vad_speech_threshold")
        refuse_unless(self.vad_off_threshold < speech, "vad_off_threshold", "must be below vad_speech_threshold")
        refuse_unless(
            self.turn_silence_short_ms <= self.turn_silence_ms, "turn_silence_short_ms", "exceeds turn_silence_ms"
        )
        refuse_unless(
            self.turn_silence_ms <= self.turn_silence_unfinished_ms,
            "turn_silence_unfinished_ms",
            "is shorter than turn_silence_ms",
        )
        refuse_unless(self.stretch_stable_s <= self.stretch_s, "stretch_stable_s", "exceeds stretch_s")
        refuse_unless(
            self.turn_cut_s < SECONDS[TimerName.TURN_OPEN],
            "turn_cut_s",
            f"must be below {SECONDS[TimerName.TURN_OPEN]:.0f}, after which the machine takes the recogniser for dead",
        )
        refuse_unless(
            self.wordless_burst_ms < self.wordless_window_s * 1000,
            "wordless_burst_ms",
            "is longer than wordless_window_s",
        )
        refuse_unless(
            self.stretch_s < self.turn_cut_s, "stretch_s", "exceeds turn_cut_s: a long turn would be cut unjudged"
        )
        refuse_unless(
            self.line_rtp_first_port + self.line_rtp_ports <= 65536, "line_rtp_ports", "reaches past port 65535"
        )
        ports = [getattr(self, name) for name in LINE_PORTS if getattr(self, name)]
        refuse_unless(len(ports) == len(set(ports)), "line_server_port", "or another port of the line is given twice")
        for field, address in (
            ("line_sip_address", self.line_sip_address),
            ("line_public_address", self.line_public_address or self.line_sip_address),
        ):
            refuse_unless(_is_of_one(address), field, "is no IPv4 address of one machine, such as 192.0.2.7")
            refuse_unless(
                self.line_sip != "sip-bench" or address == "127.0.0.1",
                field,
                "must be 127.0.0.1: sip-bench has no other",
            )
        if self.nurse_webhook_url:
            try:
                from triage.handoff.webhook import checked

                checked(self.nurse_webhook_url)
            except SettingError as error:
                refuse_unless(False, "nurse_webhook_url", str(error).partition(": ")[2])
            refuse_unless(
                self.nurse_webhook_secret_file is not None,
                "nurse_webhook_secret_file",
                "is missing: what is offered is signed",
            )
        if self.profile in ("staging", "production"):
            refuse_unless(not self.keep_audio, "keep_audio", "only the demo keeps audio in the clear: set it to false")
            refuse_unless(
                self.nurse_directory is not None, "nurse_directory", f"is missing, and {self.profile} needs one"
            )
            refuse_unless(self.line_sip != "sip-bench", "line_sip", "sip-bench is no product: set it to livekit-sip")
            refuse_unless(
                self.line_packet_filter,
                "line_packet_filter",
                "is false: a From header that names one of line_carrier_addresses gets in from anywhere; "
                "have a packet filter let only those reach the SIP port, then say so",
            )
        return self

    def allowance_ms(self, line: str) -> int:
        """What a line of this kind (telephone, web, simulated) adds to measured latencies, ms."""
        return {
            "telephone": self.line_allowance_telephone_ms,
            "web": self.line_allowance_web_ms,
            "simulated": self.line_allowance_simulated_ms,
        }[line]


def _network(text: str) -> str:
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        network = None
    if network is None or "%" in text:
        raise PydanticCustomError("network", "{text} is no address and no network", {"text": text})
    if network.prefixlen == 0:
        raise PydanticCustomError("network", "{text} lets in everybody; name the carrier's own", {"text": text})
    return str(network)


def _is_of_one(address: str) -> bool:
    try:
        read = ipaddress.IPv4Address(address)
    except ValueError:
        return False
    return not (read.is_unspecified or read.is_multicast)


def default_data_dir(env: Mapping[str, str]) -> Path:
    """The XDG place for our files."""
    base = env.get("XDG_DATA_HOME", "")
    return (Path(base) if base else Path.home() / ".local" / "share") / "triage-line"


def load(path: Path | None = None, *, data: Path | None = None, env: Mapping[str, str] | None = None) -> Settings:
    """Read the settings. `path`: the file (else `TRIAGE_CONFIG`, else `triage.toml` here, else none).

    `data` overrides `data_dir`; `env` stands in for the process's environment in tests.

    Raises:
        SettingError: a file that cannot be read, an unknown name, a value out of range, or two that contradict.
    """
    env = os.environ if env is None else env
    given: dict[str, Any] = {"data_dir": default_data_dir(env)}
    source = dict.fromkeys(given, "default")
    for name, value in _from_file(path, env).items():
        given[name], source[name] = value, "file"
    for name, value in _from_environment(env).items():
        given[name], source[name] = value, ENVIRONMENT_PREFIX + name.upper()
    if data is not None:
        given["data_dir"] = data
    try:
        return Settings.model_validate(given)
    except ValidationError as error:
        raise SettingError(_one_line(error, source)) from error


def settings_file(path: Path | None, env: Mapping[str, str]) -> Path | None:
    """The file that `load` reads: the one named, else `TRIAGE_CONFIG`, else `triage.toml` here; None where there is none."""
    if path is not None or env.get("TRIAGE_CONFIG"):
        return path or Path(env["TRIAGE_CONFIG"])
    return Path("triage.toml") if Path("triage.toml").is_file() else None


def documented() -> list[tuple[str, str, str]]:
    """(name, default, meaning) of every setting, in order. The table in README is made from this."""
    rows = []
    for name, field in Settings.model_fields.items():
        default = field.get_default(call_default_factory=False) if field.default_factory is None else ""
        if name in ("emergency_number", "crisis_number", "poison_number"):
            default = "per region"
        elif isinstance(default, tuple):
            default = ", ".join(default)
        elif default is None or (default == "" and field.default_factory is None):
            default = "none"
        elif isinstance(default, bool):
            default = str(default).lower()
        rows.append((name, str(default) or "by XDG", " ".join((field.description or "").split())))
    return rows


def _from_file(path: Path | None, env: Mapping[str, str]) -> dict[str, Any]:
    file = settings_file(path, env)
    if file is None:
        return {}
    try:
        read = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingError(f"{file}: cannot be read ({error.strerror}); name another with --config") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingError(f"{file}: is no TOML ({error}); mend that line") from error
    for name in read:
        if name not in Settings.model_fields:
            raise SettingError(f"{file}: {name} is no setting{_near(name)}")
    return read


def _from_environment(env: Mapping[str, str]) -> dict[str, Any]:
    read: dict[str, Any] = {}
    for variable, value in env.items():
        if not variable.startswith(ENVIRONMENT_PREFIX) or variable in NOT_SETTINGS:
            continue
        name = variable.removeprefix(ENVIRONMENT_PREFIX).lower()
        if name in Settings.model_fields:
            several = Settings.model_fields[name].annotation == Words
            read[name] = tuple(w.strip() for w in value.split(",") if w.strip()) if several else value
        elif near := _near(name):  # anything else with our prefix may be somebody else's
            raise SettingError(f"{variable} is no setting{near}")
    return read


def _near(name: str) -> str:
    close = difflib.get_close_matches(name, Settings.model_fields, n=1, cutoff=0.75)
    return f"; did you mean {close[0]}?" if close else ""


def _one_line(error: ValidationError, source: Mapping[str, str]) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    field = str(first["loc"][0]) if first["loc"] else str(first.get("ctx", {}).get("field", ""))
    message = str(first["msg"])
    remedy = f"set it in triage.toml or as {ENVIRONMENT_PREFIX}{field.upper()}"
    place = source.get(field, "default")
    return f"setting {field} ({place}): {message[:1].lower() + message[1:]}; {remedy}"
