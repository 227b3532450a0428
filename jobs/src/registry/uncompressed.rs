//! The digest of a layer's uncompressed content.

use std::io::{self, Write};
use std::mem;

use flate2::write::MultiGzDecoder;
use sha2::{Digest as _, Sha256};
use zstd::stream::write::Decoder as ZstdDecoder;

/// The first bytes that tell the compression, at most.
const LONGEST_MAGIC: usize = 6;

/// A layer as it comes. Its compression is found from its first bytes, as engines do, and not from its media type.
pub(super) enum Content {
    /// Too few bytes have come to tell.
    Begun { first: Vec<u8>, bounded: Bounded },
    /// Not compressed.
    Plain(Bounded),
    /// Compressed with gzip, in one member or more.
    Gzip(Box<MultiGzDecoder<Bounded>>),
    /// Compressed with zstd, in one frame or more.
    Zstd(Box<ZstdDecoder<'static, Bounded>>),
    /// No layer, another compression, or content that cannot be read.
    Unknown,
}

impl Content {
    /// Nothing yet. At most so many uncompressed bytes are hashed.
    pub(super) fn begin(most: u64) -> Self {
        let bounded = Bounded {
            hash: Sha256::new(),
            left: most,
        };
        Self::Begun {
            first: Vec::new(),
            bounded,
        }
    }

    /// Takes the next bytes.
    pub(super) fn take(&mut self, chunk: &[u8]) {
        let Self::Begun { first, .. } = self else {
            return self.unpack(chunk);
        };
        first.extend_from_slice(chunk);
        if first.len() >= LONGEST_MAGIC {
            self.tell();
        }
    }

    /// The digest, if all could be read.
    pub(super) fn finish(mut self) -> Option<String> {
        self.tell();
        let bounded = match self {
            Self::Plain(bounded) => bounded,
            Self::Gzip(decoder) => decoder.finish().ok()?,
            Self::Zstd(mut decoder) => {
                decoder.flush().ok()?;
                decoder.into_inner()
            }
            Self::Begun { .. } | Self::Unknown => return None,
        };
        Some(format!("sha256:{}", hex::encode(bounded.hash.finalize())))
    }

    /// Tells the compression, if that is not done yet.
    fn tell(&mut self) {
        match mem::replace(self, Self::Unknown) {
            Self::Begun { first, bounded } => {
                *self = Self::of(&first, bounded);
                self.unpack(&first);
            }
            told => *self = told,
        }
    }

    fn of(first: &[u8], bounded: Bounded) -> Self {
        match first {
            [0x1f, 0x8b, 0x08, ..] => Self::Gzip(Box::new(MultiGzDecoder::new(bounded))),
            // A frame of content, or one to be skipped.
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => {
                ZstdDecoder::new(bounded).map_or(Self::Unknown, |it| Self::Zstd(Box::new(it)))
            }
            // bzip2 and xz.
            [b'B', b'Z', b'h', ..] | [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Self::Unknown,
            _ => Self::Plain(bounded),
        }
    }

    fn unpack(&mut self, chunk: &[u8]) {
        let unpacked = match self {
            Self::Plain(bounded) => bounded.write_all(chunk),
            Self::Gzip(decoder) => decoder.write_all(chunk),
            Self::Zstd(decoder) => decoder.write_all(chunk),
            Self::Begun { .. } | Self::Unknown => return,
        };
        if unpacked.is_err() {
            *self = Self::Unknown;
        }
    }
}

/// Hashes what is written, up to a bound.
pub(super) struct Bounded {
    hash: Sha256,
    left: u64,
}

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.left = self
            .left
            .checked_sub(bytes.len() as u64)
            .ok_or_else(|| io::Error::other("too much is in it"))?;
        self.hash.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
