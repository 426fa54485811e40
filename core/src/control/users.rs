//! `authorized_mailq_users` and `authorized_flush_users`: which local users may ask.

use std::fmt;

/// A list of user names, read from left to right; the first element that fits decides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserList(Vec<Element>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Element {
    /// Without `!`.
    allows: bool,
    /// `None` fits everybody (`static:` anything).
    name: Option<String>,
}

/// An element that is not served: a file or a table other than `static:`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserListError(String);

impl fmt::Display for UserListError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\" is not served: list user names, or static:anyone", self.0)
    }
}

impl std::error::Error for UserListError {}

impl UserList {
    /// The list of a parameter's elements.
    ///
    /// # Errors
    /// [`UserListError`] for the first element that names a file or a table that is not `static:`.
    pub fn parse(elements: &[String]) -> Result<UserList, UserListError> {
        let element = |text: &String| {
            let (allows, rest) = match text.strip_prefix('!') {
                Some(rest) => (false, rest),
                None => (true, text.as_str()),
            };
            let name = match rest.split_once(':') {
                Some(("static", _)) => None,
                Some(_) => return Err(UserListError(text.clone())),
                None if rest.starts_with('/') => return Err(UserListError(text.clone())),
                None => Some(rest.to_owned()),
            };
            Ok(Element { allows, name })
        };
        elements.iter().map(element).collect::<Result<_, _>>().map(UserList)
    }

    /// Whether a user may ask. `name` is called at most once, and not at all for `static:anyone`; without a name only
    /// what fits everybody does.
    pub fn allows(&self, name: impl FnOnce() -> Option<String>) -> bool {
        let mut ask = Some(name);
        let mut known: Option<String> = None;
        for element in &self.0 {
            let fits = match &element.name {
                None => true,
                Some(wanted) => {
                    if let Some(ask) = ask.take() {
                        known = ask();
                    }
                    known.as_ref() == Some(wanted)
                }
            };
            if fits {
                return element.allows;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &str) -> UserList {
        let elements: Vec<String> = text.split(", ").map(str::to_owned).collect();
        UserList::parse(&elements).unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn the_first_element_that_fits_decides() {
        let users = list("!eve, root, !mallory, static:all");
        let may = |name: &str| users.allows(|| Some(name.to_owned()));
        assert_eq!(["eve", "root", "mallory", "alice"].map(may), [false, true, false, true]);
        assert!(!list("root, operator").allows(|| Some("alice".to_owned())));
        assert!(!UserList::default().allows(|| Some("root".to_owned())), "an empty list allows nobody");
    }

    #[test]
    fn names_are_not_looked_up_where_everybody_may() {
        assert!(list("static:anyone").allows(|| panic!("nobody has to know")));
        assert!(!list("operator").allows(|| None));
    }

    #[test]
    fn tables_and_files_are_refused_rather_than_ignored() {
        for text in ["hash:/etc/users", "/etc/users", "!cdb:x"] {
            assert!(UserList::parse(&[text.to_owned()]).is_err(), "{text}");
        }
    }
}
