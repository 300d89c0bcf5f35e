//! Which program stands behind the name of an image.

use std::path::{Path, PathBuf};

use anyhow::Context;
use k8s_openapi::api::core::v1::Container;

use crate::boxes::Image;

/// Where this program appears in containers that need a process before theirs.
pub(crate) const INIT: &str = "/.init";

/// The images that every box knows.
///
/// # Errors
/// The path of this program is not known.
pub(crate) fn usual(ringress: &Path) -> anyhow::Result<Vec<Image>> {
    let own = std::env::current_exe().context("the path of this program")?;
    let ringress = Some((ringress.to_owned(), PathBuf::from("/ringress")));
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let mut all = vec![
        Image {
            name: "ringress".to_owned(),
            binary: ringress.clone(),
            entrypoint: words(&["/ringress"]),
            arguments: words(&["run"]),
            init: false,
        },
        Image {
            name: "echo".to_owned(),
            binary: ringress,
            // Which pod answered is what most tests ask an echo.
            entrypoint: words(&["/bin/sh", "-c", "exec /ringress echo --pod \"$HOSTNAME\" \"$@\"", "echo"]),
            arguments: words(&["--listen", "0.0.0.0:8080"]),
            // It has no handler for SIGTERM, and process 1 has no default one.
            init: true,
        },
        Image {
            name: "pause".to_owned(),
            binary: Some((own, PathBuf::from("/pause"))),
            entrypoint: words(&["/pause", "pause"]),
            arguments: Vec::new(),
            init: false,
        },
    ];
    // The machine's own programs, where a manifest wants a shell or curl.
    all.extend(["shell", "busybox", "alpine", "debian", "curl"].map(|name| Image {
        name: name.to_owned(),
        binary: None,
        entrypoint: Vec::new(),
        arguments: words(&["/bin/sh"]),
        init: false,
    }));
    Ok(all)
}

/// An image of the command line, `NAME=FILE`.
///
/// # Errors
/// It has another form, or there is no such file.
pub(crate) fn parse(text: &str) -> anyhow::Result<Image> {
    let (name, file) = text.split_once('=').with_context(|| format!("--image {text:?} must be NAME=FILE"))?;
    let file = Path::new(file).canonicalize().with_context(|| format!("--image {text:?}"))?;
    let inside = Path::new("/").join(file.file_name().with_context(|| format!("--image {text:?}"))?);
    let entrypoint = vec![inside.display().to_string()];
    Ok(Image {
        name: name.to_owned(),
        binary: Some((file, inside)),
        entrypoint,
        arguments: Vec::new(),
        init: false,
    })
}

/// The image of this reference: by its whole name, else by its last word. Tag and digest say nothing here.
pub(crate) fn find<'i>(images: &'i [Image], reference: &str) -> Option<&'i Image> {
    let name = without_version(reference);
    let last = name.rsplit('/').next().unwrap_or(name);
    images.iter().find(|image| image.name == name).or_else(|| images.iter().find(|image| image.name == last))
}

/// What a container of this image runs: its own words before those of the image.
pub(crate) fn command(image: &Image, container: &Container) -> Vec<String> {
    let given = |words: &Option<Vec<String>>| words.clone().filter(|words| !words.is_empty());
    let mut words = match (given(&container.command), given(&container.args)) {
        (Some(command), arguments) => [command, arguments.unwrap_or_default()].concat(),
        (None, arguments) => {
            [image.entrypoint.clone(), arguments.unwrap_or_else(|| image.arguments.clone())].concat()
        }
    };
    if image.init {
        words.splice(0..0, [INIT.to_owned(), "init".to_owned()]);
    }
    words
}

fn without_version(reference: &str) -> &str {
    let name = reference.split('@').next().unwrap_or(reference);
    // A colon before the last slash is the port of a registry.
    let last_word = name.rfind('/').map_or(0, |slash| slash + 1);
    name[last_word..].find(':').map_or(name, |colon| &name[..last_word + colon])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tag_digest_and_registry_are_left_out() {
        for (reference, name) in [
            ("echo", "echo"),
            ("echo:1", "echo"),
            ("host:5000/a/echo", "host:5000/a/echo"),
            ("host:5000/a/echo:1@sha256:00", "host:5000/a/echo"),
            ("echo@sha256:00", "echo"),
        ] {
            assert_eq!(without_version(reference), name);
        }
    }

    #[test]
    fn the_whole_name_beats_the_last_word() {
        let image =
            |name: &str| Image { name: name.to_owned(), ..usual(Path::new("/r")).unwrap()[0].clone() };
        let images = [image("echo"), image("a/echo")];
        assert_eq!(find(&images, "a/echo:2").map(|image| &*image.name), Some("a/echo"));
        assert_eq!(find(&images, "b/echo:2").map(|image| &*image.name), Some("echo"));
        assert_eq!(find(&images, "b/other"), None);
    }

    #[test]
    fn words_of_the_container_replace_those_of_the_image() {
        let image = Image {
            name: String::new(),
            binary: None,
            entrypoint: vec!["/e".to_owned()],
            arguments: vec!["a".to_owned()],
            init: false,
        };
        let run = |command: &[&str], arguments: &[&str]| {
            let words = |words: &[&str]| Some(words.iter().map(|word| (*word).to_owned()).collect());
            let container =
                Container { command: words(command), args: words(arguments), ..Container::default() };
            super::command(&image, &container).join(" ")
        };
        assert_eq!(run(&[], &[]), "/e a");
        assert_eq!(run(&[], &["b"]), "/e b");
        assert_eq!(run(&["/c"], &[]), "/c");
        assert_eq!(run(&["/c"], &["b"]), "/c b");
        let behind_init = Image { init: true, ..image.clone() };
        assert_eq!(super::command(&behind_init, &Container::default()).join(" "), "/.init init /e a");
    }
}
