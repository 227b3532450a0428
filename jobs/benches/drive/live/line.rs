//! One WebSocket, frames parsed by hand on a plain socket: ten thousand of them are to take as little as they can of the
//! cores that they share with what is measured.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

thread_local! {
    /// What arrives, for all sockets of this thread.
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; 1 << 16]);
}

/// What a subscriber says.
#[derive(Clone)]
pub(crate) struct Seat {
    /// Which pull it watches.
    pub(crate) topic: usize,
    /// The path of the socket.
    pub(crate) path: String,
    /// `connection_init` and `subscribe`; the floor wants neither.
    pub(crate) hello: Option<[String; 2]>,
}

/// What a server says, as far as the bench wants to know.
pub(crate) enum Said {
    Acknowledged,
    /// An event, by its number, and whether it is of a job that has succeeded.
    Next(u32, bool),
    Complete,
    Other(String),
}

pub(crate) struct Line {
    stream: TcpStream,
    /// The beginning of a frame whose end has not come.
    pending: Vec<u8>,
    /// Whether what is pending was not looked at yet: it came with the answer to the upgrade.
    early: bool,
}

impl Line {
    /// Connects, and says what has to be said up to the subscription.
    pub(crate) async fn open(address: SocketAddr, seat: &Seat) -> io::Result<Self> {
        let mut stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let request = format!(
            "GET {} HTTP/1.1\r\nhost: {address}\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
             sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-protocol: graphql-transport-ws\r\n\r\n",
            seat.path
        );
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::with_capacity(512);
        let end = loop {
            if stream.read_buf(&mut answer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if let Some(at) = find(&answer, b"\r\n\r\n") {
                break at + 4;
            }
        };
        if !answer.starts_with(b"HTTP/1.1 101") {
            return Err(io::Error::other("the upgrade was refused"));
        }
        let pending = answer.split_off(end);
        let mut line = Self {
            stream,
            early: !pending.is_empty(),
            pending,
        };
        if let Some([init, _]) = &seat.hello {
            line.say(0x1, init.as_bytes()).await?;
            let mut acknowledged = false;
            while !acknowledged {
                line.hear(|said| acknowledged |= matches!(said, Said::Acknowledged))
                    .await?;
            }
        }
        Ok(line)
    }

    /// Sends a frame, under the mask of zeros.
    pub(crate) async fn say(&mut self, opcode: u8, payload: &[u8]) -> io::Result<()> {
        let mut frame = Vec::with_capacity(payload.len() + 8);
        frame.push(0x80 | opcode);
        if let Ok(length @ ..=125) = u8::try_from(payload.len()) {
            frame.push(0x80 | length);
        } else {
            let length = u16::try_from(payload.len()).map_err(io::Error::other)?;
            frame.push(0x80 | 0x7e);
            frame.extend(length.to_be_bytes());
        }
        frame.extend([0; 4]);
        frame.extend(payload);
        self.stream.write_all(&frame).await
    }

    /// Waits for bytes, and tells what is whole of them. An error when the server has gone or closes.
    pub(crate) async fn hear(&mut self, mut on: impl FnMut(Said)) -> io::Result<()> {
        if !std::mem::take(&mut self.early) {
            self.stream.readable().await?;
        }
        let ping = SCRATCH.with_borrow_mut(|scratch| {
            let kept = self.pending.len();
            scratch[..kept].copy_from_slice(&self.pending);
            let read = match self.stream.try_read(&mut scratch[kept..]) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
                Err(error) => return Err(error),
            };
            let mut rest = &scratch[..kept + read];
            let mut ping = None;
            while let Some((opcode, payload, after)) = frame(rest) {
                match opcode {
                    0x1 => on(said(payload)),
                    0x8 => return Err(io::Error::other(format!("closed: {}", close(payload)))),
                    0x9 => ping = Some(payload.to_vec()),
                    _ => {}
                }
                rest = after;
            }
            self.pending.clear();
            self.pending.extend_from_slice(rest);
            Ok(ping)
        })?;
        match ping {
            Some(payload) => self.say(0xA, &payload).await,
            None => Ok(()),
        }
    }
}

/// The first frame: its opcode, its payload, and what comes after.
fn frame(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let [first, second, rest @ ..] = bytes else {
        return None;
    };
    let (length, rest) = match second & 0x7f {
        126 => (
            usize::from(u16::from_be_bytes(rest.get(..2)?.try_into().ok()?)),
            rest.get(2..)?,
        ),
        length => (usize::from(length), rest),
    };
    (rest.len() >= length).then(|| (first & 0x0f, &rest[..length], &rest[length..]))
}

fn said(text: &[u8]) -> Said {
    const NEXT: &[u8] = b"{\"type\":\"next\"";
    const SEQUENCE: &[u8] = b"\"sequence\":";
    if text.starts_with(NEXT) {
        let Some(at) = find(text, SEQUENCE) else {
            return Said::Other(String::from_utf8_lossy(text).into_owned());
        };
        let digits = text[at + SEQUENCE.len()..].iter();
        let number = digits
            .take_while(|byte| byte.is_ascii_digit())
            .fold(0, |number, digit| number * 10 + u32::from(digit - b'0'));
        return Said::Next(number, find(text, b"\"state\":\"SUCCEEDED\"").is_some());
    }
    if text.starts_with(b"{\"type\":\"complete\"") {
        Said::Complete
    } else if text.starts_with(b"{\"type\":\"connection_ack\"") {
        Said::Acknowledged
    } else {
        Said::Other(String::from_utf8_lossy(text).into_owned())
    }
}

fn close(payload: &[u8]) -> String {
    let code = payload
        .first_chunk()
        .map_or(0, |code| u16::from_be_bytes(*code));
    format!(
        "{code} {}",
        String::from_utf8_lossy(payload.get(2..).unwrap_or_default())
    )
}

/// Looks in the first bytes only: what is looked for stands at the beginning.
fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    let text = &text[..text.len().min(512)];
    text.windows(what.len()).position(|window| window == what)
}
