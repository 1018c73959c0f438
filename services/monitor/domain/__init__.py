"""What the monitor decides: what a window holds, whether it drifted, what is retrained on."""

from monitor.domain.assembling import (
    Advised,
    Assembly,
    Taken,
    Wanted,
    advise,
    as_table,
    describe_target,
    find_rest,
    pass_over,
    tell_assembled,
    tell_unassembled,
)
from monitor.domain.observing import Name, Said, is_disputed, name_of, replaces
from monitor.domain.windows import (
    Baseline,
    Cells,
    OpenWindow,
    Profile,
    Tally,
    Watched,
    add,
    after,
    close_window,
    count_rows,
    find_drift,
    is_full,
    judge_columns,
    open_window,
    parse_profile,
    subtract,
)
