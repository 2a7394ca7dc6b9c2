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
_PATTERNS = (
    re.compile(r"(?i)\b(?:bearer|dpop|basic)\s+[A-Za-z0-9._~+/=-]{8,}"),
    re.compile(r"\beyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*){1,4}"),
    # Also as a query or a form carries it.
    re.compile(r"[A-Za-z0-9._%+'-]{1,64}(?:@|%40)[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+"),
    re.compile(r"(?<=://)[^\s/:@]*:[^\s/@]+(?=@)"),
    # A code confidentiel or a verification code as printed, in groups of four.
    re.compile(
        r"\b[0-9A-HJKMNP-TV-Z]{4}(?:[-\s]{1,2}[0-9A-HJKMNP-TV-Z]{4})+(?:[-\s]{1,2}[0-9A-Z*~$=]{1,4})?\b"
    ),
    # PostgreSQL quotes the row it refuses: Key (email)=(…), Failing row contains (…).
    re.compile(r"(?<=\)=)\([^)]*\)|(?<=contains )\([^)]*\)"),
    re.compile(
        r"(?i)(?<=[?&;\s\"'{(,])(?:code|token|state|nonce|secret|password|access_token|refresh_token|id_token|"
        r"code_verifier|client_secret|client_assertion|request_uri|flow|link)=[^&\s\"']+"
    ),
    re.compile(r"-----BEGIN [^-]+-----.*?(?:-----END [^-]+-----|$)", re.DOTALL),
    # 32 random bytes in base64url: links, cookies, codes, refresh tokens.
    re.compile(
        r"(?<![A-Za-z0-9_/.-])(?=[A-Za-z0-9_-]*[A-Z])(?=[A-Za-z0-9_-]*[a-z])[A-Za-z0-9_-]{40,}(?![A-Za-z0-9_/.-])"
    ),
)
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


def redact_text(text: str) -> str:
    """`text` without what looks like a secret or an e-mail."""
    for pattern in _PATTERNS:
        text = pattern.sub(HIDDEN, text)
    return text


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
    return text if name in _LONG_BUT_PUBLIC else redact_text(text)


def _is_sensitive(name: str) -> bool:
    lowered = name.lower().replace("-", "_")
    return lowered not in _HARMLESS_NAMES and not _SENSITIVE_WORDS.isdisjoint(lowered.split("_"))


def _log_uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        return
    logging.getLogger("espace").critical("process.crashed", exc_info=(kind, error, trace))
