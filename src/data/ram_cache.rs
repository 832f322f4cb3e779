//! The size of the cache of decoded images, as a recipe has it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Memory for decoded images.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(!try_from, !into, rename_all = "snake_case")]
pub enum RamCache {
    /// No cache.
    #[default]
    Off,
    /// Most of the memory that is spare when training starts.
    Auto,
    /// This number of bytes.
    #[schemars(untagged)]
    Bytes(#[schemars(with = "String", regex(pattern = r"^0*[1-9][0-9]* *(KiB|MiB|GiB|TiB)$"))] u64),
}

/// Units of sizes, as powers of two.
const UNITS: [(&str, u32); 4] = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];

impl TryFrom<String> for RamCache {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.as_str() {
            "off" => return Ok(Self::Off),
            "auto" => return Ok(Self::Auto),
            _ => {}
        }
        let size = UNITS.iter().find_map(|(unit, shift)| {
            let number: u64 = text.strip_suffix(unit)?.trim().parse().ok()?;
            number.checked_mul(1 << shift).filter(|&bytes| bytes > 0)
        });
        size.map(Self::Bytes).ok_or_else(|| {
            format!(
                "ram_cache ('{text}') is not a size; write \"auto\", \"off\" or a size such as \
                 \"64GiB\""
            )
        })
    }
}

impl From<RamCache> for String {
    fn from(cache: RamCache) -> Self {
        match cache {
            RamCache::Off => "off".to_owned(),
            RamCache::Auto => "auto".to_owned(),
            RamCache::Bytes(bytes) => {
                // Use the largest unit that gives a whole number; sizes are read in KiB or larger
                // units.
                let whole = UNITS.iter().find(|(_, shift)| bytes.trailing_zeros() >= *shift);
                let (unit, shift) = whole.unwrap_or(&("KiB", 10));
                format!("{}{unit}", bytes >> shift)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_of_the_cache_are_read_and_written_alike() {
        for text in ["off", "auto", "64GiB", "1TiB", "1536MiB", "7KiB"] {
            let cache = RamCache::try_from(text.to_owned()).unwrap();
            assert_eq!(String::from(cache), text);
        }
        assert_eq!(RamCache::try_from("2 GiB".to_owned()), Ok(RamCache::Bytes(2 << 30)));
        for text in ["", "64", "64GB", "-1GiB", "0GiB", "99999999999TiB", "on"] {
            let error = RamCache::try_from(text.to_owned()).unwrap_err();
            assert!(
                error.ends_with("write \"auto\", \"off\" or a size such as \"64GiB\""),
                "{error}"
            );
        }
    }
}
