//! The file of the cache: bytes out, bytes in. Pure; writing it safely is the business of its parent.
//!
//! ```text
//!  0   8  "RINGRESS"
//!  8   8  number of the format, little endian
//! 16   O  objects, a line of JSON each: {"kind": …, "object": …}; no Secret is among them
//!      H  header, JSON: when it was written, for which cluster, the digest of the objects, the names of the Secrets
//!      S  Secrets: nonce (12) | AES-256-GCM (their lines, associated data = the first 16 bytes and the header) | tag (16);
//!         nothing without a key
//!     24  the lengths O, H and S, little endian
//!     32  SHA-256 of everything before
//! ```
//!
//! The objects come first so that they need not stand in memory as one text. What is read is all of it or nothing: a file
//! that was cut, damaged, written for another cluster or by another version is refused as a whole. Secrets that cannot be
//! opened are the exception; they are withheld, and whoever names them is told so.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::aead::NONCE_LEN;
use aws_lc_rs::digest::{Context, SHA256, SHA256_OUTPUT_LEN, digest};
use ringress_translate::Objects;
use ringress_translate::manifest::json;
use ringress_translate::objects::{Key, Table};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::key::CacheKey;

/// What the cache keeps.
#[derive(Debug, Clone, Default)]
pub(crate) struct Held {
    /// Everything that was handed on.
    pub(crate) objects: Objects,
    /// Secrets that exist, and whose content is on its way.
    pub(crate) awaited: BTreeSet<Key>,
}

/// What a file says.
#[derive(Debug)]
pub(crate) struct Cached {
    /// When it was known to be true.
    pub(crate) written: SystemTime,
    /// Without a key that opens them, Secrets are only named, as withheld.
    pub(crate) objects: Objects,
    /// Why there are Secrets that are only named; `None` where there are none such.
    pub(crate) locked: Option<Locked>,
}

/// Why Secrets cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Locked {
    /// The process has no key.
    NoKey,
    /// The file was written without a key.
    NotKept,
    /// The key does not open them: it is another one, or somebody changed the file.
    WrongKey,
}

/// Why a file is of no use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unusable {
    #[error("it is no cache of ringress")]
    Foreign,
    #[error("it has the format {0}, and this version of ringress reads {FORMAT}")]
    Format(u64),
    #[error("it is cut or damaged")]
    Damaged,
    #[error("it was written for another cluster, or with another scope")]
    Elsewhere,
    #[error("it has no sense: {0}")]
    Senseless(String),
    #[error("it would be larger than {} MiB", FILE_BYTES_MAX >> 20)]
    TooLarge,
}

#[derive(Debug, Serialize, Deserialize)]
struct Header {
    /// Seconds since 1970.
    written_s: u64,
    /// Which cluster, and how much of it.
    origin: String,
    /// Digest of the objects: it binds the Secrets to them, because the header is associated data.
    objects_sha256: String,
    /// Namespace and name.
    secrets: Vec<(String, String)>,
}

/// Writes a file.
///
/// # Errors
/// The system refuses, or the file would be too large.
pub(crate) fn encode(
    held: &Held,
    origin: &str,
    now: SystemTime,
    key: Option<&CacheKey>,
    out: impl Write,
) -> io::Result<()> {
    let mut out = Summed::new(out);
    let start = start();
    out.write_all(&start)?;
    let mut objects = Summed::new(&mut out);
    write_objects(&held.objects, &mut objects)?;
    let (objects_bytes, objects_sum) = objects.finish();
    let names = held.objects.secrets.keys().chain(&held.awaited);
    let header = Header {
        written_s: now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs(),
        origin: origin.to_owned(),
        objects_sha256: hex(&objects_sum),
        secrets: names.map(|key| (key.namespace.to_string(), key.name.to_string())).collect(),
    };
    let header = serde_json::to_vec(&header)?;
    out.write_all(&header)?;
    let sealed = match key {
        Some(key) => seal(held, key, &[&start[..], &header].concat())?,
        None => Vec::new(),
    };
    out.write_all(&sealed)?;
    for length in [objects_bytes, header.len() as u64, sealed.len() as u64] {
        out.write_all(&length.to_le_bytes())?;
    }
    let (bytes, sum) = out.sum();
    if bytes + SHA256_OUTPUT_LEN as u64 > FILE_BYTES_MAX {
        return Err(io::Error::other(Unusable::TooLarge));
    }
    out.inner.write_all(&sum)
}

