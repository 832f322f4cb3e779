//! `docs/methods/`: a page for each speed-up method, made from its source. `WRITE_PAGES=1` writes the
//! pages anew; without it, a page that lags behind its source fails here.

use std::{env, fmt::Write, fs, path::Path};

use mlperf_run::recipe::{Origin, Source, load};
use toml::{Table, Value};

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Names of all methods, in the order in which they act.
fn methods() -> Vec<String> {
    let registry = read("src/algorithms/registry.rs");
    let table = registry.split("\nmethods! {").nth(1).unwrap().split("\n}").next().unwrap();
    let lines = table.lines().filter_map(|line| line.trim().split_once(": "));
    let names: Vec<String> = lines.map(|(name, _)| name.to_owned()).collect();
    assert!(names.len() >= 7, "{names:?}");
    names
}

/// A method's defaults, as a recipe that only switches it on has them.
fn defaults(method: &str) -> Table {
    let text = format!("[algorithms.{method}]");
    let origin = Origin::File("defaults.toml".into());
    let file = load(&Source { name: method.to_owned(), text, origin }, &[]).unwrap();
    match Table::try_from(&file.algorithms).unwrap().remove(method) {
        Some(Value::Table(table)) => table,
        other => panic!("{method}: {other:?}"),
    }
}

/// The lines of comment right above the first line of `source` that starts with `item`, and what
/// follows `item` there.
fn documented(source: &str, item: &str) -> (String, String) {
    let lines: Vec<&str> = source.lines().map(str::trim).collect();
    let at = lines.iter().position(|line| line.starts_with(item));
    let at = at.unwrap_or_else(|| panic!("no line starts with '{item}'"));
    let above = lines[..at].iter().rev().filter(|line| !line.starts_with("#["));
    let mut doc: Vec<&str> = above.map_while(|line| line.strip_prefix("/// ")).collect();
    doc.reverse();
    (doc.join(" "), lines[at][item.len()..].trim_end_matches(',').to_owned())
}

/// Values of the enum `name`, with what they mean; empty where `name` is no enum of the file.
fn values(source: &str, name: &str) -> Vec<(String, String)> {
    let Some(at) = source.find(&format!("pub enum {name} {{")) else { return Vec::new() };
    let dash = if source[..at].ends_with("rename_all = \"kebab-case\")]\n") { '-' } else { '_' };
    let body = &source[at..at + source[at..].find("\n}").unwrap()];
    let variants = body.lines().map(str::trim).filter_map(|line| line.strip_suffix(','));
    variants
        .filter(|variant| variant.chars().all(char::is_alphanumeric))
        .map(|variant| {
            let mut word = String::new();
            for (i, letter) in variant.chars().enumerate() {
                if letter.is_uppercase() && i > 0 {
                    word.push(dash);
                }
                word.extend(letter.to_lowercase());
            }
            (word, documented(body, variant).0)
        })
        .collect()
}

fn page(method: &str) -> String {
    let source = read(&format!("src/algorithms/{method}.rs"));
    let doc = source.lines().map_while(|line| line.strip_prefix("//!"));
    let doc: Vec<&str> = doc.map(|line| line.strip_prefix(' ').unwrap_or(line)).collect();
    let mut page = format!("# {method}\n\n{}\n\n```toml\n[algorithms.{method}]\n", doc.join("\n"));
    let mut meanings = String::new();
    for (key, value) in defaults(method) {
        let (doc, kind) = documented(&source, &format!("pub {key}: "));
        let setting = format!("{key} = {value}");
        writeln!(page, "{setting:<34} # {doc}").unwrap();
        for (word, meaning) in values(&source, &kind) {
            writeln!(meanings, "- `{key} = \"{word}\"`: {meaning}").unwrap();
        }
    }
    page += "```\n";
    if !meanings.is_empty() {
        page = page + "\n" + &meanings;
    }
    page + &format!("\nMade from `src/algorithms/{method}.rs`.\n")
}

#[test]
fn every_method_has_its_page() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/methods");
    let names = methods();
    for method in &names {
        let (path, page) = (folder.join(format!("{method}.md")), page(method));
        if env::var_os("WRITE_PAGES").is_some() {
            fs::create_dir_all(&folder).unwrap();
            fs::write(&path, &page).unwrap();
        }
        let written = fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(written, page, "{} is old: run with WRITE_PAGES=1", path.display());
        for part in ["Suggested:", "Trade-off:"] {
            assert!(page.contains(part), "{method} does not say {part}");
        }
    }
    for file in fs::read_dir(&folder).unwrap() {
        let name = file.unwrap().file_name().into_string().unwrap();
        assert!(
            names.iter().any(|method| name == format!("{method}.md")),
            "{name}: no such method"
        );
    }
}
