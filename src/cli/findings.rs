//! Options about findings that `check` and `package` share.

use clap::builder::{PossibleValuesParser, TypedValueParser};

use crate::compliance::Strictness;

/// Which findings reject, beyond those that reject in the reference checkers.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct StrictnessArgs {
    /// Warnings reject a log, as with the reference checker's --werror
    #[arg(long)]
    pub werror: bool,
    /// Faults that the reference checkers overlook reject a log
    #[arg(long)]
    pub strict: bool,
}

impl StrictnessArgs {
    pub(super) fn strictness(self) -> Strictness {
        Strictness { warnings_reject: self.werror, faults_reject: self.strict }
    }
}

/// Parses one of `codes` by the name that `name_of` gives it.
pub(super) fn code_parser<C>(
    codes: &'static [C],
    name_of: fn(&C) -> &'static str,
) -> impl TypedValueParser<Value = C>
where
    C: Copy + Send + Sync + 'static,
{
    PossibleValuesParser::new(codes.iter().map(name_of)).map(move |name| {
        let found = codes.iter().find(|code| name_of(code) == name);
        *found.expect("clap accepts only these names")
    })
}
