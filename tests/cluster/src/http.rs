//! As much of HTTP/1.1 as asking an API takes.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use serde_json::Value;

use crate::process::WITHIN;

/// An answer.
#[derive(Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The header, as it came.
    pub header: String,
    /// The body, as text.
    pub body: String,
}

impl Answer {
    /// The body as JSON.
    pub fn json(&self) -> Value {
        match serde_json::from_str(&self.body) {
            Ok(value) => value,
            Err(error) => panic!("{error}: {self:?}"),
        }
    }
}

/// `GET path`, with header lines of the form `name: value`.
pub fn get(to: SocketAddr, path: &str, header: &[&str]) -> Answer {
    ask(to, "GET", path, header, "")
}

/// `POST path` with a JSON body.
pub fn post(to: SocketAddr, path: &str, body: &Value) -> Answer {
    let header = ["content-type: application/json"];
    ask(to, "POST", path, &header, &body.to_string())
}

/// `DELETE path`, with header lines of the form `name: value`.
pub fn delete(to: SocketAddr, path: &str, header: &[&str]) -> Answer {
    ask(to, "DELETE", path, header, "")
}

/// The same of a server that may go away meanwhile.
pub fn try_post(to: SocketAddr, path: &str, body: &Value) -> io::Result<Answer> {
    let header = ["content-type: application/json"];
    try_ask(to, "POST", path, &header, &body.to_string())
}

fn ask(to: SocketAddr, method: &str, path: &str, header: &[&str], body: &str) -> Answer {
    try_ask(to, method, path, header, body).expect("it answers")
}

fn try_ask(
    to: SocketAddr,
    method: &str,
    path: &str,
    header: &[&str],
    body: &str,
) -> io::Result<Answer> {
    let mut socket = TcpStream::connect_timeout(&to, WITHIN)?;
    socket.set_read_timeout(Some(WITHIN))?;
    let lines: String = header.iter().map(|line| format!("{line}\r\n")).collect();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: {to}\r\nconnection: close\r\n\
         content-length: {}\r\n{lines}\r\n{body}",
        body.len()
    );
    socket.write_all(request.as_bytes())?;
    let mut bytes = Vec::new();
    socket.read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let (header, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = header
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .unwrap_or(0);
    let chunked = header.to_lowercase().contains("transfer-encoding: chunked");
    Ok(Answer {
        status,
        header: header.to_owned(),
        body: if chunked {
            joined(body)
        } else {
            body.to_owned()
        },
    })
}

/// The chunks of a body, joined.
fn joined(mut body: &str) -> String {
    let mut text = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let size = usize::from_str_radix(size.trim(), 16).unwrap_or(0);
        let (Some(chunk), true) = (rest.get(..size), size > 0) else {
            break;
        };
        text.push_str(chunk);
        body = rest.get(size + 2..).unwrap_or_default();
    }
    text
}
