//! Columns without frames, as `docker` and `kubectl` print them: easy to read, and to cut with `awk`.

use super::error::ClientError;
use super::terminal::{STRONG, Terminal};
use comfy_table::Table;
use comfy_table::presets::NOTHING;

/// Prints `rows` under `header`, which is bold where there is colour.
pub(crate) fn print(
    terminal: &mut Terminal,
    header: &[&str],
    rows: Vec<Vec<String>>,
) -> Result<(), ClientError> {
    let mut table = Table::new();
    table
        .load_preset(NOTHING)
        .set_header(header.iter().copied());
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
