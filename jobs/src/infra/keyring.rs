//! The keys that stored registry logins are encrypted with.
//!
//! XChaCha20-Poly1305: its nonces are long enough to be drawn at random. What is encrypted is bound to whom it belongs (the
//! associated data), so a row that is copied to another user or registry cannot be opened there. Each row says which key
//! it needs; the first key encrypts, all of them decrypt. So keys are changed without a moment in which a process cannot
//! read: give every process the new key as a second one, then put it first, then take the old one away.

use std::fmt;

use argon2::Argon2;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use rand::RngCore as _;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

const KEY_LENGTH: usize = 32;
const NONCE_LENGTH: usize = 24;

/// Shortest passphrase, in characters.
const SHORTEST: usize = 16;

/// The same on every machine, so that the same passphrase is the same key; it is no secret.
const SALT: &[u8] = b"wharfinger registry logins";

/// Why a key cannot be used. Never repeats it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// There is none.
    #[error("it holds no key; `openssl rand -hex 32` makes one")]
    Missing,
    /// Easily guessed.
    #[error("a key has at least {SHORTEST} characters; `openssl rand -hex 32` makes a good one")]
    TooShort,
    /// A passphrase could not be made a key: there is too little memory.
    #[error("the passphrase could not be made into a key")]
    Derivation,
}

/// Why something cannot be decrypted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// It was encrypted with a key that is not here.
    #[error("it was encrypted with another secret_key ({0})")]
    UnknownKey(String),
    /// It is not what was encrypted for this owner.
    #[error("it was changed, or belongs to another user")]
    Damaged,
}

/// Something encrypted, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sealed {
    /// Which key opens it.
    pub(crate) key_id: String,
    /// Nonce and ciphertext, in base64.
    pub(crate) text: String,
}

/// The keys of a process, the one that encrypts first.
pub struct Keyring(Vec<Key>);

struct Key {
    id: String,
    cipher: XChaCha20Poly1305,
}

impl Keyring {
    /// Reads keys, one on each line; empty lines and those that begin with `#` are left out. A key is 32 bytes in
    /// hexadecimal or base64, taken as they are, or else a passphrase.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let lines = text.lines().map(str::trim);
        let keys: Vec<Key> = lines
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .map(Key::parse)
            .collect::<Result<_, _>>()?;
        if keys.is_empty() {
            return Err(KeyError::Missing);
        }
        Ok(Self(keys))
    }

    /// A new key at random, as a text that [`parse`](Self::parse) reads.
    pub fn generate() -> Zeroizing<String> {
        let mut bytes = Zeroizing::new([0; KEY_LENGTH]);
        rand::rng().fill_bytes(&mut *bytes);
        Zeroizing::new(hex::encode(*bytes))
    }

    /// Which key encrypts.
    pub(crate) fn current(&self) -> &str {
        &self.0[0].id
    }

    /// Encrypts for one owner. The same text is never encrypted to the same twice.
    pub(crate) fn seal(&self, owner: &[u8], secret: &str) -> Sealed {
        let key = &self.0[0];
        let mut nonce = [0; NONCE_LENGTH];
        rand::rng().fill_bytes(&mut nonce);
        let payload = Payload {
            msg: secret.as_bytes(),
            aad: owner,
        };
        let ciphertext = key
            .cipher
            .encrypt(&XNonce::from(nonce), payload)
            .expect("only texts of many gigabytes cannot be encrypted");
        Sealed {
            key_id: key.id.clone(),
            text: STANDARD.encode([nonce.as_slice(), &ciphertext].concat()),
        }
    }

    /// Decrypts what was encrypted for this owner.
    pub(crate) fn open(
        &self,
        owner: &[u8],
        sealed: &Sealed,
    ) -> Result<Zeroizing<String>, OpenError> {
        let key = self.0.iter().find(|key| key.id == sealed.key_id);
        let key = key.ok_or_else(|| OpenError::UnknownKey(sealed.key_id.clone()))?;
        let bytes = STANDARD.decode(&sealed.text);
        let bytes = bytes.map_err(|_| OpenError::Damaged)?;
        let (nonce, ciphertext) = bytes
            .split_first_chunk::<NONCE_LENGTH>()
            .ok_or(OpenError::Damaged)?;
        let payload = Payload {
            msg: ciphertext,
            aad: owner,
        };
        let opened = key.cipher.decrypt(&XNonce::from(*nonce), payload);
        let opened = opened.map_err(|_| OpenError::Damaged)?;
        String::from_utf8(opened)
            .map(Zeroizing::new)
            .map_err(|_| OpenError::Damaged)
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ids = self.0.iter().map(|key| &key.id);
        f.write_str("Keyring ")?;
        f.debug_list().entries(ids).finish()
    }
}

