//! Which passwords are too easy to guess.

use zxcvbn::{Score, zxcvbn};

use crate::error::{ServiceError, UserError, UserErrorCode};
use crate::infra::password_hashing::{MAX_BYTES, Passwords};

/// Shortest password in characters, as NIST SP 800-63B has it.
const MIN_CHARACTERS: usize = 8;

/// Characters that the check of strength looks at: its cost grows faster than the length.
const LOOKED_AT: usize = 100;

/// "Safely unguessable": ten thousand million guesses would not find it.
const STRONG: Score = Score::Three;

/// Refuses a password that is too easy to guess for this user, and hashes any other. `field` is the input's field.
pub(crate) async fn hash_strong(
    passwords: &Passwords,
    password: &str,
    name: &str,
    field: &'static str,
) -> Result<String, ServiceError> {
    let (text, user) = (password.to_owned(), name.to_owned());
    if let Some(weakness) = passwords.run(move || weakness(&text, &user)).await? {
        return Err(UserError::new(UserErrorCode::WeakPassword, field, weakness).into());
    }
    Ok(passwords.hash(password).await?)
}

/// Why a password is easy to guess for an attacker who knows the user's name, and how to make it better; none for a good
/// one. Takes milliseconds of computing.
pub fn weakness(password: &str, name: &str) -> Option<String> {
    if password.len() > MAX_BYTES {
        return Some(format!("a password has at most {MAX_BYTES} bytes"));
    }
    if password.chars().count() < MIN_CHARACTERS {
        return Some(format!(
            "a password has at least {MIN_CHARACTERS} characters: several words make one that is easy to remember"
        ));
    }
    let looked_at: String = password.chars().take(LOOKED_AT).collect();
    let entropy = zxcvbn(&looked_at, &[name, "wharfinger"]);
    if entropy.score() >= STRONG {
        return None;
    }
    let mut advice = vec!["this password is easy to guess".to_owned()];
    if let Some(feedback) = entropy.feedback() {
        advice.extend(feedback.warning().map(|warning| sentence(&warning)));
        advice.extend(feedback.suggestions().iter().map(sentence));
    }
    Some(advice.join(". "))
}

fn sentence(text: &impl ToString) -> String {
    text.to_string().trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn easy_passwords_are_told_what_is_wrong() {
        let (too_long, repeated) = ("x".repeat(2000), "aB3-".repeat(200));
        let short = ["", "short", "password", "12345678", "qwertyuiop"];
        for weak in short
            .into_iter()
            .chain(["adalovelace1", &too_long, &repeated])
        {
            assert!(weakness(weak, "adalovelace").is_some(), "{weak}");
        }
        for strong in ["correct horse battery staple", "vK3#pq9!Lm2z"] {
            assert_eq!(weakness(strong, "ada"), None);
        }
    }
}
