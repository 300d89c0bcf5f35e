//! The volumes of a pod, as folders of the machine.
//!
//! What comes from the API (Secrets, ConfigMaps, tokens, fields of the pod) is laid out as a real kubelet does it, because
//! programs watch for exactly this: the files lie in a folder of their own, `..data` links to it, and every visible name
//! links through `..data`. A change writes a new folder and moves that one link, so a reader sees all of it or nothing.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, bail};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{DownwardAPIVolumeFile, KeyToPath, Pod, Volume, VolumeProjection};

use super::environment::{self, Place};
use super::reference::{Data, References, Token};

/// The volumes of one pod.
pub(crate) struct Volumes {
    folder: PathBuf,
    references: References,
    /// By volume and audience: renewed before they expire.
    tokens: HashMap<(String, String), Token>,
    written: HashMap<String, Files>,
}

/// Relative path to content and mode.
type Files = BTreeMap<String, (Vec<u8>, u32)>;

/// The mode of files that say nothing else.
const USUAL_MODE: i32 = 0o644;

impl Volumes {
    pub(crate) fn new(folder: PathBuf, references: References) -> Self {
        Self { folder, references, tokens: HashMap::new(), written: HashMap::new() }
    }

    /// Makes all volumes, or brings those up to date that exist.
    ///
    /// # Errors
    /// Something that a volume refers to is missing; that may change.
    pub(crate) async fn bring_up_to_date(&mut self, pod: &Pod, place: &Place) -> anyhow::Result<()> {
        let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
        for volume in volumes {
            let made = self.make(volume, pod, place).await;
            made.with_context(|| format!("volume {}", volume.name))?;
        }
        Ok(())
    }

    async fn make(&mut self, volume: &Volume, pod: &Pod, place: &Place) -> anyhow::Result<()> {
        if let Some(host) = &volume.host_path {
            if host.type_.as_deref() == Some("DirectoryOrCreate") {
                fs::create_dir_all(&host.path)?;
            }
            return Ok(());
        }
        let folder = self.folder.join(&volume.name);
        fs::create_dir_all(&folder)?;
        if volume.empty_dir.is_some() {
            fs::set_permissions(&folder, fs::Permissions::from_mode(0o777))?;
            return Ok(());
        }
        let files = self.files(volume, pod, place).await?;
        if self.written.get(&volume.name) != Some(&files) {
            write_atomically(&folder, &files)?;
            self.written.insert(volume.name.clone(), files);
        }
        Ok(())
    }

    async fn files(&mut self, volume: &Volume, pod: &Pod, place: &Place) -> anyhow::Result<Files> {
        if let Some(source) = &volume.secret {
            let name = source.secret_name.as_deref().unwrap_or_default();
            let data = self.references.secret(name).await?;
            return chosen(
                &format!("Secret {name}"),
                data,
                source.items.as_deref(),
                source.default_mode,
                source.optional,
            );
        }
        if let Some(source) = &volume.config_map {
            let data = self.references.config_map(&source.name).await?;
            let what = format!("ConfigMap {}", source.name);
            return chosen(&what, data, source.items.as_deref(), source.default_mode, source.optional);
        }
        if let Some(source) = &volume.downward_api {
            return fields(source.items.as_deref(), source.default_mode, pod, place);
        }
        if let Some(source) = &volume.projected {
            let mut files = Files::new();
            for part in source.sources.iter().flatten() {
                files.extend(self.projected(&volume.name, part, source.default_mode, pod, place).await?);
            }
            return Ok(files);
        }
        bail!("only emptyDir, hostPath, secret, configMap, downwardAPI and projected volumes are known here")
    }

    async fn projected(
        &mut self,
        volume: &str,
        part: &VolumeProjection,
        mode: Option<i32>,
        pod: &Pod,
        place: &Place,
    ) -> anyhow::Result<Files> {
        if let Some(source) = &part.secret {
            let data = self.references.secret(&source.name).await?;
            return chosen(
                &format!("Secret {}", source.name),
                data,
                source.items.as_deref(),
                mode,
                source.optional,
            );
        }
        if let Some(source) = &part.config_map {
            let data = self.references.config_map(&source.name).await?;
            return chosen(
                &format!("ConfigMap {}", source.name),
                data,
                source.items.as_deref(),
                mode,
                source.optional,
            );
        }
        if let Some(source) = &part.downward_api {
            return fields(source.items.as_deref(), mode, pod, place);
        }
        if let Some(source) = &part.service_account_token {
            let audience = source.audience.as_deref();
            let token = self.token(volume, audience, source.expiration_seconds, pod).await?;
            return Ok(Files::from([(source.path.clone(), (token.into_bytes(), file_mode(mode, None)))]));
        }
        bail!("a projected source that is not known here")
    }

    async fn token(
        &mut self,
        volume: &str,
        audience: Option<&str>,
        seconds: Option<i64>,
        pod: &Pod,
    ) -> anyhow::Result<String> {
        let key = (volume.to_owned(), audience.unwrap_or_default().to_owned());
        if let Some(token) = self.tokens.get(&key).filter(|token| Timestamp::now() < token.renew) {
            return Ok(token.token.clone());
        }
        let token = self.references.token(pod, audience, seconds).await?;
        let text = token.token.clone();
        self.tokens.insert(key, token);
        Ok(text)
    }
}

/// Where a volume of a pod lies, given the folder of them all.
pub(crate) fn source(folder: &Path, volume: &Volume) -> PathBuf {
    match &volume.host_path {
        Some(host) => PathBuf::from(&host.path),
        None => folder.join(&volume.name),
    }
}

