//! Verbs that print what a page lists: replicas that say the same are shown once.

use std::process::ExitCode;

use serde::Serialize;
use serde_json::Value;

use super::{Gathered, Selection, Target, Voice, voices};
use crate::args::{Output, Tell};
use crate::terminal;

/// What some replicas list with one voice; its JSON shape is stable.
pub(crate) trait Listed: Serialize + Sized {
    /// Reads what they say, as far as it is asked for.
    ///
    /// # Errors
    /// It is from another version of ringress.
    fn of(voice: Voice, selection: &Selection) -> serde_json::Result<Self>;

    /// For people.
    fn text(&self, output: Output, is_one_of_many: bool) -> String;
}

/// Prints the lists of the replicas that get requests. Gives them, and the exit code where they hold nothing wrong: 3 where a
/// ready replica cannot be asked.
///
/// # Errors
/// No replica can be asked.
pub(crate) async fn list<L: Listed>(
    Tell { asked, output }: Tell,
    page: &str,
) -> anyhow::Result<(Vec<L>, ExitCode)> {
    let target = Target::open(asked).await?;
    let gathered = Gathered::<Value>::ask(target.serving().await?, page).await?;
    let conclusion = gathered.conclude();
    let answers = gathered.answers.into_iter().map(|(replica, says)| (replica.name, says));
    let lists = voices(answers).into_iter().map(|voice| L::of(voice, target.selection()));
    let lists: Vec<L> = lists.collect::<Result<_, _>>()?;
    let text = || lists.iter().map(|list| list.text(output, lists.len() > 1)).collect::<String>();
    terminal::print(&terminal::structured(output, &lists)?.unwrap_or_else(text));
    Ok((lists, conclusion))
}
