//! The lookup tables that a configuration names, and where it names them.

use super::error::Place;
use super::parameter::Kind;
use super::settings::{Config, LISTS_WITH_TABLES, View};
use super::{client_rules, parameters, restriction};
use crate::domain_list::DomainList;
use crate::lookup::{TableId, TableRegistry, TableSpec};
use crate::maps::Maps;
use crate::network_list::NetworkList;

/// Takes each table with the parameter that names it.
type Taker<'a> = &'a dyn Fn(&View<'_>, &str, TableSpec) -> Result<TableId, String>;

impl Config {
    /// The lookup tables that the configuration names where they are served; a [`TableId`] is a place among them.
    pub fn tables(&self) -> &[TableSpec] {
        self.tables.specs()
    }

    /// The parameter that names a table, and where it is set; the first of several. `None` for a table that only default
    /// values name.
    pub fn place_of_table(&self, table: &TableSpec) -> Option<(Place, String)> {
        let found = std::cell::RefCell::new(None);
        self.each_table(&|view, parameter, spec| {
            if spec == *table && found.borrow().is_none() && view.is_set(parameter) {
                found.replace(Some((view.place(parameter), parameter.to_owned())));
            }
            Ok(TableId(0))
        });
        found.into_inner()
    }

    /// Where a parameter is set for all services or for some; `None` if it is not.
    pub fn place_of(&self, parameter: &str) -> Option<Place> {
        self.views().find(|view| view.is_set(parameter)).map(|view| view.place(parameter))
    }

    /// Every table gets its id when the configuration is loaded, in the order of services and parameters.
    pub(super) fn register_tables(&mut self) {
        let registry = std::cell::RefCell::new(TableRegistry::default());
        self.each_table(&|_, _, spec| Ok(registry.borrow_mut().register(spec)));
        self.tables = registry.into_inner();
    }

    fn each_table(&self, take: Taker<'_>) {
        for view in self.views() {
            for parameter in parameters::table() {
                let Ok(text) = view.expanded(parameter.name) else { continue };
                let register = |spec| take(&view, parameter.name, spec);
                // Only the tables matter here; what is wrong with the value is told by `check`.
                let _ = match parameter.kind {
                    Kind::Restrictions => {
                        view.read_list(&text, restriction::implied_key(parameter.name), &register);
                        None
                    }
                    Kind::Maps if view.asks_tables_of(parameter.name) => {
                        Maps::parse(&text, view.default_table_type(), register).err()
                    }
                    Kind::Clients => client_rules::parse(&text, view.default_table_type(), register).err(),
                    Kind::Networks if LISTS_WITH_TABLES.contains(&parameter.name) => {
                        NetworkList::parse_with_tables(&text, &|path| view.file(path), &register).err()
                    }
                    Kind::Domains if LISTS_WITH_TABLES.contains(&parameter.name) => {
                        DomainList::parse_with_tables(&text, false, &|path| view.file(path), &register).err()
                    }
                    _ => None,
                };
            }
            for (name, text) in view.restriction_class_texts() {
                view.read_list(&text, None, &|spec| take(&view, &name, spec));
            }
        }
    }
}
