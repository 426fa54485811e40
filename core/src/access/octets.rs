//! Filters of block list answers: `127.0.[0..255].[2;4..9]`.

/// Which IPv4 addresses pass: for each octet the numbers that it may be.
#[derive(Clone, PartialEq, Eq)]
pub struct OctetFilter(Box<[Octets; 4]>);

/// A set of numbers from 0 to 255, a bit for each.
type Octets = [u64; 4];

impl OctetFilter {
    /// Reads `d.d.d.d`, where each `d` is a number or a `;`-separated list of numbers and ranges `n..m` in brackets.
    ///
    /// # Errors
    /// What is wrong, in one sentence.
    pub fn parse(text: &str) -> Result<OctetFilter, String> {
        let wrong = || format!("\"{text}\" is no filter of four octets: 127.0.0.[2;4..9]");
        let mut filter = Box::new([[0; 4]; 4]);
        let mut rest = text;
        for (index, octets) in filter.iter_mut().enumerate() {
            if index > 0 {
                rest = rest.strip_prefix('.').ok_or_else(wrong)?;
            }
            let (patterns, after) = match rest.strip_prefix('[') {
                Some(inside) => inside.split_once(']').ok_or_else(wrong)?,
                None => rest.split_at(rest.find('.').unwrap_or(rest.len())),
            };
            rest = after;
            for pattern in patterns.split(';') {
                let (first, last) = pattern.split_once("..").unwrap_or((pattern, pattern));
                let (first, last) = (number(first).ok_or_else(wrong)?, number(last).ok_or_else(wrong)?);
                if first > last {
                    return Err(wrong());
                }
                for value in first..=last {
                    octets[usize::from(value / 64)] |= 1 << (value % 64);
                }
            }
        }
        if rest.is_empty() { Ok(OctetFilter(filter)) } else { Err(wrong()) }
    }

    /// Whether the address passes.
    pub fn passes(&self, address: std::net::Ipv4Addr) -> bool {
        let bit = |octets: &Octets, value: u8| octets[usize::from(value / 64)] >> (value % 64) & 1 == 1;
        self.0.iter().zip(address.octets()).all(|(octets, value)| bit(octets, value))
    }
}

impl std::fmt::Debug for OctetFilter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OctetFilter")
    }
}

fn number(text: &str) -> Option<u8> {
    let digits = (1..=3).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn octets_are_numbers_lists_and_ranges() {
        let filter = OctetFilter::parse("127.0.[0..3].[2;4..9;255]").unwrap();
        let passes = |text: &str| filter.passes(text.parse().unwrap());
        for inside in ["127.0.0.2", "127.0.3.4", "127.0.1.9", "127.0.0.255"] {
            assert!(passes(inside), "{inside}");
        }
        for outside in ["127.0.0.3", "127.0.4.4", "127.1.0.2", "128.0.0.2", "127.0.0.10"] {
            assert!(!passes(outside), "{outside}");
        }
        for wrong in
            ["", "127", "1.2.3", "1.2.3.4.5", "1.2.3.256", "1.2.3.[4", "1.2.3.[]", "1.2.3.[5..4]", "1.2.3.x"]
        {
            assert!(OctetFilter::parse(wrong).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics(text in "[0-9.;\\[\\]]{0,20}") {
            let _ = OctetFilter::parse(&text);
        }
    }
}
