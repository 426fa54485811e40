//! `cidr`: networks in a file, the first that holds the address decides.
//!
//! ```text
//! network/bits text    address text    !network/bits text    if [!]network/bits … endif
//! ```
//! Rules that follow each other are found by the bits of the address, one look for each length of network among them, so
//! that a list of a hundred thousand networks costs no more than one of ten.
//!
//! On failure: a rule that cannot be read is told with its line and left out, as Postfix does.
//! Standards: Postfix's cidr_table(5).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hashbrown::HashMap;
use ringpost_core::lookup::{Found, TableSpec};

use crate::notes::Notes;
use crate::table::Table;
use crate::text::{self, LogicalLines, is_space, trim};

/// The rules of one table.
#[derive(Debug)]
pub(crate) struct Cidr {
    steps: Vec<Step>,
}

#[derive(Debug)]
enum Step {
    /// Go on if it holds, else at the number.
    If(Test, usize),
    Rule(Test, Box<str>),
    /// Rules that follow each other, none of them negated.
    Networks(Networks),
}

/// So many rules in a row are worth an index.
const NETWORKS_MIN: usize = 8;

/// Rules in a row, by length of network. A network that is there twice counts where it is first.
#[derive(Debug, Default)]
struct Networks {
    v4: Vec<(u8, HashMap<Ipv4Addr, usize>)>,
    v6: Vec<(u8, HashMap<Ipv6Addr, usize>)>,
    values: Vec<Box<str>>,
}

impl Networks {
    fn add(&mut self, test: &Test, value: Box<str>) {
        let place = self.values.len();
        self.values.push(value);
        match test.network {
            IpAddr::V4(network) => {
                of_length(&mut self.v4, test.bits).entry(network).or_insert(place);
            }
            IpAddr::V6(network) => {
                of_length(&mut self.v6, test.bits).entry(network).or_insert(place);
            }
        }
    }

    fn first(&self, address: IpAddr) -> Option<&str> {
        let place = match address {
            IpAddr::V4(address) => {
                self.v4.iter().filter_map(|(bits, networks)| networks.get(&masked_v4(address, *bits))).min()
            }
            IpAddr::V6(address) => {
                self.v6.iter().filter_map(|(bits, networks)| networks.get(&masked_v6(address, *bits))).min()
            }
        };
        place.map(|&place| &*self.values[place])
    }
}

fn of_length<T>(lengths: &mut Vec<(u8, HashMap<T, usize>)>, bits: u8) -> &mut HashMap<T, usize> {
    let at = lengths.iter().position(|(length, _)| *length == bits).unwrap_or_else(|| {
        lengths.push((bits, HashMap::new()));
        lengths.len() - 1
    });
    &mut lengths[at].1
}

#[derive(Debug)]
struct Test {
    network: IpAddr,
    bits: u8,
    negated: bool,
}

impl Test {
    /// A test holds for no address of the other family, negated or not.
    fn holds(&self, address: IpAddr) -> bool {
        let inside = match (self.network, address) {
            (IpAddr::V4(network), IpAddr::V4(address)) => masked_v4(address, self.bits) == network,
            (IpAddr::V6(network), IpAddr::V6(address)) => masked_v6(address, self.bits) == network,
            _ => return false,
        };
        inside != self.negated
    }
}

fn masked_v4(address: Ipv4Addr, bits: u8) -> Ipv4Addr {
    let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
    Ipv4Addr::from_bits(address.to_bits() & mask)
}

fn masked_v6(address: Ipv6Addr, bits: u8) -> Ipv6Addr {
    let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
    Ipv6Addr::from_bits(address.to_bits() & mask)
}

/// Reads the rules of a file.
pub(crate) fn open(spec: &TableSpec, notes: &Notes) -> Result<Cidr, String> {
    let text = text::rules(spec)?;
    Ok(Cidr::of(&spec.name, &text, notes))
}

enum Line<'a> {
    Rule(Test, &'a str),
    If(Test),
    Endif,
}

