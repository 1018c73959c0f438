"""What the deployer remembers."""

from deployer.store.queries import Store
from deployer.store.tables import (
    STAGES,
    Answered,
    Approved,
    Declared,
    DeployerTable,
    Failed,
    Following,
    Registered,
    ReplicaStart,
    Rollout,
    parse_told,
)
