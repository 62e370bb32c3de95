//! Signatures as [Standard Webhooks](https://www.standardwebhooks.com) has them, so that receivers check
//! them with a library they have already.

use std::fmt;

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use pipeline::config::ParseError;
use sha2::Sha256;

/// What every secret begins with.
const PREFIX: &str = "whsec_";
/// How many bytes a secret has.
const BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// The secrets that sign, one signature each: while receivers change from one to the next, both do.
#[derive(Clone)]
pub struct Secrets(Vec<Vec<u8>>);

impl Secrets {
    /// Reads secrets that are separated by commas or spaces.
    ///
    /// # Errors
    /// If one of them is none. The message shows no part of it.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let words = text.split([',', ' ']).filter(|word| !word.is_empty());
        let secrets: Vec<_> = words.map(secret).collect::<Result<_, _>>()?;
        if secrets.is_empty() { Err(ParseError::default()) } else { Ok(Self(secrets)) }
    }

    /// The header `webhook-signature` of a message with this id, moment (in seconds since 1970) and body.
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
    let text = word.strip_prefix(PREFIX).ok_or_else(|| bad("it begins with whsec_"))?;
    let bytes = STANDARD.decode(text).map_err(|_| bad("what follows whsec_ is base64"))?;
    match BYTES.contains(&bytes.len()) {
        true => Ok(bytes),
        false => Err(bad("it has 24 to 64 bytes")),
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("...")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The secret, id, moment and body that the libraries of Standard Webhooks are tested with.
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const BODY: &[u8] = b"{\"test\": 2432232314}";
    const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

    #[test]
    fn signatures_are_those_that_the_standard_publishes() {
        let secrets = Secrets::parse(SECRET).unwrap();
        assert_eq!(secrets.sign(ID, 1_614_265_330, BODY), SIGNATURE);
        assert_ne!(secrets.sign(ID, 1_614_265_331, BODY), SIGNATURE);
        assert_ne!(secrets.sign("msg_other", 1_614_265_330, BODY), SIGNATURE);
    }

    #[test]
    fn while_a_secret_is_replaced_both_sign() {
        let other = format!("whsec_{}", STANDARD.encode([7; 32]));
        for separator in [" ", ",", ", "] {
            let secrets = Secrets::parse(&format!("{other}{separator}{SECRET}")).unwrap();
            let signed = secrets.sign(ID, 1_614_265_330, BODY);
            let signatures: Vec<_> = signed.split(' ').collect();
            assert!(signatures.len() == 2 && signatures[1] == SIGNATURE, "{signed}");
        }
    }

    #[test]
    fn what_is_no_secret_is_refused_and_none_is_shown() {
        let short = format!("whsec_{}", STANDARD.encode([7; 23]));
        let long = format!("whsec_{}", STANDARD.encode([7; 65]));
        for bad in ["", " , ", "secret", "whsec_", "whsec_%%%", &short, &long, "whsec_MfKQ9r8GK,x"]
        {
            let error = Secrets::parse(bad).unwrap_err();
            assert!(!format!("{error:?}").contains("MfKQ"), "{bad}");
        }
        assert_eq!(format!("{:?}", Secrets::parse(SECRET).unwrap()), "...");
    }
}
