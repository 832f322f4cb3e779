//! Submissions to be verified: sound ones, and what may be wrong with one.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use mlperf_run::submission::SystemDescription;

use crate::check::own_logs;

/// A sound submission at `root` of five runs on the system `box`.
pub(super) fn sound(root: &Path, division: &str) {
    let text = match division {
        "closed" => fs::read_to_string(own_logs().join("ok_closed_lars.txt")).unwrap(),
        _ => fs::read_to_string(own_logs().join("ok_open.txt")).unwrap(),
    };
    // As many epochs as the reference takes.
    let text = text.replace("\"epoch_num\": 8}", "\"epoch_num\": 36}");
    for number in 0..5 {
        let text = text.replace("17000", &format!("17{number}00"));
        let text = text.replace("\"value\": 1234", &format!("\"value\": {}", 1000 + number));
        put(root, &format!("results/box/resnet/result_{number}.txt"), &text);
    }
    let system = SystemDescription::find("example").unwrap().unwrap();
    let json = serde_json::to_string_pretty(&system).unwrap();
    let json = json.replace("\"division\": \"open\"", &format!("\"division\": \"{division}\""));
    put(root, "systems/box.json", &json);
    put(root, "LICENSE", "");
    for name in ["README.md", "train.py"] {
        put(root, &format!("benchmarks/resnet/implementations/x/{name}"), "");
    }
}

