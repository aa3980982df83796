"""What is kept in the database."""

from service.storage.admin_records import (
    AdminRole,
    AdminUser,
    AuditEntry,
    AuditFilter,
    Capability,
    Override,
    OverrideMode,
)
from service.storage.admin_users import AdminUsers, UserExistsError
from service.storage.api_key_limits import ApiKeyLimits, ApiScope
from service.storage.api_keys import ApiKey, ApiKeys
from service.storage.audit_chain import ChainReport
from service.storage.audit_log import AuditLog
from service.storage.configured import database_url
from service.storage.conversation_costs import ConversationCosts
from service.storage.conversation_records import (
    ConversationCost,
    ConversationFilter,
    ConversationRecord,
    ConversationSummary,
    EndedBy,
    JudgedAnswer,
    Leg,
    Speaker,
    Utterance,
)
from service.storage.conversations import Conversations
from service.storage.database import Database, open_database
from service.storage.deployments import Deployment, Deployments
from service.storage.erasure_records import JobRun, ProviderDeletion, SubjectKind, Tombstone, subject_hash
from service.storage.erasures import ProviderDeletions, Tombstones
from service.storage.job_runs import JobRuns
from service.storage.judged_answers import JudgedAnswers
from service.storage.leg_changes import LegChange, LegChanges
from service.storage.overrides import OverrideConflictError, Overrides
from service.storage.pages import Page
from service.storage.schema import check_schema

__all__ = [
    "AdminRole",
    "AdminUser",
    "AdminUsers",
    "ApiKey",
    "ApiKeyLimits",
    "ApiKeys",
    "ApiScope",
    "AuditEntry",
    "AuditFilter",
    "AuditLog",
    "Capability",
    "ChainReport",
    "ConversationCost",
    "ConversationCosts",
    "ConversationFilter",
    "ConversationRecord",
    "ConversationSummary",
    "Conversations",
    "Database",
    "Deployment",
    "Deployments",
    "EndedBy",
    "JobRun",
    "JobRuns",
    "JudgedAnswer",
    "JudgedAnswers",
    "Leg",
    "LegChange",
    "LegChanges",
    "Override",
    "OverrideConflictError",
    "OverrideMode",
    "Overrides",
    "Page",
    "ProviderDeletion",
    "ProviderDeletions",
    "Speaker",
    "SubjectKind",
    "Tombstone",
    "Tombstones",
    "UserExistsError",
    "Utterance",
    "check_schema",
    "database_url",
    "open_database",
    "subject_hash",
]
