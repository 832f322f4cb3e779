//! Tables.

use maud::{Markup, html};

/// A column's title and the class of its cells.
#[derive(Clone, Debug)]
pub(in crate::report) struct Column {
    title: String,
    class: &'static str,
}

impl Column {
    /// Of words.
    pub(in crate::report) fn words(title: impl Into<String>) -> Self {
        Self { title: title.into(), class: "w" }
    }

    /// Of longer text, which may take several lines.
    pub(in crate::report) fn prose(title: impl Into<String>) -> Self {
        Self { title: title.into(), class: "p" }
    }

    /// Of numbers, which end at the same place.
    pub(in crate::report) fn numbers(title: impl Into<String>) -> Self {
        Self { title: title.into(), class: "n" }
    }
}

/// A table that scrolls by itself where the screen is narrow. `sums` are lines below it.
pub(in crate::report) fn table(
    name: &str,
    columns: &[Column],
    rows: &[Vec<Markup>],
    sums: &[Vec<Markup>],
) -> Markup {
    html! {
        div.scroll role="region" tabindex="0" aria-label=(name) {
            table {
                thead { tr {
                    @for column in columns { th scope="col" class=(column.class) { (column.title) } }
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
        @for (at, column) in columns.iter().enumerate() {
            td class=(column.class) { @if let Some(cell) = row.get(at) { (cell) } }
        }
    }
}

/// A cell of plain text.
pub(in crate::report) fn text(text: impl AsRef<str>) -> Markup {
    html! { (text.as_ref()) }
}
