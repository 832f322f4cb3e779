//! The port on which rank 0 waits for the others.

use std::{env, net::TcpListener};

use super::LaunchError;

/// The origin of the ranks' port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MasterPort {
    /// `MASTER_PORT` of the environment.
    Named(u16),
    /// Any free port.
    Free,
}

impl MasterPort {
    /// Reads the environment.
    pub fn from_env() -> Result<Self, LaunchError> {
        match env::var("MASTER_PORT") {
            Ok(text) => Self::parse(&text),
            Err(_) => Ok(Self::Free),
        }
    }

    fn parse(text: &str) -> Result<Self, LaunchError> {
        let number = text.parse().ok().filter(|port| *port != 0).ok_or_else(|| {
            let reason = "it is not a number from 1 to 65535".to_owned();
            LaunchError::Port { port: text.to_owned(), reason }
        })?;
        Ok(Self::Named(number))
    }

    /// A port of this machine's address `host` that is free at this moment.
    pub fn settle(self, host: &str) -> Result<u16, LaunchError> {
        let wanted = match self {
            Self::Named(port) => port,
            Self::Free => 0,
        };
        let free = TcpListener::bind((host, wanted)).and_then(|socket| socket.local_addr());
        free.map(|address| address.port()).map_err(|error| LaunchError::Port {
            port: wanted.to_string(),
            reason: error.to_string(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_named_port_is_used_when_free_and_rejected_when_in_use() {
        let holder = TcpListener::bind(("0.0.0.0", 0)).unwrap();
        let port = holder.local_addr().unwrap().port();
        let error = MasterPort::Named(port).settle("127.0.0.1").unwrap_err().to_string();
        assert!(error.contains(&port.to_string()) && error.contains("unset it"), "{error}");
        drop(holder);
        assert_eq!(MasterPort::Named(port).settle("127.0.0.1").unwrap(), port);
    }

    #[test]
    fn a_free_port_is_found() {
        assert_ne!(MasterPort::Free.settle("127.0.0.1").unwrap(), 0);
    }

    #[test]
    fn invalid_ports_are_rejected() {
        for text in ["", "0", "70000", "http"] {
            assert!(MasterPort::parse(text).is_err(), "{text}");
        }
    }
}
