//! `ringress dump`: the effective configuration of each replica, as it is.

use std::process::ExitCode;

use serde_json::{Map, Value};

use crate::args::Tell;
use crate::ask::{self, Gathered, Target};
use crate::terminal;

/// Prints it: one document for a process, one member for each replica of a cluster.
///
/// # Errors
/// No replica can be asked.
pub(crate) fn run(Tell { asked, output }: Tell) -> anyhow::Result<ExitCode> {
    ask::block_on(async {
        let target = Target::open(asked).await?;
        let gathered = Gathered::<Value>::ask(target.replicas().await?, "/dump").await?;
        let conclusion = gathered.conclude();
        let mut all: Map<String, Value> =
            gathered.answers.into_iter().map(|(replica, dump)| (replica.name, dump)).collect();
        let dump = match target.cluster() {
            Some(_) => Value::Object(all),
            None => all.values_mut().next().map(Value::take).unwrap_or_default(),
        };
        let text = terminal::structured(output, &dump)?;
        terminal::print(&text.unwrap_or_default());
        Ok(conclusion)
    })
}