impl Cidr {
    fn of(name: &str, text: &[u8], notes: &Notes) -> Cidr {
        let mut steps = Vec::new();
        let mut row = Vec::new();
        let mut open: Vec<(usize, usize)> = Vec::new();
        let warn = |line: usize, text: &str| notes.warn(format!("cidr map {name}, line {line}: {text}"));
        for line in LogicalLines::of(text) {
            match line.text().and_then(read_line) {
                Ok(Line::Rule(test, value)) if !test.negated => row.push((test, value.into())),
                Ok(Line::Rule(test, value)) => {
                    end_row(&mut row, &mut steps);
                    steps.push(Step::Rule(test, value.into()));
                }
                Ok(Line::If(test)) => {
                    end_row(&mut row, &mut steps);
                    open.push((steps.len(), line.first));
                    steps.push(Step::If(test, 0));
                }
                Ok(Line::Endif) => match open.pop() {
                    Some((at, _)) => {
                        end_row(&mut row, &mut steps);
                        close(&mut steps, at);
                    }
                    None => warn(line.first, "ENDIF without IF: skipping this rule"),
                },
                Err(reason) => warn(line.first, &format!("{reason}: skipping this rule")),
            }
        }
        end_row(&mut row, &mut steps);
        while let Some((at, line)) = open.pop() {
            warn(line, "IF has no matching ENDIF");
            close(&mut steps, at);
        }
        Cidr { steps }
    }
}

/// Puts rules in a row among the steps.
fn end_row(row: &mut Vec<(Test, Box<str>)>, steps: &mut Vec<Step>) {
    if row.len() < NETWORKS_MIN {
        steps.extend(row.drain(..).map(|(test, value)| Step::Rule(test, value)));
        return;
    }
    let mut networks = Networks::default();
    for (test, value) in row.drain(..) {
        networks.add(&test, value);
    }
    steps.push(Step::Networks(networks));
}

fn close(steps: &mut [Step], at: usize) {
    let end = steps.len();
    if let Step::If(_, otherwise) = &mut steps[at] {
        *otherwise = end;
    }
}

fn trimmed(text: &str) -> &str {
    std::str::from_utf8(trim(text.as_bytes())).expect("white space does not cut a character")
}

/// The first word and the rest.
fn word(text: &str) -> (&str, &str) {
    let text = trimmed(text);
    let end = text.bytes().position(is_space).unwrap_or(text.len());
    (&text[..end], trimmed(&text[end..]))
}

fn read_line(line: &str) -> Result<Line<'_>, String> {
    let (first, rest) = word(line);
    if first.eq_ignore_ascii_case("endif") {
        return if rest.is_empty() { Ok(Line::Endif) } else { Err("garbage after ENDIF".to_owned()) };
    }
    if first.eq_ignore_ascii_case("if") {
        let (test, rest) = negation(rest);
        let (pattern, extra) = word(rest);
        let test = read_test(pattern, test)?;
        return if extra.is_empty() {
            Ok(Line::If(test))
        } else {
            Err("garbage after IF pattern".to_owned())
        };
    }
    let (negated, rest) = negation(line);
    let (pattern, value) = word(rest);
    let test = read_test(pattern, negated)?;
    if value.is_empty() { Err("no lookup result".to_owned()) } else { Ok(Line::Rule(test, value)) }
}

fn negation(text: &str) -> (bool, &str) {
    let mut rest = trimmed(text);
    let mut negated = false;
    while let Some(after) = rest.strip_prefix('!') {
        (negated, rest) = (!negated, trimmed(after));
    }
    (negated, rest)
}

fn read_test(pattern: &str, negated: bool) -> Result<Test, String> {
    let wrong = || format!("bad address pattern: \"{pattern}\"");
    let (address, bits) = match pattern.split_once('/') {
        Some((address, bits)) => (address, Some(bits)),
        None => (pattern, None),
    };
    let bare = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(address);
    let address: IpAddr = bare.parse().map_err(|_| match bits {
        Some(_) => format!("bad network value in \"{pattern}\""),
        None => wrong(),
    })?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let bits = match bits {
        None => most,
        Some(text) if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) => {
            return Err(format!("bad mask value in \"{pattern}\""));
        }
        Some(text) => text
            .parse()
            .ok()
            .filter(|bits| *bits <= most)
            .ok_or_else(|| format!("bad mask length in \"{pattern}\""))?,
    };
    let network = match address {
        IpAddr::V4(address) => IpAddr::V4(masked_v4(address, bits)),
        IpAddr::V6(address) => IpAddr::V6(masked_v6(address, bits)),
    };
    if network != address {
        return Err(format!(
            "non-null host address bits in \"{pattern}\", perhaps you should use \"{network}/{bits}\" instead"
        ));
    }
    Ok(Test { network, bits, negated })
}

