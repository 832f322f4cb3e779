//! Integration tests: what the rooms do together.

#[cfg(test)]
mod check;
#[cfg(test)]
mod oracle;