/// Reads a file.
///
/// # Errors
/// It cannot be used; nothing of it was.
pub(crate) fn decode(bytes: &[u8], origin: &str, key: Option<&CacheKey>) -> Result<Cached, Unusable> {
    let parts = Parts::of(bytes)?;
    let header: Header = serde_json::from_slice(parts.header).map_err(senseless)?;
    if header.origin != origin {
        return Err(Unusable::Elsewhere);
    }
    if header.objects_sha256 != hex(digest(&SHA256, parts.objects).as_ref()) {
        return Err(Unusable::Damaged);
    }
    let mut objects = Objects::default();
    read_lines(parts.objects, &mut objects, |kind| kind != SECRET)?;
    let locked = match (parts.sealed, key) {
        ([], _) => Some(Locked::NotKept),
        (_, None) => Some(Locked::NoKey),
        (sealed, Some(key)) => match key.open(&[parts.start, parts.header].concat(), sealed) {
            Some(lines) => {
                read_lines(&lines, &mut objects, |kind| kind == SECRET)?;
                None
            }
            None => Some(Locked::WrongKey),
        },
    };
    let named = header.secrets.iter().map(|(namespace, name)| Key::new(namespace, name));
    let withheld: BTreeSet<Key> = named.filter(|key| !objects.secrets.contains_key(key)).collect();
    let locked = locked.filter(|_| !withheld.is_empty());
    objects.withheld = Arc::new(withheld);
    let written = UNIX_EPOCH.checked_add(Duration::from_secs(header.written_s));
    let written = written.ok_or_else(|| Unusable::Senseless("its time is out of range".to_owned()))?;
    Ok(Cached { written, objects, locked })
}

/// The pieces of a file whose checksum holds.
struct Parts<'b> {
    start: &'b [u8],
    objects: &'b [u8],
    header: &'b [u8],
    sealed: &'b [u8],
}

impl<'b> Parts<'b> {
    fn of(bytes: &'b [u8]) -> Result<Self, Unusable> {
        let (start, _) = bytes.split_at_checked(START_LEN).ok_or(Unusable::Foreign)?;
        let (magic, format) = start.split_at(MAGIC.len());
        if magic != MAGIC {
            return Err(Unusable::Foreign);
        }
        match number(format) {
            FORMAT => {}
            other => return Err(Unusable::Format(other)),
        }
        let (content, sum) = split_end(bytes, SHA256_OUTPUT_LEN)?;
        if digest(&SHA256, content).as_ref() != sum {
            return Err(Unusable::Damaged);
        }
        let (content, lengths) = split_end(content, 3 * LENGTH_LEN)?;
        let body = content.get(START_LEN..).ok_or(Unusable::Damaged)?;
        let mut lengths = lengths.chunks_exact(LENGTH_LEN).map(number);
        let mut next = || lengths.next().and_then(|length| usize::try_from(length).ok());
        let (Some(objects), Some(header), Some(sealed)) = (next(), next(), next()) else {
            return Err(Unusable::Damaged);
        };
        let (objects, rest) = body.split_at_checked(objects).ok_or(Unusable::Damaged)?;
        let (header, rest) = rest.split_at_checked(header).ok_or(Unusable::Damaged)?;
        if rest.len() != sealed {
            return Err(Unusable::Damaged);
        }
        Ok(Self { start, objects, header, sealed: rest })
    }
}

fn split_end(bytes: &[u8], length: usize) -> Result<(&[u8], &[u8]), Unusable> {
    let at = bytes.len().checked_sub(length).ok_or(Unusable::Damaged)?;
    Ok(bytes.split_at(at))
}

fn number(bytes: &[u8]) -> u64 {
    bytes.try_into().map_or(u64::MAX, u64::from_le_bytes)
}

