//! Rule files: what they say, and what is refused.

use proptest::prelude::*;

use super::*;

const LLAMA: &str = include_str!("../llama31_405b.toml");

fn said(rules: &str) -> Vec<String> {
    let text = format!("[closed]\nsince = \"0.7.0\"\n\n[closed.keys]\n{rules}\n");
    statements(&text, Ruleset::LATEST).unwrap()
}

fn error(rules: &str) -> String {
    let text = format!("[closed]\nsince = \"0.7.0\"\n\n[closed.keys]\n{rules}\n");
    statements(&text, Ruleset::LATEST).unwrap_err()
}

#[test]
fn a_rule_holds_for_its_span_of_rulesets() {
    let warmup = "opt_learning_rate_warmup_steps";
    let remembers = |ruleset| {
        let left = format!("sets {warmup} = ");
        statements(LLAMA, ruleset).unwrap().iter().any(|it| it.starts_with(&left))
    };
    assert!(!remembers(Ruleset::V5_0_0));
    assert!(remembers(Ruleset::V5_1_0));
}

#[test]
fn a_pattern_gives_several_keys_one_rule() {
    assert_eq!(said("\"{a,b}_size\" = { above = 0 }").len(), 4);
}

#[test]
fn what_is_no_rule_is_refused_with_the_place() {
    for (rules, words) in [
        ("a = { abvoe = 0 }", "unknown field `abvoe`"),
        ("a = { above = \"1 +\" }", "a number, a name or a bracket is missing"),
        ("a = { equation = \"a + b\" }", "has no \" = \""),
        ("a = 7", "a table or a list of tables"),
    ] {
        assert!(error(rules).contains(words), "{}", error(rules));
    }
    let since = statements("[closed]\nsince = \"9.9.9\"", Ruleset::LATEST).unwrap_err();
    assert!(since.contains("9.9.9") && since.contains("line 2"), "{since}");
}

proptest! {
    #[test]
    fn no_change_of_a_rule_file_causes_a_panic(
        place in any::<prop::sample::Index>(),
        text in r#"[\[\]{}="., a-z0-9()*/^+-]{0,20}"#,
        ruleset in proptest::sample::select(&Ruleset::ALL[..]),
    ) {
        let at = place.index(LLAMA.len());
        let changed = format!("{}{text}{}", &LLAMA[..at], &LLAMA[at..]);
        let _ = statements(&changed, ruleset);
    }
}
