//! A guide as a list of steps. CONTRIBUTING.md says how its blocks are written.

use std::{fs, path::Path};

/// What a block asks for.
#[derive(Debug)]
pub(super) enum Step {
    /// A file that the reader writes.
    Write { name: String, text: String },
    /// Lines of a file of the project.
    Quote { path: String, text: String },
    /// A command that the reader types.
    Run(Command),
}

/// A command, and what the guide says of it.
#[derive(Debug, Default)]
pub(super) struct Command {
    /// The line of the guide, from 1.
    pub(super) line: usize,
    pub(super) text: String,
    /// Lines of its output, with `...` for what varies. Without lines, nothing is said of it.
    pub(super) output: Vec<String>,
    pub(super) exit_code: i32,
    /// Why no test can run it.
    pub(super) not_run: Option<String>,
}

/// Reads `docs/guides/NAME.md`.
pub(super) fn read(name: &str) -> Vec<Step> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/guides").join(name);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
    let (mut steps, mut not_run) = (Vec::new(), None);
    let mut lines = text.lines().enumerate();
    while let Some((index, line)) = lines.next() {
        if let Some(reason) = line.strip_prefix("<!-- not run: ") {
            not_run = Some(reason.trim_end_matches(" -->"));
        }
        let Some(language) = line.strip_prefix("```") else { continue };
        let block: Vec<&str> =
            lines.by_ref().map(|(_, line)| line).take_while(|line| *line != "```").collect();
        let first_line = index + 2;
        if language == "console" {
            steps.extend(commands(&block, first_line, not_run.take()).into_iter().map(Step::Run));
            continue;
        }
        let name = block[0].trim_start_matches(['#', '/', ' ']).to_owned();
        let text = block[1..].join("\n") + "\n";
        steps.push(match language {
            "toml" | "python" => Step::Write { name, text },
            "rust" => Step::Quote { path: name, text },
            _ => panic!("{name}:{first_line}: no test knows blocks of '{language}'"),
        });
    }
    steps
}

fn commands(block: &[&str], first_line: usize, not_run: Option<&str>) -> Vec<Command> {
    let mut commands: Vec<Command> = Vec::new();
    for (index, &line) in block.iter().enumerate() {
        let line_number = first_line + index;
        if let Some(text) = line.strip_prefix("$ ") {
            let not_run = not_run.map(str::to_owned);
            let text = text.to_owned();
            commands.push(Command { line: line_number, text, not_run, ..Command::default() });
            continue;
        }
        let command = commands.last_mut().expect("a block begins with a command");
        let exit_code = line.strip_prefix("[exit code ").and_then(|rest| rest.strip_suffix(']'));
        if command.text.ends_with('\\') {
            command.text = format!("{}\n{line}", command.text);
        } else if let Some(exit_code) = exit_code {
            command.exit_code = exit_code.parse().unwrap();
        } else {
            command.output.push(line.to_owned());
        }
    }
    commands
}

/// Whether `lines` are those of `pattern`: `...` alone is any lines, and `...` in a line any text.
pub(super) fn matches<T: AsRef<str>>(pattern: &[T], lines: &[&str]) -> bool {
    let Some((first, rest)) = pattern.split_first() else { return lines.is_empty() };
    if first.as_ref() == "..." {
        return (0..=lines.len()).any(|skipped| matches(rest, &lines[skipped..]));
    }
    lines.split_first().is_some_and(|(line, others)| {
        line_matches(first.as_ref().trim_end(), line.trim_end()) && matches(rest, others)
    })
}

fn line_matches(pattern: &str, line: &str) -> bool {
    let Some((start, rest)) = pattern.split_once("...") else { return pattern == line };
    let Some(line) = line.strip_prefix(start) else { return false };
    let ends = line.char_indices().map(|(at, _)| at).chain([line.len()]);
    ends.into_iter().any(|at| line_matches(rest, &line[at..]))
}

#[test]
fn dots_stand_for_what_varies_and_for_nothing_else() {
    let lines = ["a run", "took 1.5 s", "and ended", "well"];
    for pattern in [
        &["a run", "took ... s", "...", "well"][..],
        &["...", "a ...", "...", "and ended", "...", "well"],
        &["a run", "..."],
    ] {
        assert!(matches(pattern, &lines), "{pattern:?}");
    }
    for pattern in [&["a run"][..], &["...", "took ... min", "..."], &["...", "and", "well"], &[]] {
        assert!(!matches(pattern, &lines), "{pattern:?}");
    }
}
