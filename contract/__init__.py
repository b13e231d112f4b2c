"""The wire that requester and responder share: shapes, names, codes. No I/O here."""

from contract.codes import CODE_FACTS, CodeFacts, ErrorCode
from contract.health import HealthReply, HealthRequest, parse_health_request
from contract.reply import ExecuteFailure, ExecuteReply, ExecuteSuccess, ReplyError, parse_reply
from contract.request import (
    DEFAULT_TIMEOUT_MS,
    PROMPT_MAX_BYTES,
    ExecuteRequest,
    RequestError,
    RequestLimits,
    parse_request,
)
from contract.servers import check_servers, mask_servers, mask_user_info, split_servers
from contract.subjects import (
    DEFAULT_INBOX_PREFIX,
    DEFAULT_SUBJECT_PREFIX,
    HEADER_ERROR,
    HEADER_ERROR_CODE,
    HEADER_TRACEPARENT,
    HEADER_TRACESTATE,
    QUEUE_GROUP,
    SERVICE_NAME,
    Subjects,
    has_inbox_prefix,
    is_plain_subject,
    message_size,
)
from contract.ulid import new_ulid

__all__ = [
    "CODE_FACTS",
    "DEFAULT_INBOX_PREFIX",
    "DEFAULT_SUBJECT_PREFIX",
    "DEFAULT_TIMEOUT_MS",
    "HEADER_ERROR",
    "HEADER_ERROR_CODE",
    "HEADER_TRACEPARENT",
    "HEADER_TRACESTATE",
    "PROMPT_MAX_BYTES",
    "QUEUE_GROUP",
    "SERVICE_NAME",
    "CodeFacts",
    "ErrorCode",
    "ExecuteFailure",
    "ExecuteReply",
    "ExecuteRequest",
    "ExecuteSuccess",
    "HealthReply",
    "HealthRequest",
    "ReplyError",
    "RequestError",
    "RequestLimits",
    "Subjects",
    "check_servers",
    "has_inbox_prefix",
    "is_plain_subject",
    "mask_servers",
    "mask_user_info",
    "message_size",
    "new_ulid",
    "parse_health_request",
    "parse_reply",
    "parse_request",
    "split_servers",
]
