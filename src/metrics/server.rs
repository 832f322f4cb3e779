//! Serves the metrics text over HTTP, to one client at a time.

use std::{
    io::{self, BufRead, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

/// How long a client may take to ask and to read.
const PATIENCE: Duration = Duration::from_secs(2);
/// The longest request that is read, bytes.
const LONGEST_REQUEST: u64 = 8192;

/// A server that answers until the process ends.
#[derive(Clone, Debug)]
pub struct MetricsServer {
    text: Arc<Mutex<String>>,
    address: SocketAddr,
}

impl MetricsServer {
    /// Listens at `address`; port 0 takes a free one.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        let server = Self { text: Arc::default(), address: listener.local_addr()? };
        let text = Arc::clone(&server.text);
        thread::Builder::new().name("metrics".to_owned()).spawn(move || {
            for client in listener.incoming().flatten() {
                // A client that goes away costs nobody anything.
                let _ = answer(&client, &text);
            }
        })?;
        Ok(server)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sets what it serves.
    pub fn set(&self, text: String) {
        *self.text.lock().unwrap_or_else(PoisonError::into_inner) = text;
    }
}

fn answer(client: &TcpStream, text: &Mutex<String>) -> io::Result<()> {
    client.set_read_timeout(Some(PATIENCE))?;
    client.set_write_timeout(Some(PATIENCE))?;
    let mut request = BufReader::new(client.take(LONGEST_REQUEST));
    let mut first = String::new();
    request.read_line(&mut first)?;
    let mut header = String::from("-");
    while !header.trim_end().is_empty() {
        header.clear();
        request.read_line(&mut header)?;
    }
    let is_metrics = first.starts_with("GET /metrics ") || first.starts_with("GET / ");
    let (status, body) = if is_metrics {
        ("200 OK", text.lock().unwrap_or_else(PoisonError::into_inner).clone())
    } else {
        ("404 Not Found", "the metrics are at /metrics\n".to_owned())
    };
    let mut client = client;
    write!(
        client,
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn get(address: SocketAddr, path: &str) -> String {
        let mut client = TcpStream::connect(address).unwrap();
        write!(client, "GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        answer
    }

    #[test]
    fn the_last_text_is_served() {
        let server = MetricsServer::bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        server.set("a 1\n".to_owned());
        server.set("a 2\n".to_owned());
        let answer = get(server.address(), "/metrics");
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.ends_with("Connection: close\r\n\r\na 2\n"), "{answer}");
        assert!(get(server.address(), "/other").starts_with("HTTP/1.1 404"), "{answer}");
    }

    #[test]
    fn a_client_that_breaks_off_does_not_end_the_server() {
        let server = MetricsServer::bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        drop(TcpStream::connect(server.address()).unwrap());
        assert!(get(server.address(), "/").starts_with("HTTP/1.1 200"));
    }
}
