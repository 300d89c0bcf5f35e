//! What the flags of a verb are and who said so: the command line, the environment, or nobody.

use clap::parser::ValueSource;
use clap::{ArgMatches, Command};

/// One flag as it counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Told {
    /// `--http-port` without its dashes.
    pub(crate) flag: String,
    /// As text; several are joined by commas. Empty: not given, and without a default.
    pub(crate) value: String,
    /// `flag`, `environment` or `default`.
    pub(crate) origin: &'static str,
}

/// Every long flag of the verb, in the order of its help.
pub(super) fn of(command: &Command, matches: &ArgMatches) -> Vec<Told> {
    let Some((name, verb)) = matches.subcommand() else { return Vec::new() };
    let Some(command) = command.find_subcommand(name) else { return Vec::new() };
    let known: Vec<&str> = verb.ids().map(clap::Id::as_str).collect();
    let shown = command.get_arguments().filter(|flag| !flag.is_hide_set());
    let flags = shown.filter_map(|flag| Some((flag.get_long()?, flag.get_id().as_str())));
    let flags = flags.filter(|(name, _)| !matches!(*name, "help" | "version" | "no-color"));
    let told = flags.map(|(name, id)| match known.contains(&id) {
        true => Told { flag: name.to_owned(), value: value(verb, id), origin: origin(verb.value_source(id)) },
        false => Told { flag: name.to_owned(), value: String::new(), origin: "default" },
    });
    told.collect()
}

fn value(verb: &ArgMatches, id: &str) -> String {
    let values = verb.get_raw(id).into_iter().flatten();
    values.map(|value| value.to_string_lossy().into_owned()).collect::<Vec<_>>().join(",")
}

fn origin(source: Option<ValueSource>) -> &'static str {
    match source {
        Some(ValueSource::CommandLine) => "flag",
        Some(ValueSource::EnvVariable) => "environment",
        _ => "default",
    }
}

#[cfg(test)]
mod tests {
    use super::super::Cli;
    use super::*;

    #[test]
    fn a_flag_knows_who_said_it() {
        let cli = Cli::try_read(["ringress", "run", "--http-port=8080", "--watch-namespace=a,b"]).unwrap();
        let told = |flag: &str| cli.told.iter().find(|told| told.flag == flag).cloned().unwrap();
        let is = |flag: &str, value: &str, origin| Told { flag: flag.into(), value: value.into(), origin };
        assert_eq!(told("http-port"), is("http-port", "8080", "flag"));
        assert_eq!(told("https-port"), is("https-port", "443", "default"));
        assert_eq!(told("watch-namespace"), is("watch-namespace", "a,b", "flag"));
        assert_eq!(told("manifests"), is("manifests", "", "default"));
        assert!(cli.told.len() >= 30 && cli.told.iter().all(|told| told.flag != "help"));
    }
}
