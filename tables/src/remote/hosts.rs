//! hosts: which of several servers is asked, and which are passed by because they failed.
//!
//! Receives: the `hosts` of a table; what became of asking one. Gives: those to be asked, in turn.
//! Owns:     when each failed, known to all connections of the table.
//! Limits:   a host that failed is passed by for [`PASSED_BY`].

use std::sync::Mutex;
use std::time::{Duration, Instant};

/// As Postfix does for its databases.
const PASSED_BY: Duration = Duration::from_secs(60);

/// Why a server gave no answer.
#[derive(Debug)]
pub enum Failure {
    /// It said no to this question; the connection is good.
    Refused(String),
    /// The connection is not to be used any more.
    Broken(String),
}

/// The servers of a table.
#[derive(Debug)]
pub struct Hosts<H> {
    hosts: Vec<(H, Mutex<Option<Instant>>)>,
    /// Each connection begins with another host.
    spread: bool,
}

/// The connection of a helper thread to one of the servers.
#[derive(Debug)]
pub struct Held<C>(Option<(usize, C)>);

impl<C> Held<C> {
    /// Not connected yet.
    pub fn none() -> Held<C> {
        Held(None)
    }
}

impl<H> Hosts<H> {
    /// `spread`: the load is shared by all; otherwise the first that is well is asked.
    pub fn new(hosts: Vec<H>, spread: bool) -> Hosts<H> {
        Hosts { hosts: hosts.into_iter().map(|host| (host, Mutex::new(None))).collect(), spread }
    }

    /// Asks over the connection that is held, or a new one to each server in turn.
    ///
    /// # Errors
    /// Nobody answered: what the last one had; or a server said no.
    pub fn ask<C, T>(
        &self,
        held: &mut Held<C>,
        connect: impl Fn(&H) -> Result<C, String>,
        mut ask: impl FnMut(&mut C) -> Result<T, Failure>,
    ) -> Result<T, String> {
        let mut reason = "all hosts failed within the last minute".to_owned();
        if let Some((index, mut connection)) = held.0.take() {
            match ask(&mut connection) {
                Err(Failure::Broken(why)) => reason = why,
                answer => {
                    held.0 = Some((index, connection));
                    return answer.map_err(said_no);
                }
            }
        }
        for index in self.turn() {
            let (host, failed) = &self.hosts[index];
            let mut connection = match connect(host) {
                Ok(connection) => connection,
                Err(why) => {
                    reason = why;
                    *failed.lock().expect("no holder of this lock panics") = Some(Instant::now());
                    continue;
                }
            };
            match ask(&mut connection) {
                Err(Failure::Broken(why)) => {
                    reason = why;
                    *failed.lock().expect("no holder of this lock panics") = Some(Instant::now());
                }
                answer => {
                    *failed.lock().expect("no holder of this lock panics") = None;
                    held.0 = Some((index, connection));
                    return answer.map_err(said_no);
                }
            }
        }
        Err(reason)
    }

    /// Those that are not passed by, in the order in which they are asked.
    fn turn(&self) -> Vec<usize> {
        let is_well = |index: &usize| {
            let failed = *self.hosts[*index].1.lock().expect("no holder of this lock panics");
            failed.is_none_or(|failed| failed.elapsed() >= PASSED_BY)
        };
        let mut turn: Vec<usize> = (0..self.hosts.len()).filter(is_well).collect();
        if self.spread && turn.len() > 1 {
            use std::hash::BuildHasher;
            // Every state is seeded anew.
            let number = std::hash::RandomState::new().hash_one(0);
            let first = number % turn.len() as u64;
            turn.rotate_left(usize::try_from(first).unwrap_or(0));
        }
        turn
    }
}

fn said_no(failure: Failure) -> String {
    match failure {
        Failure::Refused(reason) | Failure::Broken(reason) => reason,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    #[test]
    fn a_host_that_fails_is_passed_by_and_one_that_says_no_is_not() {
        let hosts = Hosts::new(vec!["down", "up"], false);
        let asked = RefCell::new(Vec::new());
        let connect = |host: &&'static str| {
            asked.borrow_mut().push(*host);
            if *host == "down" { Err("connection refused".to_owned()) } else { Ok(*host) }
        };
        let mut held = Held::none();
        assert_eq!(hosts.ask(&mut held, connect, |_| Ok(1)), Ok(1));
        let no = |_: &mut &str| Err::<(), _>(Failure::Refused("syntax error".into()));
        assert_eq!(hosts.ask(&mut held, connect, no), Err("syntax error".into()));
        assert_eq!(*asked.borrow(), ["down", "up"], "the connection is kept");
        let mut another = Held::none();
        assert_eq!(hosts.ask(&mut another, connect, |_| Ok(2)), Ok(2));
        assert_eq!(*asked.borrow(), ["down", "up", "up"]);
    }

    #[test]
    fn a_connection_that_broke_is_made_anew_once() {
        let hosts = Hosts::new(vec!["a"], true);
        let mut held = Held::none();
        assert_eq!(hosts.ask(&mut held, |_| Ok(()), |()| Ok(1)), Ok(1));
        let count = RefCell::new(0);
        let broken = |(): &mut ()| {
            *count.borrow_mut() += 1;
            Err::<(), _>(Failure::Broken("gone".into()))
        };
        assert_eq!(hosts.ask(&mut held, |_| Ok(()), broken), Err("gone".into()));
        assert_eq!(*count.borrow(), 2);
        assert!(hosts.ask(&mut held, |_| Ok(()), |()| Ok(1)).is_err(), "it is passed by now");
    }
}
