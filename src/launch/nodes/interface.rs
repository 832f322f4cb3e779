//! The network interface through which a node talks to the others. Gloo and NCCL would choose one by the
//! host's name, which on many machines leads to the loopback interface.

use std::net::IpAddr;

use super::NodeError;

/// The name of an interface, such as `eth0`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface(pub(in crate::launch) String);

impl Interface {
    /// The interface `name`.
    pub fn named(name: &str) -> Result<Self, NodeError> {
        let all = all();
        if all.iter().any(|(known, _)| known == name) {
            return Ok(Self(name.to_owned()));
        }
        let mut known: Vec<_> = all.into_iter().map(|(name, _)| name).collect();
        known.sort_unstable();
        known.dedup();
        Err(NodeError::Interface { name: name.to_owned(), known: known.join(", ") })
    }

    /// The interface that has `address`.
    pub(super) fn with(address: IpAddr) -> Option<Self> {
        all().into_iter().find(|(_, own)| *own == address).map(|(name, _)| Self(name))
    }
}

/// The names and addresses of all interfaces; one that has two addresses is there twice.
fn all() -> Vec<(String, IpAddr)> {
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    interfaces.into_iter().map(|it| (it.name.clone(), it.ip())).collect()
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn interfaces_are_found_by_address_and_by_name() {
        let loopback = Interface::with(Ipv4Addr::LOCALHOST.into()).unwrap();
        assert_eq!(Interface::named(&loopback.0).unwrap(), loopback);
        assert_eq!(Interface::with(Ipv4Addr::new(192, 0, 2, 1).into()), None);
        let error = Interface::named("eth-none").unwrap_err().to_string();
        assert!(error.contains("'eth-none'") && error.contains(&loopback.0), "{error}");
    }
}
