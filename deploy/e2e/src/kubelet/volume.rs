//! The volumes of a pod, as folders of the machine.
//!
//! What comes from the API (Secrets, ConfigMaps, tokens, fields of the pod) is laid out as a real kubelet does it, because
//! programs watch for exactly this: the files lie in a folder of their own, `..data` links to it, and every visible name
//! links through `..data`. A change writes a new folder and moves that one link, so a reader sees all of it or nothing.
//!
//! All but hostPath belong to the `fsGroup` of the pod where it has one, with the modes that a kubelet adds for it.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, lchown, symlink};
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
        let group = group(pod)?;
        if volume.empty_dir.is_some() {
            return make_empty(&folder, group);
        }
        fs::create_dir_all(&folder)?;
        let files = self.files(volume, pod, place).await?;
        if self.written.get(&volume.name) != Some(&files) {
            write_atomically(&folder, &files, group)?;
            self.written.insert(volume.name.clone(), files);
        }
        Ok(())
    }

    /// New ones are asked for when the volumes are brought up to date next.
    pub(crate) fn forget_tokens(&mut self) {
        self.tokens.clear();
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

/// The group that volumes of this pod belong to.
fn group(pod: &Pod) -> anyhow::Result<Option<u32>> {
    let context = pod.spec.as_ref().and_then(|spec| spec.security_context.as_ref());
    let group = context.and_then(|context| context.fs_group);
    group
        .map(|group| u32::try_from(group).with_context(|| format!("fsGroup {group} is no group")))
        .transpose()
}

/// Made once: from then on it is the containers'.
fn make_empty(folder: &Path, group: Option<u32>) -> anyhow::Result<()> {
    if folder.exists() {
        return Ok(());
    }
    fs::create_dir_all(folder)?;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o777))?;
    group.map_or(Ok(()), |group| give(folder, group, WRITES)).context("fsGroup")
}

/// What the group may do with files of a volume.
const WRITES: u32 = 0o660;
const READS: u32 = 0o440;
/// The group enters folders, and what is made in them is its own.
const OF_FOLDERS: u32 = 0o2110;

/// Everything below belongs to the group, which may do so much with it.
fn give(path: &Path, group: u32, mode: u32) -> io::Result<()> {
    let metadata = path.symlink_metadata()?;
    lchown(path, None, Some(group))?;
    if metadata.is_symlink() {
        return Ok(());
    }
    // After the owner, since a change of that takes bits away.
    let own = metadata.permissions().mode() | mode;
    if !metadata.is_dir() {
        return fs::set_permissions(path, fs::Permissions::from_mode(own));
    }
    fs::set_permissions(path, fs::Permissions::from_mode(own | OF_FOLDERS))?;
    fs::read_dir(path)?.try_for_each(|entry| give(&entry?.path(), group, mode))
}

fn write_atomically(folder: &Path, files: &Files, group: Option<u32>) -> anyhow::Result<()> {
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
    if let Some(group) = group {
        give(folder, group, READS).context("fsGroup")?;
    }
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
        write_atomically(folder.path(), &files(&[("a", "1"), ("b/c", "2")]), None).unwrap();
        assert_eq!((read("a").as_deref(), read("b/c").as_deref()), (Some("1"), Some("2")));
        assert_eq!(fs::read_link(folder.path().join("a")).unwrap(), Path::new("..data/a"));
        assert_eq!(fs::metadata(folder.path().join("a")).unwrap().permissions().mode() & 0o777, 0o640);
        let before = fs::read_link(folder.path().join("..data")).unwrap();
        write_atomically(folder.path(), &files(&[("a", "3")]), None).unwrap();
        assert_eq!((read("a").as_deref(), read("b/c")), (Some("3"), None));
        assert!(!folder.path().join(before).exists(), "the old version is gone");
    }

    #[test]
    fn a_group_reads_what_is_mounted_and_writes_what_is_empty() {
        // The only group that a test without root may give a file to.
        let own = rustix::process::getegid().as_raw();
        let folder = tempfile::tempdir().unwrap();
        let mode = |path: &str| {
            let metadata = fs::metadata(folder.path().join(path)).unwrap();
            assert_eq!(std::os::unix::fs::MetadataExt::gid(&metadata), own, "{path}");
            metadata.permissions().mode() & 0o7777
        };
        let secret = Files::from([("k".to_owned(), (b"v".to_vec(), 0o400))]);
        let mounted = folder.path().join("secret");
        fs::create_dir(&mounted).unwrap();
        fs::set_permissions(&mounted, fs::Permissions::from_mode(0o700)).unwrap();
        write_atomically(&mounted, &secret, Some(own)).unwrap();
        assert_eq!((mode("secret"), mode("secret/k")), (0o2750, 0o440));
        make_empty(&folder.path().join("empty"), Some(own)).unwrap();
        assert_eq!(mode("empty"), 0o2777);
        // What a container did to it since stays.
        fs::set_permissions(folder.path().join("empty"), fs::Permissions::from_mode(0o700)).unwrap();
        make_empty(&folder.path().join("empty"), Some(own)).unwrap();
        assert_eq!(mode("empty"), 0o700);
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