pub(super) fn put(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// Rewrites a file, if an earlier change has left it there.
fn edit(path: &Path, change: impl Fn(&str) -> String) {
    if let Ok(text) = fs::read_to_string(path) {
        fs::write(path, change(&text)).unwrap();
    }
}

fn result(root: &Path, number: usize) -> PathBuf {
    root.join(format!("results/box/resnet/result_{number}.txt"))
}

fn swap(root: &Path, number: usize, from: &str, to: &str) {
    edit(&result(root, number), |text| text.replace(from, to));
}

fn swap_two(root: &Path, from: &str, to: &str) {
    for number in [1, 2] {
        swap(root, number, from, to);
    }
}

fn swap_all(root: &Path, from: &str, to: &str) {
    for number in 0..5 {
        swap(root, number, from, to);
    }
}

/// Replaces the line of `key` in a log; nothing takes it away.
fn line(root: &Path, number: usize, key: &str, change: impl Fn(&str) -> Option<String>) {
    let quoted = format!("\"key\": \"{key}\"");
    edit(&result(root, number), |text| {
        let lines = text.lines().filter_map(|line| {
            if line.contains(&quoted) { change(line) } else { Some(line.to_owned()) }
        });
        lines.collect::<Vec<_>>().join("\n") + "\n"
    });
}

fn drop_line(root: &Path, number: usize, key: &str) {
    line(root, number, key, |_| None);
}

fn describe(root: &Path, from: &str, to: &str) {
    edit(&root.join("systems/box.json"), |text| text.replace(from, to));
}

fn rename(root: &Path, from: &str, to: &str) {
    // An earlier change may have moved it already.
    let _ = fs::rename(root.join(from), root.join(to));
}

fn link(root: &Path, target: &str, path: &str) {
    // Where the folder is gone or the change was done before there is nothing to do.
    let _ = symlink(target, root.join(path));
}

fn params(root: &Path, folder: &str, text: &str) {
    if root.join(folder).is_dir() {
        fs::write(root.join(folder).join("package_checker_params"), text).unwrap();
    }
}

fn power(root: &Path, runs: std::ops::Range<usize>) {
    // An earlier change may have put a file there.
    let _ = fs::remove_file(root.join(RESNET).join("power"));
    for run in runs {
        put(root, &format!("results/box/resnet/power/result_{run}/node_0.txt"), "");
    }
}

const RESNET: &str = "results/box/resnet";

/// What it does, in words, and what does it.
pub(super) type Change = (&'static str, fn(&Path));

/// What may be wrong with a submission; each of them can be done after any other.
pub(super) const CHANGES: &[Change] = &[
    ("nothing", |_| ()),
    ("a run is missing", |root| drop(fs::remove_file(result(root, 3)))),
    ("four runs are missing", |root| {
        (1..5).for_each(|number| drop(fs::remove_file(result(root, number))));
    }),
    ("a run too many", |root| drop(fs::copy(result(root, 0), result(root, 5)))),
    ("a run has no number", |root| {
        rename(root, "results/box/resnet/result_2.txt", "results/box/resnet/result_x.txt");
    }),
    ("a run has another name", |root| {
        rename(root, "results/box/resnet/result_2.txt", "results/box/resnet/result-2.txt");
    }),
    ("a run is hidden", |root| {
        rename(root, "results/box/resnet/result_2.txt", "results/box/resnet/.result_2.txt");
    }),
    ("a result is a folder", |root| {
        drop(fs::create_dir_all(root.join(RESNET).join("result_9.txt")));
    }),
    ("a log is another one", |root| drop(fs::copy(result(root, 0), result(root, 1)))),
    ("a log is of the other division", |root| {
        swap(root, 1, "\"closed\"", "\"open?\"");
        swap(root, 1, "\"open\"", "\"closed\"");
        swap(root, 1, "\"open?\"", "\"open\"");
    }),
    ("a log is empty", |root| edit(&result(root, 1), |_| String::new())),
    ("a log is cut", |root| edit(&result(root, 1), |text| text[..text.len() / 2].to_owned())),
    ("two logs are cut", |root| {
        for number in [1, 2] {
            edit(&result(root, number), |text| text[..text.len() / 2].to_owned());
        }
    }),
    ("a seed is repeated", |root| swap(root, 1, "\"value\": 1001", "\"value\": 1000")),
    ("a seed is a text", |root| swap(root, 1, "\"value\": 1001", "\"value\": \" 1_001 \"")),
    ("a seed is null", |root| swap(root, 1, "\"value\": 1001", "\"value\": null")),
    ("a seed is a float", |root| swap(root, 1, "\"value\": 1001", "\"value\": 1000.7")),
    ("a seed is missing", |root| drop_line(root, 1, "seed")),
    ("a seed is logged twice", |root| {
        line(root, 1, "seed", |line| Some(format!("{line}\n{line}")));
    }),
    ("two seeds are logged", |root| {
        line(root, 1, "seed", |line| Some(format!("{line}\n{}", line.replace("1001", "77"))));
    }),
    ("a seed has no line", |root| {
        line(root, 1, "seed", |line| Some(line.replace("\"lineno\": 7", "\"line\": 7")));
    }),
    ("a run was aborted", |root| swap(root, 1, "\"success\"", "\"aborted\"")),
    ("two runs were aborted", |root| {
        swap_two(root, "\"success\"", "\"aborted\"");
    }),
    ("a run missed the target", |root| swap(root, 1, "0.7612", "0.7412")),
    ("two runs missed the target", |root| {
        swap_two(root, "0.7612", "0.7412");
    }),
    ("an accuracy is null", |root| swap(root, 1, "0.7612", "null")),
    ("a record lacks metadata", |root| swap(root, 1, "\"metadata\"", "\"meta\"")),
    ("a time is a word", |root| {
        line(root, 1, "cache_clear", |line| {
            Some(line.replace("\"time_ms\": 17", "\"time_ms\": \"x\", \"y\": 17"))
        });
    }),
    ("a line is broken", |root| swap(root, 1, "\"key\": \"cache_clear\"", "\"key\": cache_clear")),
    ("run_stop is missing", |root| drop_line(root, 1, "run_stop")),
    ("run_stop has no status", |root| swap(root, 1, "\"status\": \"success\"", "\"state\": 1")),
    ("the last epoch is a text", |root| {
        swap(root, 1, "\"epoch_num\": 36}", "\"epoch_num\": \"36\"}");
    }),
    ("evaluations have no epoch", |root| {
        line(root, 1, "eval_accuracy", |line| Some(line.replace("epoch_num", "step_num")));
    }),
    ("the optimizer is unknown", |root| swap(root, 1, "\"lars\"", "\"adam\"")),
    ("the division is capitalized", |root| {
        swap(root, 1, "\"closed\"", "\"Closed\"");
        swap(root, 1, "\"value\": \"open\"", "\"value\": \"Open\"");
    }),
    ("an organization is named twice", |root| {
        line(root, 1, "submission_org", |line| Some(format!("{line}\n{line}")));
    }),
    ("a batch size differs", |root| swap(root, 1, "\"value\": 2048", "\"value\": 4096")),
    ("a batch size is missing", |root| drop_line(root, 1, "global_batch_size")),
    ("all batch sizes are missing", |root| {
        (0..5).for_each(|number| drop_line(root, number, "global_batch_size"));
    }),
    ("the batch is below all points", |root| swap_all(root, "\"value\": 2048", "\"value\": 256")),
    ("the batch is above all points", |root| swap_all(root, "\"value\": 2048", "\"value\": 70000")),
    ("a point is hit", |root| {
        swap_all(root, "\"value\": 2048", "\"value\": 3264");
        swap_all(root, "\"epoch_num\": 36}", "\"epoch_num\": 35}");
    }),
    ("convergence is too fast", |root| swap_all(root, "\"epoch_num\": 36}", "\"epoch_num\": 12}")),
    ("two runs converge too fast", |root| {
        swap_two(root, "\"epoch_num\": 36}", "\"epoch_num\": 12}");
    }),
    ("tests are bypassed", |root| params(root, RESNET, "seed-checker-bypass\nrcp-bypass")),
    ("seeds are bypassed", |root| params(root, "results/box", "seed-checker-bypass")),
    ("convergence is bypassed", |root| params(root, RESNET, "rcp-bypass")),
    ("a bypass has a line end", |root| params(root, RESNET, "rcp-bypass\n")),
    ("the division is not a word", |root| {
        describe(root, "\"closed\"", "\"Closed\"");
        describe(root, "\"open\"", "\"Open\"");
    }),
    ("the description is of the other division", |root| {
        describe(root, "\"closed\"", "\"open?\"");
        describe(root, "\"open\"", "\"closed\"");
        describe(root, "\"open?\"", "\"open\"");
    }),
    ("the division is missing", |root| describe(root, "\"division\"", "\"part\"")),
    ("a field is missing", |root| describe(root, "\"cooling\"", "\"heating\"")),
    ("a field is a number", |root| {
        describe(root, "\"accelerators_per_node\": \"0\"", "\"accelerators_per_node\": 0");
    }),
    ("a count is a number", |root| {
        describe(root, "\"number_of_nodes\": \"1\"", "\"number_of_nodes\": 1.0");
    }),
    ("the status is the log's word", |root| {
        describe(root, "Research, Development, or Internal (RDI)", "research");
    }),
    ("the status is a list", |root| {
        describe(root, "\"Research, Development, or Internal (RDI)\"", "[]");
    }),
    ("the description is a list", |root| {
        edit(&root.join("systems/box.json"), |_| "[\"division\"]".into());
    }),
    ("the description is cut", |root| describe(root, "}", "")),
    ("the description has another name", |root| {
        rename(root, "systems/box.json", "systems/other.json");
    }),
    ("a description has no results", |root| put(root, "systems/other.json", "{\"status\": 1}")),
    ("a hidden description", |root| put(root, "systems/.other.json", "{")),
    ("there are no descriptions", |root| drop(fs::remove_dir_all(root.join("systems")))),
    ("there are no results", |root| drop(fs::remove_dir_all(root.join("results")))),
    ("the results are empty", |root| {
        let _ = fs::remove_dir_all(root.join("results"));
        fs::create_dir(root.join("results")).unwrap();
    }),
    ("a system has no description", |root| put(root, "results/other/sgemm/x", "")),
    ("a folder without a benchmark", |root| put(root, "results/other/x", "")),
    ("a hidden folder", |root| put(root, "results/.git/x/y", "")),
    ("an unknown benchmark", |root| put(root, "results/box/sgemm/result_0.txt", "")),
    ("a file beside the logs", |root| put(root, "results/box/resnet/notes.md", "")),
    ("a factor is there", |root| {
        put(root, "results/box/resnet/scaling.json", "{\"scaling_factor\": 2}");
    }),
    ("power of every run", |root| power(root, 0..5)),
    ("power of four runs", |root| power(root, 1..5)),
    ("power of three runs", |root| power(root, 2..5)),
    ("power with another node", |root| {
        power(root, 0..5);
        put(root, "results/box/resnet/power/result_1/node_1.txt", "");
    }),
    ("power numbered from 1", |root| {
        power(root, 1..5);
        put(root, "results/box/resnet/power/result_0/node_1.txt", "");
    }),
    ("power with a bad name", |root| {
        power(root, 0..5);
        put(root, "results/box/resnet/power/result_1/switch.txt", "");
    }),
    ("power is a file", |root| {
        let _ = fs::remove_dir_all(root.join(RESNET).join("power"));
        put(root, "results/box/resnet/power", "");
    }),
    ("a name with a blank", |root| put(root, "benchmarks/a b/x", "")),
    ("a hidden file", |root| put(root, "benchmarks/resnet/.gitignore", "")),
    ("a file is too big", |root| {
        let file = fs::File::create(root.join("big")).unwrap();
        file.set_len(50 * 1024 * 1024 + 1).unwrap();
    }),
    ("a file is as big as allowed", |root| {
        fs::File::create(root.join("large")).unwrap().set_len(50 * 1024 * 1024).unwrap();
    }),
    ("a link is broken", |root| link(root, "nowhere", "broken")),
    ("a link to itself", |root| link(root, "loop", "loop")),
    ("a relative link", |root| link(root, "LICENSE", "COPYING")),
    ("an absolute link", |root| link(root, "/etc/passwd", "passwd")),
    ("a link to a folder", |root| link(root, "benchmarks", "also")),
    ("a link to a folder with a bad name", |root| link(root, "benchmarks", ".also")),
    ("a link out of the tree", |root| link(root, "../..", "up")),
    ("a log is a link", |root| {
        rename(root, "results/box/resnet/result_1.txt", "elsewhere");
        link(root, "../../../elsewhere", "results/box/resnet/result_1.txt");
    }),
    ("a system is a link", |root| link(root, "box", "results/twin")),
];
