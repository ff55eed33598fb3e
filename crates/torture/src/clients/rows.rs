//! PostgreSQL: rows, each committed by itself.

use std::collections::BTreeSet;

use regent_lab::CLIENT;

use super::printed;
use crate::loads::address;
use crate::stage::Stage;

/// Commits row after row, and prints each that was acknowledged.
const ROWS: &str = r#"
at='host=ADDRESS user=postgres dbname=postgres connect_timeout=1 tcp_user_timeout=1000'
i=1
while :; do
    if timeout 3 psql -qAtX "$at" -c "insert into kept values ($i) on conflict do nothing" >/dev/null 2>&1
    then echo "$i"; i=$((i+1)); sleep 0.05
    else timeout 3 psql -qAtX "$at" -c 'create table if not exists kept (n bigint primary key)' >/dev/null 2>&1; sleep 0.1; fi
done
"#;

pub(super) fn script() -> String {
    ROWS.replace("ADDRESS", &address("pg"))
}

/// The rows that are there.
pub(super) fn kept(stage: &Stage) -> Option<BTreeSet<u64>> {
    let at = format!("host={} user=postgres dbname=postgres connect_timeout=5", address("pg"));
    let text = printed(stage, CLIENT, &["psql", "-qAtX", &at, "-c", "select n from kept"])?;
    Some(text.lines().filter_map(|l| l.parse().ok()).collect())
}
