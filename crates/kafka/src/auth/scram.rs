//! SCRAM-SHA-256 and SCRAM-SHA-512, the client's side, without channel binding.
//!
//! Source: RFC 5802 and RFC 7677. As in Kafka's own client, names and passwords are taken as UTF-8 without SASLprep,
//! and fewer than 4096 iterations are refused.

use std::num::NonZeroU32;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::rand::SecureRandom;
use ring::{digest, hmac, pbkdf2};
use secrecy::{ExposeSecret, SecretString};

use crate::config::ScramHash;

/// Below this, a server that pretends to be the broker could try passwords too cheaply.
const MIN_ITERATIONS: u32 = 4096;
/// Above this, a server could keep this side busy for minutes. Brokers allow 16384 at most.
const MAX_ITERATIONS: u32 = 1_000_000;

const GS2_HEADER: &str = "n,,";

/// One conversation.
pub(super) struct Scram {
    hash: ScramHash,
    password: SecretString,
    client_first_bare: String,
    nonce: String,
    state: State,
}

enum State {
    First,
    /// What the server must have signed, and with which key.
    Final(Box<hmac::Key>, String),
    Done,
}

/// A nonce of 192 random bits.
pub(super) fn nonce() -> String {
    let mut bytes = [0; 24];
    // A system without random numbers cannot have done TLS either; the empty nonce is refused by the broker.
    match ring::rand::SystemRandom::new().fill(&mut bytes) {
        Ok(()) => STANDARD.encode(bytes),
        Err(_) => String::new(),
    }
}

impl Scram {
    pub(super) fn new(hash: ScramHash, username: &str, password: SecretString, nonce: &str) -> Self {
        let name = username.replace('=', "=3D").replace(',', "=2C");
        Self {
            hash,
            password,
            client_first_bare: format!("n={name},r={nonce}"),
            nonce: nonce.to_owned(),
            state: State::First,
        }
    }

    pub(super) fn client_first(&self) -> String {
        format!("{GS2_HEADER}{}", self.client_first_bare)
    }

    pub(super) fn step(&mut self, challenge: &[u8]) -> Result<Option<Vec<u8>>, String> {
        let message =
            std::str::from_utf8(challenge).map_err(|_| "the broker's message is not UTF-8".to_owned())?;
        match std::mem::replace(&mut self.state, State::Done) {
            State::First => {
                let (answer, server_key, signed) = self.client_final(message)?;
                self.state = State::Final(Box::new(server_key), signed);
                Ok(Some(answer.into_bytes()))
            }
            State::Final(key, signed) => verify(message, &key, &signed).map(|()| None),
            State::Done => Err("the broker goes on after the end".to_owned()),
        }
    }

    fn client_final(&self, server_first: &str) -> Result<(String, hmac::Key, String), String> {
        let mut parts = server_first.split(',');
        let mut part = |name: &str| {
            parts
                .next()
                .and_then(|part| part.strip_prefix(name))
                .ok_or_else(|| format!("the broker's first message has no {name}"))
        };
        let nonce = part("r=")?;
        let salt = part("s=")?;
        let iterations = part("i=")?;
        if !nonce.starts_with(&self.nonce) || nonce.len() == self.nonce.len() || self.nonce.is_empty() {
            return Err("the broker did not keep the nonce".to_owned());
        }
        let salt = STANDARD
            .decode(salt)
            .map_err(|_| "the broker's salt is not base64".to_owned())?;
        let iterations = iterations
            .parse()
            .ok()
            .filter(|count| (MIN_ITERATIONS..=MAX_ITERATIONS).contains(count))
            .and_then(NonZeroU32::new)
            .ok_or_else(|| {
                format!("{iterations} iterations are not between {MIN_ITERATIONS} and {MAX_ITERATIONS}")
            })?;
        let (hash, mac, derive) = match self.hash {
            ScramHash::Sha256 => (&digest::SHA256, hmac::HMAC_SHA256, pbkdf2::PBKDF2_HMAC_SHA256),
            ScramHash::Sha512 => (&digest::SHA512, hmac::HMAC_SHA512, pbkdf2::PBKDF2_HMAC_SHA512),
        };
        let mut salted = vec![0; hash.output_len()];
        pbkdf2::derive(
            derive,
            iterations,
            &salt,
            self.password.expose_secret().as_bytes(),
            &mut salted,
        );
        let salted = hmac::Key::new(mac, &salted);
        let client_key = hmac::sign(&salted, b"Client Key");
        let stored_key = digest::digest(hash, client_key.as_ref());
        let without_proof = format!("c={},r={nonce}", STANDARD.encode(GS2_HEADER));
        let auth_message = format!("{},{server_first},{without_proof}", self.client_first_bare);
        let signature = hmac::sign(&hmac::Key::new(mac, stored_key.as_ref()), auth_message.as_bytes());
        let proof: Vec<u8> = client_key
            .as_ref()
            .iter()
            .zip(signature.as_ref())
            .map(|(key, signature)| key ^ signature)
            .collect();
        let server_key = hmac::Key::new(mac, hmac::sign(&salted, b"Server Key").as_ref());
        let answer = format!("{without_proof},p={}", STANDARD.encode(proof));
        Ok((answer, server_key, auth_message))
    }
}

