"""Logs are events, one JSON object a line, in which no secret and no e-mail can stand.

Redaction is the last step before the line is written and looks at names and at values, whoever logs: our code
through structlog, a library through `logging`, a traceback that quotes a row. It is the second net; the first is
not to log such things at all. A canary test sends secrets through every door and searches the output.
"""

import logging
import logging.config
import re
import sys
from collections.abc import Mapping, MutableMapping
from types import TracebackType
from typing import Any, cast

import structlog

HIDDEN = "[…]"

_SENSITIVE_WORDS = {
    "password", "passwd", "motdepasse", "passphrase", "secret", "secrets", "token", "tokens", "cookie", "cookies",
    "authorization", "dpop", "email", "mail", "mails", "recipient", "identifiant", "code", "codes", "confidentiel",
    "otp", "totp", "assertion", "verifier", "dsn", "pem", "credential", "credentials", "signature", "body",
}  # fmt: skip
_HARMLESS_NAMES = {
    "status_code", "error_code", "problem_code", "reason_code", "exit_code", "token_type", "token_endpoint",
    "token_use", "mail_id", "mail_kind", "code_challenge_method",
}  # fmt: skip
PATTERNS = (
    re.compile(r"(?i)\b(?:bearer|dpop|basic)\s{1,8}[A-Za-z0-9._~+/=-]{8,}"),
    # A JWT, with the whole run of characters that it ends.
    re.compile(
        r"(?<![A-Za-z0-9_-])(?=[A-Za-z0-9_-]*eyJ[A-Za-z0-9_-]{8})[A-Za-z0-9_-]++(?:\.[A-Za-z0-9_-]*+){1,4}"
    ),
    # Also as a query or a form carries it.
    re.compile(r"[A-Za-z0-9._%+'-]{1,64}(?:@|%40)[A-Za-z0-9-]++(?:\.[A-Za-z0-9-]+)+"),
    re.compile(r"(?<=://)[^\s/:@]*:[^\s/@]+(?=@)"),
    # A code confidentiel or a verification code as printed, in groups of four.
    re.compile(
        r"\b[0-9A-HJKMNP-TV-Z]{4}(?:[-\s]{1,2}[0-9A-HJKMNP-TV-Z]{4})+(?:[-\s]{1,2}[0-9A-Z*~$=]{1,4})?\b"
    ),
    # The address that a QR code holds: its code opens the paper's page, and an outage logs the path.
    re.compile(r"(?<=/a/)[^\s/?#\"']++"),
    # PostgreSQL quotes the row it refuses: Key (email)=(…), Failing row contains (…). It cuts long ones.
    re.compile(r"(?<=\)=)\([^)]*(?:\)|\Z)|(?<=contains )\([^)]*(?:\)|\Z)"),
    re.compile(
        r"(?i)(?<=[?&;\s\"'{(,])(?:code|token|state|nonce|secret|password|access_token|refresh_token|id_token|"
        r"code_verifier|client_secret|client_assertion|request_uri|flow|link)=[^&\s\"']+"
    ),
    re.compile(r"-----BEGIN [^-]+-----.*?(?:-----END [^-]+-----|\Z)", re.DOTALL),
    # 32 random bytes in base64url: links, cookies, codes, refresh tokens.
    re.compile(
        r"(?<![A-Za-z0-9_/.-])(?=[A-Za-z0-9_-]*[A-Z])(?=[A-Za-z0-9_-]*[a-z])[A-Za-z0-9_-]{40,}+(?![A-Za-z0-9_/.-])"
    ),
)
"""What a secret looks like. Strangers choose what is logged: each takes a time in proportion to the text it reads,
for it begins at most once in a run of its own characters (tests/runtime/test_logging.py)."""

LONGEST = 1024
"""Characters of a value that are written: a stranger's path is theirs to make long."""
LONGEST_TRACE = 32 * 1024
_TRACES = frozenset({"exception", "stack"})
SEEN_BEYOND = 512
"""Characters read past the cut, so that a secret begun before it is known for one and hidden whole."""