/// The files that a Secret or ConfigMap gives: all keys, or the items in their places.
fn chosen(
    what: &str,
    data: Option<Data>,
    items: Option<&[KeyToPath]>,
    mode: Option<i32>,
    optional: Option<bool>,
) -> anyhow::Result<Files> {
    let optional = optional == Some(true);
    let Some(data) = data else {
        if optional {
            return Ok(Files::new());
        }
        bail!("{what} does not exist");
    };
    let Some(items) = items.filter(|items| !items.is_empty()) else {
        return Ok(data.into_iter().map(|(key, value)| (key, (value, file_mode(mode, None)))).collect());
    };
    let mut files = Files::new();
    for item in items {
        match data.get(&item.key) {
            Some(value) => drop(files.insert(item.path.clone(), (value.clone(), file_mode(mode, item.mode)))),
            None if optional => {}
            None => bail!("{what} has no key {}", item.key),
        }
    }
    Ok(files)
}

fn fields(
    items: Option<&[DownwardAPIVolumeFile]>,
    mode: Option<i32>,
    pod: &Pod,
    place: &Place,
) -> anyhow::Result<Files> {
    let mut files = Files::new();
    for item in items.unwrap_or_default() {
        let path = item.field_ref.as_ref().map(|selector| selector.field_path.as_str()).unwrap_or_default();
        let value =
            environment::field(path, pod, place).with_context(|| format!("no field {path:?} in a pod"))?;
        files.insert(item.path.clone(), (value.into_bytes(), file_mode(mode, item.mode)));
    }
    Ok(files)
}

fn file_mode(usual: Option<i32>, own: Option<i32>) -> u32 {
    own.or(usual).unwrap_or(USUAL_MODE).cast_unsigned()
}

fn write_atomically(folder: &Path, files: &Files) -> anyhow::Result<()> {
    let version = format!("..{}", Timestamp::now().as_nanosecond());
    let data = folder.join("..data");
    let before = fs::read_link(&data).ok();
    for (path, (content, mode)) in files {
        let path = inside(path)?;
        let file = folder.join(&version).join(path);
        fs::create_dir_all(file.parent().context("a folder for the file")?)?;
        fs::write(&file, content)?;
        fs::set_permissions(&file, fs::Permissions::from_mode(*mode))?;
    }
    fs::create_dir_all(folder.join(&version))?;
    let fresh = folder.join("..data_tmp");
    symlink(&version, &fresh)?;
    fs::rename(&fresh, &data)?;
    link_visible_names(folder, files)?;
    if let Some(before) = before {
        fs::remove_dir_all(folder.join(before))?;
    }
    Ok(())
}

/// One link for each first word of a path; those that no longer lead anywhere go.
fn link_visible_names(folder: &Path, files: &Files) -> anyhow::Result<()> {
    let first = |path: &str| path.split('/').next().unwrap_or_default().to_owned();
    let wanted: Vec<String> = files.keys().map(|path| first(path)).collect();
    for name in &wanted {
        let link = folder.join(name);
        if link.symlink_metadata().is_err() {
            symlink(Path::new("..data").join(name), link)?;
        }
    }
    for entry in fs::read_dir(folder)?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.starts_with("..") && !wanted.contains(&name) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// A path that stays inside. The API server refuses others; this is the second lock on the same door.
fn inside(path: &str) -> anyhow::Result<&Path> {
    let checked = Path::new(path);
    if path.is_empty() || !checked.components().all(|part| matches!(part, Component::Normal(_))) {
        bail!("path {path:?} leaves the volume");
    }
    Ok(checked)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(all: &[(&str, &str)]) -> Files {
        all.iter().map(|(path, content)| ((*path).to_owned(), (content.as_bytes().to_vec(), 0o640))).collect()
    }

    #[test]
    fn a_change_moves_one_link() {
        let folder = tempfile::tempdir().unwrap();
        let read = |name: &str| fs::read_to_string(folder.path().join(name)).ok();
        write_atomically(folder.path(), &files(&[("a", "1"), ("b/c", "2")])).unwrap();
        assert_eq!((read("a").as_deref(), read("b/c").as_deref()), (Some("1"), Some("2")));
        assert_eq!(fs::read_link(folder.path().join("a")).unwrap(), Path::new("..data/a"));
        assert_eq!(fs::metadata(folder.path().join("a")).unwrap().permissions().mode() & 0o777, 0o640);
        let before = fs::read_link(folder.path().join("..data")).unwrap();
        write_atomically(folder.path(), &files(&[("a", "3")])).unwrap();
        assert_eq!((read("a").as_deref(), read("b/c")), (Some("3"), None));
        assert!(!folder.path().join(before).exists(), "the old version is gone");
    }

    #[test]
    fn paths_stay_inside() {
        for path in ["", "/etc/passwd", "../x", "a/../../x"] {
            assert!(inside(path).is_err(), "{path}");
        }
        assert!(inside("a/b").is_ok());
    }

    #[test]
    fn keys_are_chosen_and_missed() {
        let data = || Some(Data::from([("k".to_owned(), b"v".to_vec()), ("l".to_owned(), b"w".to_vec())]));
        let item = |key: &str| KeyToPath { key: key.to_owned(), path: "p".to_owned(), mode: Some(0o400) };
        let all = chosen("x", data(), None, None, None).unwrap();
        assert_eq!(all.keys().collect::<Vec<_>>(), ["k", "l"]);
        let one = chosen("x", data(), Some(&[item("k")]), None, None).unwrap();
        assert_eq!(one, Files::from([("p".to_owned(), (b"v".to_vec(), 0o400))]));
        assert!(chosen("x", data(), Some(&[item("m")]), None, None).is_err());
        assert!(chosen("x", data(), Some(&[item("m")]), None, Some(true)).unwrap().is_empty());
        assert!(chosen("x", None, None, None, None).is_err());
        assert!(chosen("x", None, None, None, Some(true)).unwrap().is_empty());
    }
}
