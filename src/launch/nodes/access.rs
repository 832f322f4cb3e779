//! Lets in only nodes that know `MLPERF_RUN_KEY`. Both ends prove it without sending it: each hashes the
//! key with a number that the other has drawn.

use std::{env, fs::File, io::Read};

use sha2::{Digest, Sha256};

use crate::hash::hex;

/// Who proves that it knows the key. A proof of one is none of the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Prover {
    First,
    Other,
}

/// What all nodes know and others do not; empty if the user has set none.
#[derive(Clone)]
pub(super) struct Key(String);

impl Key {
    pub(super) fn from_env() -> Self {
        Self(env::var("MLPERF_RUN_KEY").unwrap_or_default())
    }

    /// The proof for the other end's number.
    pub(super) fn proof(&self, prover: Prover, number: &str) -> String {
        let tag = match prover {
            Prover::First => "first",
            Prover::Other => "other",
        };
        let parts = [tag, number, self.0.as_str()];
        let mut hasher = Sha256::new();
        for part in parts {
            hasher.update((part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        hex(hasher.finalize())
    }
}

/// 128 random bits as text.
pub(in crate::launch) fn random_text() -> String {
    let mut bytes = [0; 16];
    let read = File::open("/dev/urandom").and_then(|mut source| source.read_exact(&mut bytes));
    read.expect("the kernel has random numbers");
    hex(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_holds_for_one_key_one_number_and_one_end() {
        let key = |text: &str| Key(text.to_owned());
        let proof = key("secret").proof(Prover::First, "12");
        assert_eq!(proof, key("secret").proof(Prover::First, "12"));
        for other in [
            key("secret").proof(Prover::Other, "12"),
            key("secret").proof(Prover::First, "1"),
            key("2secret").proof(Prover::First, "1"),
            key("").proof(Prover::First, "12"),
        ] {
            assert_ne!(proof, other);
        }
    }

    #[test]
    fn random_texts_differ() {
        let texts = [random_text(), random_text()];
        assert_eq!(texts[0].len(), 32);
        assert_ne!(texts[0], texts[1]);
    }
}
