"""What the deployer decides: how traffic moves to a version, one route after another, and back."""

from deployer.domain.checks import Counted, Failure, Observed, Replica
from deployer.domain.rollbacks import Refusal, call_off, choose_version, judge_rollback, start_rollback
from deployer.domain.rollouts import Candidate, next_step, rollout_id, start_promotion
from deployer.domain.routes import ALL_AT_ONCE, Plan, RolloutTold, challenger_of, champion_of, is_under_way