impl Table for Cidr {
    fn find(&self, key: &str) -> Found {
        let Ok(address) = key.parse::<IpAddr>() else { return Ok(None) };
        let mut at = 0;
        while let Some(step) = self.steps.get(at) {
            at += 1;
            match step {
                Step::If(test, otherwise) if !test.holds(address) => at = *otherwise,
                Step::If(..) => {}
                Step::Rule(test, value) if test.holds(address) => return Ok(Some(value.clone())),
                Step::Rule(..) => {}
                Step::Networks(networks) => {
                    if let Some(value) = networks.first(address) {
                        return Ok(Some(value.into()));
                    }
                }
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# c\n1.2.3.4 A\n1.2.3.0/24 B\n!10.0.0.0/8 notten\n1.2.3.4/24 bad\nfoo C\n\
        if 10.1.0.0/16\n10.1.2.0/24 D\nif !10.1.3.0/24\n10.1.0.0/16 E $1\nendif\nendif\n2001:db8::/32 F\n\
        [2001:db9::]/32 G\n5.5.5.5\n1.2.3.0/33 x\n1.2.3.0/x y\n::/0 all\nif 1.2.3.4\n";

    #[test]
    fn the_first_network_decides() {
        let table = Cidr::of("test", TEXT.as_bytes(), &Notes::default());
        for (key, value) in [
            ("1.2.3.4", Some("A")),
            ("1.2.3.5", Some("B")),
            ("9.9.9.9", Some("notten")),
            ("10.1.2.3", Some("D")),
            ("10.1.3.4", None),
            ("10.1.4.4", Some("E $1")),
            ("10.2.2.2", None),
            ("2001:db8::1", Some("F")),
            ("2001:DB9:0:0::2", Some("G")),
            ("::1", Some("all")),
            ("::ffff:1.2.3.4", Some("all")),
            ("[::1]", None),
            ("foo", None),
        ] {
            assert_eq!(table.find(key).unwrap().as_deref(), value, "{key}");
        }
    }

    #[test]
    fn of_many_networks_the_first_decides_too() {
        let mut text = String::from("if !192.0.2.0/24\n");
        for index in 0..200 {
            text += &format!("10.{index}.0.0/16 wide{index}\n10.{index}.7.0/24 late{index}\n");
            text += &format!("172.{index}.7.0/24 narrow{index}\n172.{index}.0.0/16 wide{index}\n");
        }
        text += "172.9.7.0/24 again\n0.0.0.0/0 any\nendif\n2001:db8::/32 six\n2001:db8:1::/48 late\n!::1 notself\n";
        text += &(0..9).map(|index| format!("192.0.2.{index} host{index}\n")).collect::<String>();
        let table = Cidr::of("test", text.as_bytes(), &Notes::default());
        for (key, value) in [
            ("10.5.7.1", Some("wide5")),
            ("172.9.7.1", Some("narrow9")),
            ("172.9.8.1", Some("wide9")),
            ("9.9.9.9", Some("any")),
            ("2001:db8:1::1", Some("six")),
            ("2001:db9::1", Some("notself")),
            ("::1", None),
            ("192.0.2.1", Some("host1")),
            ("192.0.2.9", None),
        ] {
            assert_eq!(table.find(key).unwrap().as_deref(), value, "{key}");
        }
    }

    #[test]
    fn wrong_rules_are_told() {
        let notes = Notes::default();
        Cidr::of("t", TEXT.as_bytes(), &notes);
        let said = notes.take();
        assert_eq!(said.len(), 6, "{said:#?}");
        let first = "cidr map t, line 5: non-null host address bits in \"1.2.3.4/24\", perhaps you should use \
                     \"1.2.3.0/24\" instead: skipping this rule";
        assert_eq!(said[0], crate::Note::Warning(first.into()));
    }
}
