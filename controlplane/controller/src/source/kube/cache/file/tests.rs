//! The format: what goes in comes out, and nothing that was touched is believed.

use std::time::SystemTime;

use proptest::prelude::*;
use ringress_translate::Object;

use super::*;

const HERE: &str = "here";

fn object(kind: &str, name: &str, rest: &str) -> Object {
    let text = format!(r#"{{"metadata":{{"namespace":"shop","name":"{name}"}}{rest}}}"#);
    json::object(kind, &text).unwrap()
}

fn held() -> Held {
    let mut objects = Objects::default();
    for (kind, name, rest) in [
        ("Ingress", "web", r#","spec":{"tls":[{"secretName":"cert"}]}"#),
        ("IngressClass", "ringress", r#","spec":{"controller":"x/y"}"#),
        ("Service", "web", r#","spec":{"ports":[{"port":80}]}"#),
        (
            "EndpointSlice",
            "web-1",
            r#","addressType":"IPv4","endpoints":[{"addresses":["192.0.2.1"]}],"ports":[{"port":8080}]"#,
        ),
        ("Endpoints", "old", ""),
        ("ConfigMap", "settings", r#","data":{"k":"v"}"#),
        ("Namespace", "shop", ""),
        ("Secret", "cert", r#","type":"kubernetes.io/tls","data":{"tls.key":"c2VjcmV0LWtleQ=="}"#),
    ] {
        assert!(objects.insert(object(kind, name, rest)), "{kind}");
    }
    Held { objects, awaited: [Key::new("shop", "late")].into() }
}

fn key(byte: u8) -> CacheKey {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), hex(&[byte; 32])).unwrap();
    CacheKey::read(file.path()).unwrap()
}

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_700_000_000)
}

fn encoded(key: Option<&CacheKey>) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(&held(), HERE, now(), key, &mut bytes).unwrap();
    bytes
}

/// As whoever damages a file on purpose would: with a sum that holds.
fn summed(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.truncate(bytes.len().saturating_sub(SHA256_OUTPUT_LEN));
    let sum = digest(&SHA256, &bytes);
    bytes.extend_from_slice(sum.as_ref());
    bytes
}

fn kinds(objects: &Objects) -> [usize; 8] {
    let Objects { ingresses, ingress_classes, services, endpoint_slices, .. } = objects;
    let Objects { endpoints, config_maps, namespaces, secrets, .. } = objects;
    [
        ingresses.len(),
        ingress_classes.len(),
        services.len(),
        endpoint_slices.len(),
        endpoints.len(),
        config_maps.len(),
        namespaces.len(),
        secrets.len(),
    ]
}

#[test]
fn what_goes_in_comes_out_with_its_versions() {
    let key = key(1);
    let cached = decode(&encoded(Some(&key)), HERE, Some(&key)).unwrap();
    assert_eq!(kinds(&cached.objects), [1; 8]);
    let (before, after) = (held().objects, cached.objects);
    assert!(before.ingresses.differing(&after.ingresses).is_empty());
    assert!(before.endpoint_slices.differing(&after.endpoint_slices).is_empty());
    assert!(before.secrets.differing(&after.secrets).is_empty());
    assert_eq!(cached.written, now());
    assert_eq!(*after.withheld, [Key::new("shop", "late")].into(), "its content was not there yet");
    assert_eq!(cached.locked, None);
}

#[test]
fn without_a_key_secrets_are_only_named() {
    let bytes = encoded(None);
    let cached = decode(&bytes, HERE, None).unwrap();
    assert_eq!(kinds(&cached.objects), [1, 1, 1, 1, 1, 1, 1, 0]);
    assert_eq!(*cached.objects.withheld, [Key::new("shop", "cert"), Key::new("shop", "late")].into());
    assert_eq!(cached.locked, Some(Locked::NotKept));
    for bytes in [bytes, encoded(Some(&key(1)))] {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        assert!(!text.contains("c2VjcmV0LWtleQ") && !text.contains("secret-key"), "a Secret in clear");
        assert!(text.contains("192.0.2.1"));
    }
}

#[test]
fn a_wrong_key_or_none_withholds_the_secrets_and_nothing_else() {
    let bytes = encoded(Some(&key(1)));
    for (other, locked) in [(Some(key(2)), Locked::WrongKey), (None, Locked::NoKey)] {
        let cached = decode(&bytes, HERE, other.as_ref()).unwrap();
        assert_eq!(kinds(&cached.objects), [1, 1, 1, 1, 1, 1, 1, 0]);
        assert_eq!(cached.objects.withheld.len(), 2);
        assert_eq!(cached.locked, Some(locked));
    }
}

#[test]
fn secrets_do_not_open_beside_other_objects() {
    let key = key(1);
    let bytes = encoded(Some(&key));
    let mut other = held();
    other.objects.insert(object("Service", "more", ""));
    let mut foreign = Vec::new();
    encode(&other, HERE, now(), None, &mut foreign).unwrap();
    // The objects and header of one file, the Secrets of the other.
    let (a, b) = (Parts::of(&foreign).unwrap(), Parts::of(&bytes).unwrap());
    let mut mixed = [a.start, a.objects, a.header, b.sealed].concat();
    for length in [a.objects.len(), a.header.len(), b.sealed.len()] {
        mixed.extend_from_slice(&(length as u64).to_le_bytes());
    }
    mixed.extend_from_slice(&[0; SHA256_OUTPUT_LEN]);
    let cached = decode(&summed(mixed), HERE, Some(&key)).unwrap();
    assert_eq!(cached.locked, Some(Locked::WrongKey));
}

#[test]
fn a_file_that_is_cut_anywhere_is_refused() {
    let bytes = encoded(Some(&key(1)));
    for length in 0..bytes.len() {
        let error = decode(&bytes[..length], HERE, None).unwrap_err();
        let expected = if length < START_LEN { Unusable::Foreign } else { Unusable::Damaged };
        assert_eq!(error, expected, "cut at {length}");
    }
}

#[test]
fn a_flipped_bit_anywhere_is_noticed() {
    let bytes = encoded(Some(&key(1)));
    for at in 0..bytes.len() {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1 << (at % 8);
        let error = decode(&flipped, HERE, None).unwrap_err();
        match at {
            0..8 => assert_eq!(error, Unusable::Foreign),
            8..16 => assert!(matches!(error, Unusable::Format(_)), "{error}"),
            _ => assert_eq!(error, Unusable::Damaged, "at {at}"),
        }
    }
}

#[test]
fn other_versions_other_clusters_and_other_files_are_named() {
    let bytes = encoded(None);
    let mut future = bytes.clone();
    future[8] = 2;
    let error = decode(&summed(future), HERE, None).unwrap_err();
    assert_eq!(error, Unusable::Format(2));
    assert_eq!(error.to_string(), "it has the format 2, and this version of ringress reads 1");
    assert_eq!(decode(&bytes, "elsewhere", None).unwrap_err(), Unusable::Elsewhere);
    assert_eq!(decode(b"apiVersion: v1\nkind: List\n", HERE, None).unwrap_err(), Unusable::Foreign);
    assert_eq!(decode(b"", HERE, None).unwrap_err(), Unusable::Foreign);
}

#[test]
fn an_object_without_sense_costs_the_whole_file_and_shows_nothing_of_itself() {
    let lines = [
        r#"{"kind":"Service","object":{"metadata":{"name":"x"},"spec":{"ports":"hush"}}}"#,
        r#"{"kind":"Secret","object":{"metadata":{"name":"hush"}}}"#,
        r#"{"kind":"Hat","object":{"hush":1}}"#,
        r#"{"kind":"Service","object":hush}"#,
    ];
    for line in lines {
        let error = read_lines(line.as_bytes(), &mut Objects::default(), |kind| kind != SECRET).unwrap_err();
        assert!(!error.to_string().contains("hush"), "{error}");
        assert!(matches!(error, Unusable::Senseless(_)), "{error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_make_it_panic(
        edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in proptest::option::weighted(0.3, any::<prop::sample::Index>()),
        resum in any::<bool>(),
    ) {
        let key = key(1);
        let mut bytes = encoded(Some(&key));
        for (at, byte) in edits {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        let bytes = if resum { summed(bytes) } else { bytes };
        // Refused, or whole: what opens has all objects of the file.
        if let Ok(cached) = decode(&bytes, HERE, Some(&key)) {
            prop_assert!(cached.objects.len() + cached.objects.withheld.len() >= 8);
        }
    }

    #[test]
    fn lengths_that_lie_are_refused(lengths in proptest::array::uniform3(any::<u64>())) {
        let mut bytes = encoded(None);
        let at = bytes.len() - SHA256_OUTPUT_LEN - 3 * LENGTH_LEN;
        for (number, length) in lengths.iter().enumerate() {
            bytes[at + number * 8..at + number * 8 + 8].copy_from_slice(&length.to_le_bytes());
        }
        prop_assert_eq!(decode(&summed(bytes), HERE, None).unwrap_err(), Unusable::Damaged);
    }
}
