//! Short patterns for long lists of names: `layer{1..3}_{a,b}` stands for six names.

/// The most names that one pattern stands for.
const MAX_NAMES: usize = 10_000;

/// The names that `pattern` stands for, the first alternatives first.
pub(super) fn names(pattern: &str) -> Vec<String> {
    let Some((before, rest)) = pattern.split_once('{') else { return vec![pattern.into()] };
    let Some((inner, after)) = rest.split_once('}') else { return vec![pattern.into()] };
    let alternatives = alternatives(inner);
    let ends = names(after);
    let starts = alternatives.iter().map(|word| format!("{before}{word}"));
    let all = starts.flat_map(|start| ends.iter().map(move |end| format!("{start}{end}")));
    all.take(MAX_NAMES).collect()
}

fn alternatives(inner: &str) -> Vec<String> {
    let range = inner.split_once("..").and_then(|(first, last)| {
        let number = |text: &str| text.parse::<u16>().ok();
        Some(number(first)?..=number(last)?)
    });
    match range {
        Some(range) => range.take(MAX_NAMES).map(|number| number.to_string()).collect(),
        None => inner.split(',').map(str::to_owned).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn braces_hold_a_range_or_a_list() {
        assert_eq!(names("plain"), ["plain"]);
        assert_eq!(
            names("conv{0..1}_{weight,bias}"),
            ["conv0_weight", "conv0_bias", "conv1_weight", "conv1_bias"]
        );
        assert_eq!(names("conv{,_1}/kernel"), ["conv/kernel", "conv_1/kernel"]);
        assert_eq!(names("open{"), ["open{"]);
    }
}
