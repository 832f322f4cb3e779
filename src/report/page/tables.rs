//! A table, for charts' numbers and everything else.

use maud::{Markup, html};

/// A column's title, and whether its cells are numbers.
#[derive(Clone, Debug)]
pub(super) struct Column {
    title: String,
    is_number: bool,
}

impl Column {
    /// Of words.
    pub(super) fn words(title: impl Into<String>) -> Self {
        Self { title: title.into(), is_number: false }
    }

    /// Of numbers, which end at the same place.
    pub(super) fn numbers(title: impl Into<String>) -> Self {
        Self { title: title.into(), is_number: true }
    }

    fn class(&self) -> Option<&'static str> {
        self.is_number.then_some("n")
    }
}

/// A table that scrolls by itself where the screen is narrow. `sums` are lines below it.
pub(super) fn table(
    name: &str,
    columns: &[Column],
    rows: &[Vec<Markup>],
    sums: &[Vec<Markup>],
) -> Markup {
    html! {
        div.scroll role="region" tabindex="0" aria-label=(name) {
            table {
                thead { tr {
                    @for column in columns { th scope="col" class=[column.class()] { (column.title) } }
                } }
                tbody {
                    @for row in rows { tr { (cells(columns, row)) } }
                    @for row in sums { tr.sum { (cells(columns, row)) } }
                }
            }
        }
    }
}

fn cells(columns: &[Column], row: &[Markup]) -> Markup {
    html! {
        @for (column, cell) in columns.iter().zip(row) { td class=[column.class()] { (cell) } }
    }
}

/// A cell of plain text.
pub(super) fn text(text: impl AsRef<str>) -> Markup {
    html! { (text.as_ref()) }
}