fn verify(server_final: &str, key: &hmac::Key, signed: &str) -> Result<(), String> {
    if let Some(error) = server_final.strip_prefix("e=") {
        return Err(format!("the broker says {error}"));
    }
    let signature = server_final
        .strip_prefix("v=")
        .and_then(|rest| rest.split(',').next())
        .and_then(|text| STANDARD.decode(text).ok())
        .ok_or_else(|| "the broker's last message has no signature".to_owned())?;
    hmac::verify(key, signed.as_bytes(), &signature)
        .map_err(|_| "the broker could not prove that it knows the password".to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// RFC 7677, section 3.
    fn rfc7677() -> Scram {
        Scram::new(ScramHash::Sha256, "user", "pencil".into(), "rOprNGfwEbeRWgbNEkqO")
    }

    const SERVER_FIRST: &[u8] =
        b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";

    #[test]
    fn the_conversation_of_rfc_7677() {
        let mut scram = rfc7677();
        assert_eq!(scram.client_first(), "n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
        let answer = scram.step(SERVER_FIRST).unwrap().unwrap();
        assert_eq!(
            String::from_utf8(answer).unwrap(),
            "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
             p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
        );
        let last = scram
            .step(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=")
            .unwrap();
        assert_eq!(last, None);
        assert!(scram.step(b"").is_err(), "nothing may follow");
    }

    #[test]
    fn a_server_that_does_not_know_the_password_is_refused() {
        for server_final in [
            &b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G5="[..],
            b"v=AAAA",
            b"v=",
            b"v=!",
            b"",
            b"e=invalid-proof",
        ] {
            let mut scram = rfc7677();
            scram.step(SERVER_FIRST).unwrap();
            assert!(
                scram.step(server_final).is_err(),
                "{}",
                server_final.escape_ascii()
            );
        }
    }

    #[test]
    fn first_messages_that_cannot_be_right_are_refused() {
        for (server_first, reason) in [
            ("r=other,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096", "nonce"),
            (
                "r=rOprNGfwEbeRWgbNEkqO,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
                "nonce",
            ),
            ("r=rOprNGfwEbeRWgbNEkqOx,s=*,i=4096", "base64"),
            ("r=rOprNGfwEbeRWgbNEkqOx,s=AAAA,i=4095", "iterations"),
            ("r=rOprNGfwEbeRWgbNEkqOx,s=AAAA,i=4294967295", "iterations"),
            ("r=rOprNGfwEbeRWgbNEkqOx,s=AAAA", "no i="),
            ("m=ext,r=rOprNGfwEbeRWgbNEkqOx,s=AAAA,i=4096", "no r="),
            ("", "no r="),
        ] {
            let error = rfc7677().step(server_first.as_bytes()).unwrap_err();
            assert!(error.contains(reason), "{server_first}: {error}");
        }
        assert!(rfc7677().step(&[0xff]).is_err());
    }

    #[test]
    fn commas_and_equals_signs_in_names_are_escaped() {
        let scram = Scram::new(ScramHash::Sha512, "a,b=c", "p".into(), "n");
        assert_eq!(scram.client_first(), "n,,n=a=2Cb=3Dc,r=n");
    }

    #[test]
    fn sha_512_derives_what_an_independent_computation_does() {
        let mut scram = Scram::new(ScramHash::Sha512, "user", "pencil".into(), "abc");
        let answer = scram
            .step(b"r=abcdef,s=QSXCR+Q6sek8bf92,i=4096")
            .unwrap()
            .unwrap();
        assert_eq!(
            String::from_utf8(answer).unwrap(),
            "c=biws,r=abcdef,\
             p=0f+lKDiX32Ve21nKVcMKxpi0+uwTE8rRYhHRqa9D15NJ\
             31nAa7vfOdRI0xRbjUTJuj5URw7/cfO0FqXbXz74+g=="
        );
    }

    #[test]
    fn nonces_differ() {
        assert_ne!(nonce(), nonce());
        assert_eq!(nonce().len(), 32);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn any_challenge_is_answered_or_refused(challenge in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = rfc7677().step(&challenge);
        }
    }
}