_LONG_BUT_PUBLIC = frozenset({"kid", "jkt", "sha256", "digest", "trace_id", "span_id"})


def configure_logging(service: str, level: str = "info") -> None:
    """Send every log of this process, ours and the libraries', to standard output as redacted JSON."""
    structlog.configure(
        processors=[*_before(), structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(service=service)
    logging.config.dictConfig(logging_configuration(service, level))
    logging.captureWarnings(True)
    sys.excepthook = _log_uncaught


def logging_configuration(service: str, level: str = "info") -> dict[str, Any]:
    """What is said and what is kept quiet, as a `dictConfig`."""
    loud: dict[str, object] = {"handlers": [], "level": level.upper(), "propagate": True}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"json": {"()": f"{__name__}.json_formatter", "service": service}},
        "handlers": {
            "out": {"class": "logging.StreamHandler", "formatter": "json", "stream": "ext://sys.stdout"}
        },
        "root": {"handlers": ["out"], "level": "WARNING"},
        "loggers": {
            **{name: dict(loud) for name in ("libs", "services", "espace")},
            # What a mail dialogue or a request line holds is nobody's business.
            **{name: {"level": "WARNING"} for name in ("httpx", "httpcore", "mail.log")},
            # That a stranger's bytes are no request is the stranger's business: a line for each would fill the disk.
            "uvicorn": {"level": "ERROR"},
        },
    }


def json_formatter(service: str) -> logging.Formatter:
    """One redacted JSON object a line, for records of any origin."""

    def name_the_service(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        event.setdefault("service", service)
        return event

    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=_before(),
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            name_the_service,
            structlog.processors.format_exc_info,
            redact,
            structlog.processors.JSONRenderer(ensure_ascii=False),
        ],
    )


def redact(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """The structlog processor: hide by name, then by form, at any depth."""
    return {name: _without_secrets(name, value, 0) for name, value in event.items()}


def redact_text(text: str, longest: int = LONGEST) -> str:
    """The beginning of `text` without what looks like a secret or an e-mail; what was cut is counted."""
    read = text[: longest + SEEN_BEYOND]
    shown: list[str] = []
    at = 0
    for start, end in sorted(found.span() for pattern in PATTERNS for found in pattern.finditer(read)):
        if start >= longest:
            break
        if start >= at:
            shown += (read[at:start], HIDDEN)
        at = max(at, end)
    shown.append(read[at:longest])
    if len(text) > longest:
        shown.append(_cut(text, longest))
    return "".join(shown)


def _cut(text: str, longest: int) -> str:
    return f" […+{len(text) - longest}]"


def _before() -> list[Any]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
    ]


def _without_secrets(name: str, value: object, depth: int) -> object:
    if _is_sensitive(name) and value not in (None, "", True, False):
        return HIDDEN
    if depth > 6:
        return HIDDEN
    if isinstance(value, Mapping):
        return {
            redact_text(str(key)): _without_secrets(str(key), inner, depth + 1)
            for key, inner in cast(Mapping[object, object], value).items()
        }
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_without_secrets("", inner, depth + 1) for inner in cast(list[object], value)]
    if value is None or isinstance(value, (bool, int, float)):
        return value
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    if name in _LONG_BUT_PUBLIC:
        return text if len(text) <= LONGEST else text[:LONGEST] + _cut(text, LONGEST)
    return redact_text(text, LONGEST_TRACE if name in _TRACES else LONGEST)


def _is_sensitive(name: str) -> bool:
    lowered = name.lower().replace("-", "_")
    return lowered not in _HARMLESS_NAMES and not _SENSITIVE_WORDS.isdisjoint(lowered.split("_"))


def _log_uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        return
    logging.getLogger("espace").critical("process.crashed", exc_info=(kind, error, trace))
