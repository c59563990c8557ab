//! Tables without borders, as wide as their content.

use comfy_table::presets::NOTHING;
use comfy_table::{ContentArrangement, Table};
use serde_json::Value;

/// Shown where there is nothing.
pub const NONE: &str = "—";

/// A table with a heading; every line ends where its text ends.
pub fn table<const N: usize>(
    heading: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(heading);
    for row in rows {
        table.add_row(row.map(|cell| one_line(&cell)));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

/// What comes from elsewhere may neither break the table nor steer the terminal.
fn one_line(cell: &str) -> String {
    cell.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// A field of a JSON value as text; [`NONE`] if it is not there.
pub fn cell(value: &Value, pointer: &str) -> String {
    match value.pointer(pointer) {
        None | Some(Value::Null) => NONE.to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_nothing_is_cut() {
        let long = "x".repeat(500);
        let rows =
            [["a".to_owned(), long.clone()], ["bbbb".to_owned(), "line\nbreak\x1b".to_owned()]];
        let text = table(["NAME", "VALUE"], rows);
        assert_eq!(text, format!("NAME  VALUE\na     {long}\nbbbb  line break\n"));
    }
}
