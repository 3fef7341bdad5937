//! Signatures as Standard Webhooks has them (<https://www.standardwebhooks.com>), version `v1`:
//! HMAC-SHA256 of `id.timestamp.body`, in base64.

use std::fmt;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, Mac};
use sha2::Sha256;

/// Bytes of a secret, at least and at most.
const LENGTH: std::ops::RangeInclusive<usize> = 24..=1024;

/// What a target shares with its receiver: each key signs, so that a new one can come beside the
/// old one.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<Vec<u8>>);

/// Nothing of a secret is ever shown.
impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}

impl Secret {
    /// One key a line: `whsec_` and base64, or any text, whose bytes are the key then.
    ///
    /// # Errors
    /// There is none, or one is too short, too long or not base64. The message holds nothing of it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let keys: Vec<Vec<u8>> = lines.map(key).collect::<Result<_, _>>()?;
        if keys.is_empty() {
            return Err("the file is empty; write a secret into it, as made by \
                        `echo whsec_$(openssl rand -base64 32)`"
                .into());
        }
        Ok(Self(keys))
    }

    /// The value of the header `webhook-signature`: one signature a key, with blanks between.
    pub fn sign(&self, id: &str, timestamp: i64, body: &[u8]) -> String {
        let sign = |key: &Vec<u8>| {
            // HMAC takes keys of any length.
            let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return String::new() };
            mac.update(format!("{id}.{timestamp}.").as_bytes());
            mac.update(body);
            format!("v1,{}", BASE64_STANDARD.encode(mac.finalize().into_bytes()))
        };
        self.0.iter().map(sign).collect::<Vec<_>>().join(" ")
    }
}

fn key(line: &str) -> Result<Vec<u8>, String> {
    let key = match line.strip_prefix("whsec_") {
        Some(text) => BASE64_STANDARD
            .decode(text)
            .map_err(|_| "what follows whsec_ must be base64".to_owned())?,
        None => line.as_bytes().to_vec(),
    };
    if !LENGTH.contains(&key.len()) {
        return Err(format!(
            "a secret has {} to {} bytes; this one has {}",
            LENGTH.start(),
            LENGTH.end(),
            key.len()
        ));
    }
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first is the example of the specification's libraries; the others were computed with
    /// Python's `hmac` module.
    #[test]
    fn signatures_are_those_of_others() {
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        let id = "msg_p5jXN8AQM9LWM0D4loKWxJek";
        let body = br#"{"test": 2432232314}"#;
        let first = Secret::parse(secret).unwrap();
        let signature = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        assert_eq!(first.sign(id, 1_614_265_330, body), signature);

        let plain = Secret::parse("a plain secret of some length\n").unwrap();
        assert_eq!(plain.sign("msg_1", 1_700_000_000, "{\"ä\":1}".as_bytes()), PLAIN);

        let both = Secret::parse(&format!("{secret}\n\n a plain secret of some length \n"));
        let both = both.unwrap().sign(id, 1_614_265_330, body);
        let (old, new) = both.split_once(' ').unwrap();
        assert_eq!(old, signature);
        assert_eq!(new, plain.sign(id, 1_614_265_330, body));
    }

    const PLAIN: &str = "v1,URCfiSc6GZzcTvXo6KsxD0XMHLh7J3ZjWrK0Xa6/18Y=";

    #[test]
    fn bad_secrets_are_refused_and_not_shown() {
        for (bad, why) in [
            ("", "the file is empty"),
            (" \n\n", "the file is empty"),
            ("sesame-open", "24 to 1024 bytes; this one has 11"),
            ("whsec_c2VzYW1lLW9wZW4=", "this one has 11"),
            ("whsec_sesame-open!", "must be base64"),
            (&"x".repeat(2000), "this one has 2000"),
        ] {
            let refused = Secret::parse(bad).unwrap_err();
            assert!(refused.contains(why), "{refused}");
            assert!(!refused.contains("sesame"), "{refused}");
        }
        let secret = Secret::parse("a plain secret of some length").unwrap();
        assert_eq!(format!("{secret:?}"), "Secret(***)");
    }
}
