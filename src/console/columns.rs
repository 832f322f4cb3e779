//! Aligned text columns.

/// A title and the cells below it.
pub struct Column {
    title: &'static str,
    cells: Vec<String>,
    align: Align,
}

enum Align {
    Left,
    Right,
}

impl Column {
    /// A left-aligned column, for words.
    pub fn left(title: &'static str, cells: impl Iterator<Item = String>) -> Self {
        Self { title, cells: cells.collect(), align: Align::Left }
    }

    /// A right-aligned column, for numbers.
    pub fn right(title: &'static str, cells: impl Iterator<Item = String>) -> Self {
        Self { align: Align::Right, ..Self::left(title, cells) }
    }

    /// The padded cell of a line; line 0 is the title.
    fn cell(&self, line: usize) -> String {
        let width = self.cells.iter().map(|cell| cell.chars().count()).max().unwrap_or(0);
        let width = width.max(self.title.len());
        let text = if line == 0 { self.title } else { &self.cells[line - 1] };
        match self.align {
            Align::Left => format!("{text:<width$}"),
            Align::Right => format!("{text:>width$}"),
        }
    }
}

/// The titles, then one line per cell. All columns must have equally many cells.
pub fn aligned(columns: &[Column]) -> String {
    let num_lines = columns.first().map_or(0, |column| 1 + column.cells.len());
    let lines = (0..num_lines).map(|line| {
        let cells = columns.iter().map(|column| column.cell(line));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    });
    lines.collect::<Vec<_>>().join("\n")
}
