"""What the governance-auditor remembers. Each table is fed by one topic; queries never change anything."""

from governance_auditor.store.log import Head, LogStore, Raw, Record
from governance_auditor.store.promotions import RolesOf, Store
from governance_auditor.store.tables import (
    Adopted,
    Approval,
    AuditorTable,
    Declared,
    Entry,
    Finding,
    Log,
    Promotion,
    Registered,
    Signed,
    Subtree,
    Verdict,
)
