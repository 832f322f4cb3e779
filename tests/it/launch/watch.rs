//! A run that is watched from another terminal.

use std::fs;

use super::{
    report::{FULL, full_stage},
    stage::{Stage, Told, wait_for},
};

#[test]
fn a_running_run_is_shown_until_it_ends() {
    let script = r#"
[ "$RANK" = 0 ] || exit 0
run_start
echo started > "$STAGE/started"
while [ ! -s "$STAGE/watched" ]; do sleep 0.05; done
cat "$STAGE/events"
run_stop success
"#;
    let stage = full_stage();
    stage.put("rank", &stage.read("rank").replace(FULL, script));
    let child = stage.train_until("started");
    let watching = stage.command(&["watch"]).spawn().unwrap();
    fs::write(stage.path("watched"), "yes").unwrap();
    let seen = Told::by(watching);
    Told::by(child).expect(0, &[]);
    let words = ["watching results/box/run_0", "epoch 2  accuracy 80.00 %", "target reached"];
    seen.expect(0, &words);
    assert!(seen.stdout.contains("minutes to target"), "{seen:#?}");
}

#[test]
fn watch_ends_with_the_runs_exit_code() {
    for (end, code) in [
        ("run_stop aborted; exit 0", 5),
        ("failed input 'the images are gone'; exit 3", 3),
        ("failed internal 'it broke'; exit 6", 6),
    ] {
        let script = format!("[ \"$RANK\" = 0 ] || exit 0\nrun_start\n{end}\n");
        let stage = Stage::with_ranks(&script);
        stage.train(&[]).expect(code, &[]);
        wait_for(&stage.path("results/box/run_0/summary.json"));
        let args = ["watch", "results/box/run_0"];
        Told::of(stage.command(&args).output().unwrap()).expect(code, &[]);
    }
}

#[test]
fn without_a_run_watch_says_what_to_name() {
    let stage = Stage::with_ranks("");
    let told = Told::of(stage.command(&["watch"]).output().unwrap());
    told.expect(3, &["there is no run in results; name a run"]);
}
