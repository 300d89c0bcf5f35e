//! By whose flags the objects of a cluster are judged: each release that runs has its own.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use ringress_translate::Settings;
use serde::Deserialize;

use crate::ask::{Cluster, Replica, Watched, releases};
use crate::terminal::escaped;

/// A release, by whose flags objects are judged.
pub(super) struct Judge {
    /// `None`: there is no other one to tell it from.
    pub(super) release: Option<String>,
    /// Those of the user, with what the release was told.
    pub(super) settings: Settings,
    pub(super) watched: Watched,
}

/// Values by flag.
pub(super) type Flags = BTreeMap<String, String>;

/// Each release that runs; says on stderr what is assumed of those that cannot be asked.
pub(super) async fn read(cluster: &Cluster, settings: &Settings) -> Vec<Judge> {
    let told = told(cluster).await;
    for line in unasked(&told, settings) {
        eprintln!("warning: {line}");
    }
    let mut releases = of_releases(settings, told);
    for Judge { watched, .. } in &mut releases {
        if let Err(why) = watched.select(cluster).await {
            eprintln!(
                "warning: cannot list Namespaces ({}), so what {} leaves out is not said",
                escaped(&why.to_string()),
                watched.flag()
            );
        }
    }
    releases
}

/// A release that runs, and its flags, or why it cannot be asked for them.
pub(super) type Told = (Option<String>, Result<Flags, String>);

/// What each release was told. Where nobody can be asked, that is no reason not to judge.
async fn told(cluster: &Cluster) -> Vec<Told> {
    match cluster.replicas().await {
        Ok(none) if none.is_empty() => vec![(None, Err(cluster.nothing_runs()))],
        Ok(replicas) => {
            let found = releases(replicas).into_iter();
            join_all(found.map(async |release| (release.name, flags(release.replicas).await))).await
        }
        Err(why) => vec![(None, Err(format!("{why:#}")))],
    }
}

/// What to say of releases that are judged by flags that nobody told.
fn unasked(told: &[Told], settings: &Settings) -> Vec<String> {
    let Settings { ingress_class, controller_class, watch_ingress_without_class, .. } = settings;
    let silent = told.iter().filter_map(|(release, flags)| Some((release, flags.as_ref().err()?)));
    let line = |(release, why): (&Option<String>, &String)| {
        let who = match release {
            Some(name) => format!("the release {name} cannot be asked for its flags"),
            None => "no release can be asked for its flags".to_owned(),
        };
        format!(
            "{who} ({}), so these are assumed: --ingress-class {ingress_class} --controller-class {controller_class} \
             --watch-ingress-without-class={watch_ingress_without_class}; give those that it runs with",
            escaped(why)
        )
    };
    silent.map(line).collect()
}

/// One that is not told apart where there is no other.
pub(super) fn of_releases(settings: &Settings, told: Vec<Told>) -> Vec<Judge> {
    let is_alone = told.len() == 1;
    let of = |(release, flags): Told| {
        let flags = flags.unwrap_or_default();
        let release = release.filter(|_| !is_alone);
        let watched = Watched::of(|flag| told_of(&flags, flag));
        Judge { release, settings: as_told(settings.clone(), &flags), watched }
    };
    told.into_iter().map(of).collect()
}

/// The flags of the first ready replica that answers.
async fn flags(replicas: Vec<Replica>) -> Result<Flags, String> {
    #[derive(Deserialize)]
    struct Page {
        flags: Vec<Flag>,
    }
    #[derive(Deserialize)]
    struct Flag {
        flag: String,
        value: String,
    }
    let mut silent = "no replica of it is ready".to_owned();
    for replica in replicas.into_iter().filter(Replica::is_ready) {
        match replica.get::<Page>("/flags").await {
            Ok(Page { flags }) => {
                return Ok(flags.into_iter().map(|Flag { flag, value }| (flag, value)).collect());
            }
            Err(error) => silent = format!("{error:#}"),
        }
    }
    Err(silent)
}

/// What the user leaves open is as the controller that runs has it.
fn as_told(settings: Settings, flags: &Flags) -> Settings {
    let defaults = Settings::default();
    let told = |flag: &str| told_of(flags, flag).map(str::to_owned);
    let or_told = |given: String, default: String, flag: &str| match given == default {
        true => told(flag).unwrap_or(given),
        false => given,
    };
    let is_classless = told("watch-ingress-without-class").is_some_and(|value| value == "true");
    Settings {
        ingress_class: or_told(settings.ingress_class, defaults.ingress_class, "ingress-class"),
        controller_class: or_told(settings.controller_class, defaults.controller_class, "controller-class"),
        watch_ingress_without_class: settings.watch_ingress_without_class || is_classless,
        // What protects is told by it.
        annotations_prefix: or_told(
            settings.annotations_prefix,
            defaults.annotations_prefix,
            "annotations-prefix",
        ),
        ..settings
    }
}

/// What a flag was told, if anything.
fn told_of<'f>(flags: &'f Flags, flag: &str) -> Option<&'f str> {
    flags.get(flag).map(String::as_str).filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_open_is_as_the_controller_was_told() {
        let flags = [
            ("ingress-class", "edge"),
            ("controller-class", "a/b"),
            ("watch-ingress-without-class", "true"),
            ("annotations-prefix", "old.test"),
        ];
        let flags = flags.map(|(flag, value)| (flag.to_owned(), value.to_owned())).into();
        let given = Settings { ingress_class: "mine".to_owned(), ..Settings::default() };
        let settings = as_told(given, &flags);
        assert_eq!((&*settings.ingress_class, &*settings.controller_class), ("mine", "a/b"));
        assert!(settings.watch_ingress_without_class);
        assert_eq!(settings.annotations_prefix, "old.test");
        assert_eq!(
            as_told(Settings::default(), &BTreeMap::new()).controller_class,
            Settings::default().controller_class
        );
    }

    #[test]
    fn flags_that_are_assumed_are_named_with_the_release_and_why() {
        let settings = Settings { ingress_class: "mine".to_owned(), ..Settings::default() };
        let told = |name: &str, flags| (Some(name.to_owned()), flags);
        let lines =
            unasked(&[told("a/a", Ok(Flags::new())), told("b/b", Err("no\nanswer".to_owned()))], &settings);
        assert_eq!(
            lines,
            [
                "the release b/b cannot be asked for its flags (no\\nanswer), so these are assumed: --ingress-class mine \
              --controller-class ringress.dev/ingress-controller --watch-ingress-without-class=false; give those that it \
              runs with"
            ]
        );
        let nobody: Told = (None, Err("no controller runs".to_owned()));
        assert!(
            unasked(&[nobody], &settings)[0].starts_with("no release can be asked for its flags (no con")
        );
    }

    #[test]
    fn one_release_alone_is_not_told_apart() {
        let told = |flags| vec![(Some("a/a".to_owned()), flags)];
        let class = ("ingress-class".to_owned(), "edge".to_owned());
        for (flags, class) in [(Ok([class].into()), "edge"), (Err("away".to_owned()), "ringress")] {
            let [Judge { release, settings, .. }] = &of_releases(&Settings::default(), told(flags))[..]
            else {
                panic!("one release");
            };
            assert_eq!((release, &*settings.ingress_class), (&None, class));
        }
    }
}
