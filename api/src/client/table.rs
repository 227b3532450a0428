//! Columns without frames, as `docker` and `kubectl` print them: easy to read, and to cut with `awk`.

use super::error::ClientError;
use super::terminal::{STRONG, Terminal};
use comfy_table::presets::NOTHING;
use comfy_table::{Row, Table};

/// Prints `rows` under the names of their columns, in upper case, and bold where there is colour.
pub(crate) fn print(
    terminal: &mut Terminal,
    columns: &[&str],
    rows: impl Iterator<Item = impl Into<Row>>,
) -> Result<(), ClientError> {
    let mut table = Table::new();
    table
        .load_preset(NOTHING)
        .set_header(columns.iter().map(|name| name.to_uppercase()));
    table.add_rows(rows);
    for column in table.column_iter_mut() {
        column.set_padding((0, 3));
    }
    for (index, line) in table.lines().enumerate() {
        let line = line.trim_end();
        let line = if index == 0 {
            terminal.paint(STRONG, line)
        } else {
            line.to_owned()
        };
        terminal.line(line)?;
    }
    Ok(())
}
