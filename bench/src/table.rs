//! Tables for people: columns as wide as their widest cell, numbers to the right.

use std::fmt::Write as _;

/// Rows under a heading.
#[derive(Debug, Default)]
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table whose first row is `heading`.
    pub fn new(heading: &[&str]) -> Table {
        Table { rows: vec![heading.iter().map(|cell| (*cell).to_owned()).collect()] }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// The table as text, in the form that Markdown shows as a table too.
    pub fn render(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0).max(3)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut text = String::new();
        for (index, row) in self.rows.iter().enumerate() {
            for (column, width) in widths.iter().enumerate() {
                let cell = row.get(column).map_or("", String::as_str);
                let padding = " ".repeat(width - cell.chars().count());
                // The first column names, the others count.
                let (left, right) = if column == 0 { ("", padding.as_str()) } else { (padding.as_str(), "") };
                let _ = write!(text, "| {left}{cell}{right} ");
            }
            text.push_str("|\n");
            if index == 0 {
                for (column, width) in widths.iter().enumerate() {
                    let dashes = "-".repeat(*width);
                    let _ =
                        if column == 0 { write!(text, "|-{dashes}-") } else { write!(text, "|-{dashes}:") };
                }
                text.push_str("|\n");
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::Table;

    #[test]
    fn columns_line_up() {
        let mut table = Table::new(&["what", "µs"]);
        table.row(vec!["Postfix".into(), "2900".into()]);
        assert_eq!(table.render(), "| what    |   µs |\n|---------|-----:|\n| Postfix | 2900 |\n");
    }
}
