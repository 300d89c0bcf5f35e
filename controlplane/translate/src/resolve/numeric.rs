//! IPv4 addresses as system resolvers take them for such: `127.1`, `0177.0.0.1`, `2130706433`, `0x7f.1`.
//!
//! Where one of these stands in place of a name, no name server is asked. So it is judged as the address that it is, by
//! whoever has no resolver, too. Pure; what `inet_aton` takes as a whole (POSIX, and RFC 6943 §3.1.1), nothing around it.

use std::net::Ipv4Addr;

/// The address; `None` where the text is a name. One to four numbers, the last of which fills what is left.
pub(super) fn ipv4(text: &str) -> Option<Ipv4Addr> {
    let mut parts: Vec<u32> = text.split('.').map(number).collect::<Option<_>>()?;
    let last = parts.pop()?;
    let left_bits = 32_u32.checked_sub(8 * u32::try_from(parts.len()).ok()?).filter(|bits| *bits > 0)?;
    if parts.iter().any(|part| *part > 0xff) || u64::from(last) >= 1 << left_bits {
        return None;
    }
    let front = parts.iter().zip([24, 16, 8]).map(|(part, shift)| part << shift).sum::<u32>();
    Some(Ipv4Addr::from(front | last))
}

/// Decimal, octal after `0`, hexadecimal after `0x`, as in C.
fn number(text: &str) -> Option<u32> {
    let (digits, radix) = match (text.strip_prefix("0x"), text.strip_prefix('0')) {
        (Some(digits), _) => (digits, 16),
        (None, Some(digits)) if !digits.is_empty() => (digits, 8),
        _ => (text, 10),
    };
    // A sign would be taken by the standard library.
    if digits.starts_with('+') { None } else { u32::from_str_radix(digits, radix).ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_resolver_takes_for_an_address_is_one() {
        for (text, address) in [
            ("127.0.0.1", Some([127, 0, 0, 1])),
            ("127.1", Some([127, 0, 0, 1])),
            ("127.0.1", Some([127, 0, 0, 1])),
            ("127.257", Some([127, 0, 1, 1])),
            ("10.1.65535", Some([10, 1, 255, 255])),
            ("0177.0.0.1", Some([127, 0, 0, 1])),
            ("0177.0.0.01", Some([127, 0, 0, 1])),
            ("0x7f.1", Some([127, 0, 0, 1])),
            ("0x7f.0x0.0x0.0x1", Some([127, 0, 0, 1])),
            ("0x7f000001", Some([127, 0, 0, 1])),
            ("017700000001", Some([127, 0, 0, 1])),
            ("2130706433", Some([127, 0, 0, 1])),
            ("2852039166", Some([169, 254, 169, 254])),
            ("4294967295", Some([255, 255, 255, 255])),
            ("0", Some([0, 0, 0, 0])),
            ("00.0", Some([0, 0, 0, 0])),
            ("4294967296", None),
            ("256.1", None),
            ("127.16777216", None),
            ("127.0.65536", None),
            ("127.0.0.256", None),
            ("127.0.0.0.1", None),
            ("127..1", None),
            ("127.1.", None),
            (".1", None),
            ("", None),
            ("08.1", None),
            ("0x", None),
            ("0x.1", None),
            ("0xg.1", None),
            ("+127.1", None),
            ("0x+7f.1", None),
            ("-1", None),
            ("127.1 ", None),
            ("127.1.example.com", None),
            ("1password.com", None),
        ] {
            assert_eq!(ipv4(text), address.map(Ipv4Addr::from), "{text:?}");
        }
    }
}
