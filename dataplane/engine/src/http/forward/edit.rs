//! What policies change about the fields of a head.

use super::line;
use crate::http::head::{Field, Head, is_field_value};
use crate::http::hop;
use crate::http::known::Known;
use crate::http::uri::is_token;

/// One change to the fields of a head. Framing, Host, CDN-Loop and hop-by-hop fields are out of reach, as are values that would
/// end their line: such an edit does nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edit<'a> {
    /// Replaces every field of the name by one.
    Set {
        /// Compared whatever the case.
        name: &'a [u8],
        /// Without line ends.
        value: &'a [u8],
    },
    /// Adds a field beside those that are there.
    Add {
        /// Written as given.
        name: &'a [u8],
        /// Without line ends.
        value: &'a [u8],
    },
    /// Takes every field of the name away.
    Remove {
        /// Compared whatever the case.
        name: &'a [u8],
    },
}

pub(super) fn keep(head: &Head, field: &Field, edits: &[Edit<'_>], out: &mut Vec<u8>) {
    let name = head.bytes(field.name);
    if !is_edited(edits, name) {
        line(out, name, head.bytes(field.value));
    }
}

/// Whether a policy replaces or removes this field.
pub(super) fn is_edited(edits: &[Edit<'_>], name: &[u8]) -> bool {
    edits.iter().any(|edit| match edit {
        Edit::Set { name: edited, value } => is_editable(edited, value) && edited.eq_ignore_ascii_case(name),
        Edit::Remove { name: edited } => edited.eq_ignore_ascii_case(name),
        Edit::Add { .. } => false,
    })
}

pub(super) fn write_edits(edits: &[Edit<'_>], out: &mut Vec<u8>) {
    for edit in edits {
        match edit {
            Edit::Set { name, value } | Edit::Add { name, value } if is_editable(name, value) => {
                line(out, name, value);
            }
            _ => {}
        }
    }
}

fn is_editable(name: &[u8], value: &[u8]) -> bool {
    let ours = |known| {
        hop::is_hop_by_hop(known)
            || matches!(
                known,
                Known::CdnLoop | Known::ContentLength | Known::Expect | Known::Host | Known::Trailer
            )
    };
    is_token(name) && is_field_value(value) && !Known::of(name).is_some_and(ours)
}