fn start() -> [u8; START_LEN] {
    let mut start = [0; START_LEN];
    start[..MAGIC.len()].copy_from_slice(MAGIC);
    start[MAGIC.len()..].copy_from_slice(&FORMAT.to_le_bytes());
    start
}

fn seal(held: &Held, key: &CacheKey, associated: &[u8]) -> io::Result<Vec<u8>> {
    // Room for the nonce, so that the lines are sealed where they stand.
    let mut sealed = vec![0; NONCE_LEN];
    write_table(SECRET, &held.objects.secrets, &mut sealed)?;
    key.seal(associated, sealed).ok_or_else(|| io::Error::other("the Secrets cannot be encrypted"))
}

fn write_objects(objects: &Objects, out: &mut impl Write) -> io::Result<()> {
    // Each table is named, so that a new one cannot be forgotten.
    let Objects {
        ingresses,
        set_aside: _,
        ingress_classes,
        services,
        endpoint_slices,
        endpoints,
        secrets: _,
        withheld: _,
        config_maps,
        namespaces,
        resolved: _,
    } = objects;
    write_table("Ingress", ingresses, out)?;
    write_table("IngressClass", ingress_classes, out)?;
    write_table("Service", services, out)?;
    write_table("EndpointSlice", endpoint_slices, out)?;
    write_table("Endpoints", endpoints, out)?;
    write_table("ConfigMap", config_maps, out)?;
    write_table("Namespace", namespaces, out)
}

fn write_table<T: Serialize>(kind: &str, table: &Table<T>, out: &mut impl Write) -> io::Result<()> {
    #[derive(Serialize)]
    struct Line<'l, T> {
        kind: &'l str,
        object: &'l T,
    }
    for stored in table.values() {
        serde_json::to_writer(&mut *out, &Line { kind, object: &*stored.object })?;
        out.write_all(b"\n")?;
    }
    Ok(())
}

fn read_lines(lines: &[u8], objects: &mut Objects, may: impl Fn(&str) -> bool) -> Result<(), Unusable> {
    #[derive(Deserialize)]
    struct Line<'l> {
        kind: &'l str,
        #[serde(borrow)]
        object: &'l RawValue,
    }
    for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let line: Line<'_> = serde_json::from_slice(line).map_err(senseless)?;
        if !may(line.kind) {
            return Err(Unusable::Senseless(format!("there is a {} where none may be", line.kind)));
        }
        // Its message may hold what it could not read.
        let object = json::object(line.kind, line.object.get())
            .map_err(|_| Unusable::Senseless(format!("there is a {} that cannot be read", line.kind)))?;
        objects.insert(object);
    }
    Ok(())
}

/// Where, not what: the text may be a Secret.
fn senseless(error: serde_json::Error) -> Unusable {
    Unusable::Senseless(format!("no JSON at column {} of line {}", error.column(), error.line()))
}

/// Counts and sums what goes through.
struct Summed<W> {
    inner: W,
    context: Context,
    bytes: u64,
}

impl<W: Write> Summed<W> {
    fn new(inner: W) -> Self {
        Self { inner, context: Context::new(&SHA256), bytes: 0 }
    }

    fn sum(&self) -> (u64, Vec<u8>) {
        (self.bytes, self.context.clone().finish().as_ref().to_vec())
    }

    fn finish(self) -> (u64, Vec<u8>) {
        self.sum()
    }
}

impl<W: Write> Write for Summed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.context.update(&bytes[..written]);
        self.bytes += written as u64;
        if self.bytes > FILE_BYTES_MAX {
            return Err(io::Error::other(Unusable::TooLarge));
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Bytes as hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

const SECRET: &str = "Secret";
const MAGIC: &[u8; 8] = b"RINGRESS";

/// Raised with every change that older versions would read wrongly.
const FORMAT: u64 = 1;
const LENGTH_LEN: usize = size_of::<u64>();
const START_LEN: usize = MAGIC.len() + LENGTH_LEN;

/// Some ten times of what thousands of Ingresses need.
pub(crate) const FILE_BYTES_MAX: u64 = 256 << 20;

#[cfg(test)]
mod tests;
