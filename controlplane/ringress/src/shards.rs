//! `ringress shards`: one row for each shard of every replica.

use std::process::ExitCode;

use serde::{Deserialize, Serialize};

use crate::args::{Output, Tell};
use crate::ask::{self, Gathered, Replica, Target};
use crate::terminal::{self, table};

/// Lists the shards; 3 where a ready replica cannot be asked.
///
/// # Errors
/// No replica can be asked.
pub(crate) fn run(Tell { asked, output }: Tell) -> anyhow::Result<ExitCode> {
    ask::block_on(async {
        let target = Target::open(asked).await?;
        let gathered = Gathered::ask(target.replicas().await?, "/shards").await?;
        let rows = rows(&gathered);
        let text = || terminal::structured(output, &rows);
        terminal::print(&text()?.unwrap_or_else(|| shown(&rows, output)));
        Ok(gathered.conclude())
    })
}

/// What a process says of its shards.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Page {
    pub(crate) version: String,
    /// The newest that was published.
    pub(crate) generation: u64,
    /// Sockets that cannot be bound, and why.
    pub(crate) unbound: Vec<String>,
    pub(crate) shards: Vec<Shard>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Shard {
    pub(crate) shard: usize,
    /// `null`: any.
    core: Option<usize>,
    pub(crate) driver: String,
    rung: String,
    pub(crate) reason: String,
    generation: u64,
    pub(crate) accepting: bool,
    connections: u64,
    /// `null` where the shard did not tell in time.
    requests: Option<u64>,
    failures: Option<u64>,
    silent_s: f64,
}

/// One shard of one replica; its JSON shape is stable.
#[derive(Debug, Serialize)]
struct Row {
    replica: String,
    node: Option<String>,
    ready: bool,
    version: String,
    /// The newest generation of the replica.
    published: u64,
    #[serde(flatten)]
    shard: Shard,
}

fn rows(gathered: &Gathered<Page>) -> Vec<Row> {
    let of = |(replica, page): &(Replica, Page)| -> Vec<Row> {
        let row = |shard: &Shard| Row {
            replica: replica.name.clone(),
            node: replica.node.clone(),
            ready: replica.is_ready(),
            version: page.version.clone(),
            published: page.generation,
            shard: shard.clone(),
        };
        page.shards.iter().map(row).collect()
    };
    gathered.answers.iter().flat_map(of).collect()
}

fn shown(rows: &[Row], output: Output) -> String {
    let is_wide = output == Output::Wide;
    if output == Output::Name {
        return rows.iter().map(|row| format!("{}/{}\n", row.replica, row.shard.shard)).collect();
    }
    let mut head =
        vec!["REPLICA", "SHARD", "CORE", "DRIVER", "GENERATION", "CONNECTIONS", "REQUESTS", "STATE"];
    if is_wide {
        head.extend(["FAILURES", "SILENT", "NODE", "VERSION", "RUNG"]);
    }
    table(&head, rows.iter().map(|row| cells(row, is_wide)))
}

fn cells(row: &Row, is_wide: bool) -> Vec<String> {
    let Row { shard, published, .. } = row;
    let number = |number: Option<u64>| number.map_or_else(|| "?".to_owned(), |number| number.to_string());
    let generation = match shard.generation == *published {
        true => shard.generation.to_string(),
        false => format!("{} of {published}", shard.generation),
    };
    let mut cells = vec![
        row.replica.clone(),
        shard.shard.to_string(),
        shard.core.map_or_else(|| "any".to_owned(), |core| core.to_string()),
        shard.driver.clone(),
        generation,
        shard.connections.to_string(),
        number(shard.requests),
        state(row).to_owned(),
    ];
    if is_wide {
        let rung = match shard.reason.is_empty() {
            true => shard.rung.clone(),
            false => format!("{} ({})", shard.rung, shard.reason),
        };
        let silent = format!("{:.0}s", shard.silent_s);
        let node = row.node.clone().unwrap_or_else(|| "-".to_owned());
        cells.extend([number(shard.failures), silent, node, row.version.clone(), rung]);
    }
    cells
}

fn state(row: &Row) -> &'static str {
    match (row.shard.silent_s > SILENT_S, row.shard.accepting, row.ready) {
        (true, _, _) => "silent",
        (_, false, _) => "not accepting",
        (_, _, false) => "replica not ready",
        _ => "accepting",
    }
}

/// As `/healthz` has it.
const SILENT_S: f64 = 10.0;

#[cfg(test)]
mod tests {
    use super::*;

    fn row(change: impl FnOnce(&mut Row)) -> Row {
        let shard = Shard {
            shard: 1,
            core: Some(3),
            driver: "epoll".to_owned(),
            rung: "epoll".to_owned(),
            reason: "io_uring is refused".to_owned(),
            generation: 7,
            accepting: true,
            connections: 2,
            requests: Some(9),
            failures: Some(0),
            silent_s: 0.2,
        };
        let mut row = Row {
            replica: "r/a".to_owned(),
            node: None,
            ready: true,
            version: "1".to_owned(),
            published: 7,
            shard,
        };
        change(&mut row);
        row
    }

    #[test]
    fn a_row_says_what_is_behind_and_what_does_not_accept() {
        let narrow = |row: Row| cells(&row, false).join("|");
        assert_eq!(narrow(row(|_| {})), "r/a|1|3|epoll|7|2|9|accepting");
        assert_eq!(narrow(row(|row| row.published = 8)), "r/a|1|3|epoll|7 of 8|2|9|accepting");
        assert_eq!(narrow(row(|row| row.ready = false)), "r/a|1|3|epoll|7|2|9|replica not ready");
        assert_eq!(narrow(row(|row| row.shard.accepting = false)), "r/a|1|3|epoll|7|2|9|not accepting");
        assert_eq!(narrow(row(|row| row.shard.silent_s = 11.0)), "r/a|1|3|epoll|7|2|9|silent");
        let without = row(|row| (row.shard.core, row.shard.requests) = (None, None));
        assert_eq!(narrow(without), "r/a|1|any|epoll|7|2|?|accepting");
        let wide = cells(&row(|_| {}), true).join("|");
        assert!(wide.ends_with("|0|0s|-|1|epoll (io_uring is refused)"), "{wide}");
    }

    #[test]
    fn names_are_one_a_line() {
        assert_eq!(shown(&[row(|_| {})], Output::Name), "r/a/1\n");
    }
}