impl Key {
    fn parse(text: &str) -> Result<Self, KeyError> {
        let mut bytes = Zeroizing::new([0; KEY_LENGTH]);
        let decoded = hex::decode(text).or_else(|_| STANDARD.decode(text));
        let decoded = decoded.map(Zeroizing::new).unwrap_or_default();
        if decoded.len() == KEY_LENGTH {
            bytes.copy_from_slice(&decoded);
        } else {
            if text.chars().count() < SHORTEST {
                return Err(KeyError::TooShort);
            }
            // Slow on purpose: people choose passphrases that can be guessed.
            Argon2::default()
                .hash_password_into(text.as_bytes(), SALT, &mut *bytes)
                .map_err(|_| KeyError::Derivation)?;
        }
        let mut id = Sha256::new();
        id.update(b"wharfinger key id");
        id.update(*bytes);
        Ok(Self {
            id: hex::encode(&id.finalize()[..8]),
            cipher: XChaCha20Poly1305::new(&(*bytes).into()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring() -> Keyring {
        Keyring::parse(&Keyring::generate()).unwrap()
    }

    #[test]
    fn what_was_sealed_is_opened_for_its_owner_only() {
        let ring = ring();
        let sealed = ring.seal(b"ada", "correct horse");
        assert_eq!(*ring.open(b"ada", &sealed).unwrap(), "correct horse");
        assert_eq!(ring.open(b"bob", &sealed), Err(OpenError::Damaged));
        assert_ne!(ring.seal(b"ada", "correct horse"), sealed);
        assert!(!sealed.text.contains("horse"));
    }

    #[test]
    fn what_was_changed_is_not_opened() {
        let ring = ring();
        let sealed = ring.seal(b"ada", "correct horse");
        let mut texts = vec![String::new(), "AAAA".to_owned(), "!".to_owned()];
        for (at, _) in sealed.text.char_indices() {
            let mut text = sealed.text.clone();
            let other = if &text[at..=at] == "A" { "B" } else { "A" };
            text.replace_range(at..=at, other);
            texts.push(text);
        }
        for text in texts {
            let key_id = sealed.key_id.clone();
            let changed = Sealed { key_id, text };
            let opened = ring.open(b"ada", &changed);
            assert_eq!(opened, Err(OpenError::Damaged), "{changed:?}");
        }
    }

    #[test]
    fn keys_are_changed_one_after_the_other() {
        let (old, new) = (Keyring::generate(), Keyring::generate());
        let ring = |keys: &[&str]| Keyring::parse(&keys.join("\n")).unwrap();
        let (first, second) = (ring(&[&old]), ring(&[&old, &new]));
        let (third, fourth) = (ring(&[&new, &old]), ring(&[&new]));
        let by_old = second.seal(b"ada", "x");
        assert_eq!(first.current(), second.current());
        for ring in [&first, &second, &third] {
            assert_eq!(*ring.open(b"ada", &by_old).unwrap(), "x");
        }
        let unknown = OpenError::UnknownKey(by_old.key_id.clone());
        assert_eq!(fourth.open(b"ada", &by_old), Err(unknown));
        let by_new = third.seal(b"ada", "y");
        assert_eq!(*fourth.open(b"ada", &by_new).unwrap(), "y");
        assert_eq!(*second.open(b"ada", &by_new).unwrap(), "y");
    }

    #[test]
    fn a_key_has_several_forms_and_never_prints() {
        let bytes = [7_u8; KEY_LENGTH];
        let (in_hex, in_base64) = (hex::encode(bytes), STANDARD.encode(bytes));
        let id = |text: &str| Keyring::parse(text).unwrap().current().to_owned();
        assert_eq!(id(&in_hex), id(&in_base64));
        assert_eq!(id(&in_hex), id(&format!("# ours\n\n  {in_hex}\r\n")));
        let passphrase = "a quay in the fog";
        assert_eq!(id(passphrase), id(passphrase));
        assert_ne!(id(passphrase), id("a quay in the sun"));
        let shown = format!("{:?}", Keyring::parse(&in_hex).unwrap());
        assert!(!shown.contains(&in_hex[..16]), "{shown}");
        let refused = |text: &str| Keyring::parse(text).unwrap_err();
        assert_eq!(refused(""), KeyError::Missing);
        assert_eq!(refused("# nothing"), KeyError::Missing);
        assert_eq!(refused("hunter2"), KeyError::TooShort);
    }
}
