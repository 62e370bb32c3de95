//! Webhook signatures (HMAC-SHA256) as [Standard Webhooks](https://www.standardwebhooks.com) defines them.
//!
//! Receivers verify them with one of the standard's libraries.

use std::fmt;

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use pipeline::config::ParseError;
use sha2::Sha256;

/// The prefix of every secret.
const SECRET_PREFIX: &str = "whsec_";
/// The length of a secret in bytes, as the standard has it.
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// The secrets that webhooks are signed with, one signature for each. While receivers change from one secret
/// to the next, both sign.
#[derive(Clone)]
pub struct WebhookSecrets(Vec<Vec<u8>>);

impl WebhookSecrets {
    /// Parses secrets that are separated by commas or spaces.
    ///
    /// # Errors
    /// If one of them is not a secret, or there is none. The message shows no part of the secrets.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let words = text.split([',', ' ']).filter(|word| !word.is_empty());
        let secrets: Vec<_> = words.map(secret).collect::<Result<_, _>>()?;
        if secrets.is_empty() { Err(ParseError::default()) } else { Ok(Self(secrets)) }
    }

    /// The value of the header `webhook-signature`. `timestamp` is in seconds since 1970.
    pub fn sign(&self, id: &str, timestamp: u64, body: &[u8]) -> String {
        let signature = |secret: &Vec<u8>| {
            let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes any key");
            mac.update(format!("{id}.{timestamp}.").as_bytes());
            mac.update(body);
            format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
        };
        self.0.iter().map(signature).collect::<Vec<_>>().join(" ")
    }
}

fn secret(word: &str) -> Result<Vec<u8>, ParseError> {
    let bad = |why: &str| ParseError { detail: Some(why.to_owned()) };
    let text =
        word.strip_prefix(SECRET_PREFIX).ok_or_else(|| bad("a secret begins with whsec_"))?;
    let bytes = STANDARD.decode(text).map_err(|_| bad("what follows whsec_ must be base64"))?;
    match SECRET_BYTES.contains(&bytes.len()) {
        true => Ok(bytes),
        false => Err(bad("a secret has 24 to 64 bytes")),
    }
}

impl fmt::Debug for WebhookSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("...")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The test vector of the Standard Webhooks libraries.
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const BODY: &[u8] = b"{\"test\": 2432232314}";
    const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

    #[test]
    fn signatures_equal_the_test_vector_of_the_standard() {
        let secrets = WebhookSecrets::parse(SECRET).unwrap();
        assert_eq!(secrets.sign(ID, 1_614_265_330, BODY), SIGNATURE);
        assert_ne!(secrets.sign(ID, 1_614_265_331, BODY), SIGNATURE);
        assert_ne!(secrets.sign("msg_other", 1_614_265_330, BODY), SIGNATURE);
    }

    #[test]
    fn each_secret_makes_a_signature() {
        let other = format!("whsec_{}", STANDARD.encode([7; 32]));
        for separator in [" ", ",", ", "] {
            let secrets = WebhookSecrets::parse(&format!("{other}{separator}{SECRET}")).unwrap();
            let signed = secrets.sign(ID, 1_614_265_330, BODY);
            let signatures: Vec<_> = signed.split(' ').collect();
            assert!(signatures.len() == 2 && signatures[1] == SIGNATURE, "{signed}");
        }
    }

    #[test]
    fn malformed_secrets_are_refused_and_not_shown() {
        let short = format!("whsec_{}", STANDARD.encode([7; 23]));
        let long = format!("whsec_{}", STANDARD.encode([7; 65]));
        for bad in ["", " , ", "secret", "whsec_", "whsec_%%%", &short, &long, "whsec_MfKQ9r8GK,x"]
        {
            let error = WebhookSecrets::parse(bad).unwrap_err();
            assert!(!format!("{error:?}").contains("MfKQ"), "{bad}");
        }
        assert_eq!(format!("{:?}", WebhookSecrets::parse(SECRET).unwrap()), "...");
    }
}
