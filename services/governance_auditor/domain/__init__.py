"""What the governance-auditor decides: promotions, and what in the log is not as it should be."""

from governance_auditor.domain.findings import Fault, fault_of, misplaced, out_of_sequence, unsigned
from governance_auditor.domain.promotions import (
    BUILT_IN,
    Case,
    Given,
    InForce,
    Judgement,
    decide,
    handle_of,
    in_force,
    policy_digest,
    refuse,
    why_closed,
    why_not,
    why_policy_refused,
    with_approval,
)
